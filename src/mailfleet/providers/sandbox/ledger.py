"""The ledger: what the pretend providers saw, one JSON line each, written before it is answered; append-only.

A line is one `write` to a file opened for appending, so it survives the end of the sandbox's process, however it ends.
A last line without its line feed is still being written and does not count.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mailfleet.base.errors import InputError, SetupError

Stage = Literal["mail", "rcpt", "data", "dot"]
Dropped = Literal["", "before_data", "in_data", "before_commit", "after_commit", "lost"]


@dataclass(frozen=True, slots=True)
class Transaction:
    """One SMTP transaction that reached MAIL FROM, in the order of their ends.

    Moments are seconds since the epoch (UTC), by the sandbox's clock. `mailbox` is whom AUTH proved, `ehlo` the name
    the client gave for its host. `stage` is the last command that was taken or judged ("dot": the whole letter came).
    `code` and `text` are the reply that ended it, 0 and empty if none was given. `dropped` says where the sandbox cut
    the connection; "lost": it broke, but not by us. `accepted` may be true without a reply (RFC 1047). Headers are
    unfolded and otherwise as they came (RFC 2047 words not decoded); `size` is in octets, dots unstuffed.
    """

    seq: int
    mail_at: float
    end_at: float
    provider: str
    account: str
    mailbox: str
    ehlo: str
    mail_from: str
    rcpt: str
    stage: Stage
    code: int
    text: str
    accepted: bool
    dropped: Dropped
    size: int
    message_id: str
    subject: str
    header_from: str
    header_to: str
    in_reply_to: str
    list_unsubscribe: bool


@dataclass(frozen=True, slots=True)
class Login:
    """One try to log in. `mailbox` is empty when the provider has no such login; `login` is what was claimed."""

    seq: int
    at: float
    provider: str
    face: Literal["smtp", "imap"]
    login: str
    mailbox: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Event:
    """What somebody who was written to did, recorded as soon as it is done: `at`, the mail lies in the mailbox, or the
    one-click request has its answer.

    `what` is the persona whose deed it is, `contact` their address; `message_id` is of the letter answered. `mailbox`
    and `folder` are where the answer lies, empty for a request, or when it went to an address that is nobody's here.
    `status` is the HTTP status of a request, 0 when there was no answer.
    """

    seq: int
    at: float
    what: str
    contact: str
    message_id: str
    mailbox: str
    folder: str
    status: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was read: each by `seq`, which grows and is unique over all."""

    transactions: tuple[Transaction, ...]
    logins: tuple[Login, ...]
    events: tuple[Event, ...] = ()


class LedgerWriter:
    """Appends; goes on counting where the file ends. One process at a time."""

    def __init__(self, path: Path) -> None:
        """SetupError: the file cannot be opened."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._seq = self._resume()
        except OSError as error:
            raise SetupError(f"cannot open the ledger {path}: {error.strerror}; the sandbox does not start") from error
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode

    def _resume(self) -> int:
        """The last whole line's number; what stands behind that line was never answered and is cut off."""
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        os.ftruncate(self._fd, end)
        return int(json.loads(data[:end].splitlines()[-1])["seq"]) if end else 0

    def append(self, kind: Literal["transaction", "login", "event"], row: dict[str, Any]) -> None:
        """Returns when the kernel has the line. SetupError: it could not be written, so nothing may be answered."""
        self._seq += 1
        line = self._encode({"kind": kind, "seq": self._seq} | row) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise SetupError(
                f"cannot write to the ledger {self.path}: {error.strerror}; nothing is accepted"
            ) from error
        if written != len(data):
            raise SetupError(f"the ledger {self.path} took only a part of a line (disk full?); nothing is accepted")

    def close(self) -> None:
        os.close(self._fd)


def read_ledger(path: Path) -> Ledger:
    """All whole lines of the file so far. InputError: it is not a ledger, or cannot be read."""
    transactions: list[Transaction] = []
    logins: list[Login] = []
    events: list[Event] = []
    try:
        for row in _rows(path):
            kind = row.pop("kind")
            if kind == "transaction":
                transactions.append(Transaction(**row))
            elif kind == "login":
                logins.append(Login(**row))
            else:
                events.append(Event(**row))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"not a ledger: {error!r}", where=str(path)) from error
    return Ledger(tuple(transactions), tuple(logins), tuple(events))


def _rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]
