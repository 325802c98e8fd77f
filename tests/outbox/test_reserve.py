"""Reservation on a real database: leases, fences, limits shared by racing senders."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import psycopg
import pytest
from queue_scene import Place, blocked, draft_of, one, result, rows, sender

from mailfleet.base.db import Connection
from mailfleet.model.words import Outcome

PROVIDER_OF_TEN = [("provider", None, 86400, 10)]


async def test_two_senders_that_race_reserve_exactly_the_limit(place: Place, connection: Connection) -> None:
    """Forty letters in eight mailboxes, a provider's limit of 10, two senders at once: ten attempts, no more, no less;
    what was refused is handed back with the limit's name."""
    it = place(mailboxes=8, contacts=40, limits=PROVIDER_OF_TEN)
    async with sender(it) as first, sender(it, host="host-2") as second:
        await first.lease(4)
        await second.lease(4)
        assert (len(first.fences), len(second.fences)) == (4, 4)
        batches = [(hand, await hand.drafts()) for hand in (first, second)]
        turns = [hand.outbox.reserve(drafts[n::4], hand.fences) for n in range(4) for hand, drafts in batches]
        taken = [found for turn in await asyncio.gather(*turns) for found in turn]
    assert len(taken) == 10
    assert rows(connection, "SELECT used, maximum FROM usage") == [(10, 10)]
    assert rows(connection, "SELECT state, count(*) FROM message GROUP BY state ORDER BY state") == [
        ("queued", 30),
        ("submitting", 10),
    ]
    waiting = rows(connection, "SELECT DISTINCT due_at, reason_code, reason FROM message WHERE state = 'queued'")
    limit, scope = one(connection, "SELECT limit_id FROM usage"), one(connection, "SELECT scope_key FROM usage")
    text = f"provider {scope}: limit {limit} of 10 in a rolling day is reached"
    assert waiting == [(None, "limit", text)]
    told = "SELECT count(*) FROM enrollment WHERE next_at IS NOT NULL AND reason = %s"
    assert one(connection, told, text) == 30


async def test_senders_never_wait_for_each_other_in_a_circle(place: Place, connection: Connection) -> None:
    """Limits of every kind, met by two senders in opposite orders, are locked in one order: no deadlock."""
    kinds = ("mailbox", "domain", "account", "provider", "identity", "campaign", "recipient_domain", "fleet")
    it = place(mailboxes=6, contacts=60, providers=3, limits=[(kind, None, 3600, 1000) for kind in kinds])
    async with sender(it) as first, sender(it) as second:
        await first.lease(3)
        await second.lease(3)
        forth, back = await first.drafts(), (await second.drafts())[::-1]
        turns = [
            hand.outbox.reserve(drafts[n : n + 5], hand.fences)
            for n in range(0, 30, 5)
            for hand, drafts in ((first, forth), (second, back))
        ]
        assert sum(map(len, await asyncio.gather(*turns))) == 60
    connection.execute("SELECT pg_stat_force_next_flush()")
    assert one(connection, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_a_lying_sender_meets_the_constraint(place: Place, connection: Connection) -> None:
    """Usage over its maximum cannot be written, whatever a program believes."""
    it = place(contacts=2, limits=PROVIDER_OF_TEN)
    async with sender(it) as hand:
        assert len(await hand.take()) == 2
    with pytest.raises(psycopg.errors.CheckViolation, match="usage_never_over"):
        connection.execute("UPDATE usage SET used = 11")
    with pytest.raises(psycopg.errors.CheckViolation, match="usage_never_over"):
        connection.execute("UPDATE usage SET used = -1")


async def test_a_limit_lowered_in_mid_reservation_holds_at_once(place: Place, connection: Connection) -> None:
    """The limit falls after it was read and before usage is written: nothing is reserved over what it is now."""
    it = place(contacts=4, limits=PROVIDER_OF_TEN)
    async with sender(it) as hand:
        await hand.lease()
        with connection.transaction():  # the gate waits here, between reading the limit and writing its usage
            connection.execute("LOCK TABLE suppression IN ACCESS EXCLUSIVE MODE")
            turn = asyncio.create_task(hand.reserve())
            await blocked(connection)
            connection.execute("UPDATE sending_limit SET maximum = 3")
        assert len(await turn) == 3
    assert rows(connection, "SELECT used, maximum FROM usage") == [(3, 3)]
    assert one(connection, "SELECT count(*) FROM attempt") == 3


async def test_the_first_use_of_a_limit_by_two_senders_makes_one_row(place: Place, connection: Connection) -> None:
    """A row of usage that two reservations make at once is one row, and both count in it."""
    it = place(mailboxes=2, contacts=8, limits=[("fleet", None, 60, 100)])
    async with sender(it) as first, sender(it) as second:
        await first.lease(1)
        await second.lease(1)
        batches = [await hand.drafts() for hand in (first, second)]
        await asyncio.gather(*(h.outbox.reserve(d, h.fences) for h, d in zip((first, second), batches, strict=True)))
    assert rows(connection, "SELECT scope_key, used FROM usage") == [("fleet", 8)]


async def test_every_scope_of_a_letter_counts(place: Place, connection: Connection) -> None:
    """One letter counts once in each kind of scope, its sender's host among them."""
    kinds = ("mailbox", "domain", "account", "provider", "identity", "campaign", "recipient_domain", "sender_host")
    it = place(mailboxes=1, contacts=1, limits=[(kind, None, 3600, 5) for kind in (*kinds, "fleet")])
    async with sender(it, host="host-9") as hand:
        await hand.take()
    counted = rows(
        connection,
        "SELECT l.scope_kind, u.scope_key, u.used FROM usage u JOIN sending_limit l ON l.id = u.limit_id ORDER BY l.id",
    )
    row = connection.execute(
        "SELECT b.id, b.domain_id, b.account_id, a.provider_id, d.identity_id, g.id AS campaign, c.domain"
        " FROM mailbox b JOIN account a ON a.id = b.account_id JOIN domain d ON d.id = b.domain_id,"
        " campaign g, contact c"
    ).fetchone()
    assert row is not None
    keys = [*map(str, row), "host-9", "fleet"]
    assert counted == [(kind, key, 1) for kind, key in zip((*kinds, "fleet"), keys, strict=True)]
    attempt = connection.execute("SELECT limit_ids, limit_keys FROM attempt").fetchone()
    assert attempt is not None
    assert sorted(attempt.limit_keys) == sorted(keys)


async def test_a_stale_fence_reserves_nothing(place: Place, connection: Connection) -> None:
    """After another sender took over an expired lease, the first one's fence opens nothing."""
    it = place(mailboxes=1, contacts=2)
    async with sender(it) as late, sender(it) as other:
        [old] = await late.lease()
        drafts = await late.drafts()
        assert await other.lease() == [], "a lease that runs is nobody else's"
        connection.execute("UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'")
        assert await late.outbox.reserve(drafts, late.fences) == [], "its own lease ran out"
        [new] = await other.lease()
        assert new.fence == old.fence + 1
        assert await late.outbox.reserve(drafts, late.fences) == []
        assert await late.outbox.reserve(drafts, {new.mailbox_id: new.fence}) == [], "nor does a fence of the other"
        await late.outbox.release([(old.mailbox_id, old.fence)])
        assert await late.outbox.renew(late.fences.items()) == []
        assert len(await other.reserve()) == 2


async def test_a_takeover_keeps_the_pace(place: Place, connection: Connection) -> None:
    """The dead sender's last letter may have left as late as its lease's end: the mailbox's pace counts from there."""
    it = place(mailboxes=1, contacts=2, pace_seconds=300)
    async with sender(it) as dead, sender(it) as other:
        await dead.lease()
        connection.execute("UPDATE lease SET expires_at = clock_timestamp() - interval '100 seconds'")
        await other.lease()
        assert 195 < one(connection, "SELECT extract(epoch FROM next_at - clock_timestamp()) FROM lease") <= 200
        assert await other.reserve() == []


async def test_letters_of_one_mailbox_begin_a_pace_apart(place: Place, connection: Connection) -> None:
    """In one batch each letter of a mailbox begins a pace after the one before, none before it is due, and the mailbox
    is free a pace after the last."""
    it = place(mailboxes=2, contacts=6, pace_seconds=7)
    connection.execute("UPDATE message SET due_at = clock_timestamp() + interval '4 seconds' WHERE contact_id % 2 = 0")
    async with sender(it) as hand:
        taken = await hand.take()
    due = dict(rows(connection, "SELECT id, due_at FROM message"))
    for mailbox in hand.fences:
        starts = sorted(found.start_at for found in taken if found.mailbox_id == mailbox)
        assert len(starts) == 3
        assert all(later - earlier >= timedelta(seconds=7) for earlier, later in pairwise(starts))
        next_at = one(connection, "SELECT next_at FROM lease WHERE mailbox_id = %s", mailbox)
        assert next_at == starts[-1] + timedelta(seconds=7)
    assert all(found.start_at >= due[found.message_id] for found in taken)


async def test_what_is_not_due_or_late_is_nobodys(place: Place, connection: Connection) -> None:
    """A letter due beyond the time reserved ahead stays; one that waited too long is the planner's; neither leases."""
    it = place(mailboxes=2, contacts=2)
    connection.execute("UPDATE message SET due_at = clock_timestamp() + interval '11 seconds' WHERE contact_id % 2 = 0")
    connection.execute("UPDATE message SET due_at = clock_timestamp() - interval '5 minutes' WHERE contact_id % 2 = 1")
    async with sender(it) as hand:
        assert await hand.lease() == []
        connection.execute("UPDATE message SET due_at = clock_timestamp()")
        await hand.lease()
        drafts = await hand.drafts()
        assert len(drafts) == 2
        connection.execute("UPDATE message SET due_at = clock_timestamp() - interval '5 minutes'")
        assert await hand.outbox.reserve(drafts, hand.fences) == []


async def test_a_letter_that_moved_to_another_mailbox_is_not_reserved(place: Place, connection: Connection) -> None:
    """A draft written for one mailbox does not leave from it once the planner gave the letter to another."""
    it = place(mailboxes=2, contacts=2)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        connection.execute("UPDATE message SET mailbox_id = (SELECT sum(id) FROM mailbox) - mailbox_id")
        assert await hand.outbox.reserve(drafts, hand.fences) == []
        assert len(await hand.reserve()) == 2


async def test_a_contact_keeps_the_first_mailbox_of_a_batch(place: Place, connection: Connection) -> None:
    """Two letters to one contact from two mailboxes in one batch: the first leaves, the other goes back to the planner;
    the contact and its enrollment keep the mailbox that wrote."""
    it = place(mailboxes=2, contacts=2)
    connection.execute("UPDATE message SET contact_id = (SELECT min(contact_id) FROM message)")
    async with sender(it) as hand:
        [taken] = await hand.take()
    assert rows(connection, "SELECT reason_code, reason FROM message WHERE state = 'queued'") == [
        ("other_mailbox", "another mailbox writes to this contact")
    ]
    assert rows(connection, "SELECT mailbox_id FROM contact WHERE mailbox_id IS NOT NULL") == [(taken.mailbox_id,)]
    assert rows(connection, "SELECT mailbox_id FROM enrollment WHERE mailbox_id IS NOT NULL") == [(taken.mailbox_id,)]


async def test_two_batches_to_one_contact_from_two_mailboxes(place: Place, connection: Connection) -> None:
    """Two senders race for one contact: one writes, the other's letter is refused by the gate."""
    it = place(mailboxes=2, contacts=2)
    connection.execute("UPDATE message SET contact_id = (SELECT min(contact_id) FROM message)")
    async with sender(it) as first, sender(it) as second:
        await first.lease(1)
        await second.lease(1)
        batches = [await hand.drafts() for hand in (first, second)]
        turns = (h.outbox.reserve(d, h.fences) for h, d in zip((first, second), batches, strict=True))
        assert sorted(map(len, await asyncio.gather(*turns))) == [0, 1]
    assert rows(connection, "SELECT reason_code FROM message WHERE state = 'queued'") == [("other_mailbox",)]


async def test_a_reservation_is_a_fact_only_once(place: Place, connection: Connection) -> None:
    """The same drafts reserved again change nothing: the letters are in hand."""
    it = place(contacts=3)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        assert len(await hand.outbox.reserve(drafts, hand.fences)) == 3
        assert await hand.outbox.reserve(drafts, hand.fences) == []
        assert len(await hand.outbox.open_attempts()) == 3
    assert one(connection, "SELECT count(*) FROM attempt") == 3


async def test_an_attempt_is_complete_before_the_first_byte(place: Place, connection: Connection) -> None:
    """Reserving writes attempt, fence, sender and subject, and clears an old reason."""
    it = place(mailboxes=1, contacts=1)
    connection.execute("UPDATE message SET reason_code = 'limit', reason = 'full'")
    async with sender(it) as hand:
        [taken] = await hand.take()
        row = connection.execute("SELECT * FROM attempt").fetchone()
    assert row is not None
    assert (row.id, row.message_id, row.number, row.outcome) == (taken.attempt_id, taken.message_id, 1, None)
    assert (row.sender_id, row.fence, row.mailbox_id) == (hand.id, taken.fence, taken.mailbox_id)
    message = rows(connection, "SELECT state, subject, attempts, reason_code, reason, settled_at FROM message")
    assert message == [("submitting", "Hello", 1, "", "", None)]


async def test_a_second_attempt_is_numbered_and_the_first_is_kept(place: Place, connection: Connection) -> None:
    """A deferred letter that is planned again gets attempt 2 under the same Message-ID."""
    it = place(mailboxes=1, contacts=1)
    header = one(connection, "SELECT header_id FROM message")
    async with sender(it) as hand:
        [first] = await hand.take()
        await hand.outbox.settle([result(first, Outcome.DEFERRED, retry_seconds=0.0)])
        connection.execute("UPDATE message SET due_at = clock_timestamp()")
        [second] = await hand.reserve()
    assert (first.tries, second.tries) == (1, 2)
    assert rows(connection, "SELECT header_id, attempts FROM message") == [(header, 2)]
    assert rows(connection, "SELECT number, outcome FROM attempt ORDER BY id") == [(1, "deferred"), (2, None)]


async def test_leases_go_to_the_longest_waiting_and_no_further_than_room(place: Place, connection: Connection) -> None:
    """Room for two of three mailboxes: the two whose letters wait longest."""
    it = place(mailboxes=3, contacts=3)
    connection.execute("UPDATE message SET due_at = clock_timestamp() - mailbox_id * interval '1 second'")
    async with sender(it) as hand:
        waiting = [row[0] for row in rows(connection, "SELECT id FROM mailbox ORDER BY id DESC LIMIT 2")]
        assert sorted(grant.mailbox_id for grant in await hand.lease(2)) == sorted(waiting)
        drafts = [draft_of(row) for row in await hand.outbox.peek(list(hand.fences), per_mailbox=1, batch=1)]
        assert [draft.mailbox_id for draft in drafts] == [max(waiting)]


async def test_a_released_lease_is_free_and_its_fence_grows(place: Place, connection: Connection) -> None:
    """What is given back can be leased at once, under a new fence; a fence that is not ours gives nothing back."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as first, sender(it) as second:
        [grant] = await first.lease()
        await first.outbox.release([(grant.mailbox_id, grant.fence - 1)])
        assert await second.lease() == []
        await first.outbox.release([(grant.mailbox_id, grant.fence)])
        [next_grant] = await second.lease()
        assert next_grant.fence == grant.fence + 1
