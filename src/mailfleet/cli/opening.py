"""How a command comes to its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.log import configure_log
from mailfleet.base.postgres import DATABASE, EmbeddedPostgres, read_conninfo
from mailfleet.base.settings import Settings, read_settings
from mailfleet.model.schema import check_schema, migrate
from mailfleet.outbox.vault import Vault, open_vault


@dataclass(frozen=True, slots=True)
class Opened:
    """An installation at work: one connection, and the organisation's secrets."""

    settings: Settings
    conninfo: str
    connection: Connection
    vault: Vault


def check_database(conninfo: str) -> None:
    """SetupError when it does not answer, or its schema is not this version's."""
    _reach(conninfo)
    check_schema(conninfo)


def bring_up(conninfo: str) -> None:
    """Brings it to this version's schema; SetupError when it does not answer, or was written by a newer version."""
    _reach(conninfo)
    migrate(conninfo)
    check_schema(conninfo)


def _reach(conninfo: str) -> None:
    """The driver's own words may quote the whole string, password and all."""
    try:
        connect(conninfo, name="mailfleet starts").close()
    except psycopg.ProgrammingError:
        raise SetupError(
            "MAILFLEET_DATABASE_URL cannot be read as a connection string.",
            hint="Write it as postgresql://user:password@host:5432/database.",
        ) from None


@contextmanager
def database(settings: Settings, *, migrates: bool = False) -> Iterator[str]:
    """The conninfo of the installation's database, its schema checked.

    One's own server if MAILFLEET_DATABASE_URL names it, else the embedded one: that which `mailfleet up` runs, or,
    while nothing runs, one of this command's own for as long as it lasts. An embedded one is brought to this version's
    schema; one's own only when `migrates` says so.
    """
    if settings.database_url:
        (bring_up if migrates else check_database)(settings.database_url)
        yield settings.database_url
        return
    folder = settings.home / "postgres"
    if (running := read_conninfo(folder)) is not None:
        check_database(running)
        yield running
        return
    with EmbeddedPostgres(folder) as server:
        server.create_database(DATABASE)
        bring_up(server.conninfo(DATABASE))
        yield server.conninfo(DATABASE)


@contextmanager
def opened(name: str = "mailfleet") -> Iterator[Opened]:
    """What nearly every command begins with."""
    settings = read_settings()
    configure_log(settings.log_level, process=name)
    with database(settings) as conninfo, connect(conninfo, name=name) as connection:
        yield Opened(settings, conninfo, connection, open_vault(connection, settings))
