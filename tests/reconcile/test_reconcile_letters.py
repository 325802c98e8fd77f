"""Ambiguous letters and Sent folders: what is found, what is absent for sure, and what nobody can know."""

from datetime import timedelta

import pytest
from errand_scene import LATER, LOST, SAFE, SETTLED, ErrandScene, Open, Sent, wait_with_copy
from psycopg.pq import TransactionStatus
from queue_scene import one, result, rows, sender

from imap.peer import HASTY, LOGIN, Peer, played
from mailfleet.base.db import Connection
from mailfleet.inbox.errands import due_errands, run_errands
from mailfleet.model.words import MessageState, Outcome
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import ImapFault

ENROLLMENT = "SELECT e.state, e.next_step, e.next_at IS NOT NULL, e.reason_code FROM enrollment e"


async def lost_letter(it: ErrandScene, *, stage: str = "dot") -> tuple[Sent, Sent]:
    """One letter accepted for sure and filed, then one whose fate is not known."""
    known, letter = await it.send(SETTLED, LOST, stage=stage)
    it.file(known)
    return known, letter


def look_twice(it: ErrandScene, mailbox: int) -> None:
    """At the safe moment, and once more later."""
    it.pass_time(SAFE)
    it.run(mailbox)
    it.pass_time(LATER)
    it.run(mailbox)


async def test_a_letter_in_sent_was_accepted(scene: Open, connection: Connection) -> None:
    """Looked for at once, found, settled: the next step follows, nothing is due any more, and the sender's own late
    word agrees or changes nothing."""
    with scene(contacts=1, steps=2) as it:
        [letter] = await it.send(LOST)
        it.file(letter)
        assert it.due() == {letter.mailbox_id}
        it.run(letter.mailbox_id)
        assert it.state(letter) == ("accepted", "accepted")
        assert rows(connection, ENROLLMENT) == [("active", 2, True, "resolved")]
        assert "found in the folder Sent at" in one(connection, "SELECT reason FROM message")
        assert it.due() == set()
        before = rows(
            connection, "SELECT to_jsonb(m), to_jsonb(a), to_jsonb(e) FROM message m, attempt a, enrollment e"
        )
        async with sender(it.laid) as late:
            for outcome in Outcome:
                await late.outbox.settle([result(letter.reservation, outcome, code=250)])
        after = rows(connection, "SELECT to_jsonb(m), to_jsonb(a), to_jsonb(e) FROM message m, attempt a, enrollment e")
        assert after == before


async def test_absent_for_sure_is_planned_again_once(scene: Open, connection: Connection) -> None:
    """Not in Sent, where the letter before it lies, twice and late enough: the same letter, mailbox and Message-ID wait
    for the planner; a late "accepted" of its sender is believed as long as it has not left again."""
    with scene() as it:
        _, letter = await lost_letter(it)
        it.run(letter.mailbox_id)
        assert it.state(letter) == ("ambiguous", "ambiguous")
        look_twice(it, letter.mailbox_id)
        assert it.state(letter) == ("queued", "deferred")
        query = (
            "SELECT m.header_id, m.mailbox_id, m.due_at, a.stage FROM message m JOIN attempt a ON a.message_id = m.id"
        )
        assert rows(connection, f"{query} WHERE a.id = %s", letter.attempt_id) == [
            (letter.header_id, letter.mailbox_id, None, "resolved")
        ]
        reason = one(connection, "SELECT reason FROM message WHERE id = %s", letter.message_id)
        assert reason.startswith("looked for in the folder Sent, last at ")
        assert reason.endswith("(looks: 3): not there, twice, and the letters next to it are")
        assert it.due() == set()
        async with sender(it.laid) as late:
            await late.outbox.settle([result(letter.reservation, SETTLED, code=250)])
        assert it.state(letter) == ("accepted", "accepted")


async def test_no_look_before_it_is_safe_plans_again(scene: Open) -> None:
    """However often it is looked for within half an hour of the moment it became ambiguous, and however long ago it was
    reserved, it waits; and one look after that is not enough."""
    with scene() as it:
        _, letter = await lost_letter(it)
        it.connection.execute("UPDATE attempt SET reserved_at = reserved_at - interval '5 hours'")
        for _ in range(5):
            it.pass_time(timedelta(minutes=5, seconds=30))
            it.run(letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"
        assert "its server may still be at it until" in it.told(letter)
        it.pass_time(timedelta(minutes=5, seconds=30))
        it.run(letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"
        assert it.told(letter).endswith("not there, and the letters next to it are")


@pytest.mark.parametrize(
    ("sent_copy", "rewrites", "because"),
    [
        ("client", False, "its provider is not known to file every copy"),
        ("unknown", False, "its provider is not known to file every copy"),
        ("server_setting", False, "its provider is not known to file every copy"),
        ("server", True, "its provider gives letters other Message-IDs"),
    ],
)
async def test_absence_where_no_copy_need_be_proves_nothing(
    sent_copy: str, rewrites: bool, because: str, scene: Open
) -> None:
    """Whatever lies in Sent beside it, a letter of a provider that files none for sure, or under other ids, waits for
    the deadline, and a person reads what was looked at and why it proves nothing."""
    with scene(sent_copy=sent_copy, rewrites=rewrites) as it:
        _, letter = await lost_letter(it)
        look_twice(it, letter.mailbox_id)
        it.pass_time(timedelta(hours=5))
        it.run(letter.mailbox_id)
        assert it.state(letter) == ("ambiguous", "ambiguous")
        assert it.told(letter).startswith("in the folder Sent, last at ")
        assert because in it.told(letter)
        assert one(it.connection, "SELECT reason FROM message WHERE id = %s", letter.message_id).startswith(
            "the reason of"
        )


@pytest.mark.parametrize("kept", [(), ("after",)], ids=["emptied", "emptied since"])
async def test_a_folder_without_its_neighbours_proves_nothing(kept: tuple[str, ...], scene: Open) -> None:
    """Somebody emptied Sent, or the server stopped filing: the letter before is not there, so neither need this one be,
    though a later one is."""
    with scene() as it:
        await it.send(SETTLED)
        [letter] = await it.send(LOST)
        [after] = await it.send(SETTLED)
        if kept:
            it.file(after)
        look_twice(it, letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"
        assert "other letters of the mailbox, accepted for sure, are not there either" in it.told(letter)


async def test_a_later_neighbour_that_is_missing_proves_nothing(scene: Open) -> None:
    """The letter before is there, the one after is not: the server stopped filing between them."""
    with scene() as it:
        _, letter = await lost_letter(it)
        await it.send(SETTLED)
        look_twice(it, letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"


@pytest.mark.parametrize("code", [None, 250])
async def test_a_letter_called_sent_by_a_person_is_no_neighbour(code: int | None, scene: Open) -> None:
    """Only the server's own 250 makes a letter one that must lie there; without any, nothing is planned again."""
    with scene() as it:
        known, letter = await lost_letter(it)
        it.connection.execute("UPDATE attempt SET code = %s WHERE id = %s", [code, known.attempt_id])
        look_twice(it, letter.mailbox_id)
        assert it.state(letter)[0] == ("queued" if code else "ambiguous")


async def test_a_copy_that_we_filed_is_no_neighbour(scene: Open) -> None:
    """We filed copies for the provider until an operator said that it files them: what lies there is ours."""
    with scene(sent_copy="client") as it:
        known, letter = await it.send(SETTLED, LOST)
        wait_with_copy(it, known)
        it.run(known.mailbox_id)
        assert it.in_sent(known.mailbox_id) == [known.header_id]
        it.connection.execute("UPDATE provider SET sent_copy = 'server'")
        look_twice(it, letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"


async def test_a_sender_that_lives_has_the_first_word(scene: Open) -> None:
    """Its lease ran out and it is seen alive: it may bring the fact. Once it is gone, absence counts."""
    with scene() as it:
        _, letter = await lost_letter(it, stage="lease")
        for _ in range(2):
            it.pass_time(SAFE)
            it.connection.execute("UPDATE sender SET seen_at = clock_timestamp()")
            it.run(letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"
        assert "its sender may still tell" in it.told(letter)
        it.pass_time(timedelta(hours=3))
        it.run(letter.mailbox_id)
        it.pass_time(LATER)
        it.run(letter.mailbox_id)
        assert it.state(letter)[0] == "queued"


async def test_what_may_have_come_back_for_a_letter_keeps_it_from_leaving_again(
    scene: Open, connection: Connection
) -> None:
    """An answer, a bounce, an opt-out that was taken to be about it: absence proves nothing any more."""
    with scene() as it:
        _, letter = await lost_letter(it)
        it.pass_time(SAFE)
        it.run(letter.mailbox_id)
        it.pass_time(LATER)
        connection.execute(
            "INSERT INTO event (kind, message_id, contact_id, mailbox_id, campaign_id)"
            " SELECT 'auto_reply', id, contact_id, mailbox_id, campaign_id FROM message WHERE id = %s",
            [letter.message_id],
        )
        it.run(letter.mailbox_id)
        assert it.state(letter) == ("ambiguous", "ambiguous")
        assert it.told(letter).endswith("not there, but something came back that may be about it")


@pytest.mark.parametrize("rewrites", [True, None])
async def test_a_letter_under_another_id_is_found_by_likeness(rewrites: bool | None, scene: Open) -> None:
    """The provider gave the copy an id of its own: recipient, subject, time and our opt-out tell the letter."""
    with scene(rewrites=rewrites) as it:
        [letter] = await it.send(LOST)
        it.file(letter, Message_ID="<AM0PR01@outlook.example>")
        it.run(letter.mailbox_id)
        assert it.state(letter) == ("accepted", "accepted")


@pytest.mark.parametrize(
    "changed",
    [
        {"To": "somebody.else@a.example"},
        {"Subject": "Re: Hello"},
        {"List_Unsubscribe_Post": ""},
    ],
    ids=["recipient", "subject", "by hand"],
)
async def test_what_is_only_similar_is_not_the_letter(changed: dict[str, str], scene: Open) -> None:
    """Another recipient, another subject, or a letter that a person wrote by hand: it goes on waiting, and is not
    planned again either."""
    with scene(rewrites=None) as it:
        [letter] = await it.send(LOST)
        it.file(letter, Message_ID="<AM0PR01@outlook.example>", **changed)
        look_twice(it, letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"


async def test_likeness_of_another_time_is_another_letter(scene: Open) -> None:
    """The copy came two hours after the letter became ambiguous: it is of something else."""
    with scene(rewrites=True) as it:
        [letter] = await it.send(LOST)
        it.pass_time(timedelta(hours=2))
        it.file(letter, Message_ID="<AM0PR01@outlook.example>")
        it.run(letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"


async def test_two_letters_that_look_alike_are_left_in_doubt(scene: Open, connection: Connection) -> None:
    """The same person got the same subject from another campaign that day: likeness tells nothing."""
    with scene(rewrites=True, contacts=2) as it:
        other, letter = await it.send(SETTLED, LOST)
        connection.execute(
            "UPDATE message SET contact_id = (SELECT contact_id FROM message WHERE id = %s) WHERE id = %s",
            [letter.message_id, other.message_id],
        )
        it.file(letter, Message_ID="<AM0PR01@outlook.example>")
        it.run(letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"


async def test_an_unknown_habit_is_proven_by_the_neighbour(scene: Open) -> None:
    """Nobody knows whether the provider changes ids: the letter before lies there under ours, so it does not."""
    with scene(rewrites=None) as it:
        _, letter = await lost_letter(it)
        look_twice(it, letter.mailbox_id)
        assert it.state(letter)[0] == "queued"


async def test_looks_come_at_their_moments_only(scene: Open) -> None:
    """Due at once, then soon, then when it is safe, then ten minutes later; never in between, and never without an
    ambiguous letter."""
    with scene(mailboxes=2) as it:
        assert it.due() == set()
        *known, letter = await it.send(SETTLED, SETTLED, SETTLED, LOST)
        for other in known:
            it.file(other)
        mailbox = letter.mailbox_id
        moments = []
        for minute in range(46):
            if it.due():
                assert it.due() == {mailbox}
                moments.append(minute)
                it.run(mailbox)
                assert it.due() == set()
            it.pass_time(timedelta(minutes=1))
        assert moments == [0, 5, 30, 40]
        assert it.state(letter)[0] == "queued"


async def test_a_mailbox_without_a_sent_folder_says_so(scene: Open) -> None:
    """Nothing can be looked for; a person reads it, and the letter waits."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.answer("LIST", '* LIST () "/" INBOX')
        peer.rest()

    with scene() as it:
        [letter] = await it.send(LOST)
        with played(play) as endpoint, ImapSession.open(endpoint, LOGIN, HASTY) as session:
            run_errands(it.connection, session, letter.mailbox_id)
        assert it.told(letter).startswith("in the mailbox, which has no folder for what was sent")
        assert it.due() == set()


async def test_no_transaction_is_open_across_a_word_to_the_server(scene: Open, connection: Connection) -> None:
    """At every command that the server hears, PostgreSQL has nothing of ours open."""
    seen = []

    class Watching(ImapSession):
        @property
        def is_usable(self) -> bool:  # asked before every command
            seen.append(connection.info.transaction_status)
            return super().is_usable

    with scene() as it:
        known, letter = await lost_letter(it)
        for _ in range(3):
            it.pass_time(SAFE)
            if it.state(letter)[0] == "queued":
                wait_with_copy(it, known)
            plain = it.open(letter.mailbox_id)
            with Watching(plain._client, plain.endpoint, plain._deadlines) as session:
                run_errands(connection, session, letter.mailbox_id)
        assert it.due() == set()
    assert len(seen) > 10
    assert set(seen) == {TransactionStatus.IDLE}


async def test_a_refusal_is_told_and_the_mailbox_rests(scene: Open) -> None:
    """The server refuses to open Sent: the session goes on, a person reads why, and the errand waits a while."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.answer("LIST", r'* LIST (\Sent) "/" Sent', r'* LIST () "/" INBOX')
        peer.answer("EXAMINE", end="NO [NOPERM] not yours")
        peer.answer("LOGOUT", "* BYE", end="OK")

    with scene() as it:
        [letter] = await it.send(LOST)
        with played(play) as endpoint, ImapSession.open(endpoint, LOGIN, HASTY) as session:
            run_errands(it.connection, session, letter.mailbox_id)
            assert session.is_usable
        assert it.told(letter).startswith("in vain at ")
        assert "not yours" in it.told(letter)
        assert it.due() == set()
        it.pass_time(timedelta(minutes=16))
        assert it.due() == {letter.mailbox_id}


async def test_a_lost_connection_is_the_watchers_to_know(scene: Open) -> None:
    """The server hangs up in the middle: ImapFault, nothing is settled, and the errand waits a while."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.hear("LIST")

    with scene() as it:
        [letter] = await it.send(LOST)
        with played(play) as endpoint:
            session = ImapSession.open(endpoint, LOGIN, HASTY)
            with pytest.raises(ImapFault):
                run_errands(it.connection, session, letter.mailbox_id)
        assert it.state(letter)[0] == "ambiguous"
        assert due_errands(it.connection, [letter.mailbox_id]) == set()


SETTLED_MEANWHILE = """
WITH a AS (UPDATE attempt SET outcome = 'rejected' WHERE message_id = %(message)s)
UPDATE message SET state = 'rejected', settled_at = now() WHERE id = %(message)s
"""
ANSWERED_MEANWHILE = """
INSERT INTO event (kind, message_id, contact_id, mailbox_id, campaign_id)
SELECT 'bounce', id, contact_id, mailbox_id, campaign_id FROM message WHERE id = %(message)s ON CONFLICT DO NOTHING
"""
SAID_MEANWHILE = "UPDATE provider SET sent_copy = 'client'"


@pytest.mark.parametrize(
    ("happens", "state"),
    [(SETTLED_MEANWHILE, "rejected"), (ANSWERED_MEANWHILE, "ambiguous"), (SAID_MEANWHILE, "ambiguous")],
    ids=["settled", "answered", "said otherwise"],
)
async def test_what_happens_during_the_look_counts(
    happens: str, state: str, scene: Open, connection: Connection
) -> None:
    """While Sent is looked through, its sender brings the fact, an answer comes, or an operator says that the provider
    files nothing: what was decided on before the look is not done."""
    with scene() as it:
        _, letter = await lost_letter(it)
        it.pass_time(SAFE)
        it.run(letter.mailbox_id)
        it.pass_time(LATER)
        plain = it.open(letter.mailbox_id)

        class Slow(ImapSession):
            def find_message(self, folder: str, message_id: str) -> int | None:
                found = super().find_message(folder, message_id)
                connection.execute(happens, {"message": letter.message_id})
                return found

        with Slow(plain._client, plain.endpoint, plain._deadlines) as session:
            run_errands(connection, session, letter.mailbox_id)
        assert it.state(letter)[0] == state


async def test_what_was_kept_of_settled_letters_goes(scene: Open, connection: Connection) -> None:
    """The looks of one letter do not gather: with the next letter's they are dropped, once it is settled."""
    with scene(sent_copy="client") as it:
        first, second = await it.send(LOST, LOST)
        it.run(first.mailbox_id)
        keys = "SELECT array(SELECT jsonb_object_keys(value -> 'letters') ORDER BY 1) FROM setting"
        kept = f"{keys} WHERE name LIKE 'errands/%%'"
        assert one(connection, kept) == sorted([str(first.attempt_id), str(second.attempt_id)])
        connection.execute("UPDATE attempt SET outcome = 'accepted' WHERE id = %s", [first.attempt_id])
        connection.execute(
            "UPDATE message SET state = 'accepted', settled_at = now() WHERE id = %s", [first.message_id]
        )
        it.pass_time(timedelta(minutes=6))
        it.run(first.mailbox_id)
        assert one(connection, kept) == [str(second.attempt_id)]


async def test_an_erased_persons_letter_is_not_looked_for(scene: Open, connection: Connection) -> None:
    """Nothing of a person who was erased is asked of any server."""
    with scene() as it:
        [letter] = await it.send(LOST)
        connection.execute("UPDATE contact SET erased_at = now()")
        assert it.due() == set()
        assert it.state(letter)[0] == MessageState.AMBIGUOUS
