"""Settlement on a real database: what each outcome does, once, and what late facts may still change."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from queue_scene import Hand, Place, blocked, one, queue, result, rows, sender

from mailfleet.base.db import Connection
from mailfleet.base.errors import InputError
from mailfleet.model.words import NEXT_STATES, MessageState, Outcome, ScopeKind
from mailfleet.outbox.ambiguous import list_ambiguous, resolve
from mailfleet.outbox.records import Reservation
from mailfleet.outbox.rules import HoldOrder, Result
from mailfleet.outbox.service import QUERIES

LIMITS = [("mailbox", None, 3600, 50), ("fleet", None, 86400, 50)]
EVERYTHING = """
SELECT jsonb_build_object(
    'attempt', (SELECT jsonb_agg(to_jsonb(a) ORDER BY id) FROM attempt a),
    'message', (SELECT jsonb_agg(to_jsonb(m) ORDER BY id) FROM message m),
    'enrollment', (SELECT jsonb_agg(to_jsonb(e) ORDER BY id) FROM enrollment e),
    'contact', (SELECT jsonb_agg(to_jsonb(c) ORDER BY id) FROM contact c),
    'usage', (SELECT jsonb_agg(to_jsonb(u) ORDER BY limit_id, scope_key) FROM usage u),
    'hold', (SELECT jsonb_agg(to_jsonb(h) ORDER BY id) FROM hold h),
    'suppression', (SELECT jsonb_agg(to_jsonb(s) ORDER BY digest) FROM suppression s))
"""
USED = "SELECT used FROM usage ORDER BY limit_id, scope_key"
STATE = """
SELECT m.state, a.outcome, e.state
FROM message m JOIN attempt a ON a.message_id = m.id JOIN enrollment e ON e.id = m.enrollment_id
"""


def everything(connection: Connection) -> Any:
    return one(connection, EVERYTHING)


async def taken(hand: Hand) -> Reservation:
    """The one letter of a scene, reserved."""
    [found] = await hand.take()
    return found


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_settling_twice_is_settling_once(outcome: Outcome, place: Place, connection: Connection) -> None:
    """A journal may be read twice: the same results again change nothing at all, whatever the outcome."""
    it = place(contacts=3, limits=LIMITS)
    async with sender(it) as hand:
        order = HoldOrder(ScopeKind.MAILBOX, "resting", 3600.0)
        results = [result(found, outcome, hold=order, suppress=True) for found in await hand.take()]
        await hand.outbox.settle(results)
        before = everything(connection)
        await hand.outbox.settle(results)
        await hand.outbox.settle([*results, *results])
        assert everything(connection) == before
        await hand.outbox.settle([])


async def test_accepted_leads_to_the_next_step(place: Place, connection: Connection) -> None:
    """The enrollment waits for the next step's time; after the last step it is finished; usage stays."""
    it = place(mailboxes=1, contacts=1, steps=2, limits=LIMITS)
    async with sender(it) as hand:
        await hand.outbox.settle([result(await taken(hand), Outcome.ACCEPTED)])
        assert rows(connection, STATE) == [("accepted", "accepted", "active")]
        assert rows(connection, "SELECT next_step, next_at > clock_timestamp() FROM enrollment") == [(2, True)]
        queue(connection)
        await hand.outbox.settle([result((await hand.reserve())[0], Outcome.ACCEPTED)])
    ended = "SELECT state, next_at, reason_code, reason FROM enrollment"
    assert rows(connection, ended) == [("finished", None, "all_steps_sent", "every step was accepted")]
    assert rows(connection, USED) == [(2,), (2,)]


async def test_rejected_ends_the_contact_and_keeps_usage(place: Place, connection: Connection) -> None:
    """The provider saw the letter: it counts; no further step follows; the reply stands in the attempt."""
    it = place(mailboxes=1, contacts=1, steps=2, limits=LIMITS)
    async with sender(it) as hand:
        told = {"stage": "rcpt", "code": 550, "enhanced": "5.7.1", "reply": "550 no", "reply_class": "c", "rule": "r"}
        await hand.outbox.settle([result(await taken(hand), Outcome.REJECTED, **told)])
    assert rows(connection, STATE) == [("rejected", "rejected", "stopped")]
    assert rows(connection, "SELECT stage, code, enhanced, reply, reply_class, rule FROM attempt") == [
        tuple(told.values())
    ]
    assert rows(connection, "SELECT next_at, reason_code, reason FROM enrollment") == [
        (None, "rejected_code", "the reason of rejected")
    ]
    assert rows(connection, USED) == [(1,), (1,)]


async def test_deferred_keeps_usage_and_waits(place: Place, connection: Connection) -> None:
    """The letter goes back to the planner after its wait; usage stays, and the contact keeps its mailbox."""
    it = place(mailboxes=1, contacts=1, limits=LIMITS)
    async with sender(it) as hand:
        found = await taken(hand)
        await hand.outbox.settle([result(found, Outcome.DEFERRED, retry_seconds=1800.0)])
    assert rows(connection, STATE) == [("queued", "deferred", "active")]
    waits = (
        "SELECT extract(epoch FROM e.next_at - a.settled_at)::int, m.due_at, e.reason"
        " FROM enrollment e, attempt a, message m"
    )
    assert rows(connection, waits) == [(1800, None, "the reason of deferred")]
    assert rows(connection, "SELECT mailbox_id FROM contact") == [(found.mailbox_id,)]
    assert rows(connection, USED) == [(1,), (1,)]


async def test_unreached_gives_back_exactly_its_usage(place: Place, connection: Connection) -> None:
    """Two of five letters never left: two come back in each of their scopes, in the bucket they were reserved in, and
    what a full limit refused has room again."""
    it = place(mailboxes=1, contacts=5, limits=[("mailbox", None, 3600, 5), ("fleet", None, 86400, 9)])
    async with sender(it) as hand:
        found = await hand.take()
        results = [result(one, Outcome.UNREACHED, retry_seconds=0.0) for one in found[:2]]
        await hand.outbox.settle([*results, result(found[2], Outcome.ACCEPTED), result(found[3], Outcome.DEFERRED)])
        assert rows(connection, USED) == [(3,), (3,)]
        assert rows(connection, "SELECT (SELECT sum(c) FROM unnest(counts) c) FROM usage") == [(3,), (3,)]
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
        again = await hand.reserve()
        assert len(again) == 2
        assert one(connection, "SELECT count(*) FROM message WHERE reason_code = 'limit'") == 1
    assert rows(connection, USED) == [(5,), (5,)]


async def test_usage_that_has_moved_on_is_given_back_where_it_stands(place: Place, connection: Connection) -> None:
    """Between reserving and settling the head moved: the count of the old bucket is given back, newer ones stay."""
    it = place(mailboxes=1, contacts=1, limits=[("fleet", None, 3600, 9)])
    async with sender(it) as hand:
        found = await taken(hand)
        connection.execute("UPDATE usage SET head = head + 3, counts = ARRAY[4, 0, 2] || counts, used = 7")
        await hand.outbox.settle([result(found, Outcome.UNREACHED)])
    assert rows(connection, "SELECT counts[1:4], used FROM usage") == [([4, 0, 2, 0], 6)]


async def test_a_limit_that_was_removed_meanwhile_is_no_matter(place: Place, connection: Connection) -> None:
    """Usage of a limit that is gone needs no giving back; that of the others comes back."""
    it = place(mailboxes=1, contacts=1, limits=LIMITS)
    async with sender(it) as hand:
        found = await taken(hand)
        connection.execute("DELETE FROM usage WHERE scope_key <> 'fleet'")
        connection.execute("DELETE FROM sending_limit WHERE scope_kind = 'mailbox'")
        await hand.outbox.settle([result(found, Outcome.UNREACHED)])
    assert rows(connection, "SELECT scope_key, used FROM usage") == [("fleet", 0)]


async def test_unreached_frees_a_contact_that_nothing_ever_left_for(place: Place, connection: Connection) -> None:
    """Contact and enrollment lose their mailbox again; one to whom something may have left keeps it."""
    it = place(mailboxes=1, contacts=2)
    async with sender(it) as hand:
        first, second = await hand.take()
        await hand.outbox.settle([result(first, Outcome.DEFERRED, retry_seconds=0.0)])
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
        [again] = await hand.reserve()
        await hand.outbox.settle([result(again, Outcome.UNREACHED), result(second, Outcome.UNREACHED)])
    kept = (
        "SELECT c.mailbox_id, e.mailbox_id FROM contact c JOIN enrollment e ON e.contact_id = c.id"
        " JOIN message m ON m.enrollment_id = e.id WHERE m.id = %s"
    )
    assert rows(connection, kept, again.message_id) == [(again.mailbox_id, again.mailbox_id)]
    assert rows(connection, kept, second.message_id) == [(None, None)]


async def test_an_enrollment_that_ended_meanwhile_stays_ended(place: Place, connection: Connection) -> None:
    """A reply came while the letter was on its way: whatever its outcome, no step follows and the reason stays."""
    it = place(mailboxes=1, contacts=3, steps=2)
    async with sender(it) as hand:
        found = await hand.take()
        connection.execute("UPDATE enrollment SET state = 'stopped', next_at = NULL, reason = 'they replied'")
        outcomes = (Outcome.ACCEPTED, Outcome.DEFERRED, Outcome.UNREACHED)
        await hand.outbox.settle([result(letter, outcome) for letter, outcome in zip(found, outcomes, strict=True)])
    assert rows(connection, "SELECT DISTINCT state, next_at, next_step, reason FROM enrollment") == [
        ("stopped", None, 1, "they replied")
    ]


async def test_pace_counts_from_the_letters_end(place: Place, connection: Connection) -> None:
    """A letter that took long moves the mailbox's next moment on; one that never left does not; none moves it back."""
    it = place(mailboxes=1, contacts=1, pace_seconds=60)
    async with sender(it) as hand:
        found = await taken(hand)
        moment = "SELECT extract(epoch FROM next_at - clock_timestamp())::int FROM lease"
        connection.execute("UPDATE lease SET next_at = clock_timestamp() - interval '1 minute'")
        unreached = result(found, Outcome.UNREACHED)
        await hand.outbox.settle([unreached])
        assert one(connection, moment) == -60
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
        [again] = await hand.reserve()
        connection.execute("UPDATE lease SET next_at = clock_timestamp() - interval '1 minute'")
        await hand.outbox.settle([result(again, Outcome.DEFERRED)])
        assert one(connection, moment) in (59, 60)
        connection.execute("UPDATE lease SET next_at = clock_timestamp() + interval '1 hour'")
        connection.execute("UPDATE attempt SET outcome = NULL, settled_at = NULL WHERE id = %s", [again.attempt_id])
        await hand.outbox.settle([result(again, Outcome.ACCEPTED)])
        assert one(connection, moment) in (3599, 3600)


@pytest.mark.parametrize("kind", [ScopeKind.MAILBOX, ScopeKind.DOMAIN, ScopeKind.ACCOUNT, ScopeKind.PROVIDER])
async def test_a_hold_falls_on_the_scope_that_the_reply_names(
    kind: ScopeKind, place: Place, connection: Connection
) -> None:
    """On the mailbox's own domain, account or provider, with the reply as evidence and an end; its next letter is
    refused, that of another scope leaves."""
    it = place(mailboxes=2, contacts=4, providers=2)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        [found] = await hand.outbox.reserve(drafts[:1], hand.fences)
        order = HoldOrder(kind, "450 slow down", 3600.0)
        deferred = result(found, Outcome.DEFERRED, hold=order, reply="450 slow down", rule="rate", retry_seconds=3600.0)
        await hand.outbox.settle([deferred])
        others = await hand.outbox.reserve(drafts[1:], hand.fences)
        assert [letter.mailbox_id != found.mailbox_id for letter in others] == [True, True]
    scope = f"SELECT {'id' if kind is ScopeKind.MAILBOX else f'{kind}_id'} FROM mailbox b WHERE b.id = %s"
    if kind is ScopeKind.PROVIDER:
        scope = "SELECT a.provider_id FROM mailbox b JOIN account a ON a.id = b.account_id WHERE b.id = %s"
    key = str(one(connection, scope, found.mailbox_id))
    evidence = {"attempt": found.attempt_id, "reply": "450 slow down", "rule": "rate"}
    lasts = "extract(epoch FROM until - since)::int"
    assert rows(connection, f"SELECT scope_kind, scope_key, reason, evidence, set_by, {lasts} FROM hold") == [
        (kind, key, "450 slow down", evidence, "reply rule rate", 3600)
    ]


async def test_a_hold_without_an_end_lasts_until_lifted(place: Place, connection: Connection) -> None:
    """A refused login holds the mailbox for good: no `until`."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        order = HoldOrder(ScopeKind.MAILBOX, "535 wrong")
        await hand.outbox.settle([result(await taken(hand), Outcome.UNREACHED, hold=order)])
    assert rows(connection, "SELECT until, set_by FROM hold") == [(None, "sender")]


async def test_the_same_reply_to_many_letters_places_one_hold(place: Place, connection: Connection) -> None:
    """Ten letters of an account are told the same in one batch: one hold says so."""
    it = place(mailboxes=1, contacts=10)
    async with sender(it) as hand:
        order = HoldOrder(ScopeKind.ACCOUNT, "450 slow down", 3600.0)
        await hand.outbox.settle([result(found, Outcome.DEFERRED, hold=order) for found in await hand.take()])
    assert one(connection, "SELECT count(*) FROM hold") == 1


async def test_a_dead_address_is_suppressed_in_every_campaign(place: Place, connection: Connection) -> None:
    """A hard "no such user" bans the address for good: the letters of other campaigns to it are cancelled."""
    it = place(mailboxes=1, contacts=2)
    connection.execute(
        "WITH g AS (INSERT INTO campaign (name, identity_id, state) SELECT 'other', identity_id, 'running'"
        " FROM campaign RETURNING id),"
        " s AS (INSERT INTO step (campaign_id, number, wait) SELECT id, 1, '0' FROM g RETURNING id),"
        " v AS (INSERT INTO variant (step_id, name, subject, text) SELECT id, 'a', 's', 't' FROM s RETURNING id)"
        " INSERT INTO enrollment (campaign_id, contact_id, next_at) SELECT g.id, c.id, now() FROM g, contact c"
    )
    async with sender(it) as hand:
        first, second = await hand.take()
        queue(connection)
        dead = result(first, Outcome.REJECTED, suppress=True, reply="550 5.1.1 no such user")
        await hand.outbox.settle([dead, result(second, Outcome.ACCEPTED)])
        letters = (
            "SELECT state, reason_code FROM message"
            " WHERE contact_id = (SELECT contact_id FROM message WHERE id = %s) ORDER BY id"
        )
        assert rows(connection, letters, first.message_id) == [
            ("rejected", "rejected_code"),
            ("cancelled", "suppressed"),
        ]
        assert rows(connection, letters, second.message_id) == [("accepted", "accepted_code"), ("queued", "")]
        assert len(await hand.reserve()) == 1
    contact = "SELECT c.address_key FROM contact c JOIN message m ON m.contact_id = c.id WHERE m.id = %s"
    key = one(connection, contact, first.message_id)
    assert rows(connection, "SELECT digest, kind, value, reason, source FROM suppression") == [
        (it.vault.digester.address(key), "address", key, "the address is dead: 550 5.1.1 no such user", "reply")
    ]


LATE = [
    ("lease", Outcome.ACCEPTED, "accepted"),
    ("lease", Outcome.REJECTED, "rejected"),
    ("lease", Outcome.DEFERRED, "queued"),
    ("lease", Outcome.UNREACHED, "queued"),
    ("lease", Outcome.AMBIGUOUS, "ambiguous"),
    ("dot", Outcome.ACCEPTED, "accepted"),
    ("dot", Outcome.REJECTED, "rejected"),
    ("dot", Outcome.DEFERRED, None),
    ("dot", Outcome.UNREACHED, None),
]


@pytest.mark.parametrize(("stage", "outcome", "state"), LATE)
async def test_a_late_fact_is_taken_where_it_may_be(
    stage: str, outcome: Outcome, state: str | None, place: Place, connection: Connection
) -> None:
    """An attempt that is ambiguous because its lease ran out takes any late fact; one whose dot may have left takes an
    answer only, and is never planned again by itself."""
    it = place(mailboxes=1, contacts=1, limits=LIMITS)
    async with sender(it) as hand:
        found = await taken(hand)
        await hand.outbox.settle([result(found, Outcome.AMBIGUOUS, stage=stage)])
        before = everything(connection)
        await hand.outbox.settle([result(found, outcome, stage="dot")])
    if state is None:
        assert everything(connection) == before
    else:
        assert rows(connection, "SELECT m.state, a.outcome, a.stage FROM message m, attempt a") == [
            (state, outcome, "dot")
        ]
        assert rows(connection, USED) == [(0 if outcome is Outcome.UNREACHED else 1,)] * 2


@pytest.mark.parametrize("final", [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.DEFERRED, Outcome.UNREACHED])
async def test_a_settled_attempt_is_left_alone(final: Outcome, place: Place, connection: Connection) -> None:
    """No later word changes what is known: not another outcome, and not after the letter was reserved again."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        found = await taken(hand)
        await hand.outbox.settle([result(found, final)])
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
        await hand.reserve()
        before = everything(connection)
        for later in Outcome:
            await hand.outbox.settle([result(found, later)])
        assert everything(connection) == before


async def test_every_move_of_a_message_is_a_lawful_one(place: Place, connection: Connection) -> None:
    """Whatever state a message is in and whatever result comes, it moves only where NEXT_STATES says, or not at all."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        found = await taken(hand)
        for state in MessageState:
            for outcome in Outcome:
                settled = "now()" if not NEXT_STATES[state] else "NULL"
                connection.execute(f"UPDATE message SET state = %s, settled_at = {settled}", [state])
                connection.execute("UPDATE attempt SET outcome = NULL, settled_at = NULL")
                connection.execute("UPDATE enrollment SET state = 'active'")
                await hand.outbox.settle([result(found, outcome)])
                now = MessageState(one(connection, "SELECT state FROM message"))
                assert now == state or now in NEXT_STATES[state], (state, outcome, now)


async def test_what_a_dead_host_left_becomes_ambiguous_and_is_shown(place: Place, connection: Connection) -> None:
    """Only when the lease is over: then the sweep says that nobody knows; a living sender's letters are not touched;
    usage stays."""
    it = place(mailboxes=2, contacts=2, limits=LIMITS)
    async with sender(it) as dead, sender(it) as other:
        await dead.lease(1)
        [lost] = await dead.reserve()
        [living] = await other.take()
        connection.execute("UPDATE attempt SET reserved_at = reserved_at - interval '2 minutes'")
        await other.outbox.sweep_expired()
        assert one(connection, "SELECT count(*) FROM attempt WHERE outcome IS NULL") == 2
        connection.execute("UPDATE lease SET expires_at = clock_timestamp() WHERE mailbox_id = %s", [lost.mailbox_id])
        await other.outbox.sweep_expired()
        state = (
            "SELECT m.state, a.outcome, a.stage, m.reason_code FROM message m JOIN attempt a ON a.message_id = m.id"
            " WHERE m.id = %s"
        )
        assert rows(connection, state, lost.message_id) == [("ambiguous", "ambiguous", "lease", "lease_expired")]
        assert rows(connection, state, living.message_id) == [("submitting", None, "", "")]
        assert [row.id for row in list_ambiguous(connection)] == [lost.message_id]
        assert one(connection, "SELECT max(used) FROM usage") == 2
        [mine] = await dead.outbox.attempts_of_journal(other.journal)
        assert mine.id == living.attempt_id
        [row] = await other.outbox.attempts_of_journal(dead.journal)
        assert (row.id, row.tries) == (lost.attempt_id, 1)


async def test_a_sweep_leaves_a_fresh_reservation_alone(place: Place, connection: Connection) -> None:
    """A lease that ended less than its length after the reservation is not swept: its sender may still be writing."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        await hand.take()
        connection.execute("UPDATE lease SET expires_at = clock_timestamp()")
        await hand.outbox.sweep_expired()
    assert rows(connection, "SELECT outcome FROM attempt") == [(None,)]


async def test_a_dead_senders_mailboxes_are_free_at_once_for_its_journals_heir(
    place: Place, connection: Connection
) -> None:
    """Who holds the journal frees the leases of its earlier senders, a pace from now; those of other journals stay."""
    it = place(mailboxes=2, contacts=2, pace_seconds=30)
    async with sender(it) as dead, sender(it) as stranger, sender(it, journal=dead.journal) as heir:
        await dead.lease(1)
        await stranger.lease(1)
        await heir.outbox.release_dead(dead.journal)
        leases = (
            "SELECT extract(epoch FROM next_at - clock_timestamp())::int FROM lease"
            " WHERE mailbox_id = %s AND sender_id IS NULL"
        )
        assert one(connection, leases, *dead.fences) in (29, 30)
        assert one(connection, "SELECT count(*) FROM lease WHERE sender_id = %s", stranger.id) == 1


async def test_the_deadline_counts_an_ambiguous_letter_as_accepted(place: Place, connection: Connection) -> None:
    """One letter too few is better than one twice: past the deadline the next step follows, or the end."""
    it = place(mailboxes=1, contacts=1, steps=2)
    async with sender(it) as hand:
        for expected in (("active", 2), ("finished", 3)):
            [found] = await hand.take() or await hand.reserve()
            await hand.outbox.settle([result(found, Outcome.AMBIGUOUS, stage="dot")])
            values = {"deadline": timedelta(hours=24)}
            connection.execute(QUERIES["assume_accepted"], values)
            assert one(connection, "SELECT count(*) FROM message WHERE state = 'ambiguous'") == 1
            connection.execute("UPDATE attempt SET settled_at = settled_at - interval '25 hours'")
            connection.execute(QUERIES["assume_accepted"], values)
            assert rows(connection, "SELECT state, next_step FROM enrollment") == [expected]
            queue(connection)
    assert rows(connection, "SELECT DISTINCT state, reason_code FROM message") == [("accepted", "assumed")]


@pytest.mark.parametrize("was_sent", [True, False])
async def test_a_person_resolves_an_ambiguous_letter(was_sent: bool, place: Place, connection: Connection) -> None:
    """Found sent: accepted, the next step follows. Found not sent: planned again, in the same mailbox, under the same
    Message-ID, and may be reserved. Either way only once, and its usage stays."""
    it = place(mailboxes=1, contacts=1, steps=2, limits=LIMITS)
    async with sender(it) as hand:
        found = await taken(hand)
        with pytest.raises(InputError, match=f"Letter {found.message_id} is not ambiguous"):
            resolve(connection, found.message_id, was_sent=was_sent, by="ann")
        await hand.outbox.settle([result(found, Outcome.AMBIGUOUS, stage="dot")])
        connection.execute("UPDATE attempt SET settled_at = settled_at - interval '32 minutes'")
        resolve(connection, found.message_id, was_sent=was_sent, by="ann")
        with pytest.raises(InputError):
            resolve(connection, found.message_id, was_sent=was_sent, by="ann")
        before = everything(connection)
        await hand.outbox.settle([result(found, Outcome.DEFERRED)])
        assert everything(connection) == before, "the person's word stands"
        assert rows(connection, USED) == [(1,), (1,)]
        assert rows(connection, "SELECT state, reason_code, reason FROM message") == [
            ("accepted" if was_sent else "queued", "resolved", f"found {'' if was_sent else 'not '}sent by ann")
        ]
        assert rows(connection, "SELECT state, next_step, next_at IS NOT NULL FROM enrollment") == [
            ("active", 2 if was_sent else 1, True)
        ]
        connection.execute("UPDATE message SET due_at = clock_timestamp()")
        assert len(await hand.reserve()) == (0 if was_sent else 1)


async def test_settling_and_reserving_side_by_side_never_deadlock(place: Place, connection: Connection) -> None:
    """A sender settles on one connection and reserves and renews on another: their locks do not meet in a circle."""
    it = place(mailboxes=40, contacts=400, limits=LIMITS[:1])
    async with sender(it) as work:
        await work.lease()
        drafts = await work.drafts()
        pending: asyncio.Queue[Sequence[Result] | None] = asyncio.Queue()

        async def settle() -> None:
            async with sender(it, number=work.id) as facts:
                while (results := await pending.get()) is not None:
                    await facts.outbox.settle(results)
                    await facts.outbox.renew(work.fences.items())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(settle())
            for start in range(0, len(drafts), 40):
                found = await work.outbox.reserve(drafts[start : start + 40], work.fences)
                pending.put_nowait([result(letter, Outcome.ACCEPTED) for letter in reversed(found)])
            pending.put_nowait(None)
    connection.execute("SELECT pg_stat_force_next_flush()")
    assert one(connection, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_renewing_and_reserving_side_by_side_never_deadlock(place: Place, connection: Connection) -> None:
    """Renewing beside a reservation never waits in a circle, wherever the leases lie in their table."""
    it = place(mailboxes=3, contacts=3)
    async with sender(it) as work:
        await work.lease()
        _, second, _ = sorted(work.fences)
        drafts = [draft for draft in await work.drafts() if draft.mailbox_id != second]
        connection.execute("CREATE TABLE lain AS SELECT * FROM lease")
        connection.execute("TRUNCATE lease")
        connection.execute("INSERT INTO lease SELECT * FROM lain ORDER BY mailbox_id DESC")
        async with sender(it, number=work.id) as facts:
            with connection.transaction():
                connection.execute("SELECT FROM lease WHERE mailbox_id = %s FOR UPDATE", [second])
                renewed = asyncio.create_task(facts.outbox.renew(work.fences.items()))
                await blocked(connection)
                reserved = asyncio.create_task(work.outbox.reserve(drafts, work.fences))
                await blocked(connection, backends=2)
            ends = await asyncio.gather(renewed, reserved, return_exceptions=True)
    assert [len(end) for end in ends if not isinstance(end, BaseException)] == [3, 2], ends
