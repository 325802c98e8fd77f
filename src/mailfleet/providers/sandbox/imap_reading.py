"""Answers about the mails of an open folder: UID SEARCH and UID FETCH. Pure but for the flag that reading sets."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mailfleet.providers.sandbox.mailbox_store import SEEN, Folder, Mail

_ITEM = re.compile(r"BODY(\.PEEK)?\[([^\]]*)\](?:<(\d+)\.(\d+)>)?|[A-Z0-9.]+", re.I)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_HEADER = re.compile(rb"^([!-9;-~]+):[^\n]*\n(?:[ \t][^\n]*\n)*", re.M)


@dataclass(frozen=True, slots=True)
class Opened:
    """The folder in front of a connection, by EXAMINE or SELECT."""

    folder: Folder
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out before the tagged line, and that line without its tag."""

    data: bytes
    end: str


def answer_uid(opened: Opened, words: list[str]) -> Answer:
    """`words` from SEARCH or FETCH on."""
    try:
        if words[0] == "SEARCH":
            found = " ".join(str(mail.uid) for mail in _search(opened.folder, words[1:]))
            return Answer(f"* SEARCH {found}".rstrip().encode() + b"\r\n", "OK done")
        if words[0] == "FETCH":
            return _fetch(opened, words[1], " ".join(words[2:]))
    except (IndexError, ValueError):
        pass
    return Answer(b"", "BAD Not understood")


def _search(folder: Folder, words: list[str]) -> list[Mail]:
    """ALL, UID set, SINCE date, HEADER name part; all of them must hold (RFC 3501 §6.4.4)."""
    found = folder.mails
    while words:
        key, *words = words
        match key.upper():
            case "ALL":
                pass
            case "UID":
                uids, words = _pick(folder, words[0]), words[1:]
                found = [mail for mail in found if mail.uid in uids]
            case "SINCE":
                since, words = _midnight(words[0]), words[1:]
                found = [mail for mail in found if mail.at >= since]
            case "HEADER":
                name, part, words = words[0], words[1], words[2:]
                found = [mail for mail in found if part.lower() in _header(mail.content, name).lower()]
            case _:
                raise ValueError(key)
    return found


def _pick(folder: Folder, text: str) -> set[int]:
    """A sequence set of UIDs (RFC 3501 §9): the star is the last mail, and a range may run backwards to it."""
    known = [mail.uid for mail in folder.mails]
    last = known[-1] if known else 0
    picked: set[int] = set()
    for part in text.split(","):
        ends = sorted(last if end == "*" else int(end) for end in part.split(":"))
        picked |= {uid for uid in known if ends[0] <= uid <= ends[-1]}
    return picked


def _midnight(text: str) -> float:
    day, month, year = text.split("-")
    return datetime(int(year), _MONTHS.index(month.capitalize()) + 1, int(day), tzinfo=UTC).timestamp()


def _header(content: bytes, name: str) -> str:
    lines = (found[0] for found in _HEADER.finditer(_head(content)) if found[1].decode().lower() == name.lower())
    return b"".join(lines).decode("utf-8", "replace")


def _head(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[: end + 4]


def _fetch(opened: Opened, uids: str, items: str) -> Answer:
    """Items it does not know are left out."""
    wanted = list(_ITEM.finditer(items))
    is_reading = any(item[2] is not None and not item[1] for item in wanted)
    picked, lines = _pick(opened.folder, uids), []
    for number, mail in enumerate(opened.folder.mails, 1):
        if mail.uid in picked:
            if is_reading and not opened.is_read_only:
                mail.flags.add(SEEN)
            shown = [f"UID {mail.uid}".encode(), *filter(None, (_show(mail, item) for item in wanted))]
            lines.append(b"* %d FETCH (%b)\r\n" % (number, b" ".join(shown)))
    return Answer(b"".join(lines), "OK done")


def _show(mail: Mail, item: re.Match[str]) -> bytes:
    if item[2] is not None:
        return _show_text(mail.content, item)
    match item[0].upper():
        case "FLAGS":
            return f"FLAGS ({' '.join(sorted(mail.flags))})".encode()
        case "INTERNALDATE":
            at = datetime.fromtimestamp(mail.at, UTC)
            return f'INTERNALDATE "{at.day:2}-{_MONTHS[at.month - 1]}-{at:%Y %H:%M:%S} +0000"'.encode()
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d" % len(mail.content)
    return b""


def _show_text(content: bytes, item: re.Match[str]) -> bytes:
    section = item[2].upper().strip()
    if section == "HEADER":
        text = _head(content)
    elif section.startswith("HEADER.FIELDS "):
        names = section.partition("(")[2].rstrip(") ").lower().split()
        text = b"".join(f[0] for f in _HEADER.finditer(_head(content)) if f[1].decode().lower() in names) + b"\r\n"
    elif section == "":
        text = content
    else:
        raise ValueError(section)
    origin = ""
    if item[3] is not None:
        text, origin = text[int(item[3]) :][: int(item[4])], f"<{item[3]}>"
    return f"BODY[{section}]{origin} {{{len(text)}}}\r\n".encode() + text
