"""Several watchers: they share the mailboxes, take over from the dead, and a late one writes nothing."""

import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from watch_scene import Scene, sandbox_scene, stop

from mailfleet.base.db import connect
from mailfleet.inbox.leases import fair_share
from mailfleet.inbox.not_read import NotRead
from mailfleet.inbox.store import Census, Fenced, WatcherStore
from mailfleet.model.words import Folder
from mailfleet.outbox.tunables import Tunables
from mailfleet.providers.imap_mail import Cursor
from stage import HASTY

SHARED = (
    "SELECT array_agg(n ORDER BY n) = %s::bigint[]"
    " FROM (SELECT count(*) AS n FROM reading WHERE watcher_id IS NOT NULL GROUP BY watcher_id) AS held"
)


def shared(it: Scene, *numbers: int) -> None:
    """Until the watchers hold so many mailboxes each."""
    it.wait(SHARED, list(numbers), what=f"shares of {numbers}")


def test_watchers_share_the_fleet(database: str, home: Path) -> None:
    """Two watchers hold half each, whoever came first; when one ends in order the other has all at once. Every mail is
    taken once all the while."""
    with sandbox_scene(database, home, mailboxes=6, providers=3) as it:
        it.watch()
        shared(it, 6)
        second = it.watch()
        shared(it, 3, 3)
        wanted = [it.deliver(number=number) for number in range(6)]
        it.wait_for_mails(6)
        second.stop()
        shared(it, 6)
        wanted += [it.deliver(number=number) for number in range(6)]
        it.wait_for_mails(12)
        assert it.taken() == Counter(wanted)


def test_a_dead_watcher_is_taken_over(database: str, home: Path) -> None:
    """SIGKILL: when its leases run out another reads on from its cursors."""
    with sandbox_scene(database, home, mailboxes=3) as it:
        process = it.process()
        wanted = [it.deliver(number=number) for number in range(3)]
        it.wait_for_mails(3)
        process.kill()
        process.wait()
        wanted += [it.deliver(number=number) for number in range(3)]
        it.watch()
        it.wait_for_mails(6)
        assert it.taken() == Counter(wanted)
        assert {row.fence for row in it.rows("SELECT fence FROM reading")} == {2}


@pytest.mark.parametrize("point", ["before a mail is taken", "before the cursor", "before a good reading"])
def test_a_frozen_watcher_that_wakes_moves_no_cursor(point: str, database: str, home: Path) -> None:
    """Frozen in the middle of a visit and woken when another has read further: what it still writes is fenced off."""
    with sandbox_scene(database, home) as it:
        wanted = [it.deliver()]
        number = {"before a mail is taken": 1, "before the cursor": 3, "before a good reading": 1}[point]
        frozen = it.process(point, str(number), "SIGSTOP")
        it.wait(
            "SELECT coalesce(bool_and(watcher_id IS NOT NULL AND expires_at < clock_timestamp()), false) FROM reading"
        )
        running = it.watch()
        wanted += [it.deliver() for _ in range(3)]
        it.wait_for_mails(4)
        it.wait_for_reading()
        reading, cursor = it.reading(), it.rows("SELECT * FROM reading_cursor ORDER BY folder")
        frozen.send_signal(signal.SIGCONT)
        stop(frozen)
        running.stop()
        assert it.rows("SELECT * FROM reading_cursor ORDER BY folder") == cursor
        assert (it.reading().fence, it.reading().failures) == (reading.fence, 0)
        assert it.taken() == Counter(wanted)


def test_every_write_names_its_fence(database: str, home: Path) -> None:
    """Whoever lost the mailbox gets Fenced from each write, and nothing is changed."""
    with sandbox_scene(database, home) as it, it.connect() as connection:
        old = WatcherStore(connection, WatcherStore.register(connection, "h"))
        new = WatcherStore(connection, WatcherStore.register(connection, "h"))
        old.make_readings(apart=HASTY.lease * 0, longest=HASTY.lease)
        ((mailbox, fence),) = old.lease(5, HASTY.lease * 0)
        assert new.lease(5, HASTY.lease) == [(mailbox, fence + 1)]
        before = it.reading()
        fault = {"kind": "lost", "text": "", "refused": None, "first": HASTY.lease, "longest": HASTY.lease, "chance": 1}
        for write in (
            lambda lease: old.load(lease),
            lambda lease: old.keep_cursor(lease, Folder.INBOX, "INBOX", Cursor(1, 1)),
            lambda lease: old.tell_not_read(lease, NotRead(Folder.INBOX, 1, 1, b"", "no")),
            lambda lease: old.read_well(lease, wait=HASTY.lease),
            lambda lease: old.read_on(lease),
            lambda lease: old.fail(lease, fault),
        ):
            for stale in ((mailbox, fence), (mailbox, fence + 1)):
                with pytest.raises(Fenced):
                    write(stale)
        assert old.renew([(mailbox, fence)], HASTY.lease) == set()
        old.release([(mailbox, fence), (mailbox, fence + 1)])
        assert it.reading() == before
        assert it.value("SELECT count(*) FROM reading_cursor") + it.value("SELECT count(*) FROM incoming") == 0
        assert old.lease(5, HASTY.lease) == []


def test_a_mail_that_was_not_read_is_told_once(database: str, home: Path) -> None:
    """One that dies before the cursor moves is followed by one that tells it again, which changes nothing; another
    mail is another row."""
    with sandbox_scene(database, home) as it, it.connect() as connection:
        store = WatcherStore(connection, WatcherStore.register(connection, "h"))
        store.make_readings(apart=timedelta(), longest=timedelta())
        (lease,) = store.lease(1, timedelta(hours=1))
        for uid, header in ((1, b""), (1, b""), (2, b"From: zed@z.example\r\nSubject: Hi \0\r\n\r\n")):
            store.tell_not_read(lease, NotRead(Folder.INBOX, 7, uid, header, "no"))
        assert sorted(it.told()) == ["(not read)", "(text not read: Hi \ufffd)"]
        assert it.value("SELECT text FROM incoming LIMIT 1") == "Look at it in the mailbox itself. no"


def test_a_retired_mailbox_is_read_no_more(database: str, home: Path) -> None:
    """It is let go of when it retires and read on when it comes back; one without an IMAP host has no row at all."""
    with sandbox_scene(database, home, mailboxes=3) as it:
        it.run("UPDATE mailbox SET imap_host = '' WHERE id = %s", it.mailbox(2))
        it.watch()
        it.wait("SELECT count(*) = 2 FROM reading WHERE read_at IS NOT NULL")
        it.run("UPDATE mailbox SET retired_at = now() WHERE id = %s", it.mailbox(1))
        it.wait("SELECT watcher_id IS NULL FROM reading WHERE mailbox_id = %s", it.mailbox(1))
        wanted = it.deliver(number=1)
        it.deliver(number=0)
        it.wait_for_mails(1)
        assert wanted not in it.taken()
        it.run("UPDATE mailbox SET retired_at = NULL WHERE id = %s", it.mailbox(1))
        it.wait_for_mails(2)
        assert wanted in it.taken()
        assert it.value("SELECT count(*) FROM reading") == 2


def test_a_watcher_ends_in_order(database: str, home: Path) -> None:
    """SIGTERM: sessions are logged out, so that a provider that allows one connection lets the next watcher in; leases
    are free, and the row says when it stopped."""
    with sandbox_scene(database, home, mailboxes=3, imap_connections=1) as it:
        process = it.process()
        it.wait("SELECT count(*) = 3 FROM reading WHERE read_at IS NOT NULL")
        assert stop(process) == ""
        assert it.value("SELECT count(*) FROM reading WHERE watcher_id IS NULL") == 3
        assert it.value("SELECT stopped_at IS NOT NULL FROM watcher")
        it.watch()
        it.wait_for_reading()
        assert it.value("SELECT count(*) FROM reading WHERE failures > 0") == 0


def test_new_mailboxes_are_spread(database: str, home: Path) -> None:
    """A fleet that is new is not due all at once, and within what each may wait."""
    with sandbox_scene(database, home, mailboxes=30) as it, it.connect() as connection:
        store = WatcherStore(connection, 0)
        store.make_readings(apart=Tunables().lease, longest=Tunables().horizon / 12)
        row = it.rows("SELECT max(next_at) - min(next_at) AS spread, max(next_at) - now() AS last FROM reading")[0]
        assert row.spread.total_seconds() > 60
        assert row.last.total_seconds() <= 300


@pytest.mark.parametrize(("mailboxes", "watchers", "share"), [(7, 2, 4), (6, 2, 3), (0, 1, 0), (5, 0, 5), (1, 3, 1)])
def test_shares_cover_the_fleet(mailboxes: int, watchers: int, share: int) -> None:
    """The shares of all watchers are enough for every mailbox, and as small as that allows."""
    assert fair_share(Census(mailboxes, watchers)) == share


def test_a_connection_that_was_lost_is_not_used_again(database: str) -> None:
    """Each thread gets a connection of its own; one that broke is replaced."""
    from mailfleet.inbox.store import Connections

    connections = Connections(database)
    with connections.one() as first, connections.one() as second:
        assert first is not second
    with pytest.raises(psycopg.OperationalError), connections.one() as broken, connect(database, name="test") as other:
        other.execute("SELECT pg_terminate_backend(%s)", [broken.info.backend_pid])
        broken.execute("SELECT 1")
    with connections.one() as fresh:
        assert fresh.execute("SELECT 1").fetchone() == (1,)
    connections.close()
