"""One fleet, one sandbox, real sender processes; and the judge."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.outbox.tunables import Tunables, load_tunables
from mailfleet.planning.service import plan_once
from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.config import Faults, write_config
from mailfleet.providers.sandbox.fleet import SandboxFleet, make_fleet, sandbox_config
from mailfleet.providers.sandbox.judge import Expectations, ExpectedLetter, LimitRule, Report, judge
from mailfleet.providers.sandbox.ledger import Ledger, read_ledger

CONTACTS = 24
LIMIT = 500
DEADLINE = 60.0
DOOMED = Path(__file__).with_name("doomed.py")
TUNABLES = Tunables(
    reserve_ahead=timedelta(seconds=1),
    lease=timedelta(seconds=4),
    retry_first=timedelta(seconds=1),
    retry_longest=timedelta(seconds=1),
    late_after=timedelta(seconds=30),
)

LETTERS = """
SELECT m.header_id, c.address_key, m.enrollment_id, s.number, m.state, m.reason_code, a.outcome
FROM message m JOIN contact c ON c.id = m.contact_id JOIN step s ON s.id = m.step_id
LEFT JOIN attempt a ON a.message_id = m.id AND a.outcome IN ('accepted', 'ambiguous')
"""
OPEN = """
SELECT count(*) FROM enrollment e LEFT JOIN message m ON m.enrollment_id = e.id AND m.state = 'ambiguous'
WHERE e.state = 'active' AND m.id IS NULL
"""
UNSETTLED = "SELECT count(*) FROM attempt WHERE outcome IS NULL"


@dataclass
class Scene:
    """A laid fleet and its sandbox; processes it started end with it."""

    laid: laid.Laid
    fleet: SandboxFleet
    ledger_path: Path
    home: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def sender(self) -> "subprocess.Popen[bytes]":
        return self._start([sys.executable, "-m", "mailfleet.sending"])

    def doomed(self, point: str, number: int = 3, blow: str = "SIGKILL") -> "subprocess.Popen[bytes]":
        return self._start([sys.executable, str(DOOMED), point, str(number), blow])

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "MAILFLEET_HOME": str(self.home), "MAILFLEET_DATABASE_URL": self.laid.conninfo}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        self.processes.append(process)
        return process

    def connect(self) -> Connection:
        return connect(self.laid.conninfo, name="test")

    def plan_until(self, query: str, *, wanted: int = 0, within: float = DEADLINE) -> None:
        """Plans again and again until `query` counts no more than `wanted`; a lost database is waited for."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                with self.connect() as connection:
                    while time.monotonic() < end:
                        plan_once(connection, load_tunables(connection))
                        row = connection.execute(query).fetchone()
                        if row is not None and row[0] <= wanted:
                            return
            except (psycopg.OperationalError, Exception) as error:
                if not isinstance(error, psycopg.OperationalError) and "database" not in str(error):
                    raise
        raise AssertionError(f"not within {within} s: {query}")

    def finish(self) -> None:
        """Lets a healthy sender end the work, and stops it in order."""
        known = self.count("SELECT count(*) FROM sender")
        sender = self.sender()
        self.plan_until(f"SELECT {known + 1} - count(*) FROM sender")
        self.plan_until(OPEN)
        self.plan_until(UNSETTLED)
        stop(sender)

    def ledger(self) -> Ledger:
        return read_ledger(self.ledger_path)

    def judge(self) -> Report:
        with self.connect() as connection:
            letters = [
                ExpectedLetter(row.header_id, row.address_key, str(row.enrollment_id), row.number, _said(row))
                for row in connection.execute(LETTERS).fetchall()
            ]
        limits = [LimitRule("mailbox", LIMIT, length=timedelta(hours=1))]
        return judge(self.ledger(), Expectations(self.fleet.scopes, letters=letters, limits=limits))

    def count(self, query: str) -> int:
        with self.connect() as connection:
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0] or 0)


def _said(row: object) -> str:
    if row.state == "ambiguous":  # type: ignore[attr-defined]
        return "ambiguous"
    if row.state == "accepted":  # type: ignore[attr-defined]
        return "assumed" if row.reason_code == "assumed" else "accepted"  # type: ignore[attr-defined]
    return "not_accepted"


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0, "the sender did not stop in order"


@contextmanager
def scene(
    conninfo: str,
    home: Path,
    *,
    faults: Faults | None = None,
    latency: tuple[float, float] = (0.0, 0.0),
    contacts: int = CONTACTS,
    mailboxes: int = 1,
) -> Iterator[Scene]:
    """With one mailbox one letter is on its way at a time, and what a point leaves can be told exactly."""
    few = min(mailboxes, 2)
    fleet = make_fleet(1, mailboxes=mailboxes, domains=min(mailboxes, 3), accounts=few, providers=few, identities=1)
    config, ledger = home / "sandbox.json", home / "ledger.jsonl"
    write_config(sandbox_config(fleet, ledger, faults=faults, latency=latency), config)
    with SandboxProcess(config) as sandbox:
        place = laid.lay(
            conninfo,
            home,
            fleet,
            sandbox.ports,
            contacts=contacts,
            tunables=TUNABLES,
            limits=[("mailbox", None, 3600, LIMIT), ("fleet", None, 3600, LIMIT)],
        )
        it = Scene(place, fleet, ledger, home)
        try:
            yield it
        finally:
            for process in it.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()
