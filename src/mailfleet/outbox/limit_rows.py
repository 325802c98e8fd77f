"""The table of limits as a person reads and sets it, with what is used of each."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError
from mailfleet.model.words import ScopeKind
from mailfleet.outbox.limits import Usage, Window
from mailfleet.outbox.stops import stopping

QUERIES = load_queries("mailfleet.outbox", "limit_rows.sql")
OPERATOR = "operator"
HALF_OPEN = "half_open"
"""Of a scope on trial after a hold: a limit like any other, which counts only what left since it stands."""


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit. `scope` names what it covers, or is empty for each of the kind; `used` is that of the fullest scope,
    which `fullest` names."""

    id: int
    scope_kind: str
    scope: str
    window: Window
    maximum: int
    source: str
    used: int
    fullest: str


def read_limits(connection: Connection, *, now: datetime, with_each: bool) -> list[LimitRow]:
    """Every limit with its usage now; the ramps and preset limits of single mailboxes only when asked for."""
    names = {(row.kind, row.key): row.name for row in connection.execute(QUERIES["names"]).fetchall()}
    usages: dict[int, dict[str, Usage]] = defaultdict(dict)
    for row in connection.execute(QUERIES["usages"]).fetchall():
        usages[row.limit_id][row.scope_key] = Usage.stored(row.head, row.counts)
    found = []
    for row in connection.execute(QUERIES["limits"], {"with_each": with_each}).fetchall():
        window = Window(row.window_kind, timedelta(seconds=row.window_seconds), row.window_zone)
        now_used = {key: usage.at(window.bucket(now), window.span).used for key, usage in usages[row.id].items()}
        fullest = max(now_used, key=lambda key: now_used[key], default="")
        found.append(
            LimitRow(
                id=row.id,
                scope_kind=row.scope_kind,
                scope=names.get((row.scope_kind, row.scope_key), row.scope_key or ""),
                window=window,
                maximum=row.maximum,
                source=row.source,
                used=now_used.get(fullest, 0),
                fullest=names.get((row.scope_kind, fullest), fullest),
            )
        )
    return found


def set_limit(
    connection: Connection,
    kind: ScopeKind,
    key: str | None,
    window: Window,
    maximum: int | None,
    *,
    source: str = OPERATOR,
) -> None:
    """Sets the limit of that scope, window and source, or removes it (maximum None). The smallest always wins.

    No reservation overlaps one that comes or goes: what is reserved meets it, or was reserved before and is counted.
    """
    values = {
        "scope_kind": kind,
        "scope_key": key,
        "window_kind": window.kind,
        "window_seconds": int(window.length.total_seconds()),
        "window_zone": window.zone,
        "maximum": maximum,
        "source": source,
    }
    if maximum is not None and connection.execute(QUERIES["change_limit"], values).rowcount:
        return
    with stopping(connection):
        done = connection.execute(QUERIES["remove_limit" if maximum is None else "make_limit"], values).rowcount
    if not done:
        raise InputError(
            "There is no such limit.", hint="`mailfleet limits` lists them; source and window must be the same."
        )
