"""Settings in the database, a row a name."""

import json
from typing import TypeVar

from mailfleet.base.db import Connection
from mailfleet.base.records import Recorded

R = TypeVar("R", bound=Recorded)


def load_setting(connection: Connection, name: str, kind: type[R]) -> R:
    """What the organisation set under that name; the defaults where it set nothing."""
    row = connection.execute("SELECT value FROM setting WHERE name = %s", [name]).fetchone()
    return kind.of_record(row.value) if row else kind()


def save_setting(connection: Connection, name: str, value: Recorded) -> None:
    connection.execute(
        "INSERT INTO setting (name, value) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
        [name, json.dumps(value.as_record())],
    )
