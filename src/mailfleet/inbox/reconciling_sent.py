"""The Sent folder of one mailbox: whether a letter lies there, by its Message-ID or by likeness, and filing one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailfleet.mail.addresses import parse_address
from mailfleet.mail.incoming import Letter, read_incoming
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import CursorVoid
from mailfleet.providers.imap_mail import Head

MOST_HEADS = 1000  # chosen: two days of a mailbox's letters are a tenth of it; more are somebody's own business
EARLY = timedelta(minutes=5)  # chosen: the provider's clock and ours
LATE = timedelta(hours=1)  # chosen: likewise, and a server that files late


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a letter is told by where its Message-ID was changed. `address`: its recipient; `since`, `until`: it left
    between them.
    """

    address: str
    subject: str
    since: datetime
    until: datetime

    def is_of(self, letter: Letter, received_at: datetime | None) -> bool:
        """Recipient, subject, time, and our opt-out, which no letter has that a person wrote by hand."""
        at = received_at or letter.sent_at
        wanted = parse_address(self.address).wire.lower()
        return (
            at is not None
            and self.since - EARLY <= at <= self.until + LATE
            and letter.subject == " ".join(self.subject.split())
            and wanted in (recipient.lower() for recipient in letter.recipients)
            and bool(letter.get("List-Unsubscribe-Post"))
        )


class SentFolder:
    """Every method raises ImapFault."""

    def __init__(self, session: ImapSession, name: str) -> None:
        self.name = name
        self._session = session

    def holds(self, header_id: str) -> bool:
        return self._session.find_message(self.name, header_id) is not None

    def holds_alike(self, likeness: Likeness) -> bool:
        """By reading heads: many servers search subjects beyond ASCII badly. False also of a folder that is numbered
        anew meanwhile, and of one with more than `MOST_HEADS` mails of those days.
        """
        cursor = self._session.first_cursor(self.name, since=likeness.since.date())
        read = 0
        try:
            for batch in self._session.read_heads(self.name, cursor):
                if any(_is_alike(likeness, head) for head in batch.heads):
                    return True
                read += len(batch.heads)
                if read >= MOST_HEADS:
                    break
        except CursorVoid:
            pass
        return False

    def file(self, content: bytes, sent_at: datetime) -> None:
        self._session.append_copy(self.name, content, sent_at)


def _is_alike(likeness: Likeness, head: Head) -> bool:
    return likeness.is_of(read_incoming(head.header), head.received_at)
