"""The kill matrix: real sender processes die at each point of a letter's way, and no law breaks.

The judge is the sandbox's ledger. `docs/kill-matrix.md` is what this file measured.
"""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from doomed import POINTS
from scene import CONTACTS, DEADLINE, UNSETTLED, Scene, scene, stop

from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.model.schema import migrate
from mailfleet.providers.sandbox.config import Faults

MAY_BE_AMBIGUOUS = {
    "after the dot is journalled",
    "after the final dot, before the reply",
    "after the reply, before the journal",
}
MAY_COUNT_ONE_MORE = {"after journal begin", "before the first byte"}  # begun, and nobody can know that nothing left
USED = "SELECT sum(used) FROM usage u JOIN sending_limit l ON l.id = u.limit_id WHERE l.scope_kind = 'fleet'"


@dataclass(frozen=True)
class Row:
    """One line of the published table."""

    point: str
    accepted: int
    twice: int
    lost: int
    ambiguous: int
    usage: int
    ledger: int


def number_of(point: str) -> int:
    """The third letter; the first time for what is done to many letters at once."""
    return 1 if any(word in point for word in ("lease", "reservation", "settlement")) else 3


def measure(it: Scene, point: str) -> Row:
    """Every law that the ledger can judge; the row for the table."""
    report = it.judge()
    assert report.holds, {name: found.examples for name, found in report.laws.items() if found.count}
    states = it.count("SELECT count(*) FROM message WHERE state IN ('accepted', 'ambiguous', 'rejected')")
    assert states == it.count("SELECT count(*) FROM enrollment"), "a letter has no end"
    return Row(
        point,
        report.accepted,
        report.duplicates.count,
        report.lost.count,
        it.count("SELECT count(*) FROM message WHERE state = 'ambiguous'"),
        it.count(USED),
        report.transactions,
    )


@pytest.mark.parametrize("point", POINTS)
def test_a_sender_killed_at_any_point_sends_nothing_twice_and_loses_nothing(
    point: str, database: str, home: Path, matrix: list[Row]
) -> None:
    """SIGKILL at each named point; the next sender on the host settles what the dead one left, at once."""
    with scene(database, home) as it:
        doomed = it.doomed(point, number_of(point))
        it.plan_until("SELECT 1 - count(*) FROM message")
        assert doomed.wait(DEADLINE) == -signal.SIGKILL
        it.finish()
        row = measure(it, point)
        matrix.append(row)
        assert row.ambiguous == 0 or point in MAY_BE_AMBIGUOUS
        assert row.accepted + row.ambiguous >= CONTACTS
        assert row.usage - row.ledger in ((0, 1) if point in MAY_COUNT_ONE_MORE else (0,))


@pytest.mark.parametrize("point", ["after reservation commit", "before the final dot", "after settlement"])
def test_a_sender_killed_amid_many_mailboxes_sends_nothing_twice_and_loses_nothing(
    point: str, database: str, home: Path, matrix: list[Row]
) -> None:
    """The same with letters of six mailboxes on their way at once: only those whose dot had left may be ambiguous."""
    with scene(database, home, mailboxes=6) as it:
        doomed = it.doomed(point, number_of(point))
        it.plan_until("SELECT 1 - count(*) FROM message")
        assert doomed.wait(DEADLINE) == -signal.SIGKILL
        it.finish()
        row = measure(it, f"{point}, six mailboxes")
        matrix.append(row)
        assert row.ambiguous <= 5
        assert row.accepted + row.ambiguous >= CONTACTS


@pytest.mark.parametrize("is_crash", [False, True], ids=["restarted", "killed"])
def test_postgres_down_and_up_in_the_middle_loses_nothing(is_crash: bool, home: Path, matrix: list[Row]) -> None:
    """PostgreSQL restarts, or crashes, while letters are on their way: a commit that was not heard of is found."""
    with EmbeddedPostgres(home / "postgres") as server:
        server.create_database()
        migrate(server.conninfo())
        with scene(server.conninfo(), home, latency=(0.05, 0.1)) as it:
            sender = it.sender()
            it.plan_until("SELECT 5 - count(*) FROM attempt")
            if is_crash:
                server.kill()
                server.start()
            else:
                server.restart()
            it.plan_until("SELECT count(*) FROM enrollment WHERE state = 'active'")
            stop(sender)
            row = measure(it, f"PostgreSQL {'killed' if is_crash else 'restarted'}")
            matrix.append(row)
            assert (row.accepted, row.ambiguous, row.usage) == (CONTACTS, 0, row.ledger)


@pytest.mark.parametrize(
    ("name", "faults", "is_after_dot"),
    [
        ("connection broken before DATA", Faults(drop_before_data=0.3), False),
        ("connection broken in DATA", Faults(drop_in_data=0.3), False),
        ("connection broken after the dot, not accepted", Faults(drop_before_commit=0.3), True),
        ("connection broken after the dot, accepted", Faults(drop_after_commit=0.3), True),
    ],
)
def test_a_broken_connection_sends_nothing_twice(
    name: str, faults: Faults, is_after_dot: bool, database: str, home: Path, matrix: list[Row]
) -> None:
    """The provider hangs up: before the final dot the letter is tried again, after it nobody guesses."""
    with scene(database, home, faults=faults) as it:
        it.finish()
        row = measure(it, name)
        matrix.append(row)
        assert row.ambiguous or not is_after_dot
        assert not row.ambiguous or "before DATA" not in name
        assert row.usage == row.ledger


@pytest.mark.parametrize(
    "point",
    [
        "after reservation commit",
        "after journal begin",
        "before the final dot",
        "after the final dot, before the reply",
        "before settlement",
    ],
)
def test_a_frozen_sender_that_wakes_after_its_lease_sends_nothing_twice(
    point: str, database: str, home: Path, matrix: list[Row]
) -> None:
    """SIGSTOP beyond the lease, another sender takes over, SIGCONT: the frozen one never writes a late dot."""
    with scene(database, home) as it:
        frozen = it.doomed(point, number_of(point), "SIGSTOP")
        it.plan_until("SELECT 1 - count(*) FROM message")
        wait_for_stop(frozen)
        other = it.sender()
        it.plan_until(UNSETTLED)
        frozen.send_signal(signal.SIGCONT)
        it.plan_until("SELECT count(*) FROM enrollment WHERE state = 'active'")
        it.plan_until(UNSETTLED)
        stop(frozen)
        stop(other)
        row = measure(it, f"frozen {point}")
        matrix.append(row)
        assert row.ambiguous == 0, "its own late word is a fact"
        assert row.accepted == CONTACTS
        assert row.usage - row.ledger in (0, 1)


def wait_for_stop(process: "subprocess.Popen[bytes]") -> None:
    """Until the process is stopped by SIGSTOP."""
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status
