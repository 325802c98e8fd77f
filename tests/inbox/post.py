"""Letters that left, the mails that come back about them, and what the database then knows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import laid
from mailfleet.base.db import Connection
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.taking import Taken, take_mail
from mailfleet.mail.addresses import parse_address
from mailfleet.mail.compose import Letter, compose
from mailfleet.mail.opt_out import make_token, opt_out_mailto, opt_out_url
from mailfleet.model.words import Folder
from mailfleet.providers.sandbox.persona_letters import Original, read_original
from outbox.queue_scene import one, rows

SUBJECT = "Half a day for your calibration"

SEND = """
WITH sender AS (INSERT INTO sender (host, pid, journal) VALUES ('h', 1, gen_random_uuid()) RETURNING id), left_us AS (
    UPDATE message m SET state = %(state)s, subject = %(subject)s, attempts = 1,
        header_id = '<' || md5(m.id::text) || '@' || d.name || '>',
        settled_at = CASE WHEN %(state)s = 'accepted' THEN clock_timestamp() END
    FROM mailbox b, domain d WHERE b.id = m.mailbox_id AND d.id = b.domain_id AND m.state = 'queued'
    RETURNING m.id, m.mailbox_id, m.contact_id, m.enrollment_id
), kept AS (
    UPDATE contact c SET mailbox_id = l.mailbox_id FROM left_us l WHERE c.id = l.contact_id
), followed AS (
    UPDATE enrollment e SET next_step = 2, next_at = clock_timestamp(), mailbox_id = l.mailbox_id
    FROM left_us l WHERE e.id = l.enrollment_id AND %(state)s = 'accepted'
)
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, limit_ids, limit_keys, outcome, settled_at,
                     stage)
SELECT l.id, 1, l.mailbox_id, sender.id, 1, '{}', '{}', %(state)s, clock_timestamp(), 'dot' FROM left_us l, sender
"""
LETTERS = """
SELECT m.id, m.header_id, m.enrollment_id, m.contact_id, m.mailbox_id, b.address, c.address_key, c.digests[1]
FROM message m JOIN mailbox b ON b.id = m.mailbox_id JOIN contact c ON c.id = m.contact_id
WHERE m.subject <> '' ORDER BY m.id
"""
STATE = """
SELECT jsonb_build_object(
    'mails', (SELECT count(*) FROM incoming), 'events', (SELECT count(*) FROM event),
    'bans', (SELECT count(*) FROM suppression), 'holds', (SELECT count(*) FROM hold),
    'ended', (SELECT count(*) FROM enrollment WHERE state = 'stopped'),
    'paused', (SELECT count(*) FROM enrollment WHERE paused_until > clock_timestamp()))
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A letter that left: ids, the mailbox that wrote it, whom it went to, and its opt-out token."""

    id: int
    header_id: str
    enrollment: int
    contact_id: int
    mailbox_id: int
    mailbox: str
    contact: str
    token: str

    @property
    def original(self) -> Original:
        """What its recipient has."""
        sender = parse_address(self.mailbox)
        letter = Letter(
            from_name="Ann",
            from_address=sender,
            to_address=parse_address(self.contact),
            subject=SUBJECT,
            text="Hello,\n\nwould a visit help?\n",
            message_id=self.header_id,
            date=datetime(2026, 11, 20, 9, tzinfo=UTC),
            opt_out_url=opt_out_url("https://stop.example.com/o", self.token),
            opt_out_mailto=opt_out_mailto(sender, self.token),
        )
        return read_original(self.mailbox, self.contact, compose(letter))


@dataclass
class Post:
    """A fleet whose first letters are accepted, and whose second ones wait to be planned."""

    laid: laid.Laid
    connection: Connection
    sent: list[Sent] = field(default_factory=list)
    uids: Any = field(default_factory=lambda: count(1))

    @classmethod
    def send(cls, place: laid.Laid, connection: Connection, *, state: str = "accepted") -> "Post":
        """Lets every queued letter leave, to end in that state."""
        connection.execute(SEND, {"state": state, "subject": SUBJECT})
        key = place.vault.opt_out_key
        sent = [Sent(*row[:-1], make_token(key, row[0], bytes(row[-1]))) for row in rows(connection, LETTERS)]
        return cls(place, connection, sent)

    def arrived(
        self, raw: bytes, mailbox_id: int, *, folder: Folder = Folder.INBOX, at: datetime | None = None
    ) -> Arrived:
        return Arrived(mailbox_id, folder, 1, next(self.uids), at or datetime.now(UTC), raw)

    def take(self, raw: bytes, mailbox_id: int, **options: Any) -> Taken:
        """A mail comes into a mailbox, and is taken in."""
        return take_mail(self.connection, self.laid.vault, self.arrived(raw, mailbox_id, **options))

    def one(self, query: str, *values: object) -> Any:
        return one(self.connection, query, *values)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return rows(self.connection, query, *values)

    @property
    def state(self) -> dict[str, int]:
        """What is in the tables that a mail may write."""
        return dict(self.one(STATE))

    def enrollment(self, letter: Sent) -> tuple[str, str]:
        """State and reason code."""
        query = "SELECT state, reason_code FROM enrollment WHERE id = %s"
        [(state, code)] = self.rows(query, letter.enrollment)
        return state, code

    def banned(self) -> list[tuple[str, str]]:
        """Address and source of every ban."""
        return self.rows("SELECT value, source FROM suppression ORDER BY value")

    def mail(self) -> dict[str, Any]:
        """The last mail's row."""
        return dict(self.one("SELECT to_jsonb(i) FROM incoming i ORDER BY id DESC LIMIT 1"))

    def events(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT kind, message_id, is_hard FROM event ORDER BY id")


def mail(
    sender: str, text: str = "Hello.", *, subject: str = f"Re: {SUBJECT}", to: str = "me@a.test", **fields: str
) -> bytes:
    """A plain mail of a person; field names with underscores."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = f"From: Jo <{sender}>\r\nTo: {to}\r\nSubject: {subject}\r\n{extra}"
    stamp = f"Message-ID: <{abs(hash((sender, text, subject, *fields.items())))}@else.test>\r\n"
    return f"{head}{stamp if 'Message_ID' not in fields else ''}\r\n{text}\r\n".encode()


def report(recipient: str, *, status: str, said: str, letter: Sequence[str] = (), extra: str = "") -> bytes:
    """A delivery report (RFC 3464) about `recipient`; `letter` are the lines of the returned head."""
    domain = recipient.rpartition("@")[2]
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@mx.{domain}>",
        "To: me@a.test",
        "Subject: Undelivered Mail Returned to Sender",
        f"Message-ID: <{abs(hash((recipient, status, said, *letter, extra)))}@mx.test>",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
        "",
        "--b",
        "Content-Type: text/plain",
        "",
        f"<{recipient}>: {said}",
        "--b",
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: dns; mx.{domain}",
        *([extra] if extra else []),
        "",
        f"Final-Recipient: rfc822; {recipient}",
        f"Action: {'delayed' if status.startswith('4') else 'failed'}",
        f"Status: {status}",
        f"Diagnostic-Code: smtp; {said}",
        *(["--b", "Content-Type: text/rfc822-headers", "", *letter] if letter else []),
        "--b--",
        "",
    ]
    return "\r\n".join(lines).encode()
