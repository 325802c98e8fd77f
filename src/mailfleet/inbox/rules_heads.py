"""What the head of a mail already tells: which mail it is, and whether its body can be about us. Pure."""

import re
from hashlib import sha256
from urllib.parse import unquote

from mailfleet.mail.incoming import Letter
from mailfleet.mail.opt_out import VERSION
from mailfleet.mail.parts import read_part

HEAD_LIMIT = 65536  # chosen: octets, as many as are read of a head; what stands behind them tells no two mails apart

_END_OF_HEAD = re.compile(rb"\r?\n[ \t]*\r?\n|\r[ \t]*\r")
_OWN_LINK = re.compile(rf"mailto:([^>?\s]+)\?subject=unsubscribe%20{VERSION}[A-Za-z0-9_-]{{20,}}", re.IGNORECASE)
_ANSWER = re.compile(r"\s*\S{1,20}\s*(?:\[\d+\]|\d+)?\s*[:：]")  # "Re:", and any other word that may stand for it
_MACHINE = re.compile(r"mailer.?daemon|postmaster|mail.?delivery|feedback|abuse|complaint|fbl|sns\b", re.IGNORECASE)
_MACHINE_FIELDS = ("X-Failed-Recipients", "Auto-Submitted", "X-Autoreply", "X-Auto-Response-Suppress")


def digest_of(raw: bytes) -> bytes:
    """SHA-256 of the head, the same whether or not the body is there."""
    end = _END_OF_HEAD.search(raw)
    return sha256((raw[: end.start()] if end else raw)[:HEAD_LIMIT].rstrip(b"\r\n \t")).digest()


def may_be_about_us(head: bytes) -> bool:
    """Whether the body is worth reading: not of our own letters and their copies, nor of mail for the many that answers
    nothing and reports nothing. True when in doubt, and for every head that cannot be read."""
    letter = Letter(read_part(head).headers)
    if is_own_copy(letter):
        return False
    return not letter.is_bulk or _answers_or_reports(letter)


def is_own_copy(letter: Letter) -> bool:
    """A letter as we write them: its mailto for opting out leads to its own sender, with a token of ours."""
    found = _OWN_LINK.search(letter.get("List-Unsubscribe"))
    return found is not None and unquote(found[1]).lower() == letter.sender.lower()


def _answers_or_reports(letter: Letter) -> bool:
    has_null_path = letter.headers.get("Return-Path") is not None and not letter.get("Return-Path").strip("<> ")
    return (
        bool(letter.in_reply_to)
        or has_null_path
        or _ANSWER.match(letter.subject) is not None
        or "unsubscribe" in letter.subject.lower()
        or "report" in letter.get("Content-Type").lower()
        or any(letter.get(name) for name in _MACHINE_FIELDS)
        or _MACHINE.search(letter.get("From")) is not None
    )
