"""Two clocks: wall time for people, a monotonic one for deadlines.

Time of leases and limits is the database's. A process reads it once in a while and counts on by its own monotonic
clock, so that a wall clock that is set back or forward changes nothing.
"""

import time
from datetime import UTC, datetime

from mailfleet.base.errors import InvariantError


def utc_now() -> datetime:
    """This host's wall clock: for logs and pages, never for leases or limits."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that is never set and that counts on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class DatabaseClock:
    """The database's time, carried on by our monotonic clock.

    A reading lies somewhere between the question and the answer. What must end in time (a lease) is counted from the
    question, what must not begin too early (a letter) from the answer.
    """

    def __init__(self) -> None:
        self._database_at: datetime | None = None
        self._asked_at = self._answered_at = 0.0

    def set(self, database_at: datetime, *, asked_at: float, answered_at: float) -> None:
        """Takes a reading: `database_at` as the database gave it, between two readings of `monotonic()`."""
        self._database_at, self._asked_at, self._answered_at = database_at, asked_at, answered_at

    def earliest(self, at: datetime) -> float:
        """The monotonic second at which the database's clock shows `at`, or a little sooner."""
        return self._asked_at + self._since_reading(at)

    def latest(self, at: datetime) -> float:
        """The monotonic second at which the database's clock shows `at`, or a little later."""
        return self._answered_at + self._since_reading(at)

    def _since_reading(self, at: datetime) -> float:
        if self._database_at is None:
            raise InvariantError("The database's clock has not been read yet.")
        return (at - self._database_at).total_seconds()
