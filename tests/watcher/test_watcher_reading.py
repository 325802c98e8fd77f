"""What is read of a mailbox, and that nothing of it is missed or taken twice, whatever the server does."""

from collections import Counter
from pathlib import Path

import pytest
from cutting_proxy import cutting_proxy
from watch_scene import SandboxScene, mail, sandbox_scene

from mailfleet.inbox.reading import GIVE_UP
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
    is stepped over. A person is told."""
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
        running.stop()
        assert proxy.cuts == (GIVE_UP if is_head else 3)
        assert it.told() == ["(not read)" if is_head else "(text not read: Hello)"]


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


def test_junk_that_kills_the_connection_keeps_no_other(database: str, home: Path) -> None:
    """A mail in the junk folder, alone there, ends the connection: INBOX is read all the while, and as INBOX is shown
    the mail is stepped over."""
    with sandbox_scene(database, home) as it, cutting_proxy(_port(it), b"deadly-words") as proxy:
        it.run("UPDATE mailbox SET imap_port = %s", proxy.port)
        it.deliver(mail("deadly-words"), folder="junk")
        wanted = [it.deliver()]
        it.watch()
        for number in range(1, 3):
            it.wait_for_mails(number)
            assert proxy.cuts < GIVE_UP
            wanted.append(it.deliver())
        it.wait_for_reading(2)
        assert it.taken() == Counter(wanted)
        assert (proxy.cuts, it.told()) == (GIVE_UP, ["(not read)"])


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
