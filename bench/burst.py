"""A burst through the full path: plan, reserve, render, compose, SMTP, journal, settle, by the product's processes."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fleet import FleetSpec, lay
from bench.place import Place
from bench.processes import cpu_of, cpu_of_tree, cpu_seconds
from mailfleet.base.children import Child, stop_all
from mailfleet.base.db import Connection, connect

WAVES = 4  # chosen: contacts become ready in parts, so that planning and sending overlap as they do in the product
PATIENCE = 180.0
POLL = 0.02

OPEN = "SELECT /* bench */ EXISTS (SELECT 1 FROM message WHERE state IN ('queued', 'submitting')) AS is_open"
STATEMENTS = """
SELECT /* bench */ coalesce(sum(s.calls), 0) AS calls
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND s.query NOT LIKE '%/* bench */%'
  AND s.query NOT LIKE 'SELECT % FROM ONLY %'  -- PostgreSQL's own, for a foreign key
"""


# Not those of an old past.
ACCEPTED = """
SELECT /* bench */ count(*) AS n FROM message WHERE state = 'accepted' AND created_at > now() - interval '1 day'
"""


@dataclass(frozen=True, slots=True)
class Burst:
    """`cpu`: seconds by process. `statements`: all that our processes sent to PostgreSQL, BEGIN and COMMIT too."""

    letters: int
    seconds: float
    cpu: dict[str, float]
    statements: int

    @property
    def rate(self) -> float:
        return self.letters / self.seconds

    def cpu_us(self, *names: str) -> float:
        """Microseconds a letter of these processes."""
        return sum(self.cpu[name] for name in names) / self.letters * 1e6


@contextmanager
def senders(conninfo: str, home: Path, *, number: int) -> Iterator[list[Child]]:
    """Sender processes that are ready for work."""
    running = [
        Child("mailfleet.sending", environment={"MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": conninfo})
        for _ in range(number)
    ]
    try:
        with connect(conninfo, name="bench") as connection:
            wait_for(connection, f"SELECT /* bench */ count(*) < {number} AS is_open FROM sender", running)
        time.sleep(1.0)  # the first turns over an empty queue are no part of any figure
        yield running
    finally:
        stop_all(running)


@contextmanager
def planner(conninfo: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.plan_child", conninfo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.communicate()


def run_burst(
    place: Place,
    spec: FleetSpec,
    *,
    letters: int,
    number: int = 2,
    prepare: Callable[[Connection], None] = lambda connection: None,
) -> Burst:
    """In a database of its own, by `number` senders; `prepare` is called once the fleet is laid."""
    with place.database() as (conninfo, home):
        lay(conninfo, home, spec, contacts=letters)
        with connect(conninfo, name="bench") as connection:
            prepare(connection)
            with senders(conninfo, home, number=number) as running, planner(conninfo) as planning:
                return _measure(place, connection, planning, running, letters)


def _measure(
    place: Place, connection: Connection, planning: "subprocess.Popen[str]", running: list[Child], letters: int
) -> Burst:
    pids = [sender.pid for sender in running]
    plan_wave(planning, 0, -1)  # an empty run: its imports and first connection are no part of any figure
    connection.execute("SELECT pg_stat_statements_reset()")
    before = (cpu_seconds(planning.pid), cpu_of(pids), cpu_of_tree(place.postgres_pid))
    began = time.monotonic()
    for wave in range(WAVES):
        plan_wave(planning, wave * letters // WAVES + 1, (wave + 1) * letters // WAVES)
    wait_for(connection, OPEN, running)
    seconds = time.monotonic() - began
    after = (cpu_seconds(planning.pid), cpu_of(pids), cpu_of_tree(place.postgres_pid))
    used = [end - start for start, end in zip(before, after, strict=True)]
    return Burst(
        letters=_accepted(connection, letters),
        seconds=seconds,
        cpu=dict(zip(("planner", "senders", "postgres"), used, strict=True)),
        statements=int(_one(connection, STATEMENTS).calls),
    )


def plan_wave(planning: "subprocess.Popen[str]", first: int, last: int) -> int:
    """Makes the enrollments `first` to `last` ready and plans; the number of slots."""
    assert planning.stdin is not None and planning.stdout is not None
    planning.stdin.write(f"{first} {last}\n")
    planning.stdin.flush()
    return int(planning.stdout.readline())


def wait_for(connection: Connection, query: str, running: list[Child], *, poll: float = POLL) -> None:
    """Until the query says that nothing is open any more."""
    end = time.monotonic() + PATIENCE
    while _one(connection, query).is_open:
        fallen = [child.pid for child in running if child.exit_code is not None]
        if fallen or time.monotonic() > end:
            raise RuntimeError(f"the burst did not end (senders that fell: {fallen or 'none'}): {query}")
        time.sleep(poll)


def _accepted(connection: Connection, wanted: int) -> int:
    row = _one(connection, ACCEPTED)
    if row.n != wanted:
        states = connection.execute("SELECT state, reason, count(*) FROM message GROUP BY 1, 2").fetchall()
        raise RuntimeError(f"{row.n} of {wanted} letters were accepted: {states[:5]}")
    return int(row.n)


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row
