"""The mailboxes as IMAP shows them, in memory: folders with their messages, empty when the sandbox starts."""

from collections.abc import Iterable
from dataclasses import dataclass, field

INBOX = "INBOX"
SENT = "Sent"


@dataclass(slots=True)
class Folder:
    """`messages` in order of arrival; the n-th (from 1) has UID n, for nothing is ever taken out."""

    name: str
    attributes: tuple[str, ...]
    messages: list[bytes] = field(default_factory=list)
    uid_validity: int = 1

    @property
    def uid_next(self) -> int:
        return len(self.messages) + 1


class MailboxStore:
    """INBOX and Sent (RFC 6154) for each mailbox."""

    def __init__(self, mailboxes: Iterable[str]) -> None:
        self._folders = {mailbox: _folders() for mailbox in mailboxes}

    def folders(self, mailbox: str) -> list[Folder]:
        return list(self._folders[mailbox].values())

    def folder(self, mailbox: str, name: str) -> Folder | None:
        """INBOX in any case (RFC 3501 section 5.1), others as they are written."""
        return self._folders[mailbox].get(INBOX if name.upper() == INBOX else name)

    def deliver(self, mailbox: str, content: bytes, folder: str = INBOX) -> None:
        self._folders[mailbox][folder].messages.append(content)


def _folders() -> dict[str, Folder]:
    return {INBOX: Folder(INBOX, (r"\HasNoChildren",)), SENT: Folder(SENT, (r"\HasNoChildren", r"\Sent"))}
