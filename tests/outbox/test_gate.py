"""Law 4 and the holds: what stops a letter, when it is committed first, and what becomes of the letter."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from queue_scene import DEADLINE, Place, blocked, one, result, rows, sender

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.model.words import CampaignState, Outcome, ScopeKind
from mailfleet.outbox.rules import HoldOrder
from mailfleet.outbox.service import QUERIES, STOP_CHANNEL, STOP_LOCK, listen
from mailfleet.outbox.stops import hold, lift, set_campaign_state, suppress

HELD = [
    (ScopeKind.MAILBOX, "SELECT address FROM mailbox"),
    (ScopeKind.DOMAIN, "SELECT name FROM domain"),
    (ScopeKind.ACCOUNT, "SELECT p.name || '/' || a.name FROM account a JOIN provider p ON p.id = a.provider_id"),
    (ScopeKind.PROVIDER, "SELECT name FROM provider"),
    (ScopeKind.IDENTITY, "SELECT name FROM identity"),
    (ScopeKind.CAMPAIGN, "SELECT name FROM campaign"),
    (ScopeKind.RECIPIENT_DOMAIN, "SELECT domain FROM contact"),
    (
        ScopeKind.RECIPIENT_PROVIDER,
        "INSERT INTO recipient_domain (name, provider) SELECT domain, 'google' FROM contact"
        " ON CONFLICT (name) DO UPDATE SET provider = 'google' RETURNING provider",
    ),
    (ScopeKind.FLEET, "SELECT ''"),
]
PASSING = [
    ("UPDATE campaign SET state = 'paused'", "campaign_paused", "the campaign is paused"),
    ("UPDATE campaign SET state = 'draft'", "campaign_draft", "the campaign is draft"),
    ("UPDATE mailbox SET retired_at = now()", "mailbox_retired", "the mailbox is retired"),
    (
        "UPDATE contact SET mailbox_id = (SELECT max(id) FROM mailbox)",
        "other_mailbox",
        "another mailbox writes to this contact",
    ),
]
ENDING = [
    ("UPDATE campaign SET state = 'stopped'", "campaign_stopped", "the campaign is stopped", "stopped"),
    ("UPDATE campaign SET state = 'finished'", "campaign_finished", "the campaign is finished", "stopped"),
    ("UPDATE contact SET lawful_basis = 'none'", "no_lawful_basis", "the contact has no lawful basis", "stopped"),
    (
        "UPDATE enrollment SET state = 'finished', reason_code = 'replied', reason = 'they replied'",
        "ended",
        "they replied",
        "finished",
    ),
]
MESSAGE = "SELECT state, due_at, reason_code, reason, settled_at IS NOT NULL FROM message WHERE id = %s"
ENROLLMENT = """
SELECT e.state, e.next_at IS NOT NULL, e.reason FROM enrollment e JOIN message m ON m.enrollment_id = e.id
WHERE m.id = %s
"""


@pytest.fixture
def other(database: str) -> Iterator[Connection]:
    """A second connection, for who comes in between."""
    with connect(database, name="other") as connection:
        yield connection


async def refused(place: Place, connection: Connection, stop: str) -> int:
    """The id of a queued letter of the first mailbox, which `stop` kept from leaving."""
    it = place(mailboxes=2, contacts=1)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        assert len(drafts) == 1
        connection.execute(stop)
        assert await hand.outbox.reserve(drafts, hand.fences) == []
    assert one(connection, "SELECT count(*) FROM attempt") == 0
    assert one(connection, "SELECT count(*) FROM contact WHERE mailbox_id IS NOT NULL") in (0, 1)
    return drafts[0].message_id


@pytest.mark.parametrize(("stop", "code", "reason"), PASSING)
async def test_what_passes_sends_the_letter_back_to_the_planner(
    stop: str, code: str, reason: str, place: Place, connection: Connection
) -> None:
    """A campaign that rests, a retired mailbox, a contact of another mailbox: the letter stays queued without a moment,
    its contact is planned again, and both say why."""
    message = await refused(place, connection, stop)
    assert rows(connection, MESSAGE, message) == [("queued", None, code, reason, False)]
    assert rows(connection, ENROLLMENT, message) == [("active", True, reason)]


@pytest.mark.parametrize(("stop", "code", "reason", "state"), ENDING)
async def test_what_does_not_pass_ends_the_letter(
    stop: str, code: str, reason: str, state: str, place: Place, connection: Connection
) -> None:
    """A campaign that ended, no lawful basis, an enrollment that ended: the letter is cancelled with the reason."""
    message = await refused(place, connection, stop)
    assert rows(connection, MESSAGE, message) == [("cancelled", None, code, reason, True)]
    assert rows(connection, ENROLLMENT, message) == [(state, False, reason)]


@pytest.mark.parametrize(("kind", "name"), HELD, ids=[kind.value for kind, _ in HELD])
async def test_a_hold_on_any_scope_of_a_letter_stops_it(
    kind: ScopeKind, name: str, place: Place, connection: Connection
) -> None:
    """A hold on its mailbox, domain, account, provider, identity, campaign, recipient's domain or its provider,
    or on the fleet; once it is lifted the letter leaves."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        assert hold(connection, kind, one(connection, name), reason="they complained", set_by="ann")
        assert await hand.outbox.reserve(drafts, hand.fences) == []
        reason = f"{kind} held: they complained"
        assert rows(connection, MESSAGE, drafts[0].message_id) == [("queued", None, "held", reason, False)]
        assert lift(connection, kind, one(connection, name), lifted_by="bob") == 1
        connection.execute("UPDATE message SET due_at = clock_timestamp()")
        assert len(await hand.reserve()) == 1


async def test_a_hold_on_something_else_or_past_its_end_stops_nothing(place: Place, connection: Connection) -> None:
    """The other mailbox held, and this one's hold over or lifted: the letter leaves."""
    it = place(mailboxes=2, contacts=1)
    mine, other = (row[0] for row in rows(connection, "SELECT address FROM mailbox ORDER BY id"))
    hold(connection, ScopeKind.MAILBOX, other, reason="bounces", set_by="ann")
    hold(connection, ScopeKind.DOMAIN, mine.partition("@")[2], reason="x", set_by="ann", length=timedelta(seconds=5))
    connection.execute("UPDATE hold SET until = clock_timestamp() WHERE scope_kind = 'domain'")
    hold(connection, ScopeKind.MAILBOX, mine, reason="x", set_by="ann")
    assert lift(connection, ScopeKind.MAILBOX, mine, lifted_by="bob") == 1
    async with sender(it) as hand:
        assert len(await hand.take()) == 1
    assert rows(connection, "SELECT lifted_by FROM hold WHERE lifted_at IS NOT NULL") == [("bob",)]


def test_a_longer_hold_stands_a_shorter_adds_nothing(place: Place, connection: Connection) -> None:
    """A hold that lasts no longer than one that stands is not placed; a longer one is; lifting lifts all of them."""
    place(contacts=1)
    hour, day = timedelta(hours=1), timedelta(days=1)
    for length, is_placed in ((hour, True), (timedelta(minutes=1), False), (day, True), (None, True), (day, False)):
        assert hold(connection, ScopeKind.FLEET, "", reason="r", set_by="ann", length=length) is is_placed
    assert lift(connection, ScopeKind.FLEET, "", lifted_by="bob") == 3
    assert lift(connection, ScopeKind.FLEET, "", lifted_by="bob") == 0
    assert hold(connection, ScopeKind.FLEET, "", reason="r", set_by="ann")


def test_a_scope_that_is_not_there_or_not_one_is_said(place: Place, connection: Connection) -> None:
    """A name nobody bears, and an account name that two providers share, are refused; nothing is held."""
    place(mailboxes=2, contacts=0, providers=2)
    connection.execute("UPDATE account SET name = 'main'")
    with pytest.raises(InputError, match=r"There is no domain nowhere\.test"):
        hold(connection, ScopeKind.DOMAIN, "nowhere.test", reason="r", set_by="ann")
    with pytest.raises(InputError, match="There are 2 of the name main"):
        hold(connection, ScopeKind.ACCOUNT, "main", reason="r", set_by="ann")
    assert hold(connection, ScopeKind.ACCOUNT, "gomail/main", reason="r", set_by="ann")
    assert one(connection, "SELECT count(*) FROM hold") == 1


@pytest.mark.parametrize("is_domain", [False, True], ids=["address", "domain"])
async def test_a_suppression_that_is_committed_first_always_wins(
    is_domain: bool, place: Place, connection: Connection
) -> None:
    """Drafts in hand, then the contact says no, by address or by a domain above its own: nothing of it is reserved,
    its letters are cancelled, its enrollment ends, others leave."""
    it = place(mailboxes=2, contacts=3)
    connection.execute(
        "UPDATE contact SET domain = 'mail.firm.example', address = 'x@mail.firm.example',"
        " address_key = 'x@mail.firm.example', digests = %s WHERE id = (SELECT min(id) FROM contact)",
        [it.vault.digester.all_of("x@mail.firm.example", "mail.firm.example")],
    )
    async with sender(it) as hand:
        await hand.lease()
        drafts = await hand.drafts()
        target = "firm.example" if is_domain else "X@Mail.Firm.example"
        stopped = suppress(connection, it.vault.digester, target, reason="they said no", source="test")
        assert (stopped.enrollments, stopped.messages) == (1, 1)
        assert len(await hand.outbox.reserve(drafts, hand.fences)) == 2
    message = one(
        connection, "SELECT m.id FROM message m JOIN contact c ON c.id = m.contact_id WHERE c.address ~ '^x@'"
    )
    reason = "suppressed: they said no"
    [(state, _, code, said, _)] = rows(connection, MESSAGE, message)
    assert (state, code, said) == ("cancelled", "suppressed", reason)
    assert rows(connection, ENROLLMENT, message) == [("stopped", False, reason)]


async def test_the_gate_knows_a_suppression_that_cancelled_nothing(place: Place, connection: Connection) -> None:
    """A ban that stands, whoever wrote it and however the letter came to be queued, is seen at the last gate."""
    it = place(mailboxes=1, contacts=1)
    key = one(connection, "SELECT address_key FROM contact")
    connection.execute(
        "INSERT INTO suppression (digest, kind, value, reason, source) VALUES (%s, 'address', NULL, 'erased', 'x')",
        [it.vault.digester.address(key)],
    )
    async with sender(it) as hand:
        assert await hand.take() == []
    assert rows(connection, "SELECT state, reason_code, reason FROM message") == [
        ("cancelled", "suppressed", "suppressed: erased")
    ]


async def test_a_suppression_waits_for_the_reservation_under_way(
    place: Place, connection: Connection, other: Connection
) -> None:
    """A reservation holds the stop lock in common; the suppression takes it alone, so it ends after the reservation,
    and finds the letter in a sender's hand, from where it is recalled."""
    it = place(mailboxes=1, contacts=1)
    key = one(connection, "SELECT address_key FROM contact")
    async with sender(it) as hand:
        await hand.lease()
        with connection.transaction():  # holds the reservation up at its gate, behind its stop lock
            connection.execute("LOCK TABLE suppression IN ACCESS EXCLUSIVE MODE")
            turn = asyncio.create_task(hand.reserve())
            await blocked(connection)
            with ThreadPoolExecutor(1) as pool:
                stop = pool.submit(suppress, other, it.vault.digester, key, reason="no", source="test")
                await blocked(connection, backends=2)
                waiting = "SELECT mode FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                assert rows(connection, waiting) == [("ExclusiveLock",)]
                connection.execute("COMMIT")
                [taken] = await turn
                stopped = await asyncio.wrap_future(stop)
        assert (stopped.enrollments, stopped.messages) == (1, 0), "the letter was in hand, no longer queued"
        refusals = await hand.outbox.recall([taken.message_id])
        assert refusals[taken.message_id].code == "suppressed"
        assert refusals[taken.message_id].ends


async def test_a_reservation_waits_for_the_stop_under_way(
    place: Place, connection: Connection, other: Connection
) -> None:
    """A stop that has begun is waited for: what it commits is seen by the reservation behind it."""
    it = place(mailboxes=1, contacts=1)
    async with sender(it) as hand:
        await hand.lease()
        with other.transaction():
            other.execute(QUERIES["stop_begin"], {"stop_lock": STOP_LOCK})
            turn = asyncio.create_task(hand.reserve())
            await blocked(connection)
            other.execute(
                "INSERT INTO hold (scope_kind, scope_key, reason, set_by) VALUES ('fleet', 'fleet', 'r', 'a')"
            )
        assert await turn == []
    assert rows(connection, "SELECT reason_code, reason FROM message") == [("held", "fleet held: r")]


async def test_a_stop_by_a_reply_is_told_like_any_other(
    place: Place, connection: Connection, other: Connection
) -> None:
    """A reply that suppresses or holds calls back what is reserved elsewhere; any other settlement wakes nobody."""
    it = place(mailboxes=2, contacts=3)
    other.execute(f"LISTEN {STOP_CHANNEL}")
    async with sender(it) as hand:
        dead, held, last = await hand.take()
        await hand.outbox.settle([result(last, Outcome.ACCEPTED)])
        assert list(other.notifies(timeout=0.1)) == []
        await hand.outbox.settle([result(dead, Outcome.REJECTED, suppress=True)])
        assert told(other) == [STOP_CHANNEL]
        order = HoldOrder(ScopeKind.MAILBOX, "450 slow down", 3600.0)
        await hand.outbox.settle([result(held, Outcome.DEFERRED, hold=order)])
        assert told(other) == [STOP_CHANNEL]


def test_every_stop_is_told_to_the_senders(place: Place, connection: Connection, other: Connection) -> None:
    """A suppression, a hold and a campaign's pause each wake who listens, once they are committed."""
    it = place(contacts=1)
    name = one(connection, "SELECT name FROM campaign")
    other.execute(f"LISTEN {STOP_CHANNEL}")
    suppress(connection, it.vault.digester, "a@b.example", reason="no", source="test")
    assert told(other) == [STOP_CHANNEL]
    hold(connection, ScopeKind.FLEET, "", reason="r", set_by="ann")
    assert told(other) == [STOP_CHANNEL]
    set_campaign_state(connection, name, CampaignState.PAUSED, was=[CampaignState.RUNNING], reason="r")
    assert told(other) == [STOP_CHANNEL]


def told(listener: Connection) -> list[str]:
    """The channel of the next notification."""
    return [notice.channel for notice in listener.notifies(timeout=DEADLINE, stop_after=1)]


async def test_who_stops_listening_in_mid_word_is_not_stuck(place: Place, connection: Connection) -> None:
    """An error while a notification is worked off ends the listening; the sender can listen anew."""
    it = place(contacts=1)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match="gone"):
            async with asyncio.timeout(DEADLINE), listen(it.conninfo) as channels:
                hold(connection, ScopeKind.FLEET, "", reason="r", set_by="ann")
                async for channel in channels:
                    assert channel == STOP_CHANNEL
                    raise psycopg.OperationalError("the database is gone")


async def test_recall_names_what_may_no_longer_leave_and_nothing_else(place: Place, connection: Connection) -> None:
    """Of two letters in hand only that of the held mailbox is called back; with nothing in hand nothing is asked."""
    it = place(mailboxes=2, contacts=2)
    async with sender(it) as hand:
        taken = {found.mailbox_id: found.message_id for found in await hand.take()}
        assert await hand.outbox.recall(list(taken.values())) == {}
        assert await hand.outbox.recall([]) == {}
        address, mailbox = connection.execute("SELECT address, id FROM mailbox ORDER BY id LIMIT 1").fetchone() or (
            "",
            0,
        )
        hold(connection, ScopeKind.MAILBOX, address, reason="r", set_by="ann")
        refusals = await hand.outbox.recall(list(taken.values()))
    assert {message: (found.code, found.ends) for message, found in refusals.items()} == {
        taken[mailbox]: ("held", False)
    }


async def test_a_campaign_moves_only_from_the_states_it_may_leave(place: Place, connection: Connection) -> None:
    """A paused campaign is not paused again; an unknown one is said to be unknown; a stop ends its queued letters."""
    it = place(contacts=2)
    name = one(connection, "SELECT name FROM campaign")
    running = [CampaignState.RUNNING]
    set_campaign_state(connection, name, CampaignState.PAUSED, was=running, reason="rest")
    with pytest.raises(InputError, match="is paused; it cannot become paused"):
        set_campaign_state(connection, name, CampaignState.PAUSED, was=running, reason="rest")
    with pytest.raises(InputError, match="There is no campaign nothing"):
        set_campaign_state(connection, "nothing", CampaignState.PAUSED, was=running, reason="rest")
    async with sender(it) as hand:
        assert await hand.take() == []
        set_campaign_state(connection, name, CampaignState.RUNNING, was=[CampaignState.PAUSED], reason="")
        connection.execute("UPDATE message SET due_at = clock_timestamp()")
        assert len(await hand.reserve()) == 2


def test_a_suppression_twice_is_one(place: Place, connection: Connection) -> None:
    """The second ban on the same address changes nothing, not even its reason; letters on the domain's name alone do
    not stop addresses that only end alike."""
    it = place(contacts=1)
    connection.execute("UPDATE contact SET domain = 'notfirm.example'")
    assert suppress(connection, it.vault.digester, "firm.example", reason="first", source="a").enrollments == 0
    suppress(connection, it.vault.digester, "@FIRM.example", reason="second", source="b")
    assert rows(connection, "SELECT kind, value, reason, source FROM suppression") == [
        ("domain", "firm.example", "first", "a")
    ]
    with pytest.raises(InputError):
        suppress(connection, it.vault.digester, "not an address@", reason="r", source="s")


def test_many_stops_at_once_come_one_after_the_other(place: Place, connection: Connection, database: str) -> None:
    """Stops on connections of their own wait for each other, and all are committed."""
    place(contacts=1)
    errors: list[psycopg.Error] = []

    def stop(number: int) -> None:
        try:
            with connect(database, name="stop") as mine:
                hold(mine, ScopeKind.RECIPIENT_DOMAIN, f"d{number}.example", reason="r", set_by="ann")
        except psycopg.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=stop, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, one(connection, "SELECT count(*) FROM hold")) == ([], 8)
