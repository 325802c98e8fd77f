"""A fleet with queued letters, and a connection to look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailfleet.base.db import Connection, connect
from outbox.queue_scene import lay
from suppression.scene import Scene


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def scene(database: str, home: Path, connection: Connection) -> Scene:
    return Scene(lay(database, home, connection, contacts=4), connection)
