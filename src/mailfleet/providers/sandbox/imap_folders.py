"""Answers about the folders of a mailbox: LIST, LSUB, STATUS, SELECT, EXAMINE, APPEND."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate

from imapclient.imap_utf7 import decode, encode

from mailfleet.providers.sandbox.imap_reading import Opened
from mailfleet.providers.sandbox.mailbox_store import Folder
from mailfleet.providers.sandbox.provider import PretendProvider


@dataclass(frozen=True, slots=True)
class FolderAnswer:
    """What goes out before the tagged line, that line without its tag, and the folder that is open now."""

    data: bytes
    end: str
    opened: Opened | None = None


_NO_FOLDER = FolderAnswer(b"", "NO [NONEXISTENT] No such folder")
_BAD = FolderAnswer(b"", "BAD Not understood")


def answer_folders(provider: PretendProvider, mailbox: str, name: str, words: list[str]) -> FolderAnswer:
    """`name` is one of FOLDER_COMMANDS, `words` what follows it."""
    return FOLDER_COMMANDS[name](provider, mailbox, words)


def _list(provider: PretendProvider, mailbox: str, words: list[str]) -> FolderAnswer:
    return _list_as("LIST", provider, mailbox, words)


def _lsub(provider: PretendProvider, mailbox: str, words: list[str]) -> FolderAnswer:
    return _list_as("LSUB", provider, mailbox, words)


def _list_as(name: str, provider: PretendProvider, mailbox: str, words: list[str]) -> FolderAnswer:
    marked_only = bool(words) and words[0].upper() == "(SPECIAL-USE)"
    words = words[marked_only:]
    if len(words) < 2:
        return _BAD
    pattern = re.compile(translate((words[0] + words[1]).replace("%", "*")), re.IGNORECASE)
    lines = [
        f'* {name} ({" ".join(folder.attributes)}) "{provider.habits.delimiter}" {_quoted(folder)}\r\n'
        for folder in provider.mailboxes.folders(mailbox)
        if pattern.match(_wire_name(folder)) and not (marked_only and len(folder.attributes) == 1)
    ]
    return FolderAnswer("".join(lines).encode(), "OK done")


def _wire_name(folder: Folder) -> str:
    """In modified UTF-7 (RFC 3501 §5.1.3)."""
    return str(encode(folder.name), "ascii")


def _quoted(folder: Folder) -> str:
    return f'"{_wire_name(folder)}"'


def _find(provider: PretendProvider, mailbox: str, words: list[str]) -> Folder | None:
    try:
        name = decode(words[0].encode("ascii")) if words else ""
    except UnicodeError:
        return None
    return provider.mailboxes.folder(mailbox, name)


def _status(provider: PretendProvider, mailbox: str, words: list[str]) -> FolderAnswer:
    folder = _find(provider, mailbox, words)
    if folder is None or len(words) < 2:
        return _NO_FOLDER
    known = _counts(provider, folder)
    items = [item for item in words[1].strip("()").upper().split() if item in known]
    told = " ".join(f"{item} {known[item]}" for item in items)
    return FolderAnswer(f"* STATUS {_quoted(folder)} ({told})\r\n".encode(), "OK done")


def _counts(provider: PretendProvider, folder: Folder) -> dict[str, int]:
    count = len(folder.mails)
    known = {"MESSAGES": count, "RECENT": 0, "UIDNEXT": folder.uid_next, "UIDVALIDITY": folder.uid_validity}
    known["UNSEEN"] = sum(r"\Seen" not in mail.flags for mail in folder.mails)
    return known | ({"HIGHESTMODSEQ": folder.changes} if provider.habits.condstore else {})


def _select(provider: PretendProvider, mailbox: str, words: list[str]) -> FolderAnswer:
    return _open(provider, mailbox, words, False)


def _examine(provider: PretendProvider, mailbox: str, words: list[str]) -> FolderAnswer:
    return _open(provider, mailbox, words, True)


def _open(provider: PretendProvider, mailbox: str, words: list[str], is_read_only: bool) -> FolderAnswer:
    folder = _find(provider, mailbox, words)
    if folder is None:
        return _NO_FOLDER
    counts = _counts(provider, folder)
    lines = [r"FLAGS (\Answered \Flagged \Deleted \Seen \Draft)", f"{counts['MESSAGES']} EXISTS", "0 RECENT"]
    codes = [name for name in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ") if name in counts]
    lines += [f"OK [{name} {counts[name]}]" for name in codes]
    access = "READ-ONLY" if is_read_only else "READ-WRITE"
    data = "".join(f"* {line}\r\n" for line in lines).encode()
    return FolderAnswer(data, f"OK [{access}] done", Opened(folder, is_read_only))


def _shut(_provider: PretendProvider, _mailbox: str, _words: list[str]) -> FolderAnswer:
    return FolderAnswer(b"", "OK done")


def _append(provider: PretendProvider, mailbox: str, words: list[str]) -> FolderAnswer:
    """Folder, perhaps flags in parentheses, perhaps a date, and the mail as the last word."""
    folder = _find(provider, mailbox, words)
    if folder is None:
        return FolderAnswer(b"", "NO [TRYCREATE] No such folder")
    if len(words) < 2:
        return _BAD
    flags = words[1].strip("()").split() if len(words) > 2 and words[1].startswith("(") else []
    uid = folder.add(words[-1].encode("utf-8", "surrogateescape"), flags)
    return FolderAnswer(b"", f"OK [APPENDUID {folder.uid_validity} {uid}] done")


FOLDER_COMMANDS: dict[str, Callable[[PretendProvider, str, list[str]], FolderAnswer]] = {
    "LIST": _list,
    "LSUB": _lsub,
    "STATUS": _status,
    "SELECT": _select,
    "EXAMINE": _examine,
    "CLOSE": _shut,
    "UNSELECT": _shut,
    "APPEND": _append,
}
