"""A laid fleet whose mailboxes are read: a sandbox or any IMAP server, real watchers, and what the database holds."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.inbox.questions import read_waiting
from mailfleet.inbox.rhythm import Rhythm
from mailfleet.inbox.watcher import Watcher, WatcherOptions
from mailfleet.providers.sandbox import Faults, SandboxProcess, write_config
from mailfleet.providers.sandbox.fleet import SandboxFleet, make_fleet, sandbox_config
from mailfleet.providers.sandbox.ledger import Ledger, read_ledger
from stage import HASTY, end, heard, wait_until

HASTY_WATCHER = Path(__file__).with_name("hasty_watcher.py")
RHYTHM = Rhythm(
    least_wait=timedelta(seconds=0.2),
    most_wait=timedelta(seconds=0.4),
    first_retry=timedelta(seconds=0.3),
    longest_retry=timedelta(seconds=0.3),
    errands=timedelta(seconds=0.2),
    upkeep=timedelta(seconds=0.2),
    tick=timedelta(seconds=0.1),
)
SELDOM = replace(RHYTHM, least_wait=timedelta(hours=1), most_wait=timedelta(hours=1))
_numbers = count(1)


def mail(subject: str = "Hello", text: str = "Some words.") -> bytes:
    """One that nobody has seen before."""
    return (
        f"From: Zed <zed@z.example>\r\nTo: us@a.test\r\nSubject: {subject}\r\n"
        f"Message-ID: <{next(_numbers)}.{os.getpid()}@z.example>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
        f"\r\n{text}\r\n"
    ).encode()


@dataclass
class Running:
    """A watcher in a thread of this process; it has to end when it is told to."""

    watcher: Watcher
    thread: threading.Thread

    def stop(self) -> None:
        self.watcher.stop()
        self.thread.join(30)
        assert not self.thread.is_alive(), "the watcher did not stop"


@dataclass
class Scene:
    """`addresses` in the order of the mailboxes' ids. Watchers that were started here end with it."""

    laid: laid.Laid
    home: Path
    addresses: list[str]
    running: list[Running] = field(default_factory=list)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    # Watchers

    def watch(self, rhythm: Rhythm = RHYTHM, **options: Any) -> Running:
        """A watcher in this process; `lease` is HASTY's."""
        watcher = Watcher(WatcherOptions(self.laid.conninfo, self.laid.vault, HASTY.lease, rhythm, **options))
        running = Running(watcher, threading.Thread(target=watcher.run))
        running.thread.start()
        self.running.append(running)
        return running

    def process(self, *words: str, log: str = "critical") -> "subprocess.Popen[bytes]":
        """A watcher process; `words` as `hasty_watcher.py` takes them."""
        environment = {
            **os.environ,
            "MAILFLEET_HOME": str(self.home),
            "MAILFLEET_DATABASE_URL": self.laid.conninfo,
            "MAILFLEET_LOG_LEVEL": log,
        }
        process = subprocess.Popen(
            [sys.executable, str(HASTY_WATCHER), *words],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for running in self.running:
            running.stop()
        end(self.processes)

    # The database

    def lay_letter(self, number: int = 0) -> int:
        """A letter that left the mailbox just now, to a contact; its id."""
        message = self.value(
            "INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id,"
            " subject, state, settled_at) SELECT e.id, s.id, e.campaign_id, e.contact_id, %s, v.id, %s, 'Hello',"
            " 'accepted', now() FROM enrollment e JOIN step s ON s.campaign_id = e.campaign_id"
            " JOIN variant v ON v.step_id = s.id AND v.name = 'a'"
            " WHERE NOT EXISTS (SELECT FROM message m WHERE m.enrollment_id = e.id) LIMIT 1 RETURNING id",
            self.mailbox(number),
            f"<{next(_numbers)}@a.test>",
        )
        sender = self.value("INSERT INTO sender (host, pid, journal) VALUES ('h', 1, gen_random_uuid()) RETURNING id")
        self.run(
            "INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, limit_ids, limit_keys, outcome,"
            " settled_at) VALUES (%s, 1, %s, %s, 1, '{}', '{}', 'accepted', now())",
            message,
            self.mailbox(number),
            sender,
        )
        return int(message)

    def connect(self) -> Connection:
        return connect(self.laid.conninfo, name="test")

    def rows(self, query: str, *values: object) -> list[Any]:
        with self.connect() as connection:
            return connection.execute(query, values).fetchall()

    def value(self, query: str, *values: object) -> Any:
        rows = self.rows(query, *values)
        return rows[0][0] if rows else None

    def run(self, query: str, *values: object) -> None:
        with self.connect() as connection:
            connection.execute(query, values)

    def mailbox(self, number: int = 0) -> int:
        return int(self.value("SELECT id FROM mailbox WHERE address = %s", self.addresses[number]))

    def reading(self, number: int = 0) -> Any:
        return self.rows("SELECT * FROM reading WHERE mailbox_id = %s", self.mailbox(number))[0]

    def taken(self) -> Counter[str]:
        """Message-ID of every mail that was taken in."""
        rows = self.rows("SELECT header_id FROM incoming WHERE header_id <> ''")
        return Counter(row.header_id.strip("<>") for row in rows)

    def told(self) -> list[str]:
        """Subjects in the list of `mailfleet inbox` of mails that were not read."""
        with self.connect() as connection:
            waiting = read_waiting(connection, most=100).unmatched
        return [row.subject for row in waiting if row.subject.startswith("(")]

    def holds(self) -> list[tuple[str, str, str, str]]:
        """(scope kind, family, set by, reason) of those that stand."""
        query = "SELECT scope_kind, family, set_by, reason FROM hold WHERE lifted_at IS NULL ORDER BY id"
        return [tuple(row) for row in self.rows(query)]

    def wait(self, query: str, *values: object, what: str = "") -> None:
        """Until the query's first value is true."""
        wait_until(lambda: self.value(query, *values), what or query, within=30)

    def wait_for_mails(self, number: int) -> None:
        self.wait("SELECT count(*) >= %s FROM incoming", number)

    def wait_for_reading(self, times: int = 1) -> None:
        """Until every mailbox was read so often again."""
        for _ in range(times):
            now = self.value("SELECT clock_timestamp()")
            self.wait(
                "SELECT bool_and(coalesce(read_at > %s, false)) FROM reading", now, what="a reading of every mailbox"
            )


@dataclass
class SandboxScene(Scene):
    sandbox: SandboxProcess = None  # type: ignore[assignment]
    ledger_path: Path = Path()

    def deliver(self, content: bytes | None = None, number: int = 0, folder: str = "INBOX") -> str:
        """A new mail, or this one, comes into a mailbox; its Message-ID."""
        content = mail() if content is None else content
        self.sandbox.deliver(self.addresses[number], content, folder)
        return content.partition(b"Message-ID: <")[2].partition(b">")[0].decode()

    def ledger(self) -> Ledger:
        return read_ledger(self.ledger_path)


@contextmanager
def sandbox_scene(
    conninfo: str,
    home: Path,
    *,
    mailboxes: int = 1,
    providers: int = 1,
    faults: Faults | None = None,
    imap_connections: int | None = None,
    token: str = "",
) -> Iterator[SandboxScene]:
    """A fleet whose mailboxes the sandbox keeps. `token` is what each takes by XOAUTH2."""
    domains = max(providers, min(3, mailboxes))
    fleet = make_fleet(1, mailboxes=mailboxes, domains=domains, accounts=providers, providers=providers, identities=1)
    config, ledger = home / "sandbox.json", home / "ledger.jsonl"
    asked = sandbox_config(fleet, ledger, faults=faults)
    asked = replace(
        asked,
        providers=tuple(replace(one, imap_connections=imap_connections) for one in asked.providers),
        users=tuple(replace(user, token=token) for user in asked.users),
    )
    write_config(asked, config)
    with SandboxProcess(config) as sandbox:
        place = lay(conninfo, home, fleet, lambda provider: ("127.0.0.1", sandbox.ports[provider]["imap"]["none"]))
        it = SandboxScene(place, home, [box.address for box in fleet.mailboxes], sandbox=sandbox, ledger_path=ledger)
        try:
            yield it
        finally:
            it.end()


def lay(conninfo: str, home: Path, fleet: SandboxFleet, imap: Callable[[str], tuple[str, int]]) -> laid.Laid:
    """Mailboxes that are read at `imap(provider)`, in the clear; contacts, and no letters."""
    ports: Any = {provider: {"smtp": {"none": 1}} for provider in fleet.providers}
    place = laid.lay(conninfo, home, fleet, ports, contacts=2, tunables=HASTY)
    with connect(conninfo, name="test") as connection:
        for box in fleet.mailboxes:
            host, port = imap(box.provider)
            connection.execute(
                "UPDATE mailbox SET imap_host = %s, imap_port = %s, imap_security = 'none' WHERE address = %s",
                [host, port, box.address],
            )
    return place


def stop(process: "subprocess.Popen[bytes]") -> str:
    """Ends it in order; what it said."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, "the watcher did not stop in order"
    return heard(process)
