"""Scenes of errands: a queue in PostgreSQL beside mailboxes that can be read."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from mailfleet.base.db import Connection, connect

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(Path(__file__).parent), str(TESTS / "outbox"), str(TESTS / "kill")]

import errand_scene  # noqa: E402  found only now


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def scene(
    database: str, home: Path, connection: Connection
) -> Callable[..., AbstractContextManager[errand_scene.ErrandScene]]:
    """`with scene(mailboxes=…, contacts=…, sent_copy=…) as it`: letters are queued, the sandbox shows the mailboxes."""
    return partial(errand_scene.errand_scene, database, home, connection)
