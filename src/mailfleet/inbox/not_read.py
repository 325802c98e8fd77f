"""A mail whose head or text the server did not show, as the row of `incoming` in which a person sees it. Pure."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from mailfleet.inbox.facts import MAX_LINE, clean
from mailfleet.mail.incoming import Letter
from mailfleet.mail.parts import read_part
from mailfleet.model.words import Folder, MailKind


@dataclass(frozen=True, slots=True)
class NotRead:
    """`header` is empty where not even that was shown; `why` is the server's last word on it."""

    folder: Folder
    uid_validity: int
    uid: int
    header: bytes
    why: str

    def values(self) -> dict[str, Any]:
        """The columns of its row, one for each mail however often it is told."""
        letter = Letter(read_part(self.header).headers)
        what = f"text not read: {letter.subject}" if self.header else "not read"
        return {
            "folder": self.folder,
            "uid_validity": self.uid_validity,
            "uid": self.uid,
            "digest": sha256(f"not read {self.folder} {self.uid_validity} {self.uid}".encode()).digest(),
            "sender_address": clean(letter.sender, MAX_LINE),
            "subject": clean(f"({what})", MAX_LINE),
            "kind": MailKind.OTHER,
            "text": clean(f"Look at it in the mailbox itself. {self.why}", MAX_LINE),
        }
