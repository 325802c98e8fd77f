"""What applying a fleet file would change, one line a change."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from mailfleet.intake.fleet_dump import write_value
from mailfleet.intake.fleet_file import FleetFile, Row
from mailfleet.intake.pool import Pool

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}
_KINDS = {
    "identities": "identity",
    "providers": "provider",
    "accounts": "account",
    "domains": "domain",
    "pools": "pool",
    "limits": "limit",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A row that came or went (`field` empty), or one field of a row or of the settings (`name` empty) that changed."""

    kind: Literal["added", "changed", "removed"]
    what: str
    name: str
    field: str = ""
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        line = " ".join(filter(None, (_SIGNS[self.kind], self.what, self.name)))
        return f"{line}: {self.field} {self.before} → {self.after}" if self.field else line


def diff_fleet(old: FleetFile, new: FleetFile) -> tuple[Change, ...]:
    """The changes that lead from old to new, in the order of the file's kinds; the rows' order changes nothing."""
    changes: list[Change] = []
    for kind, what in _KINDS.items():
        changes += _row_changes(what, getattr(old, kind), getattr(new, kind))
    return (*changes, *_field_changes("settings", "", old.settings, new.settings))


def _row_changes(what: str, old: tuple[Row, ...], new: tuple[Row, ...]) -> Iterator[Change]:
    before, after = {row.key: row for row in old}, {row.key: row for row in new}
    for key, row in after.items():
        if key in before:
            yield from _field_changes(what, key, before[key], row)
        else:
            yield Change("added", what, key)
    yield from (Change("removed", what, key) for key in before if key not in after)


def _field_changes(what: str, name: str, old: "DataclassInstance", new: "DataclassInstance") -> Iterator[Change]:
    before, after = dict(_written_fields(old)), dict(_written_fields(new))
    for field, value in after.items():
        if value != before[field]:
            yield Change("changed", what, name, field, before[field], value)


def _written_fields(row: "DataclassInstance", prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every field as the file would write it; those of a pool by their own keys."""
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Pool):
            yield from _written_fields(value.include)
            yield from _written_fields(value.exclude, "exclude.")
        else:
            yield prefix + field.name, "(none)" if value in (None, "", ()) else write_value(value)
