"""Reading one folder: batch after batch, what is in it is taken and committed, then the cursor moves.

Dies at any point: between two mails, between the last mail and the cursor: the mails behind the cursor are read again,
and `take` knows those it has. Before the first cursor: the folder is begun anew from the same day.

A mail that ends the connection whenever it is fetched must not keep those behind it. What its `Doubt` says is done in
turn, a death further each time, the waits between them growing:

    1  one by one, in order, so that the doubt falls on one mail
    2  what is behind it first, without moving the cursor; then it
    3  it first, and of it the head alone: that is enough to stop letters
    4  what is behind it first, then its head
    5  it is stepped over, and said
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from mailfleet.base.clock import utc_now
from mailfleet.base.log import get_log
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.taking import wants_body
from mailfleet.model.words import Folder
from mailfleet.providers.imap import BATCH, ImapSession
from mailfleet.providers.imap_faults import CursorVoid, ImapFault, ImapStage
from mailfleet.providers.imap_mail import Batch, Cursor, Head

MOST_BATCHES = 20  # chosen: 500 mails; then it is another mailbox's turn
HEAD_ALONE = 3  # chosen: deaths of the connection at one mail after which its body is not asked for
STEP_OVER = 5  # chosen: and after which it is not asked for any more; about half an hour after the first


@dataclass(frozen=True, slots=True)
class Doubt:
    """The connection died `deaths` times while what follows `cursor` was fetched."""

    cursor: Cursor
    deaths: int


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """`name` is what the folder was called when it was read."""

    name: str
    cursor: Cursor


@dataclass
class Visit:
    """What reading needs besides the folder. `since`: from which day on a folder is read whose cursor says nothing.

    `take` commits one mail; `keep` stores a cursor, and raises Fenced when the mailbox is not ours any more. `remarks`
    is what a person should know of a mail that could not be read. `doubts` outlives the visit.
    """

    mailbox_id: int
    address: str
    session: ImapSession
    cursors: Mapping[Folder, StoredCursor]
    since: date
    doubts: dict[Folder, Doubt]
    take: Callable[[Arrived], None]
    keep: Callable[[Folder, str, Cursor], None]
    must_end: Callable[[], bool]
    remarks: list[str] = field(default_factory=list)

    def read(self, folder: Folder, name: str) -> bool:
        """Whether all of it was read; if not, the next visit goes on."""
        reader = _FolderReader(self, folder, name)
        try:
            return reader.read()
        except ImapFault as fault:
            if fault.stage is ImapStage.FETCH and not self.session.is_usable:
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
        """Remembers that the connection died behind the cursor."""
        known = self._known_doubt()
        if known is not None:
            deaths = known.deaths + 1
        else:
            deaths = 2 if self._folder in self._visit.doubts else 1  # one by one already: it died of this mail
        self._visit.doubts[self._folder] = Doubt(self._cursor, deaths)

    def _begin(self) -> Cursor:
        cursor = self._session.first_cursor(self._name, self._visit.since)
        self._visit.keep(self._folder, self._name, cursor)
        return cursor

    def _known_doubt(self) -> Doubt | None:
        doubt = self._visit.doubts.get(self._folder)
        return doubt if doubt is not None and doubt.cursor == self._cursor else None

    def _read(self) -> bool:
        doubt = self._known_doubt()
        if doubt is not None and doubt.deaths > 1:
            self._read_around(doubt)
            self._visit.doubts.pop(self._folder)
            return False
        is_whole = self._read_on(batch=1 if self._folder in self._visit.doubts else BATCH)
        self._visit.doubts.pop(self._folder, None)
        return is_whole

    def _read_on(self, *, batch: int) -> bool:
        for number, found in enumerate(self._session.read_heads(self._name, self._cursor, batch=batch), 1):
            self._take(found)
            self._keep(found.cursor)
            if number * batch >= MOST_BATCHES * BATCH or self._visit.must_end():
                return False
        return True

    def _read_around(self, doubt: Doubt) -> None:
        """The mail in doubt, and those behind it; the cursor moves past that mail alone."""
        uids = self._session.new_uids(self._name, self._cursor)
        if not uids:
            return
        suspect = Cursor(self._cursor.uid_validity, uids[0])
        if doubt.deaths >= STEP_OVER:
            self._remark(suspect.uid, "ends the connection each time it is read")
        else:
            if doubt.deaths != HEAD_ALONE:
                self._read_behind(suspect)
            self._read_one(with_body=doubt.deaths < HEAD_ALONE)
        self._keep(suspect)

    def _read_behind(self, suspect: Cursor) -> None:
        for number, found in enumerate(self._session.read_heads(self._name, suspect, batch=1), 1):
            self._take(found)
            if number >= MOST_BATCHES * BATCH or self._visit.must_end():
                return

    def _read_one(self, *, with_body: bool) -> None:
        found = next(self._session.read_heads(self._name, self._cursor, batch=1), None)
        if found is not None:
            self._take(found, with_bodies=with_body)

    def _take(self, batch: Batch, *, with_bodies: bool = True) -> None:
        for head in batch.heads:
            raw = self._raw(head) if with_bodies else head.header
            self._visit.take(self._arrived(head, raw))
        for uid in batch.refused:
            self._remark(uid, "is not shown by the server")

    def _raw(self, head: Head) -> bytes:
        """What vanished between head and body is taken by its head."""
        if not wants_body(head.header):
            return head.header
        body = self._session.read_body(self._name, head)
        return head.header if body is None else body.content

    def _arrived(self, head: Head, raw: bytes) -> Arrived:
        received_at: datetime = head.received_at or utc_now()
        return Arrived(self._visit.mailbox_id, self._folder, head.uid_validity, head.uid, received_at, raw)

    def _keep(self, cursor: Cursor) -> None:
        self._visit.keep(self._folder, self._name, cursor)
        self._cursor = cursor

    def _remark(self, uid: int, what: str) -> None:
        text = f"The mail {uid} of {self._folder} {what}, and was stepped over: look at it in the mailbox itself."
        get_log().critical("mail_stepped_over", mailbox=self._visit.address, folder=self._folder, uid=uid, why=what)
        self._visit.remarks.append(text)
