"""What is read of a mailbox: where we are in a folder, what is new, heads and bodies. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

HEADER_LIMIT = 65536  # chosen: octets of one mail's header; with every stamp of Exchange and ARC they have about 20,000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Every mail of a folder up to and including `uid` was read, as it was numbered then (RFC 3501 §2.3.1.1)."""

    uid_validity: int
    uid: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a folder says of itself. `uid_next` is None where the server does not say; `modseq` is its HIGHESTMODSEQ
    (RFC 7162), `messages` how many it holds, None likewise.
    """

    uid_validity: int
    uid_next: int | None
    modseq: int | None
    messages: int | None

    def has_news(self, cursor: Cursor) -> bool:
        """Whether there may be mail beyond the cursor: always when the folder was numbered anew, or does not tell."""
        if self.uid_validity != cursor.uid_validity or self.uid_next is None:
            return True
        return self.uid_next > cursor.uid + 1


@dataclass(frozen=True, slots=True)
class Head:
    """A mail before its body is asked for. `received_at` is INTERNALDATE, None when it cannot be read; `size` is what
    the server says in octets, which is a guess with some; `header` holds at most HEADER_LIMIT octets, as they came.
    """

    uid_validity: int
    uid: int
    received_at: datetime | None
    size: int
    flags: frozenset[str]
    header: bytes

    @property
    def is_cut(self) -> bool:
        return len(self.header) >= HEADER_LIMIT


@dataclass(frozen=True, slots=True)
class Batch:
    """`heads` in the order of their UIDs; mails that vanished meanwhile are missing. `cursor` is what may be stored
    once all of it is.
    """

    heads: tuple[Head, ...]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Body:
    """The first octets of a whole mail, header included."""

    content: bytes
    is_whole: bool


def read_look(items: dict[bytes, Any]) -> Look | None:
    """From STATUS or EXAMINE; None without a UIDVALIDITY, for then nothing can be remembered by number."""
    uid_validity = _number(items.get(b"UIDVALIDITY"))
    if not uid_validity:
        return None
    messages = _number(items.get(b"MESSAGES", items.get(b"EXISTS")))
    return Look(uid_validity, _number(items.get(b"UIDNEXT")) or None, _number(items.get(b"HIGHESTMODSEQ")), messages)


def read_head(uid_validity: int, uid: int, items: dict[bytes, Any]) -> Head | None:
    """From one FETCH response; None when it has no header, as unasked ones (a flag that changed) have none."""
    header = items.get(b"BODY[HEADER]<0>", items.get(b"BODY[HEADER]"))
    if not isinstance(header, bytes):
        return None
    flags = items.get(b"FLAGS") or ()
    return Head(
        uid_validity=uid_validity,
        uid=uid,
        received_at=_moment(items.get(b"INTERNALDATE")),
        size=_number(items.get(b"RFC822.SIZE")) or 0,
        flags=frozenset(flag.decode("ascii", "replace") for flag in flags if isinstance(flag, bytes)),
        header=header[:HEADER_LIMIT],
    )


def read_body(items: dict[bytes, Any], at_most: int) -> Body | None:
    """None when the response has no body. A mail of just `at_most` octets counts as cut."""
    content = items.get(b"BODY[]<0>", items.get(b"BODY[]"))
    if not isinstance(content, bytes):
        return None
    return Body(content[:at_most], len(content) < at_most)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _moment(value: object) -> datetime | None:
    """Servers hand on whatever year a mail was moved with."""
    if not isinstance(value, datetime):
        return None
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
