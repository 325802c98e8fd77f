"""A fleet with its letters queued, as the tests of the outbox lay it."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "outbox"))

from queue_scene import lay

import laid
from mailfleet.base.db import Connection, connect


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def other(database: str) -> Iterator[Connection]:
    """A second connection, for who comes in between."""
    with connect(database, name="other") as connection:
        yield connection


@pytest.fixture
def place(database: str, home: Path, connection: Connection) -> Callable[..., laid.Laid]:
    """Lays a fleet and queues its letters: `place(mailboxes=…, contacts=…, limits=…)`."""
    return partial(lay, database, home, connection)
