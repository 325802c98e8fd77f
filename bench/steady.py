"""A fleet of 1,200 mailboxes at rest and at its normal rate: memory, lateness, CPU."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.burst import senders, wait_for
from bench.fleet import FleetSpec, lay, wake
from bench.place import Place
from bench.processes import children_of, cpu_of, cpu_of_tree, memory_mb
from bench.report import Figure
from bench.servers import smtp_sink, tls_front, wait_until
from mailfleet.base.db import connect
from mailfleet.planning.snapshot import Slot
from mailfleet.planning.store import PlanStore

FLEET = 1_200
LEASED = "SELECT count(*) AS n FROM lease WHERE sender_id IS NOT NULL"
MEMORY, RATE = "memory with 1,200 mailboxes", "1 letter a second over 1,200 mailboxes"
SETTLING = 5.0  # chosen: seconds in which the mailboxes go on sending under watch
LEAD = timedelta(seconds=15)  # chosen: more than `reserve_ahead`, so that the first letter is reserved in time


def memory(place: Place) -> Iterator[Figure]:
    """`mailfleet up` with one sender that has 1,200 mailboxes leased, each with an open TLS connection."""
    with ExitStack() as stack:
        front = stack.enter_context(tls_front(place.folder, stack.enter_context(smtp_sink())))
        conninfo, home = stack.enter_context(place.database())
        # With this pace each mailbox has a letter in hand at any time, and keeps its connection.
        lay(conninfo, home, FleetSpec(FLEET, front.port, "tls", front.ca_file, pace_seconds=6), contacts=4 * FLEET)
        up = stack.enter_context(_up(conninfo, home))
        wait_until(lambda: _child(up.pid, "mailfleet.sending") != 0, "a sender", limit=30)
        sender = _child(up.pid, "mailfleet.sending")
        watch = stack.enter_context(_watching(conninfo, sender))
        with connect(conninfo, name="bench") as connection:
            wake(connection, 1, 4 * FLEET)
        wait_until(lambda: watch.leased >= FLEET, f"{FLEET} leases", limit=120)
        time.sleep(SETTLING)
        server = [place.postgres_pid, *children_of(place.postgres_pid)]
        every = [up.pid, *children_of(up.pid), *server]
        yield Figure(MEMORY, "mailboxes leased by one sender", watch.leased)
        yield Figure(MEMORY, "the sender, resident", watch.resident, "MB", at_most=150)
        yield Figure(MEMORY, "the planner, resident", memory_mb(_child(up.pid, "mailfleet.planning"))[0], "MB")
        yield Figure(MEMORY, "PostgreSQL, shared pages counted once", sum(memory_mb(pid)[1] for pid in server), "MB")
        together = sum(memory_mb(pid)[1] for pid in every)
        yield Figure(MEMORY, "every process of `up`, PostgreSQL among them", together, "MB", at_most=400)


def normal_rate(place: Place, *, seconds: int) -> Iterator[Figure]:
    """Slots a second apart, each from another mailbox, a new TLS connection for each."""
    with ExitStack() as stack:
        front = stack.enter_context(tls_front(place.folder, stack.enter_context(smtp_sink())))
        conninfo, home = stack.enter_context(place.database())
        lay(conninfo, home, FleetSpec(FLEET, front.port, "tls", front.ca_file, pace_seconds=300), contacts=seconds)
        running = stack.enter_context(senders(conninfo, home, number=1))
        connection = stack.enter_context(connect(conninfo, name="bench"))
        first = datetime.now(UTC) + LEAD
        wake(connection, 1, seconds)
        _write_slots(PlanStore(connection), first, seconds)
        before = cpu_of([running[0].pid]), cpu_of_tree(place.postgres_pid)
        began = time.monotonic()
        open_letters = "SELECT /* bench */ EXISTS (SELECT 1 FROM message WHERE state <> 'accepted') AS is_open"
        wait_for(connection, open_letters, running, poll=1.0)
        spent = time.monotonic() - began
        sender, server = cpu_of([running[0].pid]) - before[0], cpu_of_tree(place.postgres_pid) - before[1]
        late = sorted(
            max(0.0, row.late)
            for row in connection.execute(
                "SELECT extract(epoch FROM a.began_at - m.due_at)::float8 AS late"
                " FROM attempt a JOIN message m ON m.id = a.message_id"
            ).fetchall()
        )
    yield Figure(RATE, "letters", len(late))
    yield Figure(RATE, "lateness, median", late[len(late) // 2], "s")
    yield Figure(RATE, "lateness, 99 of 100", late[int(len(late) * 0.99)], "s", at_most=1.0)
    yield Figure(RATE, "the sender's share of two cores", sender / spent / 2 * 100, "%", at_most=1.0)
    yield Figure(RATE, "PostgreSQL's share of two cores", server / spent / 2 * 100, "%")


def _write_slots(store: PlanStore, first: datetime, seconds: int) -> None:
    slots = [
        Slot(n + 1, 1, 1 + n * 7 % FLEET, first + timedelta(seconds=n), 1)  # enrollments, step and variant as laid
        for n in range(seconds)
    ]
    store.write_slots(slots, store.domains())


@contextmanager
def _up(conninfo: str, home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "mailfleet.cli", "up", "--least", "1", "--most", "1"]
    environment = {**os.environ, "MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": conninfo}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _child(parent: int, module: str) -> int:
    """The child that runs that module; 0 when there is none."""
    return next((pid for pid in children_of(parent) if module in Path(f"/proc/{pid}/cmdline").read_text()), 0)


class _Watch:
    leased = 0
    resident = 0.0


@contextmanager
def _watching(conninfo: str, pid: int) -> Iterator[_Watch]:
    """The most leases and the most memory that were seen."""
    watch, ended = _Watch(), threading.Event()

    def look() -> None:
        with connect(conninfo, name="bench") as connection:
            while not ended.wait(0.2):
                row = connection.execute(LEASED).fetchone()
                watch.leased = max(watch.leased, row.n if row else 0)
                watch.resident = max(watch.resident, memory_mb(pid)[0])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()
