"""How much room one limit leaves in one scope, now and later: what is used, queued and planned, counted together."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate

from mailfleet.outbox.limits import Usage
from mailfleet.planning.snapshot import Limit
from mailfleet.planning.windows import Span

BEGINNING = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
NOTHING = Usage()


class Room:
    """One limit in one scope, in the course of a planning run.

    `counted` is all that counts from `now` on; while it is below the maximum, every moment is free. It only grows, and
    what is blocked stays blocked: the planner's caches rest on that.
    """

    __slots__ = ("_added", "_blocked", "_changes", "_peak", "_span", "_usage", "counted", "key", "limit", "maximum")

    def __init__(self, limit: Limit, key: str, now: datetime) -> None:
        self.limit, self.key, self.maximum = limit, key, limit.maximum
        self._span = limit.window.span
        self._usage = limit.usage.get(key, NOTHING).at(limit.window.bucket(now), self._span)
        self.counted = self._usage.used
        self._added: list[datetime] = []
        self._changes: dict[int, int] = {}
        self._blocked: tuple[Span, ...] | None = None
        self._peak: int | None = None

    @property
    def fill(self) -> float:
        return self.counted / self.maximum if self.maximum > 0 else float("inf")

    @property
    def is_full(self) -> bool:
        """Whether there may be moments at which one more is too much."""
        return self.counted >= self.maximum

    @property
    def used(self) -> int:
        """The most that counts in any one window from now on."""
        if self._peak is None:
            changes = self._totals_change()
            self._peak = max(accumulate(changes[bucket] for bucket in sorted(changes)), default=0)
        return self._peak

    def add(self, at: datetime) -> None:
        """Count one more at `at`."""
        self._added.append(at)
        self.counted += 1
        self._blocked = self._peak = None

    def free_from(self, at: datetime) -> datetime:
        """The first moment at or after `at` at which one more would break no window; NEVER if there is none."""
        for start, end in self.blocked():
            if at < start:
                break
            if at < end:
                at = end
        return at

    def blocked(self) -> tuple[Span, ...]:
        """The moments at which one more is too much for a window that holds them: by start, and by end."""
        if self._blocked is None:
            self._blocked = tuple(self._sweep())
        return self._blocked

    def _totals_change(self) -> dict[int, int]:
        """At which buckets the total of a window changes, and by how much; a window is named by its last bucket.

        Worked out only once a room may be full, which most never are. A bucket before the newest reservation (a clock
        that went back) is that one's.
        """
        if not self._changes:
            for age, count in enumerate(self._usage.counts):
                if count:
                    self._count(self._usage.head - age, count)
        for at in self._added:
            self._count(max(self.limit.window.bucket(at), self._usage.head), 1)
        self._added.clear()
        return self._changes

    def _count(self, bucket: int, count: int) -> None:
        changes, gone = self._changes, bucket + self._span
        changes[bucket] = changes.get(bucket, 0) + count
        changes[gone] = changes.get(gone, 0) - count

    def _sweep(self) -> Iterator[Span]:
        if self.maximum <= 0:
            yield BEGINNING, NEVER
            return
        changes, span, total = self._totals_change(), self._span, 0
        full_since: int | None = None
        for bucket in sorted(changes):
            total += changes[bucket]
            if full_since is None:
                if total >= self.maximum:
                    full_since = bucket
            elif total < self.maximum:
                yield self._moments(full_since - span + 1, bucket)
                full_since = None

    def _moments(self, first: int, end: int) -> Span:
        start = BEGINNING if first <= self._usage.head else self.limit.window.bucket_start(first)
        return start, self.limit.window.bucket_start(end)
