"""What is read of a mailbox, and that nothing of it is missed or taken twice, whatever the server does."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cutting_proxy import cutting_proxy
from watch_scene import SandboxScene, mail, sandbox_scene

from imap.peer import LOGIN, Peer, played
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.reading import StoredCursor, Visit
from mailfleet.model.words import Folder
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_mail import Cursor
from mailfleet.providers.sandbox import Faults

READ_TO = (
    "SELECT c.uid = %s AND r.failing_since IS NULL FROM reading_cursor c JOIN reading r USING (mailbox_id)"
    " WHERE c.folder = 'inbox'"
)


def test_inbox_and_junk_are_read(database: str, home: Path) -> None:
    """A mail in INBOX and one in the junk folder, whatever it is called, is taken once, with its folder."""
    with sandbox_scene(database, home, mailboxes=4, providers=4) as it:
        wanted = {it.deliver(number=number): "inbox" for number in range(4)}
        wanted |= {it.deliver(number=number, folder="junk"): "junk" for number in range(4)}
        it.watch()
        it.wait_for_mails(8)
        it.wait_for_reading(2)
        rows = it.rows("SELECT header_id, folder FROM incoming")
        assert {row.header_id.strip("<>"): row.folder for row in rows} == wanted
        assert len(rows) == 8


def test_a_folder_numbered_anew_is_read_anew(database: str, home: Path) -> None:
    """After another UIDVALIDITY in INBOX and junk what is known is not taken again, and what came meanwhile is."""
    with sandbox_scene(database, home) as it:
        wanted = [it.deliver(folder=folder) for folder in ("INBOX", "junk") for _ in range(3)]
        running = it.watch()
        it.wait_for_mails(6)
        it.wait_for_reading()
        running.stop()
        for folder in ("INBOX", "junk"):
            wanted.append(it.deliver(folder=folder))
            it.sandbox.renumber(it.addresses[0], folder)
        it.watch()
        it.wait_for_mails(8)
        it.wait_for_reading(2)
        assert it.taken() == Counter(wanted)
        cursors = it.rows("SELECT uid_validity, uid FROM reading_cursor ORDER BY folder")
        assert [tuple(row) for row in cursors] == [(2, 4), (2, 4)]
        assert it.reading().failing_since is None


def test_a_server_that_drops_in_fetch_loses_nothing(database: str, home: Path) -> None:
    """A third of all FETCHes breaks the connection; every mail is taken, once."""
    with sandbox_scene(database, home, mailboxes=3, faults=Faults(imap_drop=0.3)) as it:
        wanted = [it.deliver(number=number) for number in range(3) for _ in range(8)]
        it.watch()
        it.wait_for_mails(24)
        it.wait_for_reading()
        assert it.taken() == Counter(wanted)


@pytest.mark.parametrize("is_head", [True, False], ids=["head", "body"])
def test_a_mail_that_kills_the_connection_keeps_no_other(database: str, home: Path, is_head: bool) -> None:
    """Those before and behind it are taken before it is given up. If its body alone kills, its head is taken; else it
    is stepped over, and said so until another fault comes."""
    with sandbox_scene(database, home) as it, cutting_proxy(_port(it), b"deadly-words") as proxy:
        it.run("UPDATE mailbox SET imap_port = %s", proxy.port)
        wanted = [it.deliver() for _ in range(2)]
        deadly = mail("deadly-words") if is_head else mail(text="deadly-words")
        killer = it.deliver(deadly)
        wanted += [it.deliver() for _ in range(3)]
        running = it.watch()
        it.wait_for_mails(5)
        assert proxy.cuts < 5
        it.wait(READ_TO, 6)
        it.wait_for_reading(2)
        assert it.taken() == Counter([*wanted, *([] if is_head else [killer])])
        text = it.reading().fault_text
        running.stop()
        assert proxy.cuts == (5 if is_head else 3)
        assert text == (
            "The mail 3 of inbox ends the connection each time it is read, and was stepped over: look at it in the"
            " mailbox itself." if is_head else ""
        )  # fmt: skip


def test_two_mails_that_kill_the_connection_do_not_shield_each_other(database: str, home: Path) -> None:
    """The one behind kills the reading of what is behind the first; still of the first, whose body kills, the head is
    taken, and the other is stepped over."""
    with sandbox_scene(database, home) as it, cutting_proxy(_port(it), b"deadly-words") as proxy:
        it.run("UPDATE mailbox SET imap_port = %s", proxy.port)
        wanted = [it.deliver(mail(text="deadly-words")), it.deliver()]
        it.deliver(mail("deadly-words"))
        wanted += [it.deliver()]
        running = it.watch()
        it.wait_for_mails(3)
        it.wait(READ_TO, 4)
        running.stop()
        assert it.taken() == Counter(wanted)


def test_a_mail_that_the_server_does_not_show_is_said() -> None:
    """The others of its batch are taken, the cursor moves, and a person is told."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine(uid_next=3, messages=2)
        peer.answer("UID SEARCH", "* SEARCH 1 2")
        peer.answer("UID FETCH 1,2", end="NO cannot")
        peer.answer("UID FETCH 1 ", end="NO cannot")
        peer.answer("UID FETCH 2 ", b"* 2 FETCH (UID 2 BODY[HEADER]<0> {20}\r\nPrecedence: bulk\r\n\r\n)")
        peer.rest()

    taken: list[Arrived] = []
    kept: list[Cursor] = []
    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        visit = Visit(
            mailbox_id=1,
            address="ann@a.test",
            session=session,
            cursors={Folder.INBOX: StoredCursor("INBOX", Cursor(7, 0))},
            since=datetime.now(UTC).date(),
            doubts={},
            take=taken.append,
            keep=lambda folder, name, cursor: kept.append(cursor),
            must_end=lambda: False,
        )
        assert visit.read(Folder.INBOX, "INBOX")
        session.drop()
    assert [(arrived.uid, arrived.raw) for arrived in taken] == [(2, b"Precedence: bulk\r\n\r\n")]
    assert kept == [Cursor(7, 2)]
    assert visit.remarks == [
        "The mail 1 of inbox is not shown by the server, and was stepped over: look at it in the mailbox itself."
    ]


def test_a_flood_does_not_keep_the_others(database: str, home: Path) -> None:
    """A mailbox with more mails than one visit reads is read on at once, to its end, and is then well read."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        for _ in range(520):
            it.deliver(mail().replace(b"Date:", b"List-Id: x\r\nDate:"))
        it.deliver(number=1)
        it.watch()
        it.wait_for_mails(521)
        it.wait_for_reading()
        assert (
            it.value("SELECT uid FROM reading_cursor WHERE mailbox_id = %s AND folder = 'inbox'", it.mailbox()) == 520
        )


def _port(it: SandboxScene) -> int:
    return int(it.value("SELECT imap_port FROM mailbox"))
