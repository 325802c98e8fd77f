"""Every named query of every room, as PostgreSQL reads it."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

import mailfleet
from mailfleet.base.db import Connection, load_queries

SOURCE = Path(mailfleet.__file__).parent
FILES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.sql"))
_VALUE = re.compile(r"%\((\w+)\)s")


def prepared(query: str) -> str:
    """The query with numbered parameters."""
    numbers: dict[str, int] = {}
    return _VALUE.sub(lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", query).replace("%%", "%")


def test_every_room_is_looked_at() -> None:
    """The rooms with SQL of their own are found, so that the next test is not empty."""
    assert {str(path.parent) for path in FILES} >= {"outbox", "planning", "cli", "intake"}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_named_query_prepares(file: Path, connection: Connection) -> None:
    """Names, columns, types and syntax of each query fit the schema, with nothing known of its values; what cannot be
    prepared (a lock, a temporary table) runs, in the file's order."""
    with connection.transaction():
        for name, query in queries_of(file).items():
            if query.split(maxsplit=1)[0] in ("WITH", "SELECT", "INSERT", "UPDATE", "DELETE"):
                connection.execute(f"PREPARE q_{name} AS {prepared(query)}".encode())
            elif not query.startswith("COPY"):
                connection.execute(query.encode())


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_named_query_is_called(file: Path) -> None:
    """A query that no module asks for by its name is dead."""
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    built = set(re.findall(r'f"(\w+_)\{', code))
    dead = {name for name in queries_of(file) if f'"{name}"' not in code and not name.startswith(tuple(built))}
    assert dead == set()


def test_rows_are_locked_in_one_order() -> None:
    """Who locks many rows of the queue, and waits for them, names the order: no two wait for each other in a circle."""
    for name, query in load_queries("mailfleet.outbox").items():
        if re.search("FOR (NO KEY )?UPDATE", query) and "SKIP LOCKED" not in query:
            assert re.search(r"ORDER BY [\w., ]+\s+FOR ", query), name


def queries_of(file: Path) -> Mapping[str, str]:
    return load_queries(f"mailfleet.{'.'.join(file.parts[:-1])}", file.name)
