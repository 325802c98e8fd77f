"""Holds that end and limits that come and go: what senders and planner make of them within a minute. Laws 3 and 6."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from queue_scene import Place, blocked, one, result, rows, sender

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.model.words import FLEET_KEY, Outcome, ScopeKind
from mailfleet.outbox.limit_rows import HALF_OPEN, OPERATOR, set_limit
from mailfleet.outbox.limits import Window
from mailfleet.outbox.tunables import Tunables
from mailfleet.planning.service import plan_once

DAY = Window("rolling")
PACE = timedelta(minutes=5)
KINDS = {
    ScopeKind.DOMAIN: "SELECT domain_id::text FROM mailbox",
    ScopeKind.ACCOUNT: "SELECT account_id::text FROM mailbox",
    ScopeKind.CAMPAIGN: "SELECT id::text FROM campaign",
    ScopeKind.RECIPIENT_PROVIDER: "SELECT 'google'",
}


@pytest.fixture
def other(database: str) -> Iterator[Connection]:
    """A second connection, for who comes in between."""
    with connect(database, name="other") as connection:
        yield connection


def half_open(connection: Connection, kind: ScopeKind, key: str, maximum: int | None) -> None:
    set_limit(connection, kind, key, DAY, maximum, source=HALF_OPEN)


def google_runs_every_domain(connection: Connection) -> None:
    connection.execute("INSERT INTO recipient_domain (name, provider) SELECT DISTINCT domain, 'google' FROM contact")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_trial_lets_its_letters_out_whatever_was_written_before(
    kind: ScopeKind, place: Place, connection: Connection
) -> None:
    """Six letters left, then its scope was held, and is half open with three: exactly three leave, then, on the next
    rung of five, two more; with the trial over all others. A person's limit of three is full all the while."""
    it = place(mailboxes=1, contacts=14)
    google_runs_every_domain(connection)
    key = one(connection, KINDS[kind])
    async with sender(it) as hand:
        await hand.lease()
        await hand.outbox.settle([result(found, Outcome.ACCEPTED) for found in await hand.reserve(batch=6)])

        async def leave() -> int:
            connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
            return len(await hand.reserve())

        half_open(connection, kind, key, 3)
        assert (await leave(), await leave()) == (3, 0)
        told = f"{kind} {key}: limit {one(connection, 'SELECT id FROM sending_limit')} of 3 in a rolling day is reached"
        assert rows(connection, "SELECT DISTINCT reason FROM message WHERE state = 'queued'") == [(told,)]
        half_open(connection, kind, key, 5)
        assert (await leave(), await leave()) == (2, 0)
        half_open(connection, kind, key, None)
        set_limit(connection, kind, key, DAY, 3, source=OPERATOR)
        assert await leave() == 0
        set_limit(connection, kind, key, DAY, None, source=OPERATOR)
        assert await leave() == 3


@pytest.mark.parametrize(("source", "left"), [(OPERATOR, 0), (HALF_OPEN, 2)])
async def test_a_limit_that_comes_in_mid_reservation_waits_for_it(
    source: str, left: int, place: Place, connection: Connection, other: Connection, database: str
) -> None:
    """What was being reserved without a limit is committed before the limit stands, so the limit counts it: of four
    letters two are in hand, and a limit of two lets no more out; a trial's begins after them."""
    it = place(mailboxes=1, contacts=4)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        with connect(database, name="setter") as setter, ThreadPoolExecutor(1) as pool:
            with other.transaction():
                other.execute("LOCK TABLE suppression IN ACCESS EXCLUSIVE MODE")
                turn = asyncio.create_task(hand.outbox.reserve(drafts[:2], hand.fences))
                await blocked(connection)
                setting = pool.submit(set_limit, setter, ScopeKind.FLEET, FLEET_KEY, DAY, 2, source=source)
                await blocked(connection, backends=2)
            assert len(await turn) == 2
            await asyncio.wrap_future(setting)
        assert len(await hand.outbox.reserve(drafts[2:], hand.fences)) == left


async def test_a_limit_that_goes_in_mid_reservation_waits_for_it(
    place: Place, connection: Connection, other: Connection, database: str
) -> None:
    """A trial that ends while its first letter is being reserved neither breaks the reservation nor leaves usage."""
    it = place(mailboxes=1, contacts=1)
    half_open(connection, ScopeKind.FLEET, FLEET_KEY, 5)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        with connect(database, name="setter") as setter, ThreadPoolExecutor(1) as pool:
            with other.transaction():
                other.execute("LOCK TABLE suppression IN ACCESS EXCLUSIVE MODE")
                turn = asyncio.create_task(hand.outbox.reserve(drafts, hand.fences))
                await blocked(connection)
                ending = pool.submit(half_open, setter, ScopeKind.FLEET, FLEET_KEY, None)
                await blocked(connection, backends=2)
            [taken] = await turn
            await asyncio.wrap_future(ending)
        await hand.outbox.settle([result(taken, Outcome.UNREACHED)])
    assert rows(connection, "SELECT count(*) FROM usage") == [(0,)]


def test_a_limit_that_is_not_there_cannot_be_removed(connection: Connection) -> None:
    """Of another source it is another limit."""
    half_open(connection, ScopeKind.FLEET, FLEET_KEY, 5)
    with pytest.raises(InputError, match="There is no such limit"):
        set_limit(connection, ScopeKind.FLEET, FLEET_KEY, DAY, None)
    assert one(connection, "SELECT count(*) FROM sending_limit") == 1


def test_a_hold_that_ends_is_planned_again_and_paced(place: Place, connection: Connection) -> None:
    """Law 6: a day's backlog of four mailboxes behind a hold. When it ends, no mailbox has two letters within its pace,
    nor more in the hour than the pace lets through."""
    place(mailboxes=4, contacts=100, pace_seconds=int(PACE.total_seconds()))
    hold(connection)
    plan(connection)
    assert planned(connection) == {}
    assert one(connection, "SELECT count(*) FROM enrollment WHERE next_at IS NOT NULL") == 100
    assert one(connection, "SELECT DISTINCT code FROM mailbox_reason") == "hold"
    connection.execute("UPDATE hold SET until = clock_timestamp()")
    plan(connection)
    turns = planned(connection)
    assert len(turns) == 4 and sum(map(len, turns.values())) > 30
    assert all(after - before >= PACE for own in turns.values() for before, after in pairwise(own))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_is_planned_within_its_limit_and_says_so(kind: ScopeKind, place: Place, connection: Connection) -> None:
    """Half open with three: three letters are planned of a hundred, though each mailbox could write ten; those of the
    mailbox's own scopes say in its reason that they are on trial. When it is over the others are planned, paced."""
    place(mailboxes=1, contacts=100, pace_seconds=int(PACE.total_seconds()))
    google_runs_every_domain(connection)
    key = one(connection, KINDS[kind])
    connection.execute("DELETE FROM message")
    connection.execute("UPDATE enrollment SET next_at = clock_timestamp()")
    half_open(connection, kind, key, 3)
    plan(connection)
    assert [len(own) for own in planned(connection).values()] == [3]
    told = "SELECT count(*) FROM enrollment WHERE reason LIKE %s"
    assert one(connection, told, "%half open after a hold, is reached (3 of 3 used)%") == 97
    says = one(connection, "SELECT text ILIKE %s FROM mailbox_reason", "%half open after a hold%")
    assert says is (kind is not ScopeKind.RECIPIENT_PROVIDER)
    half_open(connection, kind, key, None)
    plan(connection)
    [own] = planned(connection).values()
    assert len(own) > 8 and all(after - before >= PACE for before, after in pairwise(own))


def hold(connection: Connection) -> None:
    connection.execute("INSERT INTO hold (scope_kind, scope_key, reason, set_by) VALUES ('fleet', 'fleet', 'r', 'a')")


def plan(connection: Connection) -> None:
    """A planning run some minutes on: all that waits to be looked at again is due."""
    connection.execute("UPDATE enrollment SET next_at = clock_timestamp() WHERE next_at IS NOT NULL")
    plan_once(connection, Tunables())


def planned(connection: Connection) -> dict[int, list[datetime]]:
    """Of each mailbox the moments of its queued letters, in order."""
    turns = defaultdict(list)
    query = "SELECT mailbox_id, due_at FROM message WHERE state = 'queued' AND due_at IS NOT NULL ORDER BY due_at"
    for mailbox, due_at in rows(connection, query):
        turns[mailbox].append(due_at)
    return turns
