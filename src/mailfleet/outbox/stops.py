"""Stops: suppressions, holds, campaigns paused. Each waits for the reservations under way, and none begins before it is
committed; letters reserved and not begun are recalled from their senders at once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection, again_on_deadlock
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Digester
from mailfleet.mail.addresses import parse_address, parse_domain
from mailfleet.model.words import FLEET_KEY, CampaignState, Family, ScopeKind, SuppressionKind
from mailfleet.outbox.service import QUERIES, STOP_CHANNEL, STOP_LOCK


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a suppression ended: active enrollments, and letters that were queued."""

    enrollments: int
    messages: int


@contextmanager
def stopping(connection: Connection) -> Iterator[None]:
    """One transaction that no reservation overlaps; the senders hear of it when it is committed."""
    with connection.transaction():
        connection.execute(QUERIES["stop_begin"], {"stop_lock": STOP_LOCK})
        yield
        connection.execute(f"NOTIFY {STOP_CHANNEL}")


@again_on_deadlock
def suppress(
    connection: Connection,
    digester: Digester,
    target: str,
    *,
    reason: str,
    source: str,
    evidence: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> Stopped:
    """Bans an address, or a domain with all below it, for good. InputError when it is neither.

    `at`: when the no was said, if that was before now.
    """
    kind, value = read_target(target)
    is_address = kind is SuppressionKind.ADDRESS
    digest = digester.address(value) if is_address else digester.domain(value)
    values: dict[str, Any] = {
        "digests": [digest],
        "kinds": [kind],
        "values": [value],
        "reasons": [reason],
        "sources": [source],
        "evidence": json.dumps(evidence or {}),
        "at": at,
        "addresses": [value] if is_address else [],
        "domains": [] if is_address else [value],
        "subdomains": [] if is_address else [f"%.{_like(value)}"],
        "reason": f"suppressed: {reason}",
    }
    with stopping(connection):
        connection.execute(QUERIES["suppress"], values)
        row = connection.execute(QUERIES["stop_suppressed"], values).fetchone()
    assert row is not None
    return Stopped(row.enrollments, row.messages)


def read_target(target: str) -> tuple[SuppressionKind, str]:
    """An address (normalised) or a domain (A-labels)."""
    if "@" in target.strip().lstrip("@"):
        return SuppressionKind.ADDRESS, parse_address(target).normalised
    return SuppressionKind.DOMAIN, parse_domain(target.strip().lstrip("@"))


@again_on_deadlock
def hold(
    connection: Connection,
    kind: ScopeKind,
    name: str,
    *,
    reason: str,
    set_by: str,
    length: timedelta | None = None,
    family: Family | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> bool:
    """Holds a scope until `length` is over, or until it is lifted. False when one that lasts as long stands already.

    `family`: the trouble it is for; None for a person's.
    """
    values = {
        "scope_kind": kind,
        "scope_key": scope_key(connection, kind, name),
        "reason": reason,
        "evidence": json.dumps(evidence or {}),
        "set_by": set_by,
        "length": length,
        "family": family,
    }
    with stopping(connection):
        return connection.execute(QUERIES["place_hold"], values).fetchone() is not None


def lift(connection: Connection, kind: ScopeKind, name: str, *, lifted_by: str) -> int:
    """Lifts every hold that stands on the scope itself; how many."""
    values = {"scope_kind": kind, "scope_key": scope_key(connection, kind, name), "lifted_by": lifted_by}
    return len(connection.execute(QUERIES["lift_hold"], values).fetchall())


_NAMED: dict[ScopeKind, str] = {
    ScopeKind.MAILBOX: "SELECT id::text FROM mailbox WHERE address = lower(%(name)s)",
    ScopeKind.DOMAIN: "SELECT id::text FROM domain WHERE name = lower(%(name)s)",
    ScopeKind.ACCOUNT: (
        "SELECT a.id::text FROM account a JOIN provider p ON p.id = a.provider_id"
        " WHERE p.name || '/' || a.name = %(name)s OR a.name = %(name)s"
    ),
    ScopeKind.PROVIDER: "SELECT id::text FROM provider WHERE name = %(name)s",
    ScopeKind.IDENTITY: "SELECT id::text FROM identity WHERE name = %(name)s",
    ScopeKind.CAMPAIGN: "SELECT id::text FROM campaign WHERE name = %(name)s",
}


def scope_key(connection: Connection, kind: ScopeKind, name: str) -> str:
    """The key under which limits and holds know a scope: the id of what bears the name, or the name itself."""
    if kind is ScopeKind.FLEET:
        return FLEET_KEY
    if kind is ScopeKind.SENDER_HOST:
        return name
    if kind is ScopeKind.RECIPIENT_DOMAIN:
        return parse_domain(name)
    rows = connection.execute(_NAMED[kind], {"name": name}).fetchall()
    if len(rows) == 1:
        return str(rows[0][0])
    if rows:
        raise InputError(f"There are {len(rows)} of the name {name}.", hint="Name it as provider/account.")
    raise InputError(
        f"There is no {kind} {name}.", hint=f"`mailfleet status` counts what there is; check the {kind}'s name."
    )


@again_on_deadlock
def set_campaign_state(
    connection: Connection, name: str, state: CampaignState, *, was: Sequence[CampaignState], reason: str
) -> None:
    """Moves a campaign on, from one of the states it may leave. InputError says what it is in instead."""
    with stopping(connection):
        moved = connection.execute(
            "UPDATE campaign SET state = %s, reason = %s, started_at = CASE WHEN %s = 'running' THEN"
            " coalesce(started_at, clock_timestamp()) ELSE started_at END WHERE name = %s AND state = ANY(%s)",
            [state, reason, state, name, list(was)],
        ).rowcount
    if not moved:
        row = connection.execute("SELECT state FROM campaign WHERE name = %s", [name]).fetchone()
        if row is None:
            raise InputError(f"There is no campaign {name}.", hint="`mailfleet campaign list` shows them.")
        raise InputError(f"The campaign {name} is {row.state}; it cannot become {state}.")


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
