"""A laid fleet, its real sender processes, and what came of it; for servers of any kind."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.outbox.tunables import Tunables, load_tunables
from mailfleet.planning.service import plan_once
from mailfleet.providers.sandbox.fleet import SandboxFleet, make_fleet
from servers import Letter

DEADLINE = 60.0
HASTY = Tunables(
    reserve_ahead=timedelta(seconds=1),
    lease=timedelta(seconds=4),
    retry_first=timedelta(seconds=1),
    retry_longest=timedelta(seconds=1),
    retry_tries=2,
    late_after=timedelta(seconds=30),
)

OPEN = """
SELECT count(*) FROM enrollment e LEFT JOIN message m ON m.enrollment_id = e.id AND m.state = 'ambiguous'
WHERE e.state = 'active' AND m.id IS NULL
"""
UNSETTLED = "SELECT count(*) FROM attempt WHERE outcome IS NULL"


@dataclass
class Stage:
    """Processes that were started here end with it; what each said on stderr lies in a pipe until it is `heard`."""

    laid: laid.Laid
    home: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def sender(self, *command: str, log: str = "critical") -> "subprocess.Popen[bytes]":
        """The real sender, or a program that becomes one."""
        environment = {
            **os.environ,
            "MAILFLEET_HOME": str(self.home),
            "MAILFLEET_DATABASE_URL": self.laid.conninfo,
            "MAILFLEET_LOG_LEVEL": log,
        }
        process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "mailfleet.sending"))],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.processes.append(process)
        return process

    def connect(self) -> Connection:
        return connect(self.laid.conninfo, name="test")

    def run(self, query: str, *values: object) -> None:
        with self.connect() as connection:
            connection.execute(query, values)

    def value(self, query: str, *values: object) -> object:
        """The first column of the first row."""
        with self.connect() as connection:
            row = connection.execute(query, values).fetchone()
        return row[0] if row else None

    def states(self) -> Counter[str]:
        with self.connect() as connection:
            return Counter(row.state for row in connection.execute("SELECT state FROM message").fetchall())

    def accepted(self) -> list[str]:
        """The Message-IDs of the letters that the database holds as accepted."""
        with self.connect() as connection:
            rows = connection.execute("SELECT header_id FROM message WHERE state = 'accepted'").fetchall()
        return sorted(row.header_id for row in rows)

    def plan_until(self, query: str, *, within: float = DEADLINE) -> None:
        """Plans again and again until `query` counts nothing."""
        end = time.monotonic() + within
        with self.connect() as connection:
            while time.monotonic() < end:
                plan_once(connection, load_tunables(connection))
                row = connection.execute(query).fetchone()
                if row is not None and not row[0]:
                    return
        raise AssertionError(f"not within {within} s: {query}{self.why()}")

    def why(self) -> str:
        """For a person: where letters and contacts stand, and what the senders said."""
        with self.connect() as connection:
            rows = [
                *connection.execute("SELECT state, reason, count(*) FROM message GROUP BY 1, 2").fetchall(),
                *connection.execute("SELECT state, reason, count(*) FROM enrollment GROUP BY 1, 2").fetchall(),
                *connection.execute("SELECT scope_kind, reason, until FROM hold").fetchall(),
            ]
        for process in self.processes:
            process.kill()
        return "\n".join(map(str, ["", *rows, *map(heard, self.processes)]))

    def finish(self) -> None:
        """Until every contact's passage is over, or waits for an ambiguous letter, and all is settled."""
        self.plan_until(OPEN)
        self.plan_until(UNSETTLED)

    def stop(self, process: "subprocess.Popen[bytes]") -> str:
        """Ends it in order; what it said."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0, "the sender did not stop in order"
        return heard(process)


def heard(process: "subprocess.Popen[bytes]") -> str:
    """What an ended process said on stderr."""
    assert process.stderr is not None
    with process.stderr as pipe:
        return pipe.read().decode()


@contextmanager
def stage(
    conninfo: str,
    home: Path,
    *,
    port: int,
    host: str = "127.0.0.1",
    security: str = "none",
    fleet: SandboxFleet | None = None,
    contacts: int = 12,
    steps: int = 1,
    tunables: Tunables = HASTY,
) -> Iterator[Stage]:
    """Every mailbox at one server; the test changes what it wants otherwise by SQL."""
    fleet = fleet or one_provider_fleet(3)
    ports = {provider: {"smtp": {security: port}} for provider in fleet.providers}
    place = laid.lay(
        conninfo,
        home,
        fleet,
        ports,
        contacts=contacts,
        steps=steps,
        wait=timedelta(),
        tunables=tunables,
    )
    it = Stage(place, home)
    it.run("UPDATE mailbox SET smtp_host = %s", host)
    try:
        yield it
    finally:
        end(it.processes)


def one_provider_fleet(mailboxes: int) -> SandboxFleet:
    """Mailboxes of three domains at one provider that speaks as Postfix does."""
    fleet = make_fleet(1, mailboxes=mailboxes, domains=min(3, mailboxes), accounts=1, providers=1, identities=1)
    return replace(fleet, providers=dict.fromkeys(fleet.providers, "postfix"))


def end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """At once, whatever they do."""
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def wait_until(is_so: Callable[[], object], what: str, *, within: float = DEADLINE) -> None:
    """Other programs give no signal; asked every 20 ms."""
    until = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < until, f"waited {within:g} s for {what}"
        time.sleep(0.02)


def ids(letters: Sequence[Letter]) -> list[str]:
    return sorted(letter.message_id for letter in letters)
