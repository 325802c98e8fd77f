"""Connections and named SQL. Hot paths are `.sql` files of a room, each query under a `-- name:` line.

A query's header says what it does, who calls it, which index it uses, how many rows it meets and what it locks.
"""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from importlib.resources import files
from typing import Any, ParamSpec, TypeVar

import psycopg
from psycopg.rows import namedtuple_row

from mailfleet.base.errors import SetupError

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]

DEADLOCKS = 5  # chosen: more in a row are a fault of ours

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load_queries(package: str, file: str = "store.sql") -> Mapping[str, str]:
    """The named queries of a room: name → SQL text, comments kept out of what is sent."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    queries = {name: _bare(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}
    if len(queries) * 2 != len(parts):
        raise ValueError(f"{package}/{file} names a query twice")
    return queries


def _bare(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if line.strip() and not line.lstrip().startswith("--"))


# What we rely on is set by us, whatever the server's defaults: a commit is durable, and a process that is frozen or cut
# off inside a transaction loses its locks. A peer that is gone is noticed in about half a minute.
_OPTIONS: dict[str, Any] = {
    "options": "-c TimeZone=UTC -c synchronous_commit=on -c idle_in_transaction_session_timeout=15s"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=30s",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connect(conninfo: str, *, name: str, autocommit: bool = True) -> Connection:
    """A connection whose rows are named tuples, in UTC; SetupError when the database does not answer."""
    try:
        return psycopg.connect(
            conninfo, autocommit=autocommit, row_factory=namedtuple_row, application_name=name, **_OPTIONS
        )
    except psycopg.OperationalError as error:
        raise unreachable(error) from error


async def connect_async(conninfo: str, *, name: str) -> AsyncConnection:
    """The same for an event loop. Raises psycopg.OperationalError: a daemon waits and tries again."""
    return await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, row_factory=namedtuple_row, application_name=name, **_OPTIONS
    )


Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def again_on_deadlock(act: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """For an act that is one transaction: one that PostgreSQL ended to break a deadlock is done once more."""

    @wraps(act)
    def acted(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        for _ in range(DEADLOCKS):
            try:
                return act(*arguments, **options)
            except psycopg.errors.DeadlockDetected:
                continue
        return act(*arguments, **options)

    return acted


def unreachable(error: psycopg.Error) -> SetupError:
    """Our error for a database that does not answer."""
    said = str(error).strip().splitlines()
    return SetupError(
        f"The database does not answer: {said[0] if said else repr(error)}",
        hint="Start it with `mailfleet up`, or check MAILFLEET_DATABASE_URL.",
    )
