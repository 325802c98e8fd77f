"""The octets of an IMAP connection: a deadline and a greatest number of octets for each answer, whoever sends it.

imaplib waits by the single read, so a server that drips never ends; it makes room for a literal as long as a server
says; and it keeps what it heard. So its documented hooks (`open`, `read`, `readline`, `send`, `shutdown`) lead here.
"""

import imaplib
import re
import socket
import ssl
import time
from datetime import timedelta
from typing import Any, NamedTuple

from imapclient import IMAPClient

BLOCK = 65536  # chosen: octets asked of the socket at once
ALERTS = 4  # chosen: texts kept of what a server wants a person to see (RFC 3501 §7.1, ALERT)
_STATUS = re.compile(rb"(?:\*|[^ *+]+) (OK|NO|BAD|BYE)(?: \[([!-Z\\^-~]+)[^\]]*\])?(?: (.*))?", re.I | re.S)
_SHOWN = 500  # chosen: octets of a status line that are looked at


class OverrunError(Exception):
    """More came than was asked for; the text says what."""


class Answer(NamedTuple):
    """What a server says of a command: OK, NO, BAD or BYE, its response code or empty, and its text with the code."""

    word: str
    code: str
    text: str


class Wire:
    """A connected socket. `allow` is called before each command, and no answer outlives it.

    `answer` is the last refusal since then; `alerts` are the newest texts that a server wants a person to see.
    """

    __slots__ = ("_buffer", "_octets", "_until", "alerts", "answer", "is_closed", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_closed = False
        self.answer: Answer | None = None
        self.alerts: tuple[str, ...] = ()
        self._buffer = bytearray()
        self._until = 0.0
        self._octets = 0

    def allow(self, within: timedelta, octets: int) -> None:
        """What comes next may take `within` in all, and be no longer than `octets`."""
        self._until = time.monotonic() + within.total_seconds()
        self._octets = octets
        self.answer = None

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """The TLS handshake. OverrunError: the server spoke before it; what comes in the clear may be anyone's
        (RFC 3501 §6.2.1, CVE-2021-38371 and its kin).
        """
        if self._buffer:
            raise OverrunError("the server spoke out of turn before TLS")
        self.sock.settimeout(self._left())
        self.sock = context.wrap_socket(self.sock, server_hostname=host)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self.sock.settimeout(self._left())
            view = view[self.sock.send(view) :]

    def readline(self) -> bytes:
        """The next line with its end."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            if len(self._buffer) > self._octets:
                raise OverrunError("the server's answer has no end")
            start = len(self._buffer)
            self._receive()
        line = self._take(end + 1)
        self._note(line)
        return line

    def read(self, count: int) -> bytes:
        """A literal. It is refused by its announced length, before room is made for it."""
        if count > self._octets:
            raise OverrunError(f"the server announced {count} octets, far more than was asked for")
        while len(self._buffer) < count:
            self._receive()
        return self._take(count)

    def take_lines(self) -> list[bytes]:
        """The whole lines that came, without waiting; for a connection that idles."""
        self.sock.settimeout(0)
        while not (lines := self._take_whole_lines()):
            if len(self._buffer) > BLOCK:
                raise OverrunError("the server's answer has no end")
            try:
                self._receive_now()
            except (BlockingIOError, ssl.SSLWantReadError):
                break
        return lines

    def send_now(self, data: bytes) -> None:
        """A few octets without waiting; a connection that cannot take them is of no use."""
        self.sock.settimeout(0)
        if self.sock.send(data) != len(data):
            raise ConnectionError("the connection takes nothing more")

    def close(self) -> None:
        self.is_closed = True
        self._buffer = bytearray()
        self.sock.close()

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        return left

    def _receive(self) -> None:
        self.sock.settimeout(self._left())
        self._receive_now()

    def _receive_now(self) -> None:
        data = self.sock.recv(BLOCK)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += data

    def _take(self, count: int) -> bytes:
        self._octets -= count
        if self._octets < 0:
            raise OverrunError("the server's answer is far longer than what was asked for")
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _take_whole_lines(self) -> list[bytes]:
        end = self._buffer.rfind(b"\n") + 1
        if not end:
            return []
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        return data.splitlines()

    def _note(self, line: bytes) -> None:
        answer = read_answer(line)
        if answer is None:
            return
        if answer.code == "ALERT":
            self.alerts = (*self.alerts, answer.text)[-ALERTS:]
        if answer.word != "OK":
            self.answer = answer


def read_answer(line: bytes) -> Answer | None:
    """A status response (RFC 3501 §7.1), tagged or not; None: it is none."""
    found = _STATUS.match(line[:_SHOWN])
    if found is None:
        return None
    word, code, rest = (part or b"" for part in found.groups())
    name = _plain(code).upper()
    return Answer(word.decode().upper(), name, f"[{name}] {_plain(rest)}" if name else _plain(rest))


def _plain(text: bytes) -> str:
    """For people and for PostgreSQL: no control characters, no half characters."""
    return "".join(sign if sign.isprintable() else " " for sign in text.decode("utf-8", "replace")).strip()


class Imap4(imaplib.IMAP4):
    """imaplib over a Wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        super().__init__()

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.sock = self.wire.sock

    def read(self, size: int) -> bytes:
        return self.wire.read(size)

    def readline(self) -> bytes:
        return self.wire.readline()

    def send(self, data: Any) -> None:
        self.wire.send(bytes(data))

    def shutdown(self) -> None:
        self.wire.close()

    def capability(self) -> tuple[str, list[Any]]:
        """As the greeting has it, where it does: a round trip less."""
        if "CAPABILITY" in self.untagged_responses:
            return "OK", self.untagged_responses.pop("CAPABILITY")
        return super().capability()

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """STARTTLS; what the server offered before does not count any more (RFC 3501 §6.2.1)."""
        typ, data = self.xatom("STARTTLS")
        if typ != "OK":
            raise self.error(data[-1])
        self.wire.secure(context, host)
        self.sock = self.wire.sock
        self.untagged_responses.clear()
        self.capabilities = tuple(self.capability()[1][-1].decode("ascii", "replace").upper().split())

    def _log(self, line: str) -> None:
        """imaplib keeps the last ten lines, passwords and letters among them, for a report that nobody asks for."""


class Client(IMAPClient):  # type: ignore[misc]
    """IMAPClient over a Wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__("", ssl=False)
        self._imap.debug = 0  # IMAPClient asks for 5: each line formatted for a log, wanted or not
        self.normalise_times = False

    @property
    def imap(self) -> Imap4:
        imap: Imap4 = self._imap
        return imap

    def _create_IMAP4(self) -> Imap4:
        return Imap4(self._wire)

    def _set_read_timeout(self) -> None:
        """The wire has deadlines of its own."""
