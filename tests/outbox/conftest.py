"""A fleet laid by `lay(...)`, and a connection to look at it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from queue_scene import lay

import laid
from mailfleet.base.db import Connection, connect


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def place(database: str, home: Path, connection: Connection) -> Callable[..., laid.Laid]:
    """Lays a fleet and queues its letters: `place(mailboxes=…, contacts=…, limits=…)`."""
    return partial(lay, database, home, connection)
