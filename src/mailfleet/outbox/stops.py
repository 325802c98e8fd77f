"""Stops: suppressions, holds, campaigns paused. Each waits for the reservations under way, and none begins before it is
committed; letters reserved and not begun are recalled from their senders at once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection, again_on_deadlock, load_queries
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Digester
from mailfleet.mail.addresses import parse_address, parse_domain
from mailfleet.mail.companies import company_key
from mailfleet.mail.public_domains import is_public
from mailfleet.model.words import FLEET_KEY, CampaignState, Family, ScopeKind, SuppressionKind
from mailfleet.outbox.service import QUERIES, STOP_CHANNEL, STOP_LOCK

MANY_QUERIES = load_queries("mailfleet.outbox", "stops.sql")
ENDED_AT_ONCE = 2_000  # chosen: contacts; a stop that lasts 0.1 s lets the senders go on between two
_STREAMED = 10_000


@dataclass(frozen=True, slots=True)
class Stopped:
    """What suppressions ended: active enrollments, and letters that were queued; `bans` are those that are new."""

    enrollments: int
    messages: int
    bans: int = 0

    def __add__(self, other: "Stopped") -> "Stopped":
        return Stopped(self.enrollments + other.enrollments, self.messages + other.messages, self.bans + other.bans)


@dataclass(frozen=True, slots=True)
class CompanyBan:
    """A company that said no, by any spelling of its name; `at`: when, if that was before now."""

    name: str
    reason: str
    source: str
    at: datetime | None = None


@contextmanager
def between_reservations(connection: Connection) -> Iterator[None]:
    """One transaction that waits for the reservations under way; none begins before it is committed."""
    with connection.transaction():
        connection.execute(QUERIES["stop_begin"], {"stop_lock": STOP_LOCK})
        yield


@contextmanager
def stopping(connection: Connection) -> Iterator[None]:
    """The same; the senders hear of it when it is committed."""
    with between_reservations(connection):
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
        bans = connection.execute(QUERIES["suppress"], values).rowcount
        row = connection.execute(QUERIES["stop_suppressed"], values).fetchone()
    assert row is not None
    return Stopped(row.enrollments, row.messages, bans)


def suppress_companies(connection: Connection, digester: Digester, bans: Sequence[CompanyBan]) -> Stopped:
    """Bans companies for good, whatever address or domain their people have. InputError when a name names none.

    1. finds their contacts, by every spelling
    2. contacts that came in before digests of companies were kept get theirs: a ban never stands without them
    3. the bans, in one stop
    4. what they forbid ends; should this come to nothing, the gate ends it letter by letter

    A contact that comes in meanwhile has the digest from its import.
    """
    keys = {read_company(ban.name): ban for ban in reversed(bans)}
    digests = {key: digester.company(key) for key in keys}
    names = _spellings(connection, digests)
    found = {"names": list(names), "digests": list(digests.values())}
    contacts = [row.id for row in connection.execute(MANY_QUERIES["find_of_companies"], found)]
    for some in _chunks(contacts):
        _mark(connection, names, some)
    written = _ban(connection, [(digests[key], ban) for key, ban in keys.items()])
    return Stopped(0, 0, written) + _end_all(connection, contacts)


def suppress_company_of(
    connection: Connection, digester: Digester, address: str, *, reason: str, source: str
) -> tuple[Stopped, tuple[str, ...]]:
    """Bans an address and the company behind it: its domain, unless it is a public mail provider's, and its name, if
    the contact is known with one. Also says what was banned beside it. InputError when neither tells a company.
    """
    parsed = parse_address(address)
    query = "SELECT company FROM contact WHERE address_key = %s AND company <> ''"
    row = connection.execute(query, [parsed.normalised]).fetchone()
    name = row.company if row is not None and company_key(row.company) else ""
    domain = "" if is_public(parsed.domain_ascii) else parsed.domain_ascii
    if not name and not domain:
        raise InputError(
            f"Nothing tells the company of {address}: it has an address of a public mail provider.",
            hint='Name it: mailfleet suppress --company "Acme GmbH"',
        )
    stopped = suppress(connection, digester, address, reason=reason, source=source)
    if domain:
        stopped += suppress(connection, digester, domain, reason=reason, source=source)
    if name:
        stopped += suppress_companies(connection, digester, [CompanyBan(name, reason, source)])
    return stopped, tuple(filter(None, (domain, name)))


def end_suppressed(connection: Connection) -> Stopped:
    """Ends all that any ban forbids and that goes on nevertheless: bans that came in by the thousand end nothing."""
    return _end_all(connection, [row.id for row in connection.execute(MANY_QUERIES["find_suppressed"])])


def read_company(name: str) -> str:
    """The key of a company's name. InputError when it names none."""
    if key := company_key(name):
        return key
    raise InputError(f"{name!r} names no company.", hint="Write its name as the contacts have it.")


def _spellings(connection: Connection, digests: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every name that contacts bear of these companies → the digest of its company."""
    with connection.transaction(), connection.cursor("company_names") as cursor:
        cursor.itersize = _STREAMED
        cursor.execute(MANY_QUERIES["company_names"])
        return {row.company: digests[key] for row in cursor if (key := company_key(row.company)) in digests}


@again_on_deadlock
def _mark(connection: Connection, names: Mapping[str, bytes], contacts: Sequence[int]) -> None:
    values = {"names": list(names), "name_digests": list(names.values()), "contacts": list(contacts)}
    with stopping(connection):
        connection.execute(MANY_QUERIES["mark_of_companies"], values)


@again_on_deadlock
def _ban(connection: Connection, bans: Sequence[tuple[bytes, CompanyBan]]) -> int:
    """Writes bans in one stop; how many are new."""
    with stopping(connection):
        return sum(
            connection.execute(
                QUERIES["suppress"],
                {
                    "digests": [digest],
                    "kinds": [SuppressionKind.COMPANY],
                    "values": [ban.name],
                    "reasons": [ban.reason],
                    "sources": [ban.source],
                    "evidence": "{}",
                    "at": ban.at,
                },
            ).rowcount
            for digest, ban in bans
        )


def _end_all(connection: Connection, contacts: Sequence[int]) -> Stopped:
    return sum((_end(connection, some) for some in _chunks(contacts)), start=Stopped(0, 0))


@again_on_deadlock
def _end(connection: Connection, contacts: Sequence[int]) -> Stopped:
    with stopping(connection):
        row = connection.execute(MANY_QUERIES["end_contacts"], {"contacts": list(contacts)}).fetchone()
    assert row is not None
    return Stopped(row.enrollments, row.messages)


def _chunks(contacts: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(contacts), ENDED_AT_ONCE):
        yield contacts[start : start + ENDED_AT_ONCE]


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
    ScopeKind.RECIPIENT_PROVIDER: "SELECT provider FROM recipient_domain WHERE provider = lower(%(name)s) LIMIT 1",
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
