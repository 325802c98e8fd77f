"""The queue as a sender uses it: lease, peek, reserve, settle, release. Each call is one short transaction.

No transaction is ever open across SMTP. Every call may be repeated after a lost connection: leases carry fences,
reservations name the state they leave, a settled attempt is left alone.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from mailfleet.base.clock import DatabaseClock, monotonic
from mailfleet.base.db import AsyncConnection, connect_async, load_queries
from mailfleet.base.errors import InvariantError
from mailfleet.base.secrets import Digester
from mailfleet.model.words import FLEET_KEY, Outcome, ScopeKind, SuppressionKind
from mailfleet.outbox.limits import SLACK, Usage, Window, usage_of
from mailfleet.outbox.records import Draft, LeaseGrant, Reservation, Row
from mailfleet.outbox.rules import (
    Admission,
    Candidate,
    LimitUsage,
    Refusal,
    Result,
    UsageKey,
    admit,
    limit_refusal,
    refusal_of,
)

QUERIES = load_queries("mailfleet.outbox")
STOP_LOCK = 0x6D666C74  # chosen: any number no other part of the database's users takes
PLANNER_LOCK = 0x6D66706C  # chosen likewise; who holds it plans
MOVED_LIMITS = 5  # chosen: tries of one reservation while a person turns limits down
STOP_CHANNEL = "mailfleet_stop"
WORK_CHANNEL = "mailfleet_work"


class Outbox:
    """One sender's door to the queue, over one connection of its own, which is opened anew when it was lost.

    Calls wait for one another. Each may raise psycopg.Error: then nothing is known of what it wrote.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        sender_id: int,
        host: str,
        lease: timedelta,
        reserve_ahead: timedelta,
        late_after: timedelta,
        digester: Digester,
        clock: DatabaseClock,
    ) -> None:
        self._conninfo = conninfo
        self._open: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._sender_id = sender_id
        self._host = host
        self._lease = lease
        self._clock = clock
        self._digester = digester
        self._horizon = {"ahead": reserve_ahead, "late_after": late_after, "sender": sender_id}

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()
            self._open = None

    async def lease_mailboxes(self, room: int) -> list[LeaseGrant]:
        """Up to `room` more mailboxes that have letters due, longest-waiting first."""
        return await self._grants("lease_mailboxes", {**self._horizon, "room": room, "lease": self._lease})

    async def renew(self, leases: Iterable[tuple[int, int]]) -> list[LeaseGrant]:
        """These (mailbox id, fence) pairs, prolonged; one that is missing in the answer is lost."""
        pairs = list(leases)
        values = {"mailboxes": [m for m, _ in pairs], "fences": [f for _, f in pairs], "sender": self._sender_id}
        return await self._grants("renew_leases", {**values, "lease": self._lease}) if pairs else []

    async def release(self, leases: Iterable[tuple[int, int]]) -> None:
        """Gives back (mailbox id, fence) pairs."""
        pairs = list(leases)
        values = {"mailboxes": [m for m, _ in pairs], "fences": [f for _, f in pairs], "sender": self._sender_id}
        await self._do("release_leases", values)

    async def load_mailboxes(self, mailboxes: Sequence[int]) -> list[Row]:
        return await self._ask("load_mailboxes", {"mailboxes": list(mailboxes)})

    async def load_variants(self, variants: Sequence[int]) -> list[Row]:
        return await self._ask("load_variants", {"variants": list(variants)})

    async def peek(self, mailboxes: Sequence[int], *, per_mailbox: int, batch: int) -> list[Row]:
        """Letters of these mailboxes that are due soon, with all that is needed to write them."""
        values = {"mailboxes": list(mailboxes), "per_mailbox": per_mailbox, "batch": batch}
        return await self._ask("peek_due", {**self._horizon, **values})

    async def hand_back(self, refusals: Mapping[int, Refusal]) -> None:
        """Gives letters that may not leave now back to the planner, or ends them, with the reason."""
        if refusals:
            await self._do("hand_back", _refusal_columns(refusals))

    async def reserve(self, drafts: Sequence[Draft], fences: Mapping[int, int]) -> list[Reservation]:
        """Reserves what may leave now; what may not goes back with its reason. One transaction (law 1):

        1. wait for stops under way, read the clock
        2. lock leases (by fence), letters and contacts
        3. lock the usage of every limit they touch, in one order
        4. ask the gate, which sees all that is committed
        5. admit within the limits, and write usage, attempts and states
        """
        for _ in range(MOVED_LIMITS):
            try:
                return await self._reserve(drafts, fences)
            except _LimitMoved:
                continue
        raise InvariantError("limits had no room for what was admitted, again and again")

    async def _reserve(self, drafts: Sequence[Draft], fences: Mapping[int, int]) -> list[Reservation]:
        async with self._transaction() as connection:
            asked_at = monotonic()
            now: datetime = (await _rows(connection, "begin", {"stop_lock": STOP_LOCK}))[0].now
            self._clock.set(now, asked_at=asked_at, answered_at=monotonic())
            locked = await self._lock(connection, drafts, fences)
            if not locked:
                return []
            candidates = [self._candidate(row) for row in locked]
            limits = await self._lock_usage(connection, candidates, now)
            refusals = await self._gate(connection, [row.id for row in locked])
            refusals |= _second_mailbox(locked, refusals)
            admission = admit([c for c in candidates if c.message_id not in refusals], limits, now=now)
            refusals |= {message: limit_refusal(limit) for message, limit in admission.refused.items()}
            if refusals:
                await _run(connection, "hand_back", _refusal_columns(refusals))
            await _reserve_usage(connection, admission)
            return await self._write(connection, locked, drafts, fences, admission, now)

    async def recall(self, messages: Sequence[int]) -> dict[int, Refusal]:
        """Which of these letters, reserved but not begun, may no longer leave."""
        if not messages:
            return {}
        async with self._transaction() as connection:
            return await self._gate(connection, messages)

    async def settle(self, results: Sequence[Result]) -> None:
        """Makes outcomes facts, with what follows from them: usage given back, holds, suppressions. One transaction."""
        if not results:
            return
        by_attempt = {result.attempt_id: result for result in results}
        records = json.dumps([result.as_record() for result in by_attempt.values()])
        is_one_statement = all(result.has_no_consequence for result in by_attempt.values())
        async with self._connection() if is_one_statement else self._transaction() as connection:
            rows = await _rows(connection, "settle", {"results": records})
            unreached = [row for row in rows if row.outcome == Outcome.UNREACHED]
            if unreached:
                await _return_usage(connection, unreached)
                contacts = [row.contact_id for row in unreached if row.contact_id]
                await _run(connection, "lock_contacts", {"contacts": contacts})
                await _run(connection, "unstick", {"contacts": contacts})
            stops = [row for row in rows if by_attempt[row.id].hold or by_attempt[row.id].suppress]
            for row in stops:
                await self._follow(connection, by_attempt[row.id], row)
            if stops:
                await connection.execute(f"NOTIFY {STOP_CHANNEL}")

    async def sweep_expired(self) -> None:
        """Makes ambiguous what senders left that are gone for good."""
        await self._do("sweep_expired", {"lease": self._lease})

    async def seen(self) -> int:
        """Says that this sender lives; how many do, this one included."""
        row = (await self._ask("sender_seen", {"sender": self._sender_id, "lease": self._lease}))[0]
        return int(row.alive) + 1

    async def stopped(self) -> None:
        await self._do("sender_stopped", {"sender": self._sender_id})

    async def open_attempts(self) -> list[Row]:
        """Attempts of this sender that the database holds as running."""
        return await self._ask("open_attempts", {"sender": self._sender_id})

    async def attempts_of_journal(self, journal: UUID, known: Sequence[int] = ()) -> list[Row]:
        """Attempts that this journal's dead senders left open; of `known` those too that a person called not sent."""
        values = {"journal": journal, "sender": self._sender_id, "known": list(known)}
        return await self._ask("attempts_of_journal", values)

    async def release_dead(self, journal: UUID) -> None:
        await self._do("release_dead", {"journal": journal, "sender": self._sender_id})

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """Each statement is a transaction of its own: two round trips fewer than with BEGIN and COMMIT."""
        async with self._turn:
            if self._open is None or self._open.closed:
                self._open = await connect_async(self._conninfo, name="mailfleet sender")
            try:
                yield self._open
            except psycopg.OperationalError:
                await self.close()
                raise

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._connection() as connection, connection.transaction():
            yield connection

    async def _ask(self, name: str, values: Mapping[str, Any]) -> list[Row]:
        async with self._connection() as connection:
            return await _rows(connection, name, values)

    async def _do(self, name: str, values: Mapping[str, Any]) -> None:
        async with self._connection() as connection:
            await _run(connection, name, values)

    async def _grants(self, name: str, values: Mapping[str, Any]) -> list[LeaseGrant]:
        asked_at = monotonic()
        rows = await self._ask(name, values)
        if rows:
            self._clock.set(rows[0].now, asked_at=asked_at, answered_at=monotonic())
        return [LeaseGrant(row.mailbox_id, row.fence, row.expires_at) for row in rows]

    async def _lock(self, connection: AsyncConnection, drafts: Sequence[Draft], fences: Mapping[int, int]) -> list[Row]:
        mine = [draft for draft in drafts if draft.mailbox_id in fences]
        values = {
            "messages": [draft.message_id for draft in mine],
            "mailboxes": [draft.mailbox_id for draft in mine],
            "fences": [fences[draft.mailbox_id] for draft in mine],
        }
        return await _rows(connection, "lock_due", {**self._horizon, **values})

    async def _lock_usage(
        self, connection: AsyncConnection, candidates: Sequence[Candidate], now: datetime
    ) -> list[LimitUsage]:
        scopes = sorted({scope for candidate in candidates for scope in candidate.scopes})
        values = {"kinds": [kind for kind, _ in scopes], "keys": [key for _, key in scopes]}
        if missing := await _rows(connection, "missing_usage", values):
            await _make_usage(connection, missing, now)
        return [
            LimitUsage(
                row.limit_id,
                (row.scope_kind, row.scope_key),
                _window(row),
                row.maximum,
                Usage.stored(row.head, row.counts),
            )
            for row in await _rows(connection, "lock_usage", values)
        ]

    async def _gate(self, connection: AsyncConnection, messages: Sequence[int]) -> dict[int, Refusal]:
        rows = await _rows(connection, "gate", {"messages": list(messages), "host": self._host})
        return {row.id: refusal_of(row.code, row.reason) for row in rows}

    def _scopes(self, row: Row) -> tuple[tuple[str, str], ...]:
        return (
            (ScopeKind.MAILBOX, str(row.mailbox_id)),
            (ScopeKind.DOMAIN, str(row.domain_id)),
            (ScopeKind.ACCOUNT, str(row.account_id)),
            (ScopeKind.PROVIDER, str(row.provider_id)),
            (ScopeKind.IDENTITY, str(row.identity_id)),
            (ScopeKind.CAMPAIGN, str(row.campaign_id)),
            (ScopeKind.RECIPIENT_DOMAIN, row.recipient_domain),
            *(((ScopeKind.RECIPIENT_PROVIDER, row.recipient_provider),) if row.recipient_provider else ()),
            (ScopeKind.SENDER_HOST, self._host),
            (ScopeKind.FLEET, FLEET_KEY),
        )

    def _candidate(self, row: Row) -> Candidate:
        return Candidate(row.id, row.contact_id, row.mailbox_id, self._scopes(row))

    async def _write(
        self,
        connection: AsyncConnection,
        locked: Sequence[Row],
        drafts: Sequence[Draft],
        fences: Mapping[int, int],
        admission: Admission,
        now: datetime,
    ) -> list[Reservation]:
        rows = {row.id: row for row in locked if row.id in admission.admitted}
        if not rows:
            return []
        subjects = {draft.message_id: draft.subject for draft in drafts}
        starts = _start_times(list(rows.values()), now)
        attempts = await _rows(
            connection,
            "write_reservation",
            {
                "sender": self._sender_id,
                "now": now,
                "messages": list(rows),
                "fences": [fences[row.mailbox_id] for row in rows.values()],
                "subjects": [subjects[message] for message in rows],
                "limit_ids": [_array([limit for limit, _ in admission.admitted[message]]) for message in rows],
                "limit_keys": [_text_array([key for _, key in admission.admitted[message]]) for message in rows],
                **_next_at_columns(list(rows.values()), starts),
            },
        )
        if len(attempts) != len(rows):
            raise InvariantError("a letter that was locked as queued could not be reserved")
        return [
            Reservation(
                row.id,
                row.message_id,
                row.tries,
                rows[row.message_id].mailbox_id,
                fences[rows[row.message_id].mailbox_id],
                starts[row.message_id],
            )
            for row in attempts
        ]

    async def _follow(self, connection: AsyncConnection, result: Result, row: Row) -> None:
        if result.hold is not None:
            scopes = (await _rows(connection, "scopes_of_mailbox", {"mailbox": row.mailbox_id}))[0]
            await _run(
                connection,
                "place_hold",
                {
                    "scope_kind": result.hold.scope_kind,
                    "scope_key": str(getattr(scopes, result.hold.scope_kind)),
                    "reason": result.hold.reason,
                    "evidence": json.dumps({"attempt": row.id, "reply": result.reply, "rule": result.rule}),
                    "set_by": f"reply rule {result.rule}" if result.rule else "sender",
                    "length": timedelta(seconds=result.hold.seconds) if result.hold.seconds else None,
                    "family": result.hold.family,
                },
            )
        if result.suppress and row.contact_id:
            await self._suppress_contact(connection, row.contact_id, result)

    async def _suppress_contact(self, connection: AsyncConnection, contact_id: int, result: Result) -> None:
        cursor = await connection.execute("SELECT address_key FROM contact WHERE id = %s", [contact_id])
        row = await cursor.fetchone()
        if row is None:
            return
        reason = f"the address is dead: {result.reply}"
        await _run(
            connection,
            "suppress",
            {
                "digests": [self._digester.address(row.address_key)],
                "kinds": [SuppressionKind.ADDRESS],
                "values": [row.address_key],
                "reasons": [reason],
                "sources": ["reply"],
                "evidence": json.dumps({"attempt": result.attempt_id, "rule": result.rule}),
                "at": None,
            },
        )
        await _run(
            connection,
            "stop_suppressed",
            {"addresses": [row.address_key], "domains": [], "subdomains": [], "reason": reason},
        )


class _LimitMoved(Exception):
    """A limit was lowered between our look and our write: the reservation is rolled back and made anew."""


async def _make_usage(connection: AsyncConnection, missing: Sequence[Row], now: datetime) -> None:
    """Usage of limits that meet a scope for the first time; what left before a limit was set counts in it, but for the
    limit of a trial, which lets a few letters out whatever was written before the hold."""
    usages = {(row.limit_id, row.scope_key): Usage(_window(row).bucket(now)) for row in missing}
    young = [row for row in missing if row.is_young]
    if young:
        longest = max(max(timedelta(seconds=row.window_seconds), timedelta(days=1)) for row in young)
        values = {"kinds": [row.scope_kind for row in young], "keys": [row.scope_key for row in young]}
        left: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        for row in await _rows(connection, "recent_attempts", {**values, "since": now - longest - SLACK}):
            left[row.scope_kind, row.scope_key].append(row.reserved_at)
        for row in young:
            moments = [at for at in left[row.scope_kind, row.scope_key] if not row.counts_from or at > row.counts_from]
            usages[row.limit_id, row.scope_key] = usage_of(moments, _window(row), now)
    columns = _usage_columns(usages, with_heads=True)
    await _run(connection, "make_usage", {**columns, "maxima": [row.maximum for row in missing]})


async def register_sender(conninfo: str, host: str, journal: UUID) -> int:
    """The id of a new run of a sender on this host, which writes that journal."""
    async with await connect_async(conninfo, name="mailfleet sender") as connection:
        values = {"host": host, "pid": os.getpid(), "journal": journal}
        return int((await _rows(connection, "register_sender", values))[0].id)


@asynccontextmanager
async def listen(conninfo: str) -> AsyncIterator[AsyncIterator[str]]:
    """The names of the channels on which something was said: STOP_CHANNEL, WORK_CHANNEL."""
    async with await connect_async(conninfo, name="mailfleet sender listens") as connection:
        await connection.execute(f"LISTEN {STOP_CHANNEL}")
        await connection.execute(f"LISTEN {WORK_CHANNEL}")
        notices = connection.notifies()
        try:
            yield (notice.channel async for notice in notices)
        finally:
            await notices.aclose()  # suspended, it would keep the connection from closing


async def _rows(connection: AsyncConnection, name: str, values: Mapping[str, Any]) -> list[Row]:
    return await (await connection.execute(QUERIES[name], _parameters(values))).fetchall()


async def _run(connection: AsyncConnection, name: str, values: Mapping[str, Any]) -> int:
    return (await connection.execute(QUERIES[name], _parameters(values))).rowcount


def _parameters(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lists of whole numbers and of texts as array literals: psycopg would dump element by element."""
    return {name: _literal(value) if type(value) is list else value for name, value in values.items()}


def _literal(values: list[Any]) -> Any:
    kinds = set(map(type, values))
    if kinds == {int}:
        return _array(values)
    return _text_array(values) if kinds == {str} else values


async def _reserve_usage(connection: AsyncConnection, admission: Admission) -> None:
    if not admission.usages:
        return
    written = await _run(connection, "reserve_usage", _usage_columns(admission.usages, with_heads=True))
    if written != len(admission.usages):
        raise _LimitMoved


async def _return_usage(connection: AsyncConnection, unreached: Sequence[Row]) -> None:
    pairs = [
        ((limit, key), row.reserved_at)
        for row in unreached
        for limit, key in zip(row.limit_ids, row.limit_keys, strict=True)
    ]
    values = {"limits": [key[0] for key, _ in pairs], "keys": [key[1] for key, _ in pairs]}
    rows = {(row.limit_id, row.scope_key): row for row in await _rows(connection, "lock_returned_usage", values)}
    usages = {key: Usage.stored(row.head, row.counts) for key, row in rows.items()}
    for key, reserved_at in pairs:
        if key in usages:
            usages[key] = usages[key].give_back(_window(rows[key]).bucket(reserved_at), 1)
    await _run(connection, "return_usage", _usage_columns(usages, with_heads=False))


def _window(row: Row) -> Window:
    return Window(row.window_kind, timedelta(seconds=row.window_seconds), row.window_zone)


def _refusal_columns(refusals: Mapping[int, Refusal]) -> dict[str, Any]:
    return {
        "messages": list(refusals),
        "codes": [refusal.code for refusal in refusals.values()],
        "reasons": [refusal.reason for refusal in refusals.values()],
        "ends": [refusal.ends for refusal in refusals.values()],
    }


def _second_mailbox(locked: Sequence[Row], refused: Mapping[int, Refusal]) -> dict[int, Refusal]:
    """Law 5 inside one batch: two letters to one contact from two mailboxes; the first keeps the contact."""
    first: dict[int, int] = {}
    late: dict[int, Refusal] = {}
    for row in locked:
        if row.id not in refused and first.setdefault(row.contact_id, row.mailbox_id) != row.mailbox_id:
            late[row.id] = refusal_of("other_mailbox", "another mailbox writes to this contact")
    return late


def _start_times(rows: Sequence[Row], now: datetime) -> dict[int, datetime]:
    """When each letter may begin: not before it is due, nor before its mailbox's pace allows."""
    last: dict[int, datetime] = {}
    starts: dict[int, datetime] = {}
    for row in rows:
        start = max(row.start_at, now)
        if row.mailbox_id in last:
            start = max(start, last[row.mailbox_id] + timedelta(seconds=row.pace_seconds))
        starts[row.id] = last[row.mailbox_id] = start
    return starts


def _next_at_columns(rows: Sequence[Row], starts: Mapping[int, datetime]) -> dict[str, Any]:
    next_ats = {row.mailbox_id: starts[row.id] + timedelta(seconds=row.pace_seconds) for row in rows}
    return {"mailboxes": list(next_ats), "next_ats": list(next_ats.values())}


def _usage_columns(usages: Mapping[UsageKey, Usage], *, with_heads: bool) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "limits": [limit for limit, _ in usages],
        "keys": [key for _, key in usages],
        "counts": [_array(usage.counts) for usage in usages.values()],
        "used": [usage.used for usage in usages.values()],
    }
    return columns | ({"heads": [usage.head for usage in usages.values()]} if with_heads else {})


def _array(numbers: Sequence[int]) -> str:
    return "{" + str(list(numbers))[1:-1] + "}"


def _text_array(texts: Sequence[str]) -> str:
    together = "".join(texts)
    if "\\" in together or '"' in together:
        texts = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '{"' + '","'.join(texts) + '"}' if texts else "{}"
