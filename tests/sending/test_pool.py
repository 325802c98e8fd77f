"""Senders by number: how many are wanted, and real processes that come and go."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import laid
from mailfleet.base.clock import monotonic
from mailfleet.base.db import Connection, connect
from mailfleet.providers.sandbox.fleet import make_fleet
from mailfleet.sending.pool import CALM, LETTERS_A_SENDER, Backlog, SenderPool, wanted_senders

DEADLINE = 30.0
NO, SOME, MANY = Backlog(0, timedelta()), Backlog(40, timedelta(seconds=5)), Backlog(501, timedelta(seconds=1))
LATE = Backlog(1, timedelta(seconds=5, microseconds=1))

# running, backlog, calm for (seconds), wanted, between 1 and 4
WANTED = [
    (0, NO, 0.0, 1),  # the least, whatever there is to do
    (1, NO, 0.0, 1),
    (1, SOME, 0.0, 1),  # five seconds late is not late yet
    (1, LATE, 0.0, 2),  # one letter that is late calls for one more
    (1, MANY, 0.0, 2),  # more than one sender's share is due
    (2, MANY, 0.0, 2),  # not more than two senders' share
    (3, LATE, 99.0, 4),  # late is late, however calm it was
    (4, LATE, 0.0, 4),  # the most
    (3, NO, CALM - 1, 3),  # a calm that is not long enough
    (3, NO, CALM, 2),
    (1, NO, 9999.0, 1),  # the least stays
    (6, NO, 0.0, 4),  # more than the most, after a change of the most
]


@pytest.mark.parametrize(("running", "backlog", "calm_for", "wanted"), WANTED)
def test_how_many_senders_are_wanted(running: int, backlog: Backlog, calm_for: float, wanted: int) -> None:
    """One more while letters are late or many, one less after a calm time, always between the least and the most."""
    assert LETTERS_A_SENDER == 500
    assert wanted_senders(running, backlog, least=1, most=4, calm_for=calm_for) == wanted


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def pool(database: str, home: Path) -> Iterator[SenderPool]:
    """Between one and three senders of a fleet with two contacts, whose letters nobody has planned."""
    fleet = make_fleet(1, 1, 1, 1, 1, 1)
    laid.lay(database, home, fleet, {name: {"smtp": {"none": 9}} for name in fleet.providers}, contacts=2)
    pool = SenderPool(least=1, most=3, environment={"MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": database})
    pool.start()
    yield pool
    pool.stop()


OVERDUE = """
INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, due_at)
SELECT e.id, s.id, e.campaign_id, e.contact_id, b.id, (SELECT min(id) FROM variant), e.id::text,
       clock_timestamp() - interval '10 minutes'
FROM enrollment e, step s, mailbox b
"""  # too late for any sender, and not yet planned anew: nothing takes it away while the test looks


def tend_until(pool: SenderPool, connection: Connection, senders: int, query: str) -> None:
    """Tends until that many senders run and `query` counts as many."""
    end = monotonic() + DEADLINE
    while monotonic() < end:
        pool.tend(connection)
        row = connection.execute(query).fetchone()
        assert row is not None
        if (len(pool.senders), row[0]) == (senders, senders):
            return
        connection.execute("SELECT pg_sleep(0.02)")
    raise AssertionError(f"{len(pool.senders)} senders, not {senders}: {query}")


ALIVE = "SELECT count(*) FROM sender WHERE stopped_at IS NULL"


def test_a_sender_that_fell_is_started_again(pool: SenderPool, connection: Connection) -> None:
    """Killed, it is missed and another takes its place after a pause, with the dead one's journal; no two at once."""
    tend_until(pool, connection, 1, ALIVE)
    [first] = pool.senders
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    pool.tend(connection)
    assert pool.senders == []
    tend_until(pool, connection, 1, "SELECT count(*) - 1 FROM sender")
    assert pool.senders[0].pid != first.pid
    journals = connection.execute("SELECT count(DISTINCT journal) FROM sender").fetchone()
    assert journals is not None
    assert journals[0] == 1


def test_a_backlog_calls_for_senders_and_a_calm_time_lets_one_go(pool: SenderPool, connection: Connection) -> None:
    """Late letters bring one more at a time up to the most, each with a journal of its own; a calm minute later one
    goes, in order, and says so; in the end all are gone."""
    connection.execute(OVERDUE)
    counts = []
    for _ in range(4):
        pool.tend(connection)
        counts.append(len(pool.senders))
    assert counts == [2, 3, 3, 3]
    tend_until(pool, connection, 3, "SELECT count(DISTINCT journal) FROM sender WHERE seen_at > started_at")
    connection.execute("DELETE FROM message")
    pool.tend(connection)
    assert len(pool.senders) == 3, "it was late a moment ago"
    pool._late_at = pool._changed_at = monotonic() - CALM
    tend_until(pool, connection, 2, ALIVE)
    pool.tend(connection)
    assert len(pool.senders) == 2, "one a minute"
    processes = pool.senders
    pool.stop()
    assert [process.exit_code for process in processes] == [0, 0]
    assert connection.execute(ALIVE).fetchone() == (0,)
