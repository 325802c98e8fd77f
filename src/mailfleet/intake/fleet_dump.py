"""Writes a fleet as TOML: what differs from a default, one table a row."""

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from datetime import timedelta
from typing import TYPE_CHECKING

from mailfleet.intake.fleet_file import FleetFile
from mailfleet.intake.pool import Pool, Selector
from mailfleet.intake.values import write_duration, write_window
from mailfleet.outbox.limits import Window

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def dump_fleet(fleet: FleetFile) -> str:
    """A text that `read_fleet` reads back to an equal fleet. It holds no secret, for a fleet file has none."""
    tables: list[str] = []
    for kind in fields(fleet):
        value = getattr(fleet, kind.name)
        rows, header = (value, f"[[{kind.name}]]") if isinstance(value, tuple) else ((value,), f"[{kind.name}]")
        tables += ["\n".join([header, *_lines(row)]) for row in rows if row != _default(kind)]
    return "\n\n".join(tables) + "\n"


def _lines(row: "DataclassInstance") -> Iterator[str]:
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Pool):
            yield from _lines(value.include)
            if value.exclude != Selector():
                yield f"exclude = {{ {', '.join(_lines(value.exclude))} }}"
        elif value != _default(field):
            yield f"{field.name} = {write_value(value)}"


def write_value(value: object) -> str:
    """One value of a row as TOML: a text, number, list of texts, duration or window."""
    match value:
        case int():
            return str(value)
        case tuple():
            return f"[{', '.join(map(write_value, value))}]"
        case timedelta():
            return write_value(write_duration(value))
        case Window():
            return write_value(write_window(value))
    return json.dumps(value, ensure_ascii=False)  # JSON's escapes are TOML's


def _default(field: "Field[object]") -> object:
    return None if field.default is MISSING else field.default
