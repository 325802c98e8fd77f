"""A fleet with its letters queued, and senders' doors to the queue: everything but SMTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import tuple_row

import laid
from mailfleet.base.clock import DatabaseClock
from mailfleet.base.db import Connection
from mailfleet.model.words import MessageState, Outcome
from mailfleet.outbox.records import Draft, LeaseGrant, Reservation, Row
from mailfleet.outbox.rules import Result
from mailfleet.outbox.service import Outbox, register_sender
from mailfleet.outbox.tunables import Tunables
from mailfleet.providers.sandbox.fleet import make_fleet

Place = Callable[..., laid.Laid]
Limit = tuple[str, str | None, int, int]  # scope kind, scope key, rolling seconds, maximum

DEADLINE = 20.0  # chosen: seconds after which a wait is taken for stuck and the test fails

QUEUE = """
WITH boxes AS (
    SELECT b.id, d.identity_id, row_number() OVER (PARTITION BY d.identity_id ORDER BY b.id) - 1 AS place,
           count(*) OVER (PARTITION BY d.identity_id) AS boxes
    FROM mailbox b JOIN domain d ON d.id = b.domain_id
), letters AS (
    SELECT e.id, e.campaign_id, e.contact_id, s.id AS step_id, g.identity_id,
           (SELECT min(v.id) FROM variant v WHERE v.step_id = s.id) AS variant_id,
           row_number() OVER (PARTITION BY g.identity_id ORDER BY e.id) - 1 AS place
    FROM enrollment e JOIN campaign g ON g.id = e.campaign_id
    JOIN step s ON s.campaign_id = g.id AND s.number = e.next_step
    WHERE e.state = 'active' AND e.next_at IS NOT NULL
), written AS (
    INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, due_at)
    SELECT l.id, l.step_id, l.campaign_id, l.contact_id, b.id, l.variant_id,
           '<' || l.id || '.' || l.step_id || '@a.test>', clock_timestamp() + %(due_in)s
    FROM letters l JOIN boxes b ON b.identity_id = l.identity_id AND b.place = l.place %% b.boxes
    RETURNING enrollment_id
)
UPDATE enrollment SET next_at = NULL FROM written WHERE enrollment.id = written.enrollment_id
"""


def lay(
    conninfo: str,
    home: Path,
    connection: Connection,
    *,
    mailboxes: int = 2,
    contacts: int = 4,
    steps: int = 1,
    pace_seconds: int = 0,
    providers: int = 1,
    limits: Sequence[Limit] = (),
    tunables: Tunables = Tunables(),
) -> laid.Laid:
    """One identity's fleet, each contact's letter due now, spread over the mailboxes in turn."""
    fleet = make_fleet(1, mailboxes, mailboxes, max(1, providers), providers, 1)
    place = laid.lay(
        conninfo,
        home,
        fleet,
        {name: {"smtp": {"none": 9}} for name in fleet.providers},
        contacts=contacts,
        steps=steps,
        pace_seconds=pace_seconds,
        limits=limits,
        tunables=tunables,
    )
    queue(connection)
    return place


def queue(connection: Connection, *, due_in: timedelta = timedelta()) -> None:
    """Queues the next letter of every active enrollment that waits for one."""
    connection.execute(QUEUE, {"due_in": due_in})


@dataclass
class Hand:
    """One sender's hand on the queue."""

    outbox: Outbox
    id: int
    journal: UUID
    fences: dict[int, int] = field(default_factory=dict)

    async def lease(self, room: int = 1000) -> list[LeaseGrant]:
        grants = await self.outbox.lease_mailboxes(room)
        self.fences |= {grant.mailbox_id: grant.fence for grant in grants}
        return grants

    async def drafts(self, *, batch: int = 500) -> list[Draft]:
        """What is due in the leased mailboxes, written."""
        rows = await self.outbox.peek(list(self.fences), per_mailbox=50, batch=batch) if self.fences else []
        return [draft_of(row) for row in rows]

    async def reserve(self, *, batch: int = 500) -> list[Reservation]:
        return await self.outbox.reserve(await self.drafts(batch=batch), self.fences)

    async def take(self) -> list[Reservation]:
        await self.lease()
        return await self.reserve()


def draft_of(row: Row) -> Draft:
    return Draft(row.id, row.mailbox_id, row.contact_id, "Hello", row.address, False, b"Hello\r\n", row.due_at)


@asynccontextmanager
async def sender(
    place: laid.Laid,
    *,
    host: str = "host-1",
    lease: timedelta = timedelta(seconds=60),
    ahead: timedelta = timedelta(seconds=10),
    journal: UUID | None = None,
    number: int | None = None,
) -> AsyncIterator[Hand]:
    """A new run of a sender, or one more door for that of `number`."""
    journal = journal or uuid4()
    number = number or await register_sender(place.conninfo, host, journal)
    outbox = Outbox(
        place.conninfo,
        sender_id=number,
        host=host,
        lease=lease,
        reserve_ahead=ahead,
        late_after=timedelta(minutes=5),
        digester=place.vault.digester,
        clock=DatabaseClock(),
    )
    try:
        yield Hand(outbox, number, journal)
    finally:
        await outbox.close()


STATES = {
    Outcome.ACCEPTED: MessageState.ACCEPTED,
    Outcome.DEFERRED: MessageState.QUEUED,
    Outcome.REJECTED: MessageState.REJECTED,
    Outcome.UNREACHED: MessageState.QUEUED,
    Outcome.AMBIGUOUS: MessageState.AMBIGUOUS,
}


def result(reservation: Reservation, outcome: Outcome, **details: Any) -> Result:
    """An attempt's result with the state that belongs to its outcome."""
    plain = Result(reservation.attempt_id, outcome, STATES[outcome], f"{outcome}_code", f"the reason of {outcome}")
    return replace(plain, **details)


def one(connection: Connection, query: str, *values: object) -> Any:
    """The single value of a query."""
    [(value,)] = rows(connection, query, *values)
    return value


def rows(connection: Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, values).fetchall()


async def blocked(connection: Connection, *, backends: int = 1) -> None:
    """Until so many backends of this database wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(DEADLINE):
        while True:
            connection.execute("SELECT pg_stat_clear_snapshot()")
            if one(connection, waiting) >= backends:
                return
            await asyncio.sleep(0)
