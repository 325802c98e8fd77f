"""What the ledger needs to know of a letter, read from its octets. Pure, and quick rather than complete."""

import re
from dataclasses import dataclass

_HEADER = re.compile(
    rb"^(message-id|subject|from|to|in-reply-to|list-unsubscribe):([^\n]*(?:\n[ \t][^\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_FOLD = re.compile(r"\r\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class Letter:
    """The first header of each name, unfolded, as it came; empty when there is none. `size` is in octets."""

    size: int = 0
    message_id: str = ""
    subject: str = ""
    header_from: str = ""
    header_to: str = ""
    in_reply_to: str = ""
    list_unsubscribe: bool = False


def unstuff(data: bytes) -> bytes:
    """The content of a DATA phase without the dots that transparency put in (RFC 5321 section 4.5.2); `data` ends
    before the line of the final dot."""
    if data.startswith(b"."):
        data = data[1:]
    return data.replace(b"\r\n.", b"\r\n") if b"\r\n." in data else data


def read_letter(content: bytes) -> Letter:
    """What stands in the header of `content` (RFC 5322 section 2.2, fields unfolded by section 2.2.3)."""
    end = content.find(b"\r\n\r\n")
    found: dict[bytes, str] = {}
    for name, value in _HEADER.findall(content if end < 0 else content[:end]):
        found.setdefault(name.lower(), _unfold(value))
    return Letter(
        size=len(content),
        message_id=found.get(b"message-id", ""),
        subject=found.get(b"subject", ""),
        header_from=found.get(b"from", ""),
        header_to=found.get(b"to", ""),
        in_reply_to=found.get(b"in-reply-to", ""),
        list_unsubscribe=b"list-unsubscribe" in found,
    )


def _unfold(value: bytes) -> str:
    return _FOLD.sub("", value.decode("utf-8", "surrogateescape")).strip()
