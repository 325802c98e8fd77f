"""The opt-out page as its own process over HTTP on loopback; letters to opt out of; PostgreSQL going and coming."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laid import Laid
from mailfleet.base.db import Connection, connect
from mailfleet.mail.opt_out import make_token
from servers import free_port
from stage import end, heard, wait_until

ONE_CLICK = b"List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
DOOMED = Path(__file__).with_name("doomed_page.py")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Page:
    """One running page."""

    process: "subprocess.Popen[bytes]"
    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Header names are given with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            reply = connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())

    def one_click(self, token: str, **headers: str) -> Reply:
        """As a mailbox provider does it (RFC 8058 §3.2)."""
        return self.ask("POST", f"/o/{token}", ONE_CLICK, **FORM, **headers)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """Ends it in order; what it said."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return heard(self.process)


@contextmanager
def page(home: Path, conninfo: str, *command: str, waits: bool = True, **environment: str) -> Iterator[Page]:
    """`python -m mailfleet.panel.opt_out`, or a program that becomes it, once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *(command or ("-m", "mailfleet.panel.opt_out"))],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "MAILFLEET_HOME": str(home),
            "MAILFLEET_DATABASE_URL": conninfo,
            "MAILFLEET_OPT_OUT_LISTEN": f"127.0.0.1:{port}",
            **environment,
        },
    )
    try:
        if waits:
            wait_until(lambda: is_open(port) or process.poll() is not None, "the page to listen")
            assert process.poll() is None, heard(process)
        yield Page(process, port)
    finally:
        end([process])


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Letters:
    """A laid fleet whose letters are queued: their ids, and in the same order their tokens."""

    laid: Laid
    ids: Sequence[int]
    tokens: Sequence[str]

    @classmethod
    def of(cls, laid: Laid, connection: Connection) -> "Letters":
        query = "SELECT m.id, c.digests[1] AS digest FROM message m JOIN contact c ON c.id = m.contact_id ORDER BY m.id"
        rows = connection.execute(query).fetchall()
        tokens = [make_token(laid.vault.opt_out_key, row.id, bytes(row.digest)) for row in rows]
        return cls(laid, [row.id for row in rows], tokens)

    def token(self, number: int = 0) -> str:
        """As its letter had it, whatever became of that since."""
        return self.tokens[number]

    def connect(self) -> Connection:
        return connect(self.laid.conninfo, name="test")

    def value(self, query: str, *values: Any) -> Any:
        with self.connect() as connection:
            row = connection.execute(query, values).fetchone()
        return row[0] if row else None

    def address(self, number: int = 0) -> str:
        query = "SELECT c.address_key FROM message m JOIN contact c ON c.id = m.contact_id WHERE m.id = %s"
        return str(self.value(query, self.ids[number]))

    def suppressed(self) -> list[str]:
        """The addresses that said no, in the order in which they did."""
        query = "SELECT value FROM suppression WHERE source = 'opt_out' ORDER BY created_at, value"
        with self.connect() as connection:
            return [row.value for row in connection.execute(query).fetchall()]

    def wait_for(self, *numbers: int) -> None:
        wanted = {self.address(number) for number in numbers}
        wait_until(lambda: wanted <= set(self.suppressed()), "the opt-outs to be applied")


def seconds(begun: float) -> float:
    return time.monotonic() - begun
