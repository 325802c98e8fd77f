"""Which folder is junk and which is sent, from lines of LIST."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient.imap_utf7 import encode

from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_folders import Folders, Listed, choose_folders, read_listed

from .peer import LOGIN, Peer, played


def listed(name: str, *attributes: str, delimiter: str = "/") -> Listed:
    return Listed(name, delimiter, frozenset(attributes))


@pytest.mark.parametrize(
    ("folders", "junk", "sent"),
    [
        ([listed("INBOX"), listed("Xyz", r"\junk"), listed("Spam"), listed("Abc", r"\sent")], "Xyz", "Abc"),
        ([listed("[Gmail]/Спам"), listed("[Gmail]/Отправленные")], "[Gmail]/Спам", "[Gmail]/Отправленные"),
        ([listed("[Gmail]/Spam", r"\hasnochildren"), listed("[Gmail]/Sent Mail")], "[Gmail]/Spam", "[Gmail]/Sent Mail"),
        (
            [listed("Old/Spam"), listed("Junk-E-Mail"), listed("Gesendete Elemente")],
            "Junk-E-Mail",
            "Gesendete Elemente",
        ),
        ([listed("INBOX.Courrier indésirable", delimiter=".")], "INBOX.Courrier indésirable", None),
        (
            [listed("INBOX.spam", delimiter="."), listed("INBOX.INBOX.Sent", delimiter=".")],
            "INBOX.spam",
            "INBOX.INBOX.Sent",
        ),
        ([listed("SPAM", delimiter="")], "SPAM", None),
        ([listed("Correo no deseado"), listed("Elementos enviados")], "Correo no deseado", "Elementos enviados"),
        ([listed("迷惑メール"), listed("送信済みアイテム")], "迷惑メール", "送信済みアイテム"),
        ([listed("Inbox"), listed("Spam reports"), listed("Consent")], None, None),
    ],
)
def test_a_mark_goes_before_a_name(folders: list[Listed], junk: str | None, sent: str | None) -> None:
    """SPECIAL-USE decides; without it the outermost folder of a known name, in any language, does."""
    assert choose_folders(folders) == Folders(junk, sent)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_a_name_finds_its_folder_again(name: str) -> None:
    """Modified UTF-7 there and back: what is read names the folder that was listed."""
    found = read_listed(((b"\\Junk",), b"/", encode(name)))
    assert found == Listed(name, "/", frozenset({r"\junk"}))


@pytest.mark.parametrize(
    "line",
    [
        ((rb"\Noselect",), b"/", b"[Gmail]"),
        ((rb"\NonExistent",), b"/", b"Spam"),
        ((), b"/", "Späm".encode()),
        ((), b"/", b"Sp&AOQ"),
        ((), b"/", b"Sp&////-m"),
        ((), b"/", None),
        ((), b"/", (b"Spam",)),
    ],
)
def test_a_folder_that_cannot_be_opened_is_left_out(line: tuple[object, ...]) -> None:
    """Folders that are only branches, and names that would not find their folder again, are not offered."""
    assert read_listed(line) is None


def test_a_folder_named_by_a_number_is_a_folder() -> None:
    """A name of digits comes from the parser as a number, and no delimiter as None."""
    assert read_listed(((), None, 2024)) == Listed("2024", "", frozenset())


def test_marks_that_come_only_when_asked_for_are_asked_for() -> None:
    """RFC 6154 leaves it to the server whether a plain LIST shows the marks."""

    def play(peer: Peer) -> None:
        peer.admit("IMAP4rev1 AUTH=PLAIN SPECIAL-USE")
        names = [b'* LIST (\\HasNoChildren) "/" %b' % name for name in (b"INBOX", b'"Abc"', b'"Spam"', b'"&BCE-"')]
        peer.answer("LIST", *names, b'* LIST () "/" {3}\r\nLit')
        peer.answer("LIST (SPECIAL-USE)", rb'* LIST (\Junk) "/" "&BCE-"', rb'* LIST (\Sent) "/" Abc')
        peer.rest()

    with played(play) as endpoint:
        session = ImapSession.open(endpoint, LOGIN)
        assert session.find_folders() == Folders("С", "Abc")
        session.drop()
