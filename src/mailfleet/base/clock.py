"""Two clocks: wall time for people, a monotonic one for deadlines.

Time of leases and limits is the database's. A process reads it once in a while and counts on by its own monotonic
clock, so that a wall clock that is set back or forward changes nothing.
"""

import time
from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """This host's wall clock: for logs and pages, never for leases or limits."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that is never set and that counts on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class DatabaseClock:
    """The database's time, carried on by our monotonic clock.

    A reading lies between the moments before and after the query; `now` takes the later end (the database may be as far
    as the query took), so that a lease is never thought longer than it is.
    """

    def __init__(self) -> None:
        self._database_at: datetime | None = None
        self._read_before = 0.0

    def set(self, database_at: datetime, *, asked_at: float) -> None:
        """Takes a reading: `database_at` as the database gave it, `asked_at` = `monotonic()` before the query."""
        self._database_at, self._read_before = database_at, asked_at

    @property
    def is_set(self) -> bool:
        return self._database_at is not None

    def now(self) -> datetime:
        """The database's time now, at the latest."""
        if self._database_at is None:
            raise RuntimeError("the database's clock has not been read yet")
        return self._database_at + timedelta(seconds=monotonic() - self._read_before)

    def monotonic_of(self, at: datetime) -> float:
        """The monotonic second at which the database's clock shows `at`, at the earliest."""
        if self._database_at is None:
            raise RuntimeError("the database's clock has not been read yet")
        return self._read_before + (at - self._database_at).total_seconds()
