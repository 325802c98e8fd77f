"""The reading client against servers that lie, fall silent, break off and babble."""

from contextlib import suppress
from datetime import UTC, date, datetime

import pytest

from mailfleet.model.words import Security
from mailfleet.providers.auth import Login
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import CursorVoid, FaultKind, ImapFault, ImapStage
from mailfleet.providers.imap_mail import Cursor, Head

from .peer import HASTY, LOGIN, Peer, played

START = Cursor(7, 0)
HEAD = Head(7, 3, None, 0, frozenset(), b"")


def fetched(uid: int, *, header: bytes = b"Subject: x\r\n\r\n", more: bytes = b"") -> bytes:
    items = b'INTERNALDATE "23-Nov-2026 10:00:00 +0300" RFC822.SIZE 99 FLAGS (\\Recent)%b' % more
    return b"* %d FETCH (UID %d %b BODY[HEADER]<0> {%d}\r\n%b)" % (uid, uid, items, len(header), header)


def read_all(session: ImapSession, cursor: Cursor = START, batch: int = 25) -> list[int]:
    return [head.uid for found in session.read_heads("INBOX", cursor, batch=batch) for head in found.heads]


def test_the_last_mail_is_not_new_again() -> None:
    """`UID SEARCH UID n:*` names the last mail even when n is beyond it, and it is not read twice."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine(uid_next=None)
        peer.answer("UID SEARCH UID 4:*", "* SEARCH 3")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        assert read_all(session, Cursor(7, 3)) == []
        session.drop()


def test_nothing_new_costs_no_search() -> None:
    """Where UIDNEXT says that nothing came, nothing is searched for."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.answer("STATUS", '* STATUS "INBOX" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7)')
        peer.examine(uid_next=4)
        peer.answer("LOGOUT", "* BYE")

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        assert not session.look("INBOX").has_news(Cursor(7, 3))
        assert read_all(session, Cursor(7, 3)) == []


def test_what_vanished_between_search_and_fetch_is_passed_over() -> None:
    """A mail that is gone by the time of FETCH is missing, the others are read, and the cursor goes on."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.answer("UID SEARCH UID 1:*", "* SEARCH 3 1 2")
        peer.answer("UID FETCH 1,2,3", fetched(1), "* 2 EXPUNGE", fetched(3))
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        (batch,) = session.read_heads("INBOX", START)
        assert [head.uid for head in batch.heads] == [1, 3]
        assert batch.cursor == Cursor(7, 3)
        assert batch.heads[0].received_at == datetime(2026, 11, 23, 7, tzinfo=UTC)
        assert (batch.heads[0].header, batch.heads[0].is_cut) == (b"Subject: x\r\n\r\n", False)
        session.drop()


@pytest.mark.parametrize(
    ("shown", "end", "kind"),
    [
        ((), "NO [SERVERBUG2] cannot open mail 2", FaultKind.REFUSED),
        ((), "NO [SERVERBUG] Internal error", FaultKind.BUSY),
        ((fetched(1), "* 2 FETCH (UID 2 RFC822.SIZE 9 FLAGS () BODY[HEADER]<0> NIL)"), "OK done", FaultKind.REFUSED),
    ],
)
def test_no_batch_is_handed_over_with_a_mail_missing(shown: tuple[bytes | str, ...], end: str, kind: FaultKind) -> None:
    """A mail that is there and is not shown, or without its header, is a fault of FETCH, and the session goes on."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.answer("UID SEARCH", "* SEARCH 1 2")
        peer.answer("UID FETCH 1,2", *shown, end=end)
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        with pytest.raises(ImapFault) as caught:
            read_all(session)
        assert (caught.value.kind, caught.value.stage, session.is_usable) == (kind, ImapStage.FETCH, True)
        session.drop()


def test_a_folder_numbered_anew_voids_the_cursor() -> None:
    """Another UIDVALIDITY: no mail is read by its old number, before the batch or between two of them."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.answer("UID SEARCH", "* SEARCH 1 2 3")
        peer.answer("UID FETCH 1 ", fetched(1))
        peer.answer("STATUS", "* STATUS Junk (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 9)")
        peer.examine(uid_validity=8)
        peer.examine(uid_validity=8)
        peer.answer("UID SEARCH SINCE 19-Nov-2026", "* SEARCH 31 32")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        batches = session.read_heads("INBOX", START, batch=1)
        assert next(batches).cursor == Cursor(7, 1)
        session.look("Junk")
        assert session.look("INBOX").has_news(Cursor(7, 3))
        with pytest.raises(CursorVoid) as caught:
            next(batches)
        assert caught.value.uid_validity == 8
        with pytest.raises(CursorVoid):
            session.read_body("INBOX", HEAD)
        assert session.first_cursor("INBOX", since=date(2026, 11, 20)) == Cursor(8, 30)
        session.drop()


@pytest.mark.parametrize(("uid_next", "found", "uid"), [(201, "", 200), (None, " 200", 200), (None, "", 0)])
def test_reading_begins_at_now(uid_next: int | None, found: str, uid: int) -> None:
    """The first cursor of a mailbox stands behind its last mail, with UIDNEXT or without, and no old mail is listed."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine(uid_next=uid_next, messages=200_000)
        if uid_next is None:
            peer.answer("UID SEARCH UID *", f"* SEARCH{found}")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        assert session.first_cursor("INBOX") == Cursor(7, uid)
        session.drop()


@pytest.mark.parametrize(("found", "uid"), [("", 200), (" 190 201", 189)])
def test_what_comes_while_reading_begins_is_not_passed(found: str, uid: int) -> None:
    """Without UIDNEXT the last UID is asked for before the search by date: what comes after it is behind the cursor."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine(uid_next=None, messages=200)
        peer.answer("UID SEARCH UID *", "* SEARCH 200")
        peer.answer("UID SEARCH SINCE", f"* SEARCH{found}")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        assert session.first_cursor("INBOX", since=date(2026, 11, 20)) == Cursor(7, uid)
        session.drop()


def test_a_folder_without_uidvalidity_is_not_read() -> None:
    """Without UIDVALIDITY no number can be remembered, and that is a fault rather than a guess."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.answer("STATUS", "* STATUS INBOX (MESSAGES 3)")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        with pytest.raises(ImapFault, match="no UIDVALIDITY"):
            session.look("INBOX")
        session.drop()


def test_a_body_is_bounded_by_what_was_asked_for() -> None:
    """A body comes by parts from its first octet, stays unread, and is said to be cut when it fills what was asked."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.answer("UID FETCH 3 (BODY.PEEK[]<0.5>)", b"* 3 FETCH (UID 3 BODY[]<0> {5}\r\nSubje)")
        peer.answer("UID FETCH 3 (BODY.PEEK[]<0.9>)", b"* 3 FETCH (UID 3 BODY[] {5}\r\nSubje)")
        peer.answer("UID FETCH 3 ", b"* 3 FETCH (FLAGS (\\Seen))")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        cut, whole = (session.read_body("INBOX", HEAD, at_most=size) for size in (5, 9))
        assert cut is not None and whole is not None
        assert (cut.content, cut.is_whole, whole.is_whole) == (b"Subje", False, True)
        assert session.read_body("INBOX", HEAD) is None
        session.drop()


NO_IMAP = "is not IMAP"
LIES = {
    "a literal far beyond what was asked for": (b"* 3 FETCH (UID 3 BODY[]<0> {2000000000}\r\nSubje", "announced 2000"),
    "more mails than fit what was asked for": (fetched(3, header=b"x" * 60_000) * 10, "announced 60000"),
    "more lines than fit what was asked for": (b"* OK %b\r\n" % (b"x" * 60_000) * 10, "far longer"),
    "a line without an end": (b"* 3 FETCH (UID 3 " + b"x" * 3_000_000, "has no end"),
    "a literal shorter than its length": (b"* 3 FETCH (UID 3 BODY[]<0> {99}\r\nSubje)\r\nA1 OK\r\n", "fell silent"),
    "brackets without end": (b"* 3 FETCH " + b"(" * 20_000 + b"\r\n", NO_IMAP),
    "no parentheses": (b"* 3 FETCH UID 3 BODY[] NIL\r\n", NO_IMAP),
    "an odd number of items": (b"* 3 FETCH (UID 3 BODY[])\r\n", NO_IMAP),
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", NO_IMAP),
    "octets": (bytes(range(256)) * 40, NO_IMAP),
    "a line end of its own": (b"* 3 FETCH (UID 3)\n", NO_IMAP),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_ends_the_connection_and_nothing_else(lie: str) -> None:
    """Whatever comes instead of a mail is a fault with the connection dropped: no crash, no memory, no hanging."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        tag = peer.hear("UID FETCH")
        with suppress(OSError):  # it hangs up while we still talk
            peer.raw(LIES[lie][0] + f"{tag} OK done\r\n".encode())
            peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN, HASTY) as session:
        with pytest.raises(ImapFault, match=LIES[lie][1]) as caught:
            session.read_body("INBOX", HEAD, at_most=1000)
        assert caught.value.kind in (FaultKind.PROTOCOL, FaultKind.LOST)
        assert caught.value.stage is ImapStage.FETCH
        assert not session.is_usable
        assert "Subje" not in str(caught.value)
        with pytest.raises(ImapFault, match="closed before"):
            session.look("INBOX")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "fell silent at fetch"),
        (b"* 1 FETCH (UID 1 BODY[HEADER]<0> {400}\r\nSubj", "fell silent at fetch"),
        (b"* NO Disk is almost full\r\n", "fell silent at fetch"),
    ],
)
def test_a_server_that_falls_silent_ends_in_a_fault(sent: bytes, said: str) -> None:
    """Silence in the middle of FETCH ends by the deadline of the whole command."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.answer("UID SEARCH", "* SEARCH 1")
        peer.hear("UID FETCH")
        peer.raw(sent)
        assert peer.rest() == b""

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN, HASTY) as session:
        with pytest.raises(ImapFault, match=said) as caught:
            read_all(session)
        assert (caught.value.kind, session.is_usable) == (FaultKind.LOST, False)


def test_a_server_that_drips_ends_in_a_fault() -> None:
    """An octet now and then does not keep a command alive beyond its deadline."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.hear("STATUS")
        peer.sock.settimeout(0.02)
        with suppress(OSError):  # it hangs up while we still talk
            for _ in range(100):
                peer.raw(b"* OK still here\r\n")
                with suppress(TimeoutError):
                    assert peer.sock.recv(1) == b""
                    return

    with played(play) as endpoint:
        session = ImapSession.open(endpoint, LOGIN, HASTY)
        with pytest.raises(ImapFault, match="fell silent at status"):
            session.look("INBOX")


def test_a_drop_in_fetch_loses_nothing_that_was_read() -> None:
    """The batches before the drop were handed over with their cursor, and the next session begins behind it."""

    def first(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.answer("UID SEARCH", "* SEARCH 1 2")
        peer.answer("UID FETCH 1 ", fetched(1))
        peer.hear("UID FETCH 2 ")
        peer.raw(fetched(2)[:60])

    def second(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.answer("UID SEARCH UID 2:*", "* SEARCH 2")
        peer.answer("UID FETCH 2 ", fetched(2))
        peer.rest()

    read, cursor = [], START
    with played(first, second) as endpoint:
        session = ImapSession.open(endpoint, LOGIN)
        with pytest.raises(ImapFault, match="connection broke at fetch"):
            for batch in session.read_heads("INBOX", cursor, batch=1):
                read += [head.uid for head in batch.heads]
                cursor = batch.cursor
        assert (read, cursor) == ([1], Cursor(7, 1))
        session = ImapSession.open(endpoint, LOGIN)
        assert read_all(session, cursor) == [2]
        session.drop()


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        ("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", FaultKind.LOGIN, "AUTHENTICATIONFAILED"),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", FaultKind.BUSY, "ALERT"),
        ("NO [UNAVAILABLE] Temporary authentication failure.", FaultKind.BUSY, "UNAVAILABLE"),
        ("NO LOGIN failed.", FaultKind.LOGIN, ""),
        ("NO Too many login failures, try again later", FaultKind.LOGIN, ""),
        ("BAD User is authenticated but not connected.", FaultKind.BUSY, ""),
        ("NO [INUSE] Mailbox locked by another client", FaultKind.BUSY, "INUSE"),
    ],
)
def test_a_refused_login_says_whether_to_try_again(words: str, kind: FaultKind, code: str) -> None:
    """A wrong secret is never tried again by itself; "not now" is; and the server's own words are handed on."""

    def play(peer: Peer) -> None:
        peer.say(f"* OK [CAPABILITY {'IMAP4rev1 AUTH=PLAIN'}] ready")
        tag = peer.hear("AUTHENTICATE")
        peer.say("+ ")
        peer.line()
        peer.say(f"{tag} {words}")
        peer.rest()

    with played(play) as endpoint, pytest.raises(ImapFault) as caught:
        ImapSession.open(endpoint, LOGIN)
    fault = caught.value
    assert (fault.kind, fault.stage, fault.code) == (kind, ImapStage.AUTH, code)
    assert fault.said == words.partition(" ")[2] and fault.said in str(fault)
    assert "geheim" not in str(fault)


def test_an_expired_token_is_answered_with_an_empty_line() -> None:
    """XOAUTH2: the challenge is the error, the token is not sent a second time, and the kind is `login`."""
    token = Login("anna@one.example", "token", kind=type(LOGIN.kind).XOAUTH2)

    def play(peer: Peer) -> None:
        peer.say("* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] ready")
        tag = peer.hear("AUTHENTICATE XOAUTH2")
        peer.say("+ ")
        assert peer.line()
        peer.say("+ eyJzdGF0dXMiOiI0MDAifQ==")
        assert peer.line() == b""
        peer.say(f"{tag} NO [AUTHENTICATIONFAILED] Invalid credentials")
        peer.rest()

    with played(play) as endpoint, pytest.raises(ImapFault) as caught:
        ImapSession.open(endpoint, token)
    assert caught.value.kind is FaultKind.LOGIN


@pytest.mark.parametrize("capability", ["AUTH=PLAIN", "LOGINDISABLED"])
def test_a_login_that_cannot_be_said_is_not_said(capability: str) -> None:
    """A token is not sent as a password, and no password where the server forbids it."""
    login = Login("a", "b", kind=type(LOGIN.kind).XOAUTH2) if capability == "AUTH=PLAIN" else LOGIN

    def play(peer: Peer) -> None:
        peer.say(f"* OK [CAPABILITY IMAP4rev1 {capability}] ready")
        assert peer.rest() == b""

    with played(play) as endpoint, pytest.raises(ImapFault, match="offers no login") as caught:
        ImapSession.open(endpoint, login)
    assert caught.value.kind is FaultKind.LOGIN


def test_a_name_with_spaces_is_quoted() -> None:
    """Whatever stands in a user name, LOGIN sends it as one word."""

    def play(peer: Peer) -> None:
        peer.say("* OK [CAPABILITY IMAP4rev1] ready")
        peer.answer(r'LOGIN "one \"two\" \\three" "geheim"')
        peer.answer("CAPABILITY", "* CAPABILITY IMAP4rev1 XLIST")
        peer.rest()

    with played(play) as endpoint:
        session = ImapSession.open(endpoint, Login('one "two" \\three', "geheim"))
        assert session.capabilities == {"IMAP4REV1", "XLIST"}
        session.drop()


def test_too_many_connections_at_the_door_are_no_fault_of_the_login() -> None:
    """BYE instead of a greeting is `busy`, with the server's words."""

    def play(peer: Peer) -> None:
        peer.say("* BYE Too many connections from your address")

    with played(play) as endpoint, pytest.raises(ImapFault, match="Too many connections from your") as caught:
        ImapSession.open(endpoint, LOGIN)
    assert (caught.value.kind, caught.value.stage) == (FaultKind.BUSY, ImapStage.GREETING)


def test_a_bye_in_the_middle_is_told() -> None:
    """A server that shuts down says so, and its words are in the fault."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.hear("STATUS")
        peer.say("* BYE Server shutting down.")

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        with pytest.raises(ImapFault, match="Server shutting down") as caught:
            session.look("INBOX")
        assert (caught.value.kind, session.is_usable) == (FaultKind.LOST, False)


def test_a_refused_command_leaves_the_session() -> None:
    """NO to one folder is a fault of that folder alone."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.answer("STATUS", end="NO [NONEXISTENT] No such folder")
        peer.answer("STATUS", "* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 7)")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        with pytest.raises(ImapFault, match="No such folder") as caught:
            session.look("Nowhere")
        assert caught.value.kind is FaultKind.REFUSED
        assert session.look("INBOX").uid_next == 2
        session.drop()


def test_alerts_are_kept_for_a_person() -> None:
    """[ALERT] must be shown (RFC 3501 §7.1): the newest few are kept, without signs that no table holds."""

    def play(peer: Peer) -> None:
        peer.admit()
        alerts = [b"* OK [ALERT] number %d\0\xff" % number for number in range(9)]
        peer.answer("STATUS", *alerts, "* STATUS INBOX (UIDNEXT 2 UIDVALIDITY 7)")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        session.look("INBOX")
        assert session.alerts == tuple(f"[ALERT] number {number} \ufffd" for number in range(5, 9))
        session.drop()


def test_what_comes_unasked_does_not_gather() -> None:
    """A session that lives for days keeps nothing of what servers tell at every poll."""

    def play(peer: Peer) -> None:
        peer.admit()
        for _ in range(50):
            peer.answer("STATUS", "* 5 EXISTS", "* 1 RECENT", "* OK [X] y", "* STATUS INBOX (UIDNEXT 2 UIDVALIDITY 7)")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        for _ in range(50):
            session.look("INBOX")
        assert sum(len(lines) for lines in session._client.imap.untagged_responses.values()) < 5
        session.drop()


def test_the_search_for_a_message_id_is_verified_and_backed() -> None:
    """SEARCH that finds parts of words, or nothing, is no evidence: the header itself is."""
    other, ours = b"Message-ID: <11@a.example>\r\n\r\n", b"Message-Id:\r\n <1@a.example>\r\n\r\n"

    def ids(uid: int, text: bytes) -> bytes:
        key = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
        return b"* %d FETCH (UID %d %b {%d}\r\n%b)" % (uid, uid, key, len(text), text)

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine(uid_next=9)
        peer.answer("UID SEARCH HEADER Message-ID <1@a.example>", "* SEARCH 5")
        peer.answer("UID FETCH 5 ", ids(5, other))
        peer.answer("UID SEARCH UID 1:*", "* SEARCH 5 7 8")
        peer.answer("UID FETCH 5,7,8 ", ids(5, other), ids(8, ours))
        peer.examine(uid_next=9)
        peer.answer("UID SEARCH HEADER", "* SEARCH")
        peer.answer("UID SEARCH UID 1:*", "* SEARCH")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        assert session.find_message("Sent", "<1@a.example>") == 8
        assert session.find_message("Sent", "<2@a.example>") is None
        session.drop()


def test_a_refused_copy_is_a_fault() -> None:
    """A full mailbox refuses the copy before it is sent, and the session goes on."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.answer("APPEND", end="NO [OVERQUOTA] Quota exceeded")
        peer.rest()

    with played(play) as endpoint, ImapSession.open(endpoint, LOGIN) as session:
        with pytest.raises(ImapFault, match="Quota exceeded") as caught:
            session.append_copy("Sent", b"x\r\n", datetime(2026, 11, 23, tzinfo=UTC))
        assert (caught.value.kind, session.is_usable) == (FaultKind.REFUSED, True)
        session.drop()


def test_what_is_said_before_tls_is_not_believed() -> None:
    """Words that come in the clear behind the go-ahead for STARTTLS may be anyone's: the connection ends there."""

    def play(peer: Peer) -> None:
        peer.say("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready")
        tag = peer.hear("STARTTLS")
        peer.raw(f"{tag} OK go ahead\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n".encode())
        assert peer.rest() == b""

    with played(play, security=Security.STARTTLS) as endpoint, pytest.raises(ImapFault, match="out of turn") as caught:
        ImapSession.open(endpoint, LOGIN)
    assert caught.value.stage is ImapStage.STARTTLS
