"""Is the database there, and is its schema this version's?"""

import psycopg

from mailfleet.base.db import connect
from mailfleet.base.errors import SetupError
from mailfleet.model.schema import check_schema, migrate


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
