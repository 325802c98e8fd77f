"""When a contact may be written to: local weekdays and hours, as moments.

A moment is inside when the wall clock of the zone shows one of the weekdays and a time within one of the intervals. So
an hour that the clock skips holds no moment, and an hour that it shows twice counts twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mailfleet.base.errors import InputError, InvariantError

ISO_WEEKDAYS = frozenset(range(1, 8))
DAY = timedelta(days=1)
SEARCH_DAYS = 16  # chosen: a weekly window opens within 8 days, and a zone that skips a date (Apia 2011) costs one week

Span = tuple[datetime, datetime]
"""From the first moment, up to but without the second; aware, UTC."""


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """From `start` up to but without `end`: minutes that the wall clock shows since midnight, 0 to 1440."""

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Read "09:00-17:00"; `InputError` if it is no such thing, empty, or crosses midnight."""
        start, dash, end = text.partition("-")
        if not dash:
            raise InputError(f'"{text}" is not an interval of hours', hint='write it like "09:00-17:00"')
        interval = cls(_parse_time(start), _parse_time(end))
        if interval.start >= interval.end:
            raise InputError(
                f'the interval "{text}" does not end after it starts',
                hint='write hours that cross midnight as two: "22:00-24:00" and "00:00-02:00"',
            )
        return interval

    def __str__(self) -> str:
        return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (self.start, self.end))


@dataclass(frozen=True, slots=True)
class LocalWindow:
    """Weekdays (1 is Monday, 7 Sunday) and intervals (sorted, none overlapping, none empty) in `zone`, an IANA name."""

    weekdays: frozenset[int]
    intervals: tuple[Interval, ...]
    zone: str

    @classmethod
    def parse(cls, weekdays: Iterable[int], intervals: Iterable[str], zone: str) -> "LocalWindow":
        """From weekdays (1 to 7) and hours ("09:00-17:00"); `InputError` says which of them is wrong."""
        days = frozenset(weekdays)
        hours = tuple(sorted(Interval.parse(text) for text in intervals))
        if not days or not hours:
            raise InputError("a window needs a weekday and an interval of hours", hint="without them it never opens")
        if not days <= ISO_WEEKDAYS:
            raise InputError(f"there is no such weekday in {sorted(days)}", hint="1 is Monday, 7 is Sunday")
        for before, after in pairwise(hours):
            if after.start < before.end:
                raise InputError(f"the intervals {before} and {after} overlap", hint="join them")
        load_zone(zone)
        return cls(days, hours, zone)

    def in_zone(self, zone: str) -> "LocalWindow":
        """The same hours on the clocks of another zone."""
        return replace(self, zone=zone)

    def next_open(self, at: datetime) -> Span:
        """The first span that is open at `at` (then it starts at `at`) or after it; no span goes past midnight."""
        today = at.astimezone(load_zone(self.zone)).date()
        for ahead in range(SEARCH_DAYS):
            for start, end in self._spans_on(today + ahead * DAY):
                if at < end:
                    return max(start, at.astimezone(UTC)), end
        raise InvariantError(f"the window {self} never opens after {at}")

    def spans(self, start: datetime, end: datetime) -> tuple[Span, ...]:
        """All that is open in [start, end): sorted, no two touching; empty when closed throughout."""
        found: list[Span] = []
        opens, closes = self.next_open(start)
        while opens < end:
            if found and found[-1][1] == opens:
                opens = found.pop()[0]
            found.append((opens, min(closes, end)))
            opens, closes = self.next_open(closes)
        return tuple(found)

    def _spans_on(self, day: date) -> Iterator[Span]:
        """What is open on one local date, in order of time: split where the clock changes."""
        if day.isoweekday() not in self.weekdays:
            return
        midnight = datetime.combine(day, time(), UTC)
        for since, until, offset in _offsets_around(self.zone, day):
            for interval in self.intervals:
                start = max(since, midnight + timedelta(minutes=interval.start) - offset)
                end = min(until, midnight + timedelta(minutes=interval.end) - offset)
                if start < end:
                    yield start, end


def load_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name; `InputError` if there is none."""
    try:
        return _load_zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f'"{name}" is not a time zone', hint='use an IANA name such as "Europe/Berlin"') from error


@lru_cache(maxsize=1024)
def _load_zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=8192)
def _offsets_around(zone: str, day: date) -> tuple[tuple[datetime, datetime, timedelta], ...]:
    """(since, until, offset from UTC) over every moment that may bear the local date `day`; two when the clock changes.

    Offsets lie between -12 and +14 hours. No zone changes its clock twice in these three days.
    """
    info = _load_zone(zone)
    first = datetime.combine(day, time(), UTC) - DAY
    last = first + 3 * DAY
    before, after = _offset(info, first), _offset(info, last)
    if before == after:
        return ((first, last, before),)
    low, high = 0, int((last - first).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(info, first + timedelta(seconds=middle)) == before:
            low = middle
        else:
            high = middle
    change = first + timedelta(seconds=high)
    return (first, change, before), (change, last, after)


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _parse_time(text: str) -> int:
    hour, _, minute = text.strip().partition(":")
    if hour.isdecimal() and minute.isdecimal() and len(minute) == 2 and int(minute) < 60:
        found = 60 * int(hour) + int(minute)
        if found <= 24 * 60:
            return found
    raise InputError(f'"{text.strip()}" is not a time of day', hint="write hours and minutes from 00:00 to 24:00")
