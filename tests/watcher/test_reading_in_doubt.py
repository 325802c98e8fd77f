"""Mails that their server does not show, by refusing them or by hanging up: none keeps another, and none is given up
while the server shows nothing at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from imap.peer import LOGIN, Peer, played
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.not_read import NotRead
from mailfleet.inbox.reading import GIVE_UP, Doubt, StoredCursor, Visit
from mailfleet.model.words import Folder
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import ImapFault
from mailfleet.providers.imap_mail import HEADER_LIMIT, Cursor

HEAD = b"From: zed@z.example\r\nSubject: Hi\r\n\r\n"
TEXT = b"Words\r\n"
START = Cursor(7, 0)
HANGS_UP = ""
EVERY_WAY = pytest.mark.parametrize("no", ["NO cannot", "NO [SERVERBUG] Internal error", "BAD what", HANGS_UP])


@dataclass
class Box:
    """An INBOX whose server does not show what it `hides`: of a UID its "head" or its "text". `cursor` as it is kept,
    `taken` by UID: whether the text was there.
    """

    uids: Sequence[int] = (1, 2, 3)
    hides: Callable[[int, str], bool] = lambda uid, part: False
    no: str = "NO cannot"
    head: bytes = HEAD
    cursor: Cursor = START
    doubts: dict[Folder, Doubt] = field(default_factory=dict)
    taken: dict[int, bool] = field(default_factory=dict)
    told: list[NotRead] = field(default_factory=list)

    def visit(self) -> bool | None:
        """Whether all was read; None: a fault."""
        with played(self._play) as endpoint:
            try:
                with ImapSession.open(endpoint, LOGIN) as session:
                    return self._visit(session).read(Folder.INBOX, "INBOX")
            except ImapFault:
                return None

    def _visit(self, session: ImapSession) -> Visit:
        return Visit(
            mailbox_id=1,
            address="ann@a.test",
            session=session,
            cursors={Folder.INBOX: StoredCursor("INBOX", self.cursor)},
            since=datetime.now(UTC).date(),
            doubts=self.doubts,
            take=self._take,
            tell=self.told.append,
            keep=lambda folder, name, cursor: setattr(self, "cursor", cursor),
            must_end=lambda: False,
        )

    def _take(self, arrived: Arrived) -> None:
        self.taken.setdefault(arrived.uid, arrived.raw.endswith(TEXT))

    def _play(self, peer: Peer) -> None:
        peer.admit()
        while line := peer.line().decode():
            tag, _, command = line.partition(" ")
            if command.startswith("UID FETCH"):
                if not self._fetch(peer, tag, command):
                    return
                continue
            if command.startswith("EXAMINE"):
                peer.say("* OK [UIDVALIDITY 7] x", f"* OK [UIDNEXT {max(self.uids) + 1}] x")
            elif command.startswith("UID SEARCH"):
                first = int(command.split()[-1].partition(":")[0])
                peer.say("* SEARCH " + " ".join(str(uid) for uid in self.uids if uid >= first))
            peer.say(f"{tag} OK done")

    def _fetch(self, peer: Peer, tag: str, command: str) -> bool:
        """Whether the connection goes on."""
        part, item, text = ("text", b"BODY[]<0>", TEXT) if "[]" in command else ("head", b"BODY[HEADER]<0>", b"")
        asked = [int(uid) for uid in command.split()[2].split(",")]
        if any(self.hides(uid, part) for uid in asked):
            if self.no:
                peer.say(f"{tag} {self.no}")
            return bool(self.no)
        content = self.head + text
        for uid in asked:
            peer.say(b"* 1 FETCH (UID %d RFC822.SIZE 9 %b {%d}\r\n%b)" % (uid, item, len(content), content))
        peer.say(f"{tag} OK done")
        return True


def hides(uid: int, *parts: str) -> Callable[[int, str], bool]:
    return lambda asked, part: asked == uid and part in parts


@EVERY_WAY
def test_a_text_that_is_not_shown_keeps_no_other(no: str) -> None:
    """It fails thrice, the third time after another's text was shown: then its mail is taken by its head, and told."""
    box = Box(hides=hides(2, "text"), no=no)
    assert [box.visit() for _ in range(2)] == [None, None]
    assert (box.taken, box.told) == ({1: True}, [])
    assert (box.visit(), box.cursor) == (False, Cursor(7, 2))
    assert box.visit() is True
    assert box.taken == {1: True, 2: False, 3: True}
    assert [(mail.uid, mail.header) for mail in box.told] == [(2, HEAD)]
    assert (box.told[0].values()["sender_address"], box.told[0].values()["subject"]) == (
        "zed@z.example",
        "(text not read: Hi)",
    )


@EVERY_WAY
def test_a_head_that_is_not_shown_keeps_no_other(no: str) -> None:
    """The others are taken at the third try; at the last, about half an hour later, it is stepped over, and told."""
    box = Box(hides=hides(2, "head", "text"), no=no)
    assert [box.visit() for _ in range(3)] == [None] * 3
    assert (box.taken, box.cursor) == ({1: True, 3: True}, Cursor(7, 1))
    assert [box.visit() for _ in range(4, GIVE_UP)] == [None] * (GIVE_UP - 4)
    assert box.told == []
    assert [box.visit(), box.visit()] == [False, True]
    assert [(mail.uid, mail.header) for mail in box.told] == [(2, b"")]


def test_a_refusal_that_passes_costs_nothing() -> None:
    """One NO to a whole batch: the next visit takes each mail whole."""
    refusals = iter([True])
    box = Box(hides=lambda uid, part: next(refusals, False))
    assert [box.visit(), box.visit()] == [None, True]
    assert (box.taken, box.told) == (dict.fromkeys((1, 2, 3), True), [])


@EVERY_WAY
def test_an_outage_costs_no_mail(no: str) -> None:
    """While no mail at all is shown, none is stepped over, however long; then each is taken whole."""
    box = Box(hides=lambda uid, part: True, no=no)
    assert [box.visit() for _ in range(2 * GIVE_UP)] == [None] * (2 * GIVE_UP)
    box.hides = lambda uid, part: False
    while not box.visit():
        pass
    assert (box.taken, box.told) == (dict.fromkeys((1, 2, 3), True), [])


def test_half_an_hour_without_texts_costs_no_text() -> None:
    """While heads alone are shown none is taken by its head so soon; after that one is."""
    box = Box(hides=lambda uid, part: part == "text")
    assert [box.visit() for _ in range(GIVE_UP)] == [None] * GIVE_UP
    assert box.taken == {}
    assert (box.visit(), box.taken) == (False, {1: False})


@pytest.mark.parametrize(("part", "tries"), [("text", 3), ("head", GIVE_UP)])
def test_a_mail_with_none_behind_it_is_told_by_one_before_it(part: str, tries: int) -> None:
    """An earlier mail is looked at and not taken; that it is shown gives up the last one."""
    box = Box(uids=(1, 2), cursor=Cursor(7, 1), hides=hides(2, part))
    assert [box.visit() for _ in range(tries)] == [None] * (tries - 1) + [False]
    assert [mail.uid for mail in box.told] == [2]
    assert box.taken == ({2: False} if part == "text" else {})


def test_a_mail_alone_is_not_stepped_over() -> None:
    """Nothing tells whether it or its server is to blame, until another mail comes."""
    box = Box(uids=(2,), hides=hides(2, "head"))
    assert [box.visit() for _ in range(2 * GIVE_UP)] == [None] * (2 * GIVE_UP)
    assert box.told == []
    box.uids = (2, 3)
    while not box.visit():
        pass
    assert ([mail.uid for mail in box.told], box.taken) == ([2], {3: True})


def test_a_head_that_is_cut_wants_the_text() -> None:
    """What stands behind the first octets of a head may make it an answer, whatever stands in them."""
    head = b"Precedence: bulk\r\n"
    box = Box(uids=(1,), head=head + b"X-Long: " + b"x" * (HEADER_LIMIT - len(head)))
    assert (box.visit(), box.taken) == (True, {1: True})
