"""Who runs the mail servers of a letter's recipient is a scope like any other, where it is known."""

import pytest
from queue_scene import Place, one, result, rows, sender

from mailfleet.base.db import Connection
from mailfleet.model.words import Outcome
from mailfleet.outbox.tunables import Tunables
from mailfleet.planning.service import plan_once

HOUR_OF_TWO = [("recipient_provider", "google", 3600, 2)]
HOLD = (
    "INSERT INTO hold (scope_kind, scope_key, reason, set_by) VALUES ('recipient_provider', %s, 'they block us', 'x')"
)
OF_GOOGLE = "SELECT m.id FROM message m JOIN contact c ON c.id = m.contact_id WHERE c.domain ~ '^g' ORDER BY m.id"


def know(connection: Connection, *providers: str | None) -> None:
    """The contacts, in their order, get a domain each; a provider runs it, or an empty one, or (None) nobody looked."""
    for number, (contact, provider) in enumerate(
        zip([row[0] for row in rows(connection, "SELECT id FROM contact ORDER BY id")], providers, strict=True)
    ):
        domain = f"{(provider or 'unknown')[0]}{number}.example"
        connection.execute("UPDATE contact SET domain = %s WHERE id = %s", [domain, contact])
        if provider is not None:
            connection.execute("INSERT INTO recipient_domain (name, provider) VALUES (%s, %s)", [domain, provider])


async def test_a_hold_stops_the_letters_to_its_domains_and_no_others(place: Place, connection: Connection) -> None:
    """At the gate: letters to two domains of the held provider go back, those to another provider's domain, to one that
    nobody runs and to one that nobody looked up leave; a hold on no name is a hold on nothing."""
    it = place(mailboxes=1, contacts=5)
    know(connection, "google", "google", "microsoft", "", None)
    for key in ("google", ""):
        connection.execute(HOLD, [key])
    async with sender(it) as hand:
        assert len(await hand.take()) == 3
    held = rows(connection, "SELECT id, reason_code, reason FROM message WHERE state = 'queued' ORDER BY id")
    letters = [row[0] for row in rows(connection, OF_GOOGLE)]
    assert held == [(letter, "held", "recipient_provider held: they block us") for letter in letters]


async def test_a_letter_in_hand_is_recalled(place: Place, connection: Connection) -> None:
    """A hold that comes after the reservation is seen before the first byte."""
    it = place(mailboxes=1, contacts=2)
    know(connection, "google", "microsoft")
    async with sender(it) as hand:
        taken = [letter.message_id for letter in await hand.take()]
        connection.execute(HOLD, ["google"])
        refusals = await hand.outbox.recall(taken)
    assert {letter: refusal.code for letter, refusal in refusals.items()} == {one(connection, OF_GOOGLE): "held"}


async def test_its_limit_counts_letters_to_all_its_domains(place: Place, connection: Connection) -> None:
    """Two of three letters to it leave, every letter elsewhere does; what nothing left of is given back."""
    it = place(mailboxes=1, contacts=6, limits=HOUR_OF_TWO)
    know(connection, "google", "google", "google", "microsoft", "", None)
    async with sender(it) as hand:
        taken = await hand.take()
        assert len(taken) == 5
        assert rows(connection, "SELECT scope_key, used FROM usage") == [("google", 2)]
        counted = rows(connection, "SELECT message_id FROM attempt WHERE limit_keys = '{google}' ORDER BY message_id")
        assert counted == rows(connection, OF_GOOGLE)[:2]
        unreached = next(letter for letter in taken if (letter.message_id,) == counted[0])
        await hand.outbox.settle([result(unreached, Outcome.UNREACHED)])
    assert rows(connection, "SELECT scope_key, used FROM usage") == [("google", 1)]


async def test_a_new_limit_counts_what_left_to_it(place: Place, connection: Connection) -> None:
    """Law 3: two letters left to it before its limit of two was set; no third leaves, others do."""
    it = place(mailboxes=1, contacts=4)
    know(connection, "google", "google", "google", "microsoft")
    async with sender(it) as hand:
        await hand.lease()
        await hand.outbox.settle([result(found, Outcome.ACCEPTED) for found in await hand.reserve(batch=2)])
        connection.execute(
            "INSERT INTO sending_limit (scope_kind, window_kind, maximum) VALUES ('recipient_provider', 'rolling', 2)"
        )
        assert len(await hand.reserve()) == 1
    assert rows(connection, "SELECT scope_key, used FROM usage ORDER BY 1") == [("google", 2), ("microsoft", 1)]


@pytest.mark.parametrize("is_queued", [False, True])
def test_the_planner_plans_nothing_to_a_held_provider(is_queued: bool, place: Place, connection: Connection) -> None:
    """What is queued to it goes back, what waits is not queued, and both say why; the letter elsewhere is planned."""
    place(mailboxes=2, contacts=3)
    know(connection, "google", "google", "microsoft")
    if not is_queued:
        connection.execute("DELETE FROM message")
        connection.execute("UPDATE enrollment SET next_at = clock_timestamp()")
    connection.execute(HOLD, ["google"])
    plan_once(connection, Tunables())
    due = "SELECT c.domain, m.due_at IS NOT NULL FROM message m JOIN contact c ON c.id = m.contact_id"
    assert [row for row in rows(connection, due) if row[1]] == [("m2.example", True)]
    told = rows(connection, "SELECT reason FROM enrollment WHERE next_at IS NOT NULL")
    assert told == [("Not written: recipient provider google is held until it is lifted (they block us).",)] * 2


def test_the_planner_plans_within_its_limit(place: Place, connection: Connection) -> None:
    """One letter left to it and one is queued: of two that wait, to other domains of it, none is planned."""
    place(mailboxes=2, contacts=4, limits=HOUR_OF_TWO)
    know(connection, *["google"] * 4)
    limit = one(connection, "SELECT id FROM sending_limit")
    head = "extract(epoch FROM clock_timestamp())::bigint * 96 / 3600"
    columns = "limit_id, scope_key, head, counts, used, maximum"
    connection.execute(f"INSERT INTO usage ({columns}) SELECT %s, 'google', {head}, '{{1}}', 1, 2", [limit])
    kept = one(connection, "SELECT min(id) FROM message")
    connection.execute("DELETE FROM message WHERE id <> %s", [kept])
    connection.execute(
        "UPDATE enrollment SET next_at = clock_timestamp() WHERE id NOT IN (SELECT enrollment_id FROM message)"
    )
    plan_once(connection, Tunables())
    assert one(connection, "SELECT count(*) FROM message WHERE due_at IS NOT NULL") == 1
    told = rows(
        connection,
        "SELECT reason_code, reason LIKE %s FROM enrollment WHERE next_at IS NOT NULL",
        "%google is reached%",
    )
    assert told == [("limit", True)] * 3
