"""A fleet that has written its first letters."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inbox.post import Post
from mailfleet.base.db import Connection, connect
from outbox.queue_scene import lay

sys.path.insert(0, str(Path(__file__).parent.parent / "outbox"))  # its tests' helpers know each other by bare names


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def make_post(database: str, home: Path, connection: Connection) -> Callable[..., Post]:
    """Lays a fleet whose letters left: `make_post(state=…, mailboxes=…, contacts=…)`."""

    def make(*, state: str = "accepted", **options: Any) -> Post:
        return Post.send(lay(database, home, connection, **{"steps": 2, **options}), connection, state=state)

    return make


@pytest.fixture
def post(make_post: Callable[..., Post]) -> Post:
    """Two mailboxes, four contacts, each with a first letter accepted and a second one to come."""
    return make_post()
