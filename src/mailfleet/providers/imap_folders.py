"""Which folder is which: by SPECIAL-USE (RFC 6154), else by the names that providers and mail programs give. Pure."""

import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from imapclient.imap_utf7 import decode, encode

INBOX = "INBOX"
Role = Literal["junk", "sent"]

_ATTRIBUTES: dict[Role, tuple[str, ...]] = {
    "junk": (r"\junk", r"\spam"),  # \Spam: Gmail's XLIST of old, still met
    "sent": (r"\sent", r"\sentmail"),
}
_CLOSED = {r"\noselect", r"\nonexistent"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of LIST: `name` decoded from modified UTF-7, `attributes` in lower case."""

    name: str
    delimiter: str
    attributes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Folders:
    """Names as every method takes them; None where the mailbox has no such folder."""

    junk: str | None
    sent: str | None
    inbox: str = INBOX


def read_listed(parsed: Sequence[object]) -> Listed | None:
    """From (attributes, delimiter, name); None for a folder that cannot be opened, or whose name would not find it
    again: raw octets beyond ASCII, or base64 that does not survive the way back.
    """
    attributes, delimiter, raw = parsed
    words = attributes if isinstance(attributes, tuple) else ()
    names = frozenset(word.decode("ascii", "replace").lower() for word in words if isinstance(word, bytes))
    wire = str(raw).encode() if isinstance(raw, int) else raw
    if names & _CLOSED or not isinstance(wire, bytes) or not wire.isascii():
        return None
    try:
        name = decode(wire)
    except ValueError:
        return None
    if encode(name) != wire:
        return None
    return Listed(name, delimiter.decode("ascii", "replace") if isinstance(delimiter, bytes) else "", names)


def choose_folders(listed: Iterable[Listed]) -> Folders:
    """For each role the first folder marked with it, else the outermost one that bears a known name."""
    folders = [folder for folder in listed if folder.name.upper() != INBOX]
    return Folders(junk=_find("junk", folders), sent=_find("sent", folders))


def is_marked(listed: Iterable[Listed]) -> bool:
    """Whether the server marked any folder; some do so only when asked."""
    known = set().union(*_ATTRIBUTES.values())
    return any(folder.attributes & known for folder in listed)


def _find(role: Role, folders: Sequence[Listed]) -> str | None:
    marked = [folder for folder in folders if folder.attributes & set(_ATTRIBUTES[role])]
    named = [folder for folder in folders if _last_part(folder) in _known_names()[role]]
    return next((folder.name for folder in marked or sorted(named, key=_depth)), None)


def _depth(folder: Listed) -> int:
    return folder.name.count(folder.delimiter) if folder.delimiter else 0


def _last_part(folder: Listed) -> str:
    return _plain(folder.name.rsplit(folder.delimiter, 1)[-1] if folder.delimiter else folder.name)


def _plain(name: str) -> str:
    """Without case, and without what stands between words, which varies most: Junk-E-Mail, Junk Email."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFC", name).casefold()))


@cache
def _known_names() -> dict[Role, frozenset[str]]:
    data = tomllib.loads(files(__package__).joinpath("imap_folders.toml").read_text(encoding="utf-8"))
    return {role: frozenset(_plain(name) for names in data[role].values() for name in names) for role in _ATTRIBUTES}
