"""The reading client and the sandbox's IMAP face, each against the other."""

import queue
from datetime import UTC, datetime, timedelta

import pytest
from imapclient import IMAPClient

from mailfleet.base.errors import InputError
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import CursorVoid, FaultKind, ImapFault
from mailfleet.providers.imap_folders import Folders
from mailfleet.providers.imap_idle import IdleEvent, IdlePool
from mailfleet.providers.imap_mail import Cursor
from mailfleet.providers.sandbox import Faults, read_ledger

from .conftest import USERS, OpenStage
from .peer import PATIENCE

MAIL = b"Message-ID: <1@x.example>\r\nSubject: one\r\n two\r\n\r\nFirst line.\r\n"
FOLDERS = {
    "postfix": Folders("Junk", "Sent"),
    "google": Folders("[Gmail]/Spam", "[Gmail]/Sent Mail"),
    "microsoft": Folders("Courrier indésirable", "Éléments envoyés"),
    "ionos": Folders("Spamverdacht", "Gesendete Objekte"),
}


@pytest.mark.parametrize("dialect", FOLDERS)
def test_each_provider_has_its_own_folders(open_stage: OpenStage, dialect: str) -> None:
    """Marked or not, in any language, junk and sent are found, and mail in junk is read."""
    with open_stage() as stage, stage.read(dialect) as reader:
        folders = reader.find_folders()
        assert folders == FOLDERS[dialect]
        assert folders.junk is not None
        cursor = reader.first_cursor(folders.junk)
        assert stage.sandbox.deliver(f"ann@{dialect}.test", MAIL, "junk") == 1
        assert reader.look(folders.junk).has_news(cursor)
        (batch,) = reader.read_heads(folders.junk, cursor)
        assert batch.heads[0].header == MAIL.removesuffix(b"First line.\r\n")
        body = reader.read_body(folders.junk, batch.heads[0], at_most=12)
        assert body is not None and body.content == MAIL[:12]
        assert list(reader.read_heads(folders.junk, batch.cursor)) == []
        (again,) = reader.read_heads(folders.junk, cursor)
        assert again.heads[0].flags == frozenset()


@pytest.mark.parametrize("is_read_only", [True, False])
def test_reading_without_peeking_is_seen(open_stage: OpenStage, is_read_only: bool) -> None:
    """The sandbox marks what is read as a server does: a body without PEEK in a folder that is open for writing."""
    with open_stage() as stage:
        stage.sandbox.deliver("ann@postfix.test", MAIL)
        client = IMAPClient("127.0.0.1", stage.endpoint(security=Security.NONE).port, ssl=False)
        client.login("ann@postfix.test", "geheim")
        client.select_folder("INBOX", readonly=is_read_only)
        client.fetch([1], ["BODY.PEEK[]"])
        assert client.fetch([1], ["FLAGS"])[1][b"FLAGS"] == ()
        client.fetch([1], ["BODY[]"])
        assert client.fetch([1], ["FLAGS"])[1][b"FLAGS"] == (() if is_read_only else (rb"\Seen",))
        assert [name for _, _, name in client.list_sub_folders()] == ["INBOX", "Junk", "Sent"]
        assert client.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"] > 1
        client.logout()


@pytest.mark.parametrize("security", Security)
def test_every_transport_carries_a_token(open_stage: OpenStage, security: Security) -> None:
    """XOAUTH2 passes with the right token and is refused with a stale one, over each transport."""
    with open_stage() as stage:
        endpoint = stage.endpoint(security=security)
        login = Login("ann@postfix.test", "token", AuthKind.XOAUTH2)
        with ImapSession.open(endpoint, login) as reader:
            assert reader.look("INBOX").messages == 0
        with pytest.raises(ImapFault) as caught:
            ImapSession.open(endpoint, Login(login.username, "stale", AuthKind.XOAUTH2))
        assert caught.value.kind is FaultKind.LOGIN


def test_copies_are_filed_and_found(open_stage: OpenStage) -> None:
    """APPEND keeps every octet, tells the UID, and marks it as read; the search finds it by its header."""
    content = MAIL + b"\xff\x00\xfe \xc3\xa4\r\n"
    with open_stage() as stage, stage.read("microsoft") as reader:
        sent = reader.find_folders().sent
        assert sent is not None
        assert reader.append_copy(sent, content, datetime.now(UTC)) == 1
        assert reader.find_message(sent, "<1@x.example>") == 1
        assert reader.find_message(sent, "<2@x.example>") is None
        (batch,) = reader.read_heads(sent, Cursor(1, 0))
        assert batch.heads[0].flags == {r"\Seen"}
        body = reader.read_body(sent, batch.heads[0])
        assert body is not None and (body.content, body.is_whole) == (content, True)


@pytest.mark.parametrize(("dialect", "keeps"), [("google", True), ("postfix", False)])
def test_a_provider_keeps_a_copy_or_not(open_stage: OpenStage, dialect: str, keeps: bool) -> None:
    """With `keeps_sent` each accepted letter is in Sent when its reply is out."""
    with open_stage(keeps_sent=keeps) as stage, stage.read(dialect) as reader:
        stage.submit("zed@z.example", dialect=dialect)
        found = reader.find_message(FOLDERS[dialect].sent or "", f"<1.zed@{dialect}.test>")
        assert (found is not None) == keeps


def test_a_letter_to_one_of_ours_comes_in(open_stage: OpenStage) -> None:
    """What is submitted to a mailbox of the sandbox, tagged or not, is delivered there."""
    with open_stage() as stage, stage.read("ionos") as reader:
        stage.submit("ann+tag@ionos.test", "nobody@ionos.test")
        assert reader.look("INBOX").messages == 1


def test_idle_tells_of_a_delivery(open_stage: OpenStage) -> None:
    """A mail delivered into an idle mailbox wakes it; a provider without IDLE does not offer it."""
    events: queue.Queue[IdleEvent[str]] = queue.Queue()
    pool = IdlePool(events.put, renew_after=timedelta(milliseconds=30))
    try:
        with open_stage() as stage:
            with stage.read("ionos") as reader:
                assert not reader.can_idle
            for user in USERS[:3]:
                reader = stage.read(user.provider)
                reader.first_cursor("INBOX")
                pool.add(user.mailbox, reader)
            stage.sandbox.deliver(USERS[1].mailbox, MAIL)
            event = events.get(timeout=PATIENCE)
            assert (event.key, event.has_news) == (USERS[1].mailbox, True)
            assert event.session.look("INBOX").messages == 1
            event.session.close()
        lost = [events.get(timeout=PATIENCE) for _ in range(2)]
        assert {event.fault.kind for event in lost if event.fault} == {FaultKind.LOST}
    finally:
        pool.close()


def test_a_folder_numbered_anew(open_stage: OpenStage) -> None:
    """`renumber` gives a folder another UIDVALIDITY, and an old cursor is void."""
    with open_stage() as stage, stage.read() as reader:
        stage.sandbox.deliver("ann@postfix.test", MAIL)
        cursor = reader.first_cursor("INBOX")
        assert stage.sandbox.renumber("ann@postfix.test") == 2
        with pytest.raises(CursorVoid):
            list(reader.read_heads("INBOX", cursor))
        assert reader.first_cursor("INBOX", since=datetime.now(UTC).date()) == Cursor(2, 0)


def test_the_faults_strike(open_stage: OpenStage) -> None:
    """A drop in FETCH, "not now" at login, an alert and one connection too many are played as providers do."""
    with open_stage(faults=Faults(imap_drop=1.0, imap_alert=1.0), imap_connections=1) as stage:
        stage.sandbox.deliver("ann@postfix.test", MAIL)
        reader = stage.read()
        assert reader.alerts == ("[ALERT] Your storage is almost full",)
        with pytest.raises(ImapFault, match="Too many simultaneous connections") as caught:
            stage.read()
        assert caught.value.kind is FaultKind.BUSY
        with pytest.raises(ImapFault, match="connection broke at fetch"):
            list(reader.read_heads("INBOX", Cursor(1, 0)))
    with open_stage(faults=Faults(imap_busy=1.0)) as stage, pytest.raises(ImapFault) as caught:
        stage.read()
    assert (caught.value.kind, caught.value.code) == (FaultKind.BUSY, "UNAVAILABLE")
    assert all(login.ok for login in read_ledger(stage.ledger).logins)


def test_a_slow_fetch_is_waited_for(open_stage: OpenStage) -> None:
    """A slow server is slow, and then answers."""
    with open_stage(faults=Faults(imap_slow=1.0, slow_seconds=0.05)) as stage, stage.read() as reader:
        stage.sandbox.deliver("ann@postfix.test", MAIL)
        (batch,) = reader.read_heads("INBOX", Cursor(1, 0))
        assert len(batch.heads) == 1


def test_a_delivery_to_nobody_is_refused(open_stage: OpenStage) -> None:
    """A mailbox or folder that is not there is an InputError on our side of the pipe too, and the sandbox goes on."""
    with open_stage() as stage:
        for address, folder in (("nobody@x.test", "INBOX"), ("ann@google.test", "Nowhere")):
            with pytest.raises(InputError, match="no mailbox"):
                stage.sandbox.deliver(address, MAIL, folder)
        assert stage.sandbox.deliver("ann@google.test", MAIL, "[Gmail]/Spam") == 1
