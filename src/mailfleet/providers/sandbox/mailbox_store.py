"""The mailboxes as IMAP shows them, in memory: folders with their mails, empty when the sandbox starts."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailfleet.providers.sandbox.dialects import Habits

INBOX = "INBOX"
SEEN = r"\Seen"


@dataclass(slots=True)
class Mail:
    """`at` is seconds since the epoch (UTC)."""

    uid: int
    content: bytes
    at: float
    flags: set[str]


@dataclass(slots=True, eq=False)
class Folder:
    """`mails` in order of arrival. `watchers` are called with what an open connection is to be told (RFC 3501 §7.3)."""

    name: str
    attributes: tuple[str, ...]
    mails: list[Mail] = field(default_factory=list)
    uid_validity: int = 1
    uid_next: int = 1
    changes: int = 1
    watchers: list[Callable[[str], None]] = field(default_factory=list)

    def add(self, content: bytes, flags: Iterable[str] = ()) -> int:
        """Returns the UID."""
        uid = self.uid_next
        self.uid_next += 1
        self.mails.append(Mail(uid, content, time.time(), set(flags)))
        self._change(f"{len(self.mails)} EXISTS")
        return uid

    def remove(self, uid: int) -> None:
        number = next(number for number, mail in enumerate(self.mails) if mail.uid == uid)
        del self.mails[number]
        self._change(f"{number + 1} EXPUNGE")

    def renumber(self) -> None:
        """As after a restore from a backup: every UID is another's (RFC 3501 §2.3.1.1)."""
        self.uid_validity += 1
        for number, mail in enumerate(reversed(self.mails)):
            mail.uid = number + 1
        self.mails.reverse()
        self.uid_next = len(self.mails) + 1
        self.changes += 1

    def _change(self, told: str) -> None:
        self.changes += 1
        for watcher in tuple(self.watchers):
            watcher(told)


class MailboxStore:
    """INBOX, junk and sent for each mailbox, named and marked (RFC 6154) by the habits of the provider."""

    def __init__(self, mailboxes: Iterable[str], habits: Habits) -> None:
        self._habits = habits
        self._folders = {mailbox: _folders(habits) for mailbox in mailboxes}

    def __contains__(self, mailbox: str) -> bool:
        return mailbox in self._folders

    def folders(self, mailbox: str) -> list[Folder]:
        return list(self._folders[mailbox].values())

    def folder(self, mailbox: str, name: str) -> Folder | None:
        """INBOX in any case (RFC 3501 §5.1), others as they are written; "junk" and "sent" are those of the habits."""
        roles = {"junk": self._habits.junk, "sent": self._habits.sent}
        return self._folders[mailbox].get(INBOX if name.upper() == INBOX else roles.get(name, name))

    def deliver(self, mailbox: str, content: bytes, folder: str = INBOX, flags: Iterable[str] = ()) -> int:
        """Returns the UID. KeyError: there is no such mailbox or folder."""
        found = self.folder(mailbox, folder)
        if found is None:
            raise KeyError(folder)
        return found.add(content, flags)


def _folders(habits: Habits) -> dict[str, Folder]:
    marks = (r"\Junk", r"\Sent") if habits.special_use else (None, None)
    named = zip((INBOX, habits.junk, habits.sent), (None, *marks), strict=True)
    return {name: Folder(name, (r"\HasNoChildren", *([mark] if mark else []))) for name, mark in named}
