"""Whatever a server says in the place of an answer, what comes of it is an answer or a fault of ours."""

from contextlib import suppress
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import CursorVoid, ImapFault
from mailfleet.providers.imap_mail import Cursor, Head
from mailfleet.providers.imap_opening import ImapDeadlines

from .peer import LOGIN, Peer, played

PIECES = [
    *(
        b"* 1 FETCH (",
        b"UID 1 ",
        b"BODY[HEADER]<0> ",
        b"{3}\r\nabc",
        b"NIL",
        b")",
        b"(",
        b'"',
        b"\\",
        b"\r\n",
        b"* ",
        b" ",
    ),
    *(b"RFC822.SIZE ", b"99999999999999999999", b'INTERNALDATE "31-Feb-9999 99:99:99 +9999"', b"FLAGS ", b"(\\Seen)"),
    *(
        b"* SEARCH ",
        b"1 2 3",
        b"* OK [UIDVALIDITY 7] x\r\n",
        b"* OK [UIDNEXT x]\r\n",
        b"* -1 EXISTS\r\n",
        b"* LIST () ",
    ),
    *(
        b'"/" "A&-"\r\n',
        b"* STATUS x (UIDNEXT 1 UIDVALIDITY 7)\r\n",
        b"[ALERT",
        b"]",
        b"{0}\r\n",
        b"{-1}\r\n",
        b"+ x\r\n",
    ),
]
SAID = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=14).map(b"".join)
HASTY = ImapDeadlines(login=timedelta(seconds=5), command=timedelta(seconds=5), fetch=timedelta(seconds=5))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SAID, st.sampled_from(["OK done", "NO no", "BAD what", "OK [READ-ONLY] x"])), max_size=6))
def test_no_answer_is_a_crash(said: list[tuple[bytes, str]]) -> None:
    """Answers, faults and void cursors are all that a session ever gives, and it ends."""

    def play(peer: Peer) -> None:
        peer.admit()
        for data, end in said:
            tag = peer.line().partition(b" ")[0]
            with suppress(OSError):
                peer.raw(data + b"\r\n" + tag + b" " + end.encode() + b"\r\n")

    with played(play) as endpoint:
        session = ImapSession.open(endpoint, LOGIN, HASTY)
        try:
            for ask in (
                lambda: session.find_folders(),
                lambda: session.look("INBOX"),
                lambda: session.first_cursor("INBOX"),
                lambda: list(session.read_heads("INBOX", Cursor(7, 0))),
                lambda: session.read_body("INBOX", Head(7, 1, None, 0, frozenset(), b"")),
                lambda: session.find_message("INBOX", "<1@x.example>"),
            ):
                with suppress(ImapFault, CursorVoid):
                    ask()
        finally:
            session.drop()
