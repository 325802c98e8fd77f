"""The targets of alerts, their addresses sealed; and incidents as a person reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError, SetupError
from mailfleet.base.secrets import Keyring
from mailfleet.health.alerts.notice import name_of_family
from mailfleet.health.incidents import Severity
from mailfleet.health.look import load_names
from mailfleet.health.scopes import Scope
from mailfleet.health.sentences import Names, name_of
from mailfleet.model.words import Family

Row = Any

QUERIES = load_queries("mailfleet.health.alerts", "alerts.sql")


@dataclass(frozen=True, slots=True)
class Target:
    """`url` as apprise writes it, None when no key of ours opens it. `fault` stands until a notice went out."""

    name: str
    url: str | None
    created_at: datetime
    fault: str
    fault_at: datetime | None


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """`what`: scope and family, as in "domain north.example: bounces"."""

    severity: Severity
    opened_at: datetime
    closed_at: datetime | None
    what: str
    letters_a_day: int
    text: str


def load_targets(connection: Connection, keyring: Keyring) -> list[Target]:
    """All of them, by name."""
    rows = connection.execute(QUERIES["targets"]).fetchall()
    return [
        Target(row.name, _opened(keyring, row.url, row.name), row.created_at, row.fault_text, row.fault_at)
        for row in rows
    ]


def add_target(connection: Connection, keyring: Keyring, name: str, url: str) -> None:
    """InputError when there is one of the name."""
    if not connection.execute(QUERIES["add_target"], {"name": name, "url": keyring.seal(url)}).rowcount:
        raise InputError(f"There is a target {name} already.", hint=f"`mailfleet alerts remove {name}` first.")


def remove_target(connection: Connection, name: str) -> None:
    if not connection.execute(QUERIES["remove_target"], {"name": name}).rowcount:
        raise InputError(f"There is no target {name}.", hint="`mailfleet alerts list` shows them.")


def write_faults(connection: Connection, faults: Mapping[str, str]) -> None:
    """What became of a try, by target; an empty fault clears one that stood."""
    connection.execute(QUERIES["write_faults"], {"names": list(faults), "faults": list(faults.values())})


def is_tried_lately(connection: Connection, gathering: timedelta) -> bool:
    row = connection.execute(QUERIES["tried_lately"], {"gathering": gathering}).fetchone()
    return row is not None and bool(row.is_so)


def list_incidents(connection: Connection, *, with_closed: bool) -> list[IncidentRow]:
    """Open ones first, the gravest first, then the latest."""
    rows = connection.execute(QUERIES["incidents"], {"with_closed": with_closed}).fetchall()
    scopes = [(row.scope_kind, row.scope_key) for row in rows]
    scopes += [(row.part_of_kind, row.part_of_key) for row in rows if row.part_of_kind is not None]
    names = load_names(connection, (Scope(kind, key) for kind, key in scopes))
    return [
        IncidentRow(
            severity=Severity(row.severity),
            opened_at=row.opened_at,
            closed_at=row.closed_at,
            what=f"{name_of(Scope(row.scope_kind, row.scope_key), names)}: {name_of_family(Family(row.family))}",
            letters_a_day=row.letters_a_day,
            text=f"{row.text}{_since_then(row, names)}",
        )
        for row in rows
    ]


def _since_then(row: Row, names: Names) -> str:
    """What the text, which is of the last finding, does not say."""
    if row.part_of_kind is not None:
        return f" It was part of what befell {name_of(Scope(row.part_of_kind, row.part_of_key), names)}."
    if row.trial is not None:
        return f" Since then the hold has ended, and a trial lets out {row.trial} letters a day; nothing to do."
    return ""


def _opened(keyring: Keyring, sealed: bytes, name: str) -> str | None:
    try:
        return keyring.open(sealed, what=name)
    except SetupError:
        return None
