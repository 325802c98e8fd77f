"""Loops and their locks."""

import threading

import pytest

from mailfleet.base.db import Connection
from mailfleet.health.leading import Led, lead_aside
from stage import DEADLINE

LOCK = 7


class Failing:
    """A turn that a fault of ours ends; it tells of each."""

    def __init__(self, taken: threading.Semaphore) -> None:
        self._taken = taken

    def take(self) -> None:
        self._taken.release()
        raise ValueError("broken")


def test_a_loop_aside_that_fails_goes_on(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault in the DNS or in an alert is logged as critical, and the next turn comes; it ends when it is told to."""
    taken, stopping = threading.Semaphore(0), threading.Event()

    def begin(_: Connection) -> Failing:
        return Failing(taken)

    thread = lead_aside(Led("dns", LOCK, 0.01, begin), database, stopping)
    assert taken.acquire(timeout=DEADLINE) and taken.acquire(timeout=DEADLINE)
    stopping.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert "health_loop_failed" in "".join(capsys.readouterr())
