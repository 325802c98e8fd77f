"""Where the figures are taken: a PostgreSQL of the product's own settings, durable, and databases with the schema."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.model.schema import migrate

TEMPLATE = "template_bench"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    postgres: EmbeddedPostgres

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[tuple[str, Path]]:
        """The conninfo of a new database, with our schema or empty, and a home of its own; both gone afterwards."""
        name = f"bench_{next(_numbers)}"
        home = self.folder / name
        home.mkdir()
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE if migrated else "template0")
        try:
            yield self.postgres.conninfo(name), home
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)
            shutil.rmtree(home)

    @property
    def postgres_pid(self) -> int:
        assert self.postgres.pid is not None, "PostgreSQL has ended"
        return self.postgres.pid

    def _execute(self, query: str, *names: str) -> None:
        with psycopg.connect(self.postgres.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(query).format(*map(sql.Identifier, names)))


@contextmanager
def open_place(parent: Path | None) -> Iterator[Place]:
    """In a new folder below `parent` (default: the temporary folder), which must be a disk for a commit to cost."""
    folder = Path(tempfile.mkdtemp(prefix="mailfleet-bench-", dir=parent))
    server = folder / "postgres"
    server.mkdir()
    for path in (folder, server):  # root's server runs as another user
        path.chmod(0o711)
    try:
        with EmbeddedPostgres(server) as postgres:
            place = Place(folder, postgres)
            postgres.create_database(TEMPLATE)
            migrate(postgres.conninfo(TEMPLATE))
            with psycopg.connect(postgres.conninfo(TEMPLATE), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION pg_stat_statements")
            yield place
    finally:
        if (server / "data").is_symlink():  # below a folder that the server's user cannot enter
            shutil.rmtree((server / "data").resolve().parent, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
