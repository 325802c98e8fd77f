"""What every test may ask for: a folder, one PostgreSQL for each test process, a fresh database for each test."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.model.schema import migrate

TEMPLATE = "template_mailfleet"
# Nothing outlives the tests, so nothing waits for a disk. The log of changes stays small, for it lies in memory.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
ROOM = 1_000_000_000  # chosen: one server for each of several test processes, with their databases

_numbers = itertools.count(1)


@contextlib.contextmanager
def _new_folder() -> Iterator[Path]:
    """In memory where there is room: a database is copied in a tenth of the time. Root's server cannot use tmp_path."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and shutil.disk_usage(memory).free > ROOM else None
    folder = Path(tempfile.mkdtemp(prefix="mailfleet-test-", dir=parent))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def home() -> Iterator[Path]:
    """A new folder that every user can enter."""
    with _new_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A running server, gone with the test process."""
    with _new_folder() as folder, EmbeddedPostgres(folder, settings=FAST) as server:
        yield server


def _prepare_template(dsn: str) -> None:
    """What the database of every test starts with: the schema."""
    migrate(dsn)


@pytest.fixture(scope="session")
def database_maker(postgres: EmbeddedPostgres) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection that copies the template, once that is prepared."""
    postgres.create_database(TEMPLATE)
    _prepare_template(postgres.conninfo(TEMPLATE))
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def database(postgres: EmbeddedPostgres, database_maker: "psycopg.Connection[tuple[object, ...]]") -> Iterator[str]:
    """The conninfo of a database of this test's own, dropped afterwards with whoever is still connected."""
    name = f"test_{next(_numbers)}"
    copy = "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy"
    database_maker.execute(sql.SQL(copy).format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
    yield postgres.conninfo(name)
    database_maker.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
