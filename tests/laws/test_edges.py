"""Edges of the laws: interleavings and losses that each once broke one."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from queue_scene import Place, blocked, draft_of, one, result, rows, sender

import laid
from mailfleet.base.clock import monotonic
from mailfleet.base.db import Connection, connect, connect_async
from mailfleet.model.words import FLEET_KEY, MessageState, Outcome, ScopeKind, Security
from mailfleet.outbox.ambiguous import resolve
from mailfleet.outbox.limit_rows import set_limit
from mailfleet.outbox.limits import Window
from mailfleet.outbox.rules import RetryPolicy
from mailfleet.outbox.service import QUERIES, STOP_LOCK
from mailfleet.outbox.stops import hold, suppress
from mailfleet.outbox.tunables import Tunables
from mailfleet.outbox.vault import open_vault
from mailfleet.planning.snapshot import Slot
from mailfleet.planning.store import PlanStore
from mailfleet.providers.endpoint import Deadlines, Endpoint
from mailfleet.providers.faults import Unreached
from mailfleet.providers.smtp import SmtpSession
from mailfleet.sending.journal import Journal
from mailfleet.sending.lane import Work
from mailfleet.sending.outcomes import failed, lost_before_dot, withdrawn
from mailfleet.sending.recovery import recover
from mailfleet.sending.sender import Sender, SenderOptions


@asynccontextmanager
async def a_sender(it: laid.Laid, home: Path) -> AsyncIterator[Sender]:
    """A sender that has started, with none of its loops running."""
    options = SenderOptions(it.conninfo, home / "journals", it.vault, Tunables())
    journal = Journal.open_free(options.journals)
    found = Sender(options, journal)
    try:
        await found._start()
        yield found
    finally:
        await found._work.close()
        await found._facts.close()
        await found._stops.close()
        journal.close()


async def test_a_lease_whose_answer_was_not_heard_is_not_kept_for_ever(
    place: Place, connection: Connection, home: Path
) -> None:
    """Law 2: the lease is committed and the answer lost; a sender that renews what it does not know starves it."""
    it = place(mailboxes=2, contacts=2)
    async with a_sender(it, home) as mine:
        await mine._work.lease_mailboxes(100)  # the answer is lost with the connection
        connection.execute("UPDATE lease SET expires_at = clock_timestamp() + interval '5 seconds'")
        await mine._renew()
        left = one(connection, "SELECT max(expires_at) - clock_timestamp() FROM lease WHERE sender_id IS NOT NULL")
        assert left is None or left < timedelta(seconds=6), (
            f"nobody works these mailboxes, and they are held for {left}"
        )


async def test_a_commit_not_heard_is_taken_back_after_a_sweep_too(
    place: Place, connection: Connection, home: Path
) -> None:
    """Law 2: what was never begun is planned again, though another sender swept it while we were cut off."""
    it = place(mailboxes=1, contacts=3)
    async with a_sender(it, home) as mine, sender(it) as other:
        [grant] = await mine._work.lease_mailboxes(100)
        peeked = await mine._work.peek([grant.mailbox_id], per_mailbox=9, batch=9)
        await mine._work.reserve([draft_of(row) for row in peeked], {grant.mailbox_id: grant.fence})  # not heard
        connection.execute("UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'")
        connection.execute("UPDATE attempt SET reserved_at = reserved_at - interval '2 minutes'")
        await other.outbox.sweep_expired()
        await mine._reconcile()
    assert rows(connection, "SELECT state, count(*) FROM message GROUP BY 1") == [("queued", 3)]


async def test_a_late_acceptance_is_believed_after_a_persons_no(place: Place, connection: Connection) -> None:
    """Law 1: the journal's `accepted` comes after a person said "not sent", and before the letter left again."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as late, sender(it) as other:
        [taken] = await late.take()
        connection.execute("UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'")
        connection.execute("UPDATE attempt SET reserved_at = reserved_at - interval '2 minutes'")
        await other.outbox.sweep_expired()
        connection.execute("UPDATE attempt SET settled_at = settled_at - interval '1 hour'")
        resolve(connection, taken.message_id, was_sent=False, by="ann")
        await late.outbox.settle([result(taken, Outcome.ACCEPTED)])
    assert one(connection, "SELECT state FROM message") == "accepted"


async def test_only_tries_that_were_made_count_towards_giving_up(place: Place, connection: Connection) -> None:
    """Law 2: eight reservations that were withdrawn are no tries; the first deferral is tried again."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        for _ in range(8):
            [taken] = await hand.take()
            await hand.outbox.settle([withdrawn(taken.attempt_id, "late", "it could not begin in its moment")])
            connection.execute("UPDATE message SET due_at = clock_timestamp()")
        [taken] = await hand.take()
    deferred = lost_before_dot(taken.attempt_id, "451 greylisted", taken.tries, RetryPolicy())
    assert deferred.state is MessageState.QUEUED, deferred.reason


async def test_a_greeting_in_latin_1_can_be_settled(place: Place, connection: Connection) -> None:
    """Laws 2 and 8: what a server says in any encoding becomes a reason; it never stops the settlement."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 Zugriff verweigert f\xfcr Sie\r\n")
        await writer.drain()
        writer.close()

    it = place(mailboxes=1, contacts=1)
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], Security.NONE)
    with pytest.raises(Unreached) as caught:
        await SmtpSession.open(endpoint, None, helo="a.test", deadlines=Deadlines())
    server.close()
    async with sender(it) as hand:
        [taken] = await hand.take()
        await hand.outbox.settle([failed(taken.attempt_id, caught.value, dialect="", number=1, retry=RetryPolicy())])
    assert one(connection, "SELECT outcome FROM attempt") == "unreached"


async def test_a_moment_is_not_early_when_the_database_answers_late(
    place: Place, connection: Connection, other: Connection
) -> None:
    """Pace and windows: no letter begins before its moment by the database's clock, however long a query waited."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        with other.transaction():
            other.execute(QUERIES["stop_begin"], {"stop_lock": STOP_LOCK})
            turn = asyncio.create_task(hand.outbox.reserve(drafts, hand.fences))
            await blocked(connection)
            other.execute("SELECT pg_sleep(1)")
        await turn
        shown = one(connection, "SELECT clock_timestamp()")  # has been: so it lies before our now
        early = monotonic() - hand.outbox._clock.latest(shown)
    assert early < 0.5, f"letters begin {early:.2f} s before their moment"


async def test_a_lost_notice_of_a_stop_is_made_good(place: Place, connection: Connection, home: Path) -> None:
    """Law 4: a stop committed while the sender was not listening recalls its letters once it listens again."""
    it = place(mailboxes=1, contacts=1)
    listening = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'mailfleet sender listens' AND state = 'idle'"
    )
    async with a_sender(it, home) as mine:
        await mine._lease_more()
        [lane] = mine._lanes.values()
        peeked = await mine._work.peek([lane.mailbox.id], per_mailbox=9, batch=9)
        drafts = [draft_of(row) for row in peeked]
        [reserved] = await mine._work.reserve(drafts, {lane.mailbox.id: lane.fence})
        lane.put(Work(drafts[0], reserved, monotonic()))
        task = asyncio.create_task(mine._listen_loop())
        first = await _until(connection, listening)
        connection.execute("SELECT pg_terminate_backend(%s)", [first])
        suppress(connection, it.vault.digester, drafts[0].recipient, reason="said no", source="test")
        await _until(connection, listening + f" AND pid <> {first} AND query LIKE 'LISTEN mailfleet_work%'")
        async with asyncio.timeout(5):
            while True:
                if lane._recalled:
                    break
                await asyncio.sleep(0)
        task.cancel()


async def _until(connection: Connection, query: str) -> int:
    async with asyncio.timeout(20):
        while True:
            if (row := connection.execute(query).fetchone()) is not None:
                return int(row[0])
            await asyncio.sleep(0)


async def test_a_contact_in_another_letters_hand_keeps_its_mailbox(
    place: Place, connection: Connection, other: Connection
) -> None:
    """Law 5: settling `unreached` frees no contact to whom another campaign's letter is being reserved meanwhile."""
    it = place(mailboxes=1, contacts=2)
    connection.execute("UPDATE message SET contact_id = (SELECT min(contact_id) FROM message)")
    first, second = (row[0] for row in rows(connection, "SELECT id FROM message ORDER BY id"))
    connection.execute("UPDATE message SET due_at = due_at + interval '1 hour' WHERE id = %s", [second])
    async with sender(it) as hand, sender(it) as settler:
        [taken] = await hand.take()
        assert taken.message_id == first
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE id = %s", [second])
        drafts = await hand.drafts()
        with other.transaction():
            other.execute("LOCK TABLE suppression IN ACCESS EXCLUSIVE MODE")
            reserving = asyncio.create_task(hand.outbox.reserve(drafts, hand.fences))
            await blocked(connection)
            settling = asyncio.create_task(settler.outbox.settle([withdrawn(taken.attempt_id, "late", "late")]))
            await blocked(connection, backends=2)
        assert len(await reserving) == 1
        await settling
    assert rows(
        connection,
        "SELECT mailbox_id FROM contact c WHERE EXISTS (SELECT 1 FROM message m JOIN attempt a"
        " ON a.message_id = m.id WHERE m.contact_id = c.id AND a.outcome IS NULL)",
    ) == [(taken.mailbox_id,)]


def test_a_limit_that_was_used_can_be_removed(place: Place, connection: Connection) -> None:
    """`mailfleet limits set … -1` on a limit that has usage."""
    place(mailboxes=1, contacts=1, limits=[("fleet", None, 3600, 5)])
    connection.execute("INSERT INTO usage (limit_id, scope_key, maximum) SELECT id, 'fleet', 5 FROM sending_limit")
    set_limit(connection, ScopeKind.FLEET, None, Window("rolling", timedelta(hours=1)), None)
    assert one(connection, "SELECT count(*) FROM sending_limit") == 0


async def test_a_limit_lowered_in_mid_reservation_is_no_broken_promise(
    place: Place, connection: Connection, other: Connection
) -> None:
    """A person may lower a limit at any moment; the reservation then refuses, or is made again."""
    it = place(mailboxes=1, contacts=3, limits=[("fleet", None, 3600, 5)])
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        with other.transaction():
            other.execute("LOCK TABLE suppression IN ACCESS EXCLUSIVE MODE")
            turn = asyncio.create_task(hand.outbox.reserve(drafts, hand.fences))
            await blocked(connection)
            set_limit(connection, ScopeKind.FLEET, None, Window("rolling", timedelta(hours=1)), 1)
        await turn


async def test_a_new_limit_counts_what_left_in_its_window(place: Place, connection: Connection) -> None:
    """Law 3: a limit set at noon holds for the letters of the morning too."""
    it = place(mailboxes=1, contacts=4)
    async with sender(it) as hand:
        await hand.lease()
        sent = await hand.reserve(batch=3)
        await hand.outbox.settle([result(reservation, Outcome.ACCEPTED) for reservation in sent])
        set_limit(connection, ScopeKind.FLEET, FLEET_KEY, Window("rolling", timedelta(days=1)), 3)
        assert await hand.reserve() == []


async def test_a_hold_of_a_sender_host_holds(place: Place, connection: Connection) -> None:
    """A hold that is placed stops its scope, or is refused."""
    it = place(mailboxes=1, contacts=1)
    hold(connection, ScopeKind.SENDER_HOST, "host-1", reason="on a blocklist", set_by="ann")
    async with sender(it, host="host-1") as hand:
        assert await hand.take() == []


async def test_the_copy_of_a_journal_is_not_the_journal(place: Place, connection: Connection, home: Path) -> None:
    """Law 1: a home that was copied, or restored, says nothing about letters that a living sender has in hand."""
    it = place(mailboxes=1, contacts=1)
    journal = Journal.open_free(home / "a")
    async with sender(it, journal=journal.id) as living:
        shutil.copytree(home / "a", home / "b")
        [taken] = await living.take()
        await journal.begin(taken.attempt_id, "")
        copy = Journal.open_free(home / "b")
        async with sender(it, host="host-2", journal=copy.id) as second:
            await recover(second.outbox, copy, retry=RetryPolicy())
        copy.close()
    journal.close()
    assert one(connection, "SELECT state FROM message") != "queued", "it would leave a second time"


@pytest.mark.parametrize(
    ("setting", "unsafe"), [("synchronous_commit", "off"), ("idle_in_transaction_session_timeout", "0")]
)
async def test_a_sender_relies_on_no_servers_default(
    setting: str, unsafe: str, database: str, connection: Connection
) -> None:
    """Laws 1, 2: a reservation is durable, and a frozen sender's locks end, on a server of one's own too."""
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET {setting} = '{unsafe}'")
    async with await connect_async(database, name="t") as mine:
        row = await (await mine.execute(f"SHOW {setting}")).fetchone()
    assert row is not None
    assert row[0] != unsafe


async def test_a_ramp_grows_with_letters_only(place: Place, connection: Connection) -> None:
    """Law 6: a day on which the server was never reached is no sending day."""
    it = place(mailboxes=1, contacts=1)
    connection.execute("UPDATE ramp SET sending_days = 3, next_days = 4")
    async with sender(it) as hand:
        [taken] = await hand.take()
        await hand.outbox.settle([withdrawn(taken.attempt_id, "unreachable", "refused")])
    assert one(connection, "SELECT sending_days FROM ramp") == 3


def test_a_plan_under_way_keeps_the_reason_of_a_stop(place: Place, connection: Connection, other: Connection) -> None:
    """Law 8: an enrollment that a suppression ends while its slot is written keeps why it ended."""
    it = place(mailboxes=1, contacts=1)
    connection.execute("DELETE FROM message")
    connection.execute("UPDATE enrollment SET next_at = clock_timestamp()")
    row = connection.execute(
        "SELECT e.id, s.id AS step, b.id AS box, v.id AS variant, b.address, c.address_key"
        " FROM enrollment e JOIN contact c ON c.id = e.contact_id, step s, mailbox b, variant v"
    ).fetchone()
    assert row is not None
    slots = [Slot(row.id, row.step, row.box, one(connection, "SELECT clock_timestamp()"), row.variant)]
    values = {"addresses": [row.address_key], "domains": [], "subdomains": [], "reason": "said no"}
    with other.transaction():
        other.execute(QUERIES["stop_suppressed"], values)

        def write() -> None:
            with connect(it.conninfo, name="planner") as planner:
                PlanStore(planner).write_slots(slots, {row.box: "a.test"})

        thread = threading.Thread(target=write)
        thread.start()
        asyncio.run(blocked(connection))
    thread.join()
    assert rows(connection, "SELECT state, reason FROM enrollment") == [("stopped", "said no")]


def test_half_a_vault_is_completed(database: str, home: Path, connection: Connection) -> None:
    """A first start that died between its two secrets does not spoil the installation."""
    settings = laid.settings_of(home, database)
    open_vault(connection, settings)
    connection.execute("DELETE FROM setting WHERE name = 'opt_out_key'")
    open_vault(connection, settings)
