"""A mail that came in: what is needed to tell what it is and which letter of ours it is about.

Bounded and never raising, whatever the bytes. RFC 5322, 2047, 3462 (returned letters), 3464 and 5965 (reports), 6533.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from mailfleet.mail.charsets import header_text
from mailfleet.mail.parts import MAX_DEPTH, Part, read_part, walk

MAX_TEXT = 200_000  # chosen: characters; a long thread quoted in full has some 50,000
MAX_HTML = 200_000  # chosen: characters of HTML that are made text; a report of AOL's has 60,000, a bomb takes 0.5 s
MAX_IDS = 100  # chosen: message ids of a thread; more only in loops

ADDRESS = re.compile(
    r"(?:(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}|\"[^\"\s@]{1,64}\")"
    r"@(?:[\w-]{1,63}\.){1,10}[\w-]{1,63}"
)
"""An address as it stands in text: a domain of two labels or more, its local part in quotes or not."""
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,500}>")
_BARE_ID = re.compile(r"[^<>\s\"(),;]{1,250}@[^<>\s\"(),;]{1,250}")
_QUOTED_OR_COMMENT = re.compile(r"\"(?:[^\"\\]|\\.){0,300}\"(?!@)|\([^()]{0,300}\)")
_ANGLE = re.compile(r"<\s*([^<>]*?)\s*>")
_RETURNED = ("message/rfc822", "message/global", "message/rfc822-headers", "message/partial")
_RETURNED_HEADERS = ("text/rfc822-headers", "text/rfc822-header", "message/global-headers")
_STATUS = ("message/delivery-status", "message/global-delivery-status")
_TAG = re.compile(r"<[^<>]*>")
_BULK_FIELDS = ("List-Id", "List-Unsubscribe", "List-Post", "Feedback-ID")


@dataclass(frozen=True, slots=True)
class Letter:
    """The fields of a mail; of one that was returned to us perhaps only some."""

    headers: Message
    """As they stand, undecoded."""

    def get(self, name: str) -> str:
        """The first field of that name, decoded and in one line; empty when there is none."""
        return header_text(str(self.headers.get(name, "")))

    def get_all(self, name: str) -> list[str]:
        """Every field of that name, decoded, in order."""
        return [header_text(str(value)) for value in self.headers.get_all(name, [])]

    @property
    def is_bulk(self) -> bool:
        """Written to many (RFC 2919, 2369): a list's mail, a newsletter, which speaks of unsubscribing for itself."""
        is_list = any(self.get(name) for name in _BULK_FIELDS)
        return is_list or self.get("Precedence").lower() in ("bulk", "list", "junk")

    @property
    def subject(self) -> str:
        """Decoded."""
        return self.get("Subject")

    @property
    def message_id(self) -> str:
        """With its angle brackets; empty when there is none."""
        return next(iter(message_ids(self.get_all("Message-ID"))), "")

    @property
    def in_reply_to(self) -> tuple[str, ...]:
        """Ids with brackets, the nearest letter first: In-Reply-To, then References from the last on; none twice."""
        direct = message_ids(self.get_all("In-Reply-To"))
        return tuple(dict.fromkeys([*direct, *reversed(message_ids(self.get_all("References")))]))

    @property
    def sender(self) -> str:
        """The address of From, else of Sender; empty when there is none."""
        return next(iter(addresses([*self.get_all("From"), *self.get_all("Sender")])), "")

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses of To and Cc, none twice."""
        return tuple(dict.fromkeys(addresses([*self.get_all("To"), *self.get_all("Cc")])))

    @property
    def delivered_to(self) -> tuple[str, ...]:
        """Where it came in: Delivered-To, X-Original-To, Envelope-To, then To and Cc, none twice. A VERP or plus
        token of ours stands in one of them."""
        names = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To", "Cc")
        return tuple(dict.fromkeys(addresses(value for name in names for value in self.get_all(name))))

    @property
    def sent_at(self) -> datetime | None:
        """Its Date in UTC; a date without a zone counts as UTC, an impossible one as none."""
        try:
            date = parsedate_to_datetime(self.get("Date"))
            return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None


@dataclass(frozen=True, slots=True)
class Returned(Letter):
    """A mail or its headers, attached to another."""

    raw: bytes
    """The attachment, its transfer encoding removed."""


@dataclass(frozen=True, slots=True)
class Incoming(Letter):
    """A mail that came in."""

    kind: str
    """Media type of the whole."""
    report_type: str
    """Of multipart/report (RFC 6522), in lower case; empty when there is none."""
    text: str
    """What a reader sees: the plain text, else text made of the HTML."""
    returned: tuple[Returned, ...]
    """Mails and headers that are attached, in their order."""
    statuses: tuple[str, ...]
    """Text of each delivery-status part (RFC 3464)."""
    feedback: tuple[str, ...]
    """Text of each feedback-report part (RFC 5965)."""


def read_incoming(raw: bytes) -> Incoming:
    """Read a mail as far as the bounds of `mail.parts` go. Never raises, whatever the bytes."""
    parts = list(walk(raw))
    top = parts[0]
    return Incoming(
        headers=top.headers,
        kind=top.kind,
        report_type=top.parameter("report-type").lower(),
        text=_text(parts),
        returned=tuple(_returned(part) for part in parts if part.kind in _RETURNED + _RETURNED_HEADERS),
        statuses=tuple(part.text()[:MAX_TEXT] for part in parts if part.kind in _STATUS),
        feedback=tuple(part.text()[:MAX_TEXT] for part in parts if part.kind == "message/feedback-report"),
    )


def _returned(part: Part) -> Returned:
    data = part.data()
    return Returned(read_part(data, MAX_DEPTH if part.kind in _RETURNED_HEADERS else 0).headers, data)


def _text(parts: list[Part]) -> str:
    plain = [part for part in parts if part.kind == "text/plain"]
    shown = [part for part in plain if not part.is_attachment] or plain
    text = "\n".join(part.text() for part in shown)[:MAX_TEXT]
    if text.strip():
        return text
    html = "\n".join(part.text() for part in parts if part.kind == "text/html")[:MAX_HTML]
    return text_of_html(html)[:MAX_TEXT] if html.strip() else text


def text_of_html(html: str) -> str:
    """Text made of HTML; of HTML too deep or too broken to be laid out, what is left without its tags."""
    from mailfleet.mail.markup import text_from_html  # lxml takes longer to load than most mail to read

    try:
        return text_from_html(html)
    except (ValueError, RecursionError, AssertionError, LookupError, TypeError, AttributeError):  # of lxml, inscriptis
        return _TAG.sub(" ", html)


def message_ids(values: Iterable[str]) -> list[str]:
    """Ids with their brackets, in order; brackets are put where a mailer forgot them."""
    found: list[str] = []
    for value in values:
        found += _MESSAGE_ID.findall(value) or [f"<{bare}>" for bare in _BARE_ID.findall(value)]
    return found[:MAX_IDS] if len(found) <= MAX_IDS else found[:1] + found[1 - MAX_IDS :]


def addresses(values: Iterable[str]) -> list[str]:
    """The addresses of address fields, in order. What stands in a display name, quoted or not, is none."""
    found: list[str] = []
    for value in values:
        for piece in _QUOTED_OR_COMMENT.sub(" ", value).split(","):
            angles = _ANGLE.findall(piece)
            found += ADDRESS.findall(angles[-1] if angles else piece)[-1:]
    return found
