"""A burnt domain: its openings go to the identity's other domains, its threads stay. Laws 5 and 7."""

import pytest
from queue_scene import Place, one, result, rows, sender

from mailfleet.base.db import Connection
from mailfleet.model.words import Outcome
from mailfleet.outbox.tunables import Tunables
from mailfleet.planning.service import plan_once
from mailfleet.sending.outcomes import withdrawn

BURN = """
INSERT INTO hold (scope_kind, scope_key, reason, set_by, family)
SELECT 'domain', min(domain_id)::text, 'blocked', 'health', %s FROM mailbox
"""
LETTERS = """
SELECT e.contact_id, b.domain_id = (SELECT min(domain_id) FROM mailbox), m.due_at IS NOT NULL, e.reason_code
FROM enrollment e JOIN message m ON m.enrollment_id = e.id AND m.state = 'queued' JOIN mailbox b ON b.id = m.mailbox_id
ORDER BY e.contact_id
"""
MOVED, WAITS = (False, True, ""), (True, False, "hold")  # on the burnt domain, with a moment, why it waits


def burn(connection: Connection, family: str = "policy") -> None:
    """Holds the first domain; the planner looks at everything that waits."""
    connection.execute(BURN, [family])
    plan(connection)


def plan(connection: Connection) -> None:
    connection.execute("UPDATE enrollment SET next_at = clock_timestamp() WHERE next_at IS NOT NULL")
    plan_once(connection, Tunables())


@pytest.mark.parametrize("family", ["policy", "complaints", "dns"])
def test_queued_openings_of_a_burnt_domain_move(family: str, place: Place, connection: Connection) -> None:
    """Queued in its mailbox and never tried: they are planned from the identity's other domain, at once."""
    place(mailboxes=2, contacts=6)
    assert [row[1] for row in rows(connection, LETTERS)].count(True) == 3
    burn(connection, family)
    assert [row[1:] for row in rows(connection, LETTERS)] == [MOVED] * 6


async def test_letters_handed_back_or_withdrawn_move_and_those_that_were_tried_stay(
    place: Place, connection: Connection
) -> None:
    """Of four openings in the burnt domain's mailbox one was refused for now by its receiver, one was reserved and
    never begun, one met the hold at the gate, one waits in the queue. The first waits in its mailbox (what one mailbox
    was refused is not tried from another), the others move."""
    it = place(mailboxes=2, contacts=8)
    burnt = one(connection, "SELECT min(id) FROM mailbox")
    async with sender(it) as hand:
        await hand.lease()
        drafts = [draft for draft in await hand.drafts() if draft.mailbox_id == burnt]
        refused, recalled = await hand.outbox.reserve(drafts[:2], hand.fences)
        connection.execute(BURN, ["policy"])
        assert await hand.outbox.reserve(drafts[2:3], hand.fences) == []
        waits = result(refused, Outcome.DEFERRED, retry_seconds=0.0)
        await hand.outbox.settle([waits, withdrawn(recalled.attempt_id, "held", "domain held")])
    plan(connection)
    found = {contact: state for contact, *state in rows(connection, LETTERS)}
    mine = [tuple(found[draft.contact_id]) for draft in drafts]
    assert mine == [WAITS, MOVED, MOVED, MOVED]
    told = "SELECT reason FROM enrollment WHERE contact_id = %s"
    assert "Only mailbox" in one(connection, told, drafts[0].contact_id)


async def test_threads_of_a_burnt_domain_wait_in_it(place: Place, connection: Connection) -> None:
    """Law 5: the second letter of a thread that began there is not planned anywhere while the hold stands, says why,
    and goes from the mailbox that began once it is lifted."""
    it = place(mailboxes=2, contacts=2, steps=2)
    async with sender(it) as hand:
        await hand.outbox.settle([result(found, Outcome.ACCEPTED) for found in await hand.take()])
    burnt = one(connection, "SELECT min(id) FROM mailbox")
    burn(connection, "complaints")
    follow_ups = "SELECT m.mailbox_id FROM message m WHERE m.state = 'queued' AND m.due_at IS NOT NULL ORDER BY 1"
    assert rows(connection, follow_ups) == [(burnt + 1,)]
    told = one(connection, "SELECT reason FROM enrollment WHERE mailbox_id = %s", burnt)
    assert told.startswith("Only mailbox ") and "is held until it is lifted (blocked)" in told
    connection.execute("UPDATE hold SET lifted_at = clock_timestamp()")
    plan(connection)
    assert rows(connection, follow_ups) == [(burnt,), (burnt + 1,)]


def test_openings_move_within_the_other_domains_limits(place: Place, connection: Connection) -> None:
    """The other domain has room for four of ten: four are planned, six wait with a reason, none leaves the identity."""
    place(mailboxes=2, contacts=10)
    heir = one(connection, "SELECT max(domain_id)::text FROM mailbox")
    connection.execute("DELETE FROM message")
    connection.execute(
        "INSERT INTO sending_limit (scope_kind, scope_key, window_kind, maximum) VALUES ('domain', %s, 'rolling', 4)",
        [heir],
    )
    connection.execute("UPDATE enrollment SET next_at = clock_timestamp()")
    burn(connection)
    letters = rows(connection, LETTERS)
    assert [row[1:] for row in letters] == [MOVED] * 4
    assert one(connection, "SELECT count(*) FROM enrollment WHERE next_at IS NOT NULL AND reason_code = 'limit'") == 6


def test_another_identitys_domain_inherits_nothing(place: Place, connection: Connection) -> None:
    """With the identity's only other domain given to another identity, the openings wait."""
    place(mailboxes=2, contacts=4)
    connection.execute(
        "WITH other AS (INSERT INTO identity (name, legal_name, postal_address, contact_email, opt_out_base_url)"
        " SELECT 'other', legal_name, postal_address, contact_email, opt_out_base_url FROM identity RETURNING id)"
        " UPDATE domain SET identity_id = other.id FROM other WHERE domain.id = (SELECT max(domain_id) FROM mailbox)"
    )
    connection.execute("DELETE FROM message WHERE mailbox_id = (SELECT max(id) FROM mailbox)")
    burn(connection)
    assert one(connection, "SELECT count(*) FROM message WHERE due_at IS NOT NULL") == 0
    waiting = "SELECT DISTINCT reason_code FROM enrollment WHERE next_at IS NOT NULL"
    assert rows(connection, waiting) == [("hold",)]
