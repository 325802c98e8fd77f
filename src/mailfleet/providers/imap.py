"""The reading client: one logged-in IMAP connection to one mailbox, which reads and leaves everything unread.

IMAPClient blocks, so a session belongs to one thread at a time; a pool of a few threads serves a fleet. Folders are
only ever EXAMINEd and bodies PEEKed at; the one thing ever written is a copy into the Sent folder.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from imapclient.response_parser import parse_response

from mailfleet.base.errors import InvariantError
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap_faults import CursorVoid, FaultKind, ImapFault, ImapStage, mapped
from mailfleet.providers.imap_folders import Folders, Listed, choose_folders, is_marked, read_listed
from mailfleet.providers.imap_mail import HEADER_LIMIT, Batch, Body, Cursor, Head, Look, read_body, read_head, read_look
from mailfleet.providers.imap_opening import ImapDeadlines, open_client
from mailfleet.providers.imap_wire import Client, Wire

BATCH = 25  # chosen: heads a FETCH; with HEADER_LIMIT that is 1.6 MB at the very most, 100 kB as a rule
BODY_LIMIT = 262_144  # chosen: octets; text comes before attachments, and what was quoted behind what is new
NEWEST = 100  # chosen: Message-IDs at the end of a folder that are compared one by one where SEARCH found nothing

_SMALL = 65_536  # chosen: octets of an answer to STATUS, EXAMINE, APPEND; a few hundred as a rule
_LARGE = 4_194_304  # chosen: octets of a list of folders, or of the UIDs of half a million mails
_ITEMS = 4096  # chosen: octets of one mail's FETCH response besides the text asked for
_HEAD_ITEMS = ("INTERNALDATE", "RFC822.SIZE", "FLAGS", f"BODY.PEEK[HEADER]<0.{HEADER_LIMIT}>")
_ID_ITEM = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_ID_KEY = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
_APPENDED = re.compile(rb"\[APPENDUID \d+ (\d+)\]", re.I)  # RFC 4315 §3
_MESSAGE_ID = re.compile(r"[!-~]{1,900}")


class ImapSession:
    """Every method raises ImapFault; only after a plain refusal is the session still usable.

    `capabilities` is what the server offers, in upper case; `alerts` the newest texts it wants a person to see;
    `has_grown` whether it told of mail that came after the open folder was opened.
    """

    def __init__(self, client: Client, endpoint: Endpoint, deadlines: ImapDeadlines) -> None:
        self.endpoint = endpoint
        self.capabilities = frozenset(word.decode("ascii", "replace") for word in client.capabilities())
        self._client = client
        self._deadlines = deadlines
        self._folder: str | None = None
        self._look: Look | None = None
        self.has_grown = False

    @classmethod
    def open(cls, endpoint: Endpoint, login: Login, deadlines: ImapDeadlines | None = None) -> Self:
        """Connects and logs in. SetupError: the endpoint's CA file cannot be used."""
        deadlines = deadlines or ImapDeadlines()
        return cls(open_client(endpoint, login, deadlines), endpoint, deadlines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.drop()

    @property
    def is_usable(self) -> bool:
        return not self.wire.is_closed

    @property
    def can_idle(self) -> bool:
        return "IDLE" in self.capabilities

    @property
    def messages(self) -> int:
        """How many the open folder held when it was opened."""
        return (self._look and self._look.messages) or 0

    @property
    def alerts(self) -> tuple[str, ...]:
        return self.wire.alerts

    @property
    def wire(self) -> Wire:
        """For `imap_idle` alone."""
        return self._client.imap.wire

    def close(self) -> None:
        """LOGOUT, and the end of the connection whatever comes of it."""
        if self.is_usable:
            with suppress(ImapFault), self._asking(ImapStage.LOGOUT, within=self._deadlines.logout):
                self._client.logout()
        self.drop()

    def drop(self) -> None:
        """The end of the connection, without a word."""
        self.wire.close()

    # Folders

    def find_folders(self) -> Folders:
        """INBOX, junk and sent. A fleet keeps the answer: it costs the whole list of folders."""
        listed = self._list()
        if "SPECIAL-USE" in self.capabilities and not is_marked(listed):
            listed = self._list_marked() + listed
        return choose_folders(listed)

    def _list(self) -> list[Listed]:
        with self._asking(ImapStage.LIST, octets=_LARGE):
            self._client.folder_encode = False
            return _read_listed(self._client.list_folders())

    def _list_marked(self) -> list[Listed]:
        """RFC 6154 §3: some servers show the marks only to who asks for them."""
        with self._asking(ImapStage.LIST, octets=_LARGE):
            self._client.imap.xatom("LIST", "(SPECIAL-USE)", '""', '"*"')
            lines = [line for line in self._client.imap.response("LIST")[1] if line]
            parsed = parse_response(lines)
            return _read_listed(list(zip(*[iter(parsed)] * 3, strict=False)))

    # What is new

    def look(self, folder: str) -> Look:
        """Where the folder is now, by STATUS, which opens nothing; the open one is EXAMINEd anew (RFC 3501 §6.3.10)."""
        if folder == self._folder:
            return self._examine(folder)
        wanted = ["UIDVALIDITY", "UIDNEXT", "MESSAGES", *(["HIGHESTMODSEQ"] if self._has_modseq else [])]
        with self._asking(ImapStage.STATUS):
            self._client.folder_encode = True
            items = self._client.folder_status(folder, wanted)
        return self._known(ImapStage.STATUS, folder, read_look(items))

    def first_cursor(self, folder: str, since: date | None = None) -> Cursor:
        """Where reading begins: at now, however many old mails there are; or with `since`, at the first mail that came
        on that day or later. The day before counts too: the server's day need not be ours.
        """
        look = self._examine(folder)
        last = self._last_uid(look)  # before the search, so that what comes between the two lies behind the cursor
        if since is None:
            return Cursor(look.uid_validity, last)
        with self._asking(ImapStage.SEARCH, octets=_LARGE):
            found = self._client.search(["SINCE", since - timedelta(days=1)])
        return Cursor(look.uid_validity, min(found) - 1 if found else last)

    def new_uids(self, folder: str, cursor: Cursor) -> list[int]:
        """Which mails came after the cursor, oldest first, without reading them. CursorVoid as in `read_heads`."""
        look = self._examine(folder)
        if look.uid_validity != cursor.uid_validity:
            raise CursorVoid(folder, look.uid_validity)
        if not look.has_news(cursor):
            return []
        with self._asking(ImapStage.SEARCH, octets=_LARGE):
            # `n:*` names the last mail even when n is beyond it (RFC 3501 §6.4.8), so what is old is left out below.
            found = self._client.search(["UID", f"{cursor.uid + 1}:*"])
        return sorted({uid for uid in found if uid > cursor.uid})

    def read_heads(self, folder: str, cursor: Cursor, *, batch: int = BATCH) -> Iterator[Batch]:
        """What came after the cursor, in batches, oldest first; nothing when there is nothing. Between two batches,
        bodies may be read. CursorVoid before the first batch: the folder was numbered anew. ImapFault at `fetch` of the
        kind `refused` or `busy`: some mail of the batch is not shown, be it one or all of them.
        """
        uids = self.new_uids(folder, cursor)
        for start in range(0, len(uids), batch):
            yield self._read_batch(folder, cursor.uid_validity, uids[start : start + batch])

    def read_body(self, folder: str, head: Head, *, at_most: int = BODY_LIMIT) -> Body | None:
        """The mail from its first octet on, header included. None: it vanished. It stays unread."""
        self._open(folder, head.uid_validity)
        item = f"BODY.PEEK[]<0.{at_most}>"
        found = self._fetch([head.uid], [item], octets=at_most)
        return read_body(found.get(head.uid, {}), at_most)

    def _read_batch(self, folder: str, uid_validity: int, uids: Sequence[int]) -> Batch:
        """A server that cannot show one of several mails refuses all of them, or shows that one without its header."""
        self._open(folder, uid_validity)
        found = self._fetch(uids, _HEAD_ITEMS, octets=HEADER_LIMIT)
        heads = {uid: read_head(uid_validity, uid, found[uid]) for uid in uids if uid in found}
        if any(head is None and b"RFC822.SIZE" in found[uid] for uid, head in heads.items()):
            what = f"{self.endpoint}: the server shows a mail of {folder} without its header"
            raise ImapFault(FaultKind.REFUSED, ImapStage.FETCH, what)
        return Batch(tuple(head for head in heads.values() if head is not None), Cursor(uid_validity, uids[-1]))

    # The Sent folder

    def find_message(self, folder: str, message_id: str) -> int | None:
        """The UID of the mail with this Message-ID, angle brackets included. None: it is not there, for sure.

        SEARCH finds parts of words, and with some servers nothing at all; so what it finds is read, and what it does
        not find is looked for among the NEWEST mails.
        """
        if not _MESSAGE_ID.fullmatch(message_id):
            raise InvariantError("A Message-ID to look for holds signs that no Message-ID of ours has.")
        look = self._examine(folder)
        with self._asking(ImapStage.SEARCH, octets=_LARGE):
            found = self._client.search(["HEADER", "Message-ID", message_id])
        uid = self._match(sorted(found)[-NEWEST:], message_id)
        return uid if uid is not None else self._match(self._newest(look), message_id)

    def append_copy(self, folder: str, content: bytes, sent_at: datetime) -> int | None:
        """Files a letter of ours as read. Its UID where the server says so (RFC 4315), else None. ImapFault of the
        kind `lost`: it may be there or not; `find_message` tells.
        """
        with self._asking(ImapStage.APPEND, within=self._deadlines.append):
            self._client.folder_encode = True
            answer = self._client.append(folder, content, (rb"\Seen",), sent_at)
        found = _APPENDED.search(answer or b"")
        return int(found[1]) if found else None

    def _newest(self, look: Look) -> list[int]:
        with self._asking(ImapStage.SEARCH, octets=_LARGE):
            first = max(1, look.uid_next - NEWEST) if look.uid_next else 1
            return sorted(self._client.search(["UID", f"{first}:*"]))[-NEWEST:]

    def _match(self, uids: Sequence[int], message_id: str) -> int | None:
        found = self._fetch(uids, [_ID_ITEM], octets=_ITEMS) if uids else {}
        wanted = message_id.encode()
        return next((uid for uid, items in found.items() if wanted in (items.get(_ID_KEY) or b"").split()), None)

    # One command each

    @property
    def _has_modseq(self) -> bool:
        return "CONDSTORE" in self.capabilities or "QRESYNC" in self.capabilities

    def _examine(self, folder: str) -> Look:
        self._folder = None  # a refused EXAMINE leaves none open (RFC 3501 §6.3.2)
        with self._asking(ImapStage.EXAMINE):
            self._client.folder_encode = True
            items = self._client.select_folder(folder, readonly=True)
        self._look = self._known(ImapStage.EXAMINE, folder, read_look(items))
        self._folder = folder
        self.has_grown = False
        return self._look

    def _open(self, folder: str, uid_validity: int) -> None:
        """EXAMINEs the folder unless it is the open one."""
        look = self._look if folder == self._folder and self._look else self._examine(folder)
        if look.uid_validity != uid_validity:
            raise CursorVoid(folder, look.uid_validity)

    def _last_uid(self, look: Look) -> int:
        """Of the open folder; 0 when it is empty."""
        if look.uid_next is not None:
            return look.uid_next - 1
        with self._asking(ImapStage.SEARCH, octets=_LARGE):
            return max(self._client.search(["UID", "*"]), default=0)

    def _fetch(self, uids: Sequence[int], items: Sequence[str], *, octets: int) -> dict[int, dict[bytes, Any]]:
        """`octets` is the most that is asked for of each mail."""
        budget = _SMALL + len(uids) * (octets + _ITEMS)
        with self._asking(ImapStage.FETCH, octets=budget, within=self._deadlines.fetch):
            found: dict[int, dict[bytes, Any]] = self._client.fetch(uids, items)
        return found

    def _known(self, stage: ImapStage, folder: str, look: Look | None) -> Look:
        if look is None:
            what = f"{self.endpoint}: the server gives the folder {folder} no UIDVALIDITY, so it cannot be read"
            raise ImapFault(FaultKind.PROTOCOL, stage, what)
        return look

    @contextmanager
    def _asking(self, stage: ImapStage, *, octets: int = _SMALL, within: timedelta | None = None) -> Iterator[None]:
        """One command. What came unasked before it is dropped, so that it cannot gather over the days of a session."""
        if not self.is_usable:
            raise ImapFault(FaultKind.LOST, stage, f"{self.endpoint}: the connection was closed before {stage}")
        self.wire.allow(within or self._deadlines.command, octets)
        self._client.imap.untagged_responses.clear()
        with mapped(stage, self.endpoint, self.wire):
            yield
        self._note_growth()

    def _note_growth(self) -> None:
        """Servers tell of new mail in the answer to whatever command comes."""
        counts = self._client.imap.untagged_responses.get("EXISTS", [])
        known = [int(count) for count in counts if isinstance(count, bytes) and count.isdigit()]
        if self._folder is not None and max(known, default=0) > self.messages:
            self.has_grown = True


def _read_listed(lines: Sequence[Sequence[object]]) -> list[Listed]:
    return [listed for listed in map(read_listed, lines) if listed is not None]
