"""How a command comes to its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mailfleet.base.db import Connection, connect
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


@contextmanager
def database(settings: Settings, *, bring_up: bool = False) -> Iterator[str]:
    """The conninfo of the installation's database, its schema checked.

    One's own server if MAILFLEET_DATABASE_URL names it, else the embedded one: that which `mailfleet up` runs, or,
    while nothing runs, one of this command's own for as long as it lasts. An embedded one is brought to this version's
    schema; one's own only when `bring_up` asks for it.
    """
    if settings.database_url:
        (migrate if bring_up else check_schema)(settings.database_url)
        yield settings.database_url
        return
    folder = settings.home / "postgres"
    if (running := read_conninfo(folder)) is not None:
        check_schema(running)
        yield running
        return
    with EmbeddedPostgres(folder) as server:
        server.create_database(DATABASE)
        migrate(server.conninfo(DATABASE))
        yield server.conninfo(DATABASE)


@contextmanager
def opened(name: str = "mailfleet") -> Iterator[Opened]:
    """What nearly every command begins with."""
    settings = read_settings()
    configure_log(settings.log_level, process=name)
    with database(settings) as conninfo, connect(conninfo, name=name) as connection:
        yield Opened(settings, conninfo, connection, open_vault(connection, settings))
