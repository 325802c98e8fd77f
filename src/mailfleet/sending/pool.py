"""Senders by number: the more work waits, the more run, between a least and a most."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from mailfleet.base.children import Child, stop_all
from mailfleet.base.clock import monotonic
from mailfleet.base.db import Connection
from mailfleet.base.log import get_log

LATE = timedelta(seconds=5)  # chosen: lateness that calls for one more sender
LETTERS_A_SENDER = 500  # chosen: letters overdue that one sender more would take
CALM = 60.0  # chosen: seconds without lateness before a sender goes
STEADY = 3.0  # chosen: seconds; a sender that fell sooner is started again after a pause
RESTART_PAUSE = 1.0  # chosen: seconds; doubled each time
LONGEST_PAUSE = 30.0

BACKLOG = """
SELECT count(*) AS letters, coalesce(max(clock_timestamp() - due_at), interval '0') AS lateness
FROM message WHERE state = 'queued' AND due_at <= clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Letters that should have left, and by how much the oldest is late."""

    letters: int
    lateness: timedelta


def wanted_senders(running: int, backlog: Backlog, *, least: int, most: int, calm_for: float) -> int:
    """How many senders should run now. One more while letters are late; one less after a calm time."""
    if backlog.lateness > LATE or backlog.letters > LETTERS_A_SENDER * max(1, running):
        return max(least, min(most, running + 1))
    if calm_for >= CALM:
        return max(least, min(most, running - 1))
    return max(least, min(most, running))


def read_backlog(connection: Connection) -> Backlog:
    row = connection.execute(BACKLOG).fetchone()
    assert row is not None
    return Backlog(row.letters, row.lateness)


class SenderPool:
    """The senders of this host. `tend` is called every few seconds."""

    def __init__(self, *, least: int, most: int, environment: Mapping[str, str]) -> None:
        self._least, self._most = least, most
        self._environment = environment
        self._senders: list[Child] = []
        self._late_at = self._changed_at = monotonic()
        self._pause = RESTART_PAUSE
        self._start_at = 0.0

    @property
    def senders(self) -> list[Child]:
        return list(self._senders)

    def tend(self, connection: Connection) -> None:
        """Starts again what fell, then adds or takes away one sender if the backlog asks for it."""
        self._bury()
        now = monotonic()
        try:
            backlog = read_backlog(connection)
        except psycopg.Error:
            backlog = Backlog(0, timedelta())
        if backlog.lateness > LATE:
            self._late_at = now
        calm_for = now - max(self._late_at, self._changed_at)
        wanted = wanted_senders(len(self._senders), backlog, least=self._least, most=self._most, calm_for=calm_for)
        if wanted > len(self._senders) and now >= self._start_at:
            self._start()
        elif wanted < len(self._senders):
            self._stop_one()

    def start(self) -> None:
        """The least number, at once."""
        while len(self._senders) < self._least:
            self._start()

    def stop(self) -> None:
        stop_all(self._senders)
        self._senders = []

    def _start(self) -> None:
        self._senders.append(Child("mailfleet.sending", environment=self._environment))
        self._changed_at = monotonic()

    def _stop_one(self) -> None:
        sender = self._senders.pop()
        stop_all([sender])
        self._changed_at = monotonic()

    def _bury(self) -> None:
        for sender in [sender for sender in self._senders if sender.exit_code is not None]:
            get_log().critical("sender_fell", pid=sender.pid, exit_code=sender.wait())
            self._senders.remove(sender)
            if monotonic() - sender.started_at >= STEADY:
                self._pause = RESTART_PAUSE
            else:
                self._start_at = monotonic() + self._pause
                self._pause = min(LONGEST_PAUSE, self._pause * 2)
