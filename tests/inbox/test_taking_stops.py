"""The fourth law: what was taken in before a letter's reservation stops it, whoever plans, reserves or holds it."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inbox.doomed_taking import POINTS
from inbox.post import Post, mail
from mailfleet.base.db import connect
from mailfleet.inbox.taking import take_mail
from mailfleet.outbox.service import STOP_CHANNEL
from mailfleet.outbox.stops import stopping
from mailfleet.outbox.tunables import load_tunables
from mailfleet.planning.service import plan_once
from mailfleet.planning.snapshot import Reason, Unplanned
from mailfleet.planning.store import PlanStore
from mailfleet.providers.sandbox import persona_letters as people
from outbox.queue_scene import blocked, queue, sender

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DOOMED = Path(__file__).with_name("doomed_taking.py")

STOPPING: dict[str, Callable[..., bytes]] = {
    "reply": lambda original: people.make_reply(original, "Yes.", NOW),
    "refusal": lambda original: people.make_reply(original, people.REFUSALS[0][1], NOW),
    "opt_out": lambda original: people.make_opt_out(original, NOW),
    "bounce": lambda original: people.make_bounce(original, NOW),
    "complaint": lambda original: people.make_complaint(original, NOW),
    "absence": lambda original: mail(
        original.rcpt, "I am away.", In_Reply_To=original.message_id, Auto_Submitted="auto-replied"
    ),
    "doubt": lambda original: people.make_reply(original, "No thanks, not interested right now.", NOW),
}


@pytest.mark.parametrize("kind", STOPPING)
async def test_what_was_taken_in_stops_the_letter_before_its_reservation(kind: str, post: Post) -> None:
    """The queued follow-up of that contact, and of no other, is refused at the gate."""
    queue(post.connection)
    letter = post.sent[0]
    post.take(STOPPING[kind](letter.original), letter.mailbox_id)
    async with sender(post.laid) as hand:
        reserved = await hand.take()
    query = "SELECT contact_id FROM message WHERE id = ANY(%s)"
    contacts = {row[0] for row in post.rows(query, [one.message_id for one in reserved])}
    assert contacts == {sent.contact_id for sent in post.sent} - {letter.contact_id}


@pytest.mark.parametrize("kind", STOPPING)
async def test_what_was_taken_in_recalls_the_letter_in_a_senders_hand(kind: str, post: Post) -> None:
    """Reserved and not begun: the gate says no when it is asked again."""
    queue(post.connection)
    letter = post.sent[0]
    async with sender(post.laid) as hand:
        reserved = await hand.take()
        post.take(STOPPING[kind](letter.original), letter.mailbox_id)
        recalled = await hand.outbox.recall([one.message_id for one in reserved])
    query = "SELECT id FROM message WHERE contact_id = %s AND state = 'submitting'"
    assert set(recalled) == {row[0] for row in post.rows(query, letter.contact_id)} != set()


async def test_a_stop_waits_for_a_reservation_under_way(post: Post) -> None:
    """The mail is taken in after it, and the next reservation sees it; nothing falls between."""
    letter = post.sent[0]
    arrived = post.arrived(STOPPING["reply"](letter.original), letter.mailbox_id)
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    with connect(post.laid.conninfo, name="test") as other:
        with stopping(other):
            task = loop.run_in_executor(pool, take_mail, post.connection, post.laid.vault, arrived)
            with connect(post.laid.conninfo, name="test") as watch:
                await blocked(watch)
        assert (await task).stopped.ended == 1
    pool.shutdown()


async def test_a_mail_that_two_watchers_take_at_once_is_taken_once(post: Post) -> None:
    """Both found nothing of it in the table; one fact, one stop, and the other hears that it came second."""
    letter = post.sent[0]
    arrived = post.arrived(STOPPING["opt_out"](letter.original), letter.mailbox_id)
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(2)
    with contextlib.ExitStack() as stack:
        one, two, other, watch = (stack.enter_context(connect(post.laid.conninfo, name="test")) for _ in range(4))
        with stopping(other):
            tasks = [loop.run_in_executor(pool, take_mail, door, post.laid.vault, arrived) for door in (one, two)]
            await blocked(watch, backends=2)
        taken = await asyncio.gather(*tasks)
    pool.shutdown()
    assert sorted((result.is_new, bool(result.stopped)) for result in taken) == [(False, False), (True, True)]
    assert post.state == {"mails": 1, "events": 1, "bans": 1, "holds": 0, "ended": 1, "paused": 0}


def test_what_means_nothing_takes_no_lock_and_wakes_nobody(post: Post) -> None:
    """While reservations are held up, news, receipts and soft bounces are taken in; no sender hears of them."""
    letter = post.sent[0]
    harmless = [
        mail("news@x.test", subject="News", List_Id="<n>"),
        mail("stranger@x.test", "Yes."),
        people.make_bounce(letter.original, NOW).replace(b"5.1.1", b"5.2.2").replace(b"User unknown", b"mailbox full"),
    ]
    with connect(post.laid.conninfo, name="test") as listener, connect(post.laid.conninfo, name="test") as other:
        listener.execute(f"LISTEN {STOP_CHANNEL}")
        with other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s)", [0x6D666C74])
            for raw in harmless:
                assert not post.take(raw, letter.mailbox_id).stopped
        assert list(listener.notifies(timeout=0.2)) == []
        post.take(STOPPING["reply"](letter.original), letter.mailbox_id)
        assert [one.channel for one in listener.notifies(timeout=10, stop_after=1)] == [STOP_CHANNEL]
        post.take(people.make_reply(letter.original, "And again.", NOW), letter.mailbox_id)
        assert list(listener.notifies(timeout=0.2)) == [], "nothing was left to stop"


def test_a_paused_contact_is_written_to_again_when_the_pause_is_over(post: Post) -> None:
    """Planned by the planner, not before."""
    letter = post.sent[0]
    post.take(STOPPING["absence"](letter.original), letter.mailbox_id)
    plan = lambda: plan_once(post.connection, load_tunables(post.connection))  # noqa: E731 - said twice below
    query = "SELECT count(*) FROM message WHERE enrollment_id = %s AND state = 'queued'"
    plan()
    assert post.one(query, letter.enrollment) == 0
    past = datetime.now(UTC) - timedelta(seconds=1)
    post.connection.execute("UPDATE enrollment SET paused_until = %s WHERE id = %s", [past, letter.enrollment])
    plan()
    assert post.one(query, letter.enrollment) == 1


def test_a_plan_under_way_keeps_the_reason_of_a_pause(post: Post) -> None:
    """The planner read its snapshot before the mail came: what it found then does not stand over the pause."""
    letter = post.sent[0]
    post.take(STOPPING["doubt"](letter.original), letter.mailbox_id)
    query = "SELECT reason_code, reason, next_at FROM enrollment WHERE id = %s"
    before = post.rows(query, letter.enrollment)
    late = [Unplanned(sent.enrollment, Reason.WINDOW, "it is night", None, None) for sent in post.sent]
    PlanStore(post.connection).write_reasons(late, look_again=timedelta(minutes=5))
    assert post.rows(query, letter.enrollment) == before
    assert post.enrollment(post.sent[1]) == ("active", "window")


async def test_evidence_that_meets_a_reservation_leaves_the_letter_to_it(make_post: Callable[..., Post]) -> None:
    """A letter that a person called not sent is reserved anew while a report comes of its first attempt: the report is
    taken in, once the reservation is through, and the letter stays in its sender's hand."""
    post = make_post(state="ambiguous")
    letter = post.sent[0]
    post.connection.execute("UPDATE attempt SET outcome = 'deferred', stage = 'resolved'")
    post.connection.execute("UPDATE message SET state = 'queued', due_at = clock_timestamp()")
    full = people.make_bounce(letter.original, NOW).replace(b"5.1.1", b"5.2.2").replace(b"User unknown", b"full")
    arrived = post.arrived(full, letter.mailbox_id)
    reserved = (
        "WITH moved AS (UPDATE message SET state = 'submitting', attempts = 2 WHERE id = %s RETURNING id)"
        " INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, limit_ids, limit_keys)"
        " SELECT m.id, 2, a.mailbox_id, a.sender_id, 2, '{}', '{}' FROM moved m JOIN attempt a ON a.message_id = m.id"
    )
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    with connect(post.laid.conninfo, name="test") as other, connect(post.laid.conninfo, name="test") as watch:
        with other.transaction():
            other.execute(reserved, [letter.id])
            task = loop.run_in_executor(pool, take_mail, post.connection, post.laid.vault, arrived)
            await blocked(watch)
        assert (await task).is_new
    pool.shutdown()
    assert post.one("SELECT state FROM message WHERE id = %s", letter.id) == "submitting"
    query = "SELECT outcome FROM attempt WHERE message_id = %s ORDER BY number"
    assert post.rows(query, letter.id) == [("deferred",), (None,)]
    assert post.events() == [("bounce", letter.id, False)]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", ["reply", "opt_out", "bounce"])
def test_a_watcher_killed_at_any_point_leaves_all_of_a_mail_or_none(kind: str, point: str, post: Post) -> None:
    """SIGKILL in the middle: no mail without its stop, no stop without its mail; taken again, it is whole, and once."""
    letter = post.sent[0]
    raw = STOPPING[kind](letter.original)
    path = post.laid.settings.home / "mail.eml"
    path.write_bytes(raw)
    command = [sys.executable, str(DOOMED), point, str(path), str(letter.mailbox_id)]
    environment = {
        **os.environ,
        "MAILFLEET_HOME": str(post.laid.settings.home),
        "MAILFLEET_DATABASE_URL": post.laid.conninfo,
        "PYTHONPATH": str(DOOMED.parent.parent),
    }
    assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == -9
    is_whole = point == "after the commit"
    state = post.state
    assert (state["mails"], state["events"], state["ended"]) == ((1, 1, 1) if is_whole else (0, 0, 0))
    post.take(raw, letter.mailbox_id)
    post.take(raw, letter.mailbox_id)
    banned = 0 if kind == "reply" else 1
    assert post.state == {"mails": 1, "events": 1, "bans": banned, "holds": 0, "ended": 1, "paused": 0}
