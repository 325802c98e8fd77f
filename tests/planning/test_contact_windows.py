"""When a contact may be written to."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_instances import ANY_MOMENT, local_windows

from mailfleet.base.errors import InputError
from mailfleet.planning.windows import Interval, LocalWindow

QUARTER = timedelta(minutes=15)
EVERY_DAY = range(1, 8)


def shows_open(window: LocalWindow, at: datetime) -> bool:
    """By the wall clock, the plain way."""
    wall = at.astimezone(ZoneInfo(window.zone))
    minute = 60 * wall.hour + wall.minute
    return wall.isoweekday() in window.weekdays and any(i.start <= minute < i.end for i in window.intervals)


@given(local_windows(), ANY_MOMENT, st.integers(1, 300))
def test_spans_are_what_the_wall_clock_shows(window: LocalWindow, start: datetime, quarters: int) -> None:
    """Every quarter of an hour inside a span is open by the wall clock of the zone, every other one is closed."""
    first = start.replace(minute=0, second=0, microsecond=0)
    spans = window.spans(first, first + quarters * QUARTER)
    for number in range(quarters):
        at = first + number * QUARTER
        assert any(begin <= at < end for begin, end in spans) == shows_open(window, at)
    assert all(begin < end for begin, end in spans)
    assert all(before[1] < after[0] for before, after in pairwise(spans))


@given(local_windows(), ANY_MOMENT)
def test_the_next_opening_is_the_first(window: LocalWindow, at: datetime) -> None:
    """What `next_open` returns is open at its start and closed all the time before it, and never earlier than asked."""
    start, end = window.next_open(at)
    assert at <= start < end and shows_open(window, start)
    assert shows_open(window, end - timedelta(microseconds=1))
    assert start == at or not window.spans(at, start)


@pytest.mark.parametrize(
    ("zone", "day", "hours", "length"),
    [
        ("Europe/Berlin", (2026, 3, 29), "01:00-04:00", 2),
        ("Europe/Berlin", (2026, 3, 29), "02:15-02:45", 0),
        ("Europe/Berlin", (2026, 10, 25), "01:00-04:00", 4),
        ("Europe/Berlin", (2026, 10, 25), "02:15-02:45", 1),
        ("Australia/Lord_Howe", (2026, 10, 4), "00:00-24:00", 23.5),
        ("Africa/Cairo", (2026, 4, 24), "00:00-24:00", 23),
        ("Pacific/Apia", (2011, 12, 30), "00:00-24:00", 0),
        ("UTC", (2026, 3, 29), "01:00-04:00", 3),
    ],
)
def test_a_skipped_hour_is_no_hour_and_a_repeated_one_is_two(
    zone: str, day: tuple[int, int, int], hours: str, length: float
) -> None:
    """How long an interval of the wall clock is open on the days when the clock changes (or a day is left out)."""
    window = LocalWindow.parse([datetime(*day, tzinfo=UTC).isoweekday()], [hours], zone)
    middle = datetime(*day, 12, tzinfo=UTC)
    spans = window.spans(middle - timedelta(days=2), middle + timedelta(days=2))
    assert sum((end - start for start, end in spans), timedelta(0)) == timedelta(hours=length)


def test_midnight_does_not_cut_a_day_and_night_window() -> None:
    """Open round the clock is one span, however many midnights it holds."""
    window = LocalWindow.parse(EVERY_DAY, ["00:00-24:00"], "Asia/Kathmandu")
    start = datetime(2026, 11, 24, tzinfo=UTC)
    assert window.spans(start, start + timedelta(days=3)) == ((start, start + timedelta(days=3)),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9-17", "not a time of day"),
        ("09:00", "not an interval"),
        ("09:60-17:00", "not a time of day"),
        ("09:00-24:01", "not a time of day"),
        ("09:00-09:00", "does not end after it starts"),
        ("22:00-06:00", "does not end after it starts"),
        ("-09:00-17:00", "not a time of day"),
        ("", "not an interval"),
    ],
)
def test_hours_that_are_none_are_refused(text: str, said: str) -> None:
    """A mistyped interval is an error for the person who wrote it, never a window that is silently shut or open."""
    with pytest.raises(InputError, match=said):
        Interval.parse(text)


@pytest.mark.parametrize(
    ("weekdays", "hours", "zone", "said"),
    [
        ([], ["09:00-17:00"], "UTC", "needs a weekday"),
        ([1], [], "UTC", "needs a weekday"),
        ([0], ["09:00-17:00"], "UTC", "no such weekday"),
        ([1], ["09:00-12:00", "11:00-17:00"], "UTC", "overlap"),
        ([1], ["09:00-17:00"], "Europe/Atlantis", "not a time zone"),
    ],
)
def test_a_window_that_cannot_be_kept_is_refused(weekdays: list[int], hours: list[str], zone: str, said: str) -> None:
    """Empty, overlapping or in no zone: said at once."""
    with pytest.raises(InputError, match=said):
        LocalWindow.parse(weekdays, hours, zone)


@given(local_windows())
def test_hours_read_back_as_written(window: LocalWindow) -> None:
    """What is stored as text is the same window again."""
    assert LocalWindow.parse(window.weekdays, [str(i) for i in window.intervals], window.zone) == window
