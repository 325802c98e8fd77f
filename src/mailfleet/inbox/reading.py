"""Reading one folder: batch after batch, what is in it is taken and committed, then the cursor moves.

Dies at any point: between two mails, between the last mail and the cursor: the mails behind the cursor are read again,
and `take` knows those it has. Before the first cursor: the folder is begun anew from the same day.

A mail that the server refuses to show, or that ends the connection whenever it is fetched, must not keep those behind
it; nor may a server that shows nothing at all for a while cost a mail. What its `Doubt` says is done in turn, a failure
further each time, the waits between them growing:

    1           one by one, in order, so that the doubt falls on one mail
    2, 5, ...   what is behind it first, without moving the cursor; then it
    3, 6, ...   it first, for what is behind it may be worse
    4, 7, ...   a mail of INBOX that was read before, only to see whether any is shown; then it

If its text fails again although another's was shown meanwhile, it is taken by its head, which is enough to stop
letters; at failure GIVE_UP whatever was shown. If its head fails, it is stepped over at failure GIVE_UP, but never
before another's was shown. Both are told to a person.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime

from mailfleet.base.clock import utc_now
from mailfleet.base.log import get_log
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.not_read import NotRead
from mailfleet.inbox.taking import wants_body
from mailfleet.model.words import Folder
from mailfleet.providers.imap import BATCH, ImapSession
from mailfleet.providers.imap_faults import CursorVoid, ImapFault, ImapStage
from mailfleet.providers.imap_mail import Cursor, Head

MOST_BATCHES = 20  # chosen: 500 mails; then it is another mailbox's turn
GIVE_UP = 6  # chosen: about half an hour after the first failure; what passes by itself has passed
LOOK_BACK = 1000  # chosen: UIDs before the cursor; few mailboxes were emptied of so many


@dataclass(frozen=True, slots=True)
class Doubt:
    """FETCH failed `failures` times at what follows `cursor`. `shows_heads`, `shows_texts`: of another mail, since the
    doubt fell on this one.
    """

    cursor: Cursor
    failures: int
    shows_heads: bool = False
    shows_texts: bool = False


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """`name` is what the folder was called when it was read."""

    name: str
    cursor: Cursor


@dataclass
class Visit:
    """What reading needs besides the folder. `since`: from which day on a folder is read whose cursor says nothing.

    `take` commits one mail, `tell` one that was not read; `keep` stores a cursor. The last two raise Fenced when the
    mailbox is not ours any more. `doubts` outlives the visit.
    """

    mailbox_id: int
    address: str
    session: ImapSession
    cursors: Mapping[Folder, StoredCursor]
    since: date
    doubts: dict[Folder, Doubt]
    take: Callable[[Arrived], None]
    tell: Callable[[NotRead], None]
    keep: Callable[[Folder, str, Cursor], None]
    must_end: Callable[[], bool]

    def read(self, folder: Folder, name: str) -> bool:
        """Whether all of it was read; if not, the next visit goes on, with a new session where this one is closed."""
        reader = _FolderReader(self, folder, name)
        try:
            return reader.read()
        except ImapFault as fault:
            if fault.stage is ImapStage.FETCH:
                reader.doubt()
            raise


class _FolderReader:
    def __init__(self, visit: Visit, folder: Folder, name: str) -> None:
        self._visit, self._folder, self._name = visit, folder, name
        self._session = visit.session
        stored = visit.cursors.get(folder)
        self._cursor = stored.cursor if stored is not None and stored.name == name else self._begin()

    def read(self) -> bool:
        try:
            return self._read()
        except CursorVoid:
            self._visit.doubts.pop(self._folder, None)
            self._cursor = self._begin()
            return self._read()

    def doubt(self) -> None:
        """Remembers that FETCH failed behind the cursor."""
        known = self._known_doubt()
        if known is not None:
            self._visit.doubts[self._folder] = replace(known, failures=known.failures + 1)
        else:
            failures = 2 if self._folder in self._visit.doubts else 1  # one by one already: it failed at this mail
            self._visit.doubts[self._folder] = Doubt(self._cursor, failures)

    def _begin(self) -> Cursor:
        cursor = self._session.first_cursor(self._name, self._visit.since)
        self._visit.keep(self._folder, self._name, cursor)
        return cursor

    def _known_doubt(self) -> Doubt | None:
        doubt = self._visit.doubts.get(self._folder)
        return doubt if doubt is not None and doubt.cursor == self._cursor else None

    def _read(self) -> bool:
        doubt = self._known_doubt()
        if doubt is not None and doubt.failures > 1:
            self._read_around(doubt)
            self._visit.doubts.pop(self._folder)
            return False
        is_whole = self._read_on(batch=1 if self._folder in self._visit.doubts else BATCH)
        self._visit.doubts.pop(self._folder, None)
        return is_whole

    def _read_on(self, *, batch: int) -> bool:
        for number, found in enumerate(self._session.read_heads(self._name, self._cursor, batch=batch), 1):
            for head in found.heads:
                self._take(head)
            self._keep(found.cursor)
            if number * batch >= MOST_BATCHES * BATCH or self._visit.must_end():
                return False
        return True

    def _take(self, head: Head) -> bool:
        """With its text where that may be about us; whether that was shown. What vanished is taken by its head."""
        is_wanted = head.is_cut or wants_body(head.header)
        body = self._session.read_body(self._name, head) if is_wanted else None
        self._visit.take(self._arrived(head, body.content if body else head.header))
        return body is not None

    def _arrived(self, head: Head, raw: bytes) -> Arrived:
        received_at: datetime = head.received_at or utc_now()
        return Arrived(self._visit.mailbox_id, self._folder, head.uid_validity, head.uid, received_at, raw)

    def _keep(self, cursor: Cursor) -> None:
        self._visit.keep(self._folder, self._name, cursor)
        self._cursor = cursor

    # In doubt

    def _read_around(self, doubt: Doubt) -> None:
        """The mail in doubt, and what may tell whether it is to blame; the cursor moves past that mail alone."""
        uids = self._session.new_uids(self._name, self._cursor)
        if not uids:
            return
        suspect = Cursor(self._cursor.uid_validity, uids[0])
        turn = doubt.failures % 3
        if turn == 2 and len(uids) > 1:
            self._read_behind(suspect)
        elif turn != 0 and not doubt.shows_texts:
            self._look_back()
        self._read_suspect(suspect.uid)
        self._keep(suspect)

    def _read_behind(self, suspect: Cursor) -> None:
        for number, found in enumerate(self._session.read_heads(self._name, suspect, batch=1), 1):
            for head in found.heads:
                self._note(is_text=False)
                self._note(is_text=self._take(head))
            if number >= MOST_BATCHES * BATCH or self._visit.must_end():
                return

    def _look_back(self) -> None:
        stored = self._visit.cursors.get(Folder.INBOX)
        if stored is None:
            return
        with suppress(CursorVoid):
            head = self._first_after(stored.name, replace(stored.cursor, uid=max(0, stored.cursor.uid - LOOK_BACK)))
            if head is not None and head.uid <= stored.cursor.uid:
                self._note(is_text=False)
                self._note(is_text=self._session.read_body(stored.name, head) is not None)

    def _first_after(self, name: str, cursor: Cursor) -> Head | None:
        found = next(self._session.read_heads(name, cursor, batch=1), None)
        return found.heads[0] if found is not None and found.heads else None

    def _note(self, *, is_text: bool) -> None:
        """The server shows another mail."""
        doubt = self._visit.doubts[self._folder]
        shown = replace(doubt, shows_heads=True, shows_texts=doubt.shows_texts or is_text)
        self._visit.doubts[self._folder] = shown

    def _read_suspect(self, uid: int) -> None:
        head: Head | None = None
        try:
            head = self._first_after(self._name, self._cursor)
            if head is not None:
                self._take(head)
        except ImapFault as fault:
            if fault.stage is not ImapStage.FETCH or not self._is_to_blame(head):
                raise
            self._give_up(uid, head, fault)

    def _is_to_blame(self, head: Head | None) -> bool:
        """Whether the mail in doubt is given up: just now its text was not shown, or without `head` nothing of it."""
        doubt = self._visit.doubts[self._folder]
        is_late = doubt.failures + 1 >= GIVE_UP
        return doubt.shows_heads and is_late if head is None else doubt.shows_texts or is_late

    def _give_up(self, uid: int, head: Head | None, fault: ImapFault) -> None:
        get_log().critical(
            "mail_not_read",
            mailbox=self._visit.address,
            folder=self._folder,
            uid=uid,
            is_head_known=head is not None,
            why=str(fault),
            next="it is shown by `mailfleet inbox`",
        )
        if head is not None:
            self._visit.take(self._arrived(head, head.header))
        header = head.header if head else b""
        self._visit.tell(NotRead(self._folder, self._cursor.uid_validity, uid, header, str(fault)))
