"""How a limit counts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_instances import ANY_MOMENT

from mailfleet.outbox.limits import SLACK, Usage, Window

LENGTHS = (1, 7, 10, 60, 600, 3_600, 86_400, 604_800)
windows = st.sampled_from(
    [Window("rolling", timedelta(seconds=length)) for length in LENGTHS]
    + [Window("calendar", zone=zone) for zone in ("UTC", "Europe/Berlin", "Africa/Cairo", "America/Havana")]
)
MICROSECOND = timedelta(microseconds=1)


@given(windows, ANY_MOMENT)
def test_a_bucket_begins_where_it_says(window: Window, at: datetime) -> None:
    """A bucket's start lies in it, what is before lies in an earlier one, `at` does not lie before it."""
    bucket = window.bucket(at)
    start = window.bucket_start(bucket)
    assert window.bucket(start) == bucket
    assert window.bucket(start - MICROSECOND) < bucket
    assert start <= at


@pytest.mark.parametrize("length", LENGTHS)
def test_no_rolling_window_sees_more_leave_than_was_allowed(length: int) -> None:
    """A letter that left less than a window ago still counts, wherever in its bucket and however late it left."""
    window = Window("rolling", timedelta(seconds=length))
    reserved_at = datetime(2026, 11, 24, 9, 0, 0, 123456, tzinfo=UTC)
    usage = Usage().at(window.bucket(reserved_at), window.span).add(1)
    latest_left = reserved_at + SLACK
    for moment in (reserved_at, latest_left, latest_left + window.length - MICROSECOND):
        assert usage.at(window.bucket(moment), window.span).used == 1
    assert usage.at(window.bucket(latest_left + window.length * 1.05), window.span).used == 0


@given(st.lists(st.tuples(st.integers(-3, 60), st.integers(0, 3)), max_size=30), st.integers(1, 40))
def test_usage_counts_what_a_plain_list_counts(steps: list[tuple[int, int]], span: int) -> None:
    """Ageing and adding in any order is the sum over the last `span` buckets; a clock that goes back gives no room."""
    usage, newest, plain = Usage(), 0, []
    bucket = 0
    for step, count in steps:
        bucket += step
        newest = max(newest, bucket)
        usage = usage.at(bucket, span).add(count)
        plain.append((newest, count))
        assert usage.head == newest
        assert usage.used == sum(n for b, n in plain if newest - span < b)


@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 40))
def test_what_is_given_back_is_what_was_taken(later: int, count: int, span: int) -> None:
    """Giving back leaves nothing of it while it counts, changes nothing once it does not, never goes below 0."""
    taken = Usage().at(5, span).add(count).at(5 + later, span)
    returned = taken.give_back(5, count)
    assert returned.used == 0
    assert returned.give_back(5, count) == returned
    assert taken.give_back(5 + later + 1, count) == taken
