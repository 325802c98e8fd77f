"""How a command comes to its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.log import configure_log
from mailfleet.base.settings import Settings, read_settings
from mailfleet.cli.embedded import shared
from mailfleet.cli.schema import bring_up, check_database
from mailfleet.outbox.vault import Vault, open_vault


@dataclass(frozen=True, slots=True)
class Opened:
    """An installation at work: one connection, and the organisation's secrets."""

    settings: Settings
    conninfo: str
    connection: Connection
    vault: Vault


@contextmanager
def database(settings: Settings, *, migrates: bool = False) -> Iterator[str]:
    """The conninfo of the installation's database, its schema checked.

    One's own server if MAILFLEET_DATABASE_URL names it, else the embedded one: that which `mailfleet up` runs, or,
    while nothing runs, one that lasts as long as commands use it. An embedded one is brought to this version's schema;
    one's own only when `migrates` says so.
    """
    if settings.database_url:
        (bring_up if migrates else check_database)(settings.database_url)
        yield settings.database_url
        return
    with shared(settings.home) as conninfo:
        yield conninfo


@contextmanager
def opened(name: str = "mailfleet") -> Iterator[Opened]:
    """What nearly every command begins with. SetupError when the database goes away in the middle."""
    settings = read_settings()
    configure_log(settings.log_level, process=name)
    with database(settings) as conninfo, connect(conninfo, name=name) as connection:
        try:
            yield Opened(settings, conninfo, connection, open_vault(connection, settings))
        except psycopg.OperationalError as error:
            said = str(error).strip().partition("\n")[0]
            raise SetupError(
                f"The database broke off in the middle of the command: {said}",
                hint="What it did not report as done was not done. See that the database runs, and try again.",
            ) from error
