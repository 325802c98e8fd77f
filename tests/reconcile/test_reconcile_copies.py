"""Sent copies: filed once, read, and given up only where there is no place for them."""

from datetime import timedelta

import pytest
from errand_scene import LOST, SETTLED, Open, wait_with_copy
from queue_scene import one

from imap.peer import HASTY, LOGIN, Peer, played
from mailfleet.base.db import Connection
from mailfleet.inbox.errands import run_errands
from mailfleet.outbox.sent_copies import TRIES
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import ImapFault

WAITING = "SELECT count(*) FROM sent_copy"


async def test_copies_are_filed_once_and_as_read(scene: Open, connection: Connection) -> None:
    """Every waiting copy lies in Sent afterwards, octet for octet, seen, dated as it left; then nothing is due."""
    with scene(sent_copy="client") as it:
        letters = await it.send(SETTLED, SETTLED)
        for letter in letters:
            wait_with_copy(it, letter)
        mailbox = letters[0].mailbox_id
        assert it.due() == {mailbox}
        it.run(mailbox)
        it.run(mailbox)
        heads = it.sent_heads(mailbox)
        assert it.in_sent(mailbox) == [letter.header_id for letter in letters]
        assert [set(head.flags) for head in heads] == [{r"\Seen"}] * 2
        assert (one(connection, WAITING), it.due()) == (0, set())


async def test_a_copy_that_lies_there_is_not_filed_again(scene: Open, connection: Connection) -> None:
    """The server filed one all the same: ours is dropped."""
    with scene(sent_copy="client") as it:
        [letter] = await it.send(SETTLED)
        wait_with_copy(it, letter)
        it.file(letter)
        it.run(letter.mailbox_id)
        assert it.in_sent(letter.mailbox_id) == [letter.header_id]
        assert one(connection, WAITING) == 0


def refuse_append(peer: Peer) -> None:
    """All but the APPEND."""
    peer.admit()
    peer.answer("LIST", r'* LIST (\Sent) "/" Sent', r'* LIST () "/" INBOX')
    peer.examine(messages=0, uid_next=1)
    peer.answer("UID SEARCH", "* SEARCH")
    peer.answer("UID SEARCH", "* SEARCH")
    peer.answer("APPEND", end="NO [OVERQUOTA] full")
    peer.answer("LOGOUT", "* BYE", end="OK")


def without_sent(peer: Peer) -> None:
    peer.admit()
    peer.answer("LIST", '* LIST () "/" INBOX')
    peer.answer("LOGOUT", "* BYE", end="OK")


@pytest.mark.parametrize("play", [refuse_append, without_sent])
async def test_a_copy_that_no_folder_takes_is_given_up(play: object, scene: Open, connection: Connection) -> None:
    """A full mailbox, or no folder for what was sent: tried a few times with rests between, and then no more; the
    letter is a fact all the while."""
    with scene(sent_copy="client") as it:
        [letter] = await it.send(SETTLED)
        wait_with_copy(it, letter)
        for left in reversed(range(TRIES)):
            assert it.due() == {letter.mailbox_id}
            with played(play) as endpoint, ImapSession.open(endpoint, LOGIN, HASTY) as session:  # type: ignore[arg-type]
                run_errands(connection, session, letter.mailbox_id)
            assert it.due() == set()
            assert one(connection, WAITING) == (1 if left else 0)
            it.pass_time(timedelta(minutes=16))
        assert it.state(letter) == ("accepted", "accepted")


async def test_a_connection_lost_in_append_leaves_the_copy_waiting(scene: Open, connection: Connection) -> None:
    """Nobody knows whether it was filed: the watcher hears of the loss, and the next run looks before it files."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.answer("LIST", r'* LIST (\Sent) "/" Sent', r'* LIST () "/" INBOX')
        peer.examine(messages=0, uid_next=1)
        peer.answer("UID SEARCH", "* SEARCH")
        peer.answer("UID SEARCH", "* SEARCH")
        peer.hear("APPEND")

    with scene(sent_copy="client") as it:
        [letter] = await it.send(SETTLED)
        wait_with_copy(it, letter)
        with played(play) as endpoint:
            session = ImapSession.open(endpoint, LOGIN, HASTY)
            with pytest.raises(ImapFault):
                run_errands(connection, session, letter.mailbox_id)
        assert (one(connection, WAITING), it.due()) == (1, set())
        it.pass_time(timedelta(minutes=16))
        it.run(letter.mailbox_id)
        assert it.in_sent(letter.mailbox_id) == [letter.header_id]


async def test_a_letter_that_hangs_keeps_no_copy_from_being_filed(scene: Open, connection: Connection) -> None:
    """An ambiguous letter and a copy in one mailbox: both are seen to in one session."""
    with scene(sent_copy="client") as it:
        known, _ = await it.send(SETTLED, LOST)
        wait_with_copy(it, known)
        it.run(known.mailbox_id)
        assert it.in_sent(known.mailbox_id) == [known.header_id]
        assert it.due() == set()
