"""An IMAP server that plays what a test writes, in a thread: for all that a well-behaved one never does."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from mailfleet.model.words import Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap_opening import ImapDeadlines

LOGIN = Login("anna@one.example", "geheim")
PATIENCE = 10.0  # chosen: seconds after which a dialogue is taken for stuck and the test fails
SHORT = timedelta(milliseconds=150)
HASTY = ImapDeadlines(login=SHORT, command=SHORT, fetch=SHORT, append=SHORT, logout=SHORT)
CAPABILITIES = "IMAP4rev1 AUTH=PLAIN IDLE"


@dataclass
class Peer:
    """The server's side of one connection; `heard` is every command so far, without its tag."""

    sock: socket.socket
    heard: list[str] = field(default_factory=list)
    _buffer: bytes = b""

    def line(self) -> bytes:
        """The next line; empty when the client hung up."""
        while b"\r\n" not in self._buffer:
            data = self.sock.recv(65536)
            if not data:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def hear(self, start: str = "") -> str:
        """The tag of the next command, which begins as expected."""
        tag, _, command = self.line().decode().partition(" ")
        assert tag, f"the client hung up, after {self.heard}"
        assert command.startswith(start), f"expected {start}, got {command!r}"
        self.heard.append(command)
        return tag

    def say(self, *lines: str | bytes) -> None:
        self.raw(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines))

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, start: str, *lines: str | bytes, end: str = "OK done") -> None:
        """One command: untagged lines, then the tagged one."""
        tag = self.hear(start)
        self.say(*lines, f"{tag} {end}")

    def admit(self, capabilities: str = CAPABILITIES) -> None:
        """Greeting and login."""
        self.say(f"* OK [CAPABILITY {capabilities}] ready")
        tag = self.hear("AUTHENTICATE PLAIN")
        self.say("+ ")
        self.line()
        self.say(f"{tag} OK [CAPABILITY {capabilities}] welcome")

    def examine(self, *, uid_validity: int = 7, uid_next: int | None = 4, messages: int = 3) -> None:
        lines = [f"* {messages} EXISTS", f"* OK [UIDVALIDITY {uid_validity}] x"]
        lines += [f"* OK [UIDNEXT {uid_next}] x"] if uid_next is not None else []
        self.answer("EXAMINE", *lines, end="OK [READ-ONLY] done")

    def rest(self) -> bytes:
        """All that comes until the client hangs up."""
        data = self._buffer
        with suppress(ConnectionResetError):
            while more := self.sock.recv(65536):
                data += more
        return data


Play = Callable[[Peer], None]


@contextmanager
def played(
    *plays: Play, context: ssl.SSLContext | None = None, security: Security = Security.NONE
) -> Iterator[Endpoint]:
    """The endpoint of a server that plays each of `plays` on one connection, in their order; leaving waits for the last
    and raises what any raised.
    """
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        thread = threading.Thread(target=_serve, args=(server, plays, context, failures))
        thread.start()
        try:
            yield Endpoint("127.0.0.1", server.getsockname()[1], security)
        finally:
            thread.join()
    if failures:
        raise failures[0]


def _serve(
    server: socket.socket, plays: tuple[Play, ...], context: ssl.SSLContext | None, failures: list[BaseException]
) -> None:
    for play in plays:
        try:
            sock, _ = server.accept()
            with sock:
                sock.settimeout(PATIENCE)
                play(Peer(context.wrap_socket(sock, server_side=True) if context else sock))
        except BaseException as error:  # noqa: BLE001  raised again in the test
            failures.append(error)
