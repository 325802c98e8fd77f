"""The reading client against Debian's Dovecot."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from mailfleet.model.words import Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import CursorVoid, FaultKind, ImapFault, ImapStage
from mailfleet.providers.imap_folders import Folders
from mailfleet.providers.imap_idle import IdleEvent, IdlePool
from mailfleet.providers.imap_mail import Cursor

from .dovecot import Dovecot, dovecot
from .peer import PATIENCE

FLEET = [f"box{number}@fleet.test" for number in range(300)]
THREADS = 8
TODAY = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot(dict.fromkeys([*FLEET, "ann@a.test", "bob@a.test", "cat@a.test", "dan@a.test"], "geheim")) as running:
        yield running


@contextmanager
def session(server: Dovecot, user: str, security: Security = Security.TLS) -> Iterator[ImapSession]:
    with ImapSession.open(server.endpoint(security), server.login(user)) as opened:
        yield opened


def letter(number: int, body: str = "text\r\n") -> bytes:
    return f"Message-ID: <{number}@x.example>\r\nSubject: number {number}\r\n\r\n{body}".encode()


@pytest.mark.parametrize("security", Security)
def test_what_is_new_is_read_and_stays_unread(server: Dovecot, security: Security) -> None:
    """Over every transport: what came after the cursor is read, head and body, in batches, and nothing is marked."""
    with session(server, "ann@a.test", security) as reader:
        cursor = reader.first_cursor("INBOX")
        assert not reader.look("INBOX").has_news(cursor)
        for number in range(5):
            server.deliver("ann@a.test", letter(number, "x" * 1000))
        assert reader.look("INBOX").has_news(cursor)
        batches = list(reader.read_heads("INBOX", cursor, batch=2))
        heads = [head for batch in batches for head in batch.heads]
        assert [b"number %d" % number in head.header for number, head in enumerate(heads)] == [True] * 5
        assert all(head.received_at and head.size > 1000 and rb"\Seen" not in head.flags for head in heads)
        assert [len(batch.heads) for batch in batches] == [2, 2, 1]
        body = reader.read_body("INBOX", heads[0], at_most=100)
        assert body is not None
        assert (len(body.content), body.is_whole) == (100, False)
        assert list(reader.read_heads("INBOX", batches[-1].cursor)) == []
    assert server.seen("ann@a.test") == 0


def test_folders_are_found_by_their_marks(server: Dovecot) -> None:
    """SPECIAL-USE names the Swedish junk folder; a STATUS of it and a mail in it are read by that name."""
    with session(server, "bob@a.test") as reader:
        folders = reader.find_folders()
        assert folders == Folders("Skräppost", "Gesendet")
        cursor = reader.first_cursor("Skräppost")
        server.deliver("bob@a.test", letter(1), folder="Skr&AOQ-ppost")
        assert reader.look("Skräppost").has_news(cursor)
        (batch,) = reader.read_heads("Skräppost", cursor)
        assert b"number 1" in batch.heads[0].header


def test_folders_are_found_by_their_names() -> None:
    """Without SPECIAL-USE the names do."""
    with dovecot({"eve@a.test": "geheim"}, special_use=False) as server, session(server, "eve@a.test") as reader:
        assert reader.find_folders() == Folders("Skräppost", "Gesendet")


def test_a_folder_numbered_anew_is_read_again_by_date(server: Dovecot) -> None:
    """When UIDVALIDITY changes the cursor is void, and reading goes on from a date, with nothing missed."""
    with session(server, "cat@a.test") as reader:
        server.deliver("cat@a.test", letter(1))
        cursor = reader.first_cursor("INBOX", since=datetime.now(UTC).date())
        (batch,) = reader.read_heads("INBOX", cursor)
    server.doveadm("mailbox", "update", "--uid-validity", "4242", "-u", "cat@a.test", "INBOX")
    server.deliver("cat@a.test", letter(2))
    with session(server, "cat@a.test") as reader:
        assert reader.look("INBOX").has_news(batch.cursor)
        with pytest.raises(CursorVoid):
            list(reader.read_heads("INBOX", batch.cursor))
        anew = reader.first_cursor("INBOX", since=datetime.now(UTC).date())
        assert anew.uid_validity == 4242
        (batch,) = reader.read_heads("INBOX", anew)
        assert [b"number 1" in batch.heads[0].header, b"number 2" in batch.heads[-1].header] == [True, True]


def test_the_sent_folder_is_searched_and_filled(server: Dovecot) -> None:
    """A copy is filed as read and found by its exact Message-ID; a part of one, or none, is not found."""
    with session(server, "dan@a.test") as reader:
        sent = reader.find_folders().sent
        assert sent is not None
        for number in (11, 1):
            uid = reader.append_copy(sent, letter(number), TODAY)
        assert (uid, reader.find_message(sent, "<1@x.example>")) == (2, 2)
        assert reader.find_message(sent, "<1@x.exampl>") is None
        (batch,) = reader.read_heads(sent, Cursor(reader.look(sent).uid_validity, 0))
        assert (batch.heads[1].received_at, r"\Seen" in batch.heads[1].flags) == (TODAY, True)


def test_a_wrong_password_and_a_foreign_certificate(server: Dovecot) -> None:
    """The one is a fault of the login, the other of trust, and neither is tried again by itself."""
    tls = server.endpoint()
    for endpoint, login, kind, stage in (
        (tls, Login("ann@a.test", "falsch"), FaultKind.LOGIN, ImapStage.AUTH),
        (Endpoint(tls.host, tls.port, tls.security), server.login("ann@a.test"), FaultKind.UNTRUSTED, ImapStage.TLS),
    ):
        with pytest.raises(ImapFault) as caught:
            ImapSession.open(endpoint, login)
        assert (caught.value.kind, caught.value.stage) == (kind, stage)


def test_a_fleet_is_polled_by_a_few_threads(server: Dovecot) -> None:
    """300 mailboxes, a session each: the ten with new mail are read, the others cost a look."""

    def begin(user: str) -> Cursor:
        with session(server, user) as reader:
            return reader.first_cursor("INBOX")

    def poll(user: str, cursor: Cursor) -> list[bytes]:
        with session(server, user) as reader:
            if not reader.look("INBOX").has_news(cursor):
                return []
            return [head.header for batch in reader.read_heads("INBOX", cursor) for head in batch.heads]

    with ThreadPoolExecutor(THREADS) as threads:
        cursors = list(threads.map(begin, FLEET))
        for user in FLEET[::30]:
            server.deliver(user, letter(7))
        read = list(threads.map(poll, FLEET, cursors))
    assert [len(heads) for heads in read] == [int(number % 30 == 0) for number in range(300)]


def test_a_fleet_idles_in_one_thread(server: Dovecot) -> None:
    """100 idle connections, each renewed again and again: the one with new mail comes back and is read at once."""
    events: queue.Queue[IdleEvent[str]] = queue.Queue()
    pool = IdlePool(events.put, renew_after=timedelta(milliseconds=200))

    def begin(user: str) -> Cursor:
        reader = ImapSession.open(server.endpoint(), server.login(user))
        cursor = reader.first_cursor("INBOX")
        pool.add(user, reader)
        return cursor

    try:
        with ThreadPoolExecutor(THREADS) as threads:
            cursors = dict(zip(FLEET[:100], threads.map(begin, FLEET[:100]), strict=True))
        for user in FLEET[50:53]:
            server.deliver(user, letter(8))
        for _ in range(3):
            event = events.get(timeout=PATIENCE)
            assert (event.has_news, event.fault) == (True, None)
            (batch,) = event.session.read_heads("INBOX", cursors.pop(event.key))
            assert b"number 8" in batch.heads[0].header
            event.session.close()
        assert set(cursors) == set(FLEET[:100]) - set(FLEET[50:53])
        assert len(pool) == 97
    finally:
        pool.close()
