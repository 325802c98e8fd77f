"""How a limit counts: windows, buckets, usage. Pure; the planner and the reservation both count with it.

A window is cut into buckets. What was reserved in bucket b counts in every bucket from b up to b + span - 1, then no
more. A letter is reserved a little before it leaves, at most `SLACK`. A rolling window of length W has buckets of
W / 96 and counts each until all of it, and the slack, is out of the window: so no interval of length W, wherever it
begins, sees more letters leave than the maximum. The price is a ninety-sixth of the window (15 minutes of a day) and
the slack. A calendar day is one bucket; in its last `SLACK` nothing is reserved: it might leave on the next day.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

SLACK = timedelta(seconds=30)  # chosen: 10 s of reserving ahead, and 20 s of being late to begin
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ROLLING_PARTS = 96  # chosen: 15 minutes of a day; a row of usage stays under 500 bytes

WindowKind = Literal["rolling", "calendar"]


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling `length`, or (kind "calendar") the day of `zone`, an IANA name."""

    kind: WindowKind
    length: timedelta = timedelta(days=1)
    zone: str = "UTC"

    @property
    def span(self) -> int:
        """In how many buckets, its own first, a reservation counts."""
        if self.kind == "calendar":
            return 1
        return ROLLING_PARTS + 1 + math.ceil(SLACK * ROLLING_PARTS / self.length)

    def is_closing(self, at: datetime) -> bool:
        """Whether a letter reserved at `at` might leave on the next calendar day."""
        return self.kind == "calendar" and self.bucket(at) != self.bucket(at + SLACK)

    def bucket(self, at: datetime) -> int:
        """The bucket that `at` (aware) lies in: grows with time, the same in every process."""
        if self.kind == "rolling":
            return (at - EPOCH) // MICROSECOND * ROLLING_PARTS // (self.length // MICROSECOND)
        return at.astimezone(_zone(self.zone)).toordinal()

    def bucket_start(self, bucket: int) -> datetime:
        """The first moment of a bucket, in UTC: when room bound by it is free again."""
        if self.kind == "rolling":
            return EPOCH - (-bucket * (self.length // MICROSECOND) // ROLLING_PARTS) * MICROSECOND
        return datetime.fromordinal(bucket).replace(tzinfo=_zone(self.zone)).astimezone(UTC)

    def __str__(self) -> str:
        if self.kind == "calendar":
            return f"a day ({self.zone})"
        seconds = int(self.length.total_seconds())
        for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
            if seconds % unit == 0:
                count = seconds // unit
                return f"a rolling {name}" if count == 1 else f"{count} rolling {name}s"
        return f"{seconds} rolling seconds"


@dataclass(frozen=True, slots=True)
class Usage:
    """What is reserved against one limit in one scope: `counts` from bucket `head` (the newest) backwards."""

    head: int = 0
    counts: tuple[int, ...] = (0,)

    @property
    def used(self) -> int:
        """All that counts in bucket `head`."""
        return sum(self.counts)

    @classmethod
    def stored(cls, head: int, counts: Sequence[int]) -> "Usage":
        return cls(head, tuple(counts))

    def at(self, bucket: int, span: int) -> "Usage":
        """As seen from `bucket`. One before `head` (a clock that went back) changes nothing: time never gives room."""
        step = bucket - self.head
        counts = self.counts + (0,) * (span - len(self.counts))
        if step <= 0:
            return Usage(self.head, counts[:span])
        if step >= span:
            return Usage(bucket, (0,) * span)
        return Usage(bucket, (0,) * step + counts[: span - step])

    def add(self, count: int) -> "Usage":
        """With `count` more in bucket `head`."""
        return Usage(self.head, (self.counts[0] + count, *self.counts[1:]))

    def give_back(self, bucket: int, count: int) -> "Usage":
        """With `count` less in `bucket`, if that still counts; never below nothing."""
        offset = self.head - bucket
        if not 0 <= offset < len(self.counts):
            return self
        counts = list(self.counts)
        counts[offset] = max(0, counts[offset] - count)
        return Usage(self.head, tuple(counts))


def usage_of(moments: Iterable[datetime], window: Window, now: datetime) -> Usage:
    """The usage that reservations at these moments leave at `now`; later ones count as of now."""
    head = window.bucket(now)
    counts = [0] * window.span
    for moment in moments:
        offset = max(0, head - window.bucket(moment))
        if offset < window.span:
            counts[offset] += 1
    return Usage(head, tuple(counts))
