"""How a mailbox's daily maximum grows and shrinks."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mailfleet.planning.ramp import Ramp, after_sending, daily_maximum, ramp_curve

MONDAY = date(2026, 11, 23)
DAY = timedelta(days=1)


def after_days(target: int, days: int) -> Ramp:
    """A mailbox that wrote on each of so many days, the last of them the Sunday before MONDAY."""
    ramp = Ramp(target)
    for ago in range(days, 0, -1):
        ramp = after_sending(ramp, MONDAY - ago * DAY)
    return ramp


def test_the_curve_of_the_default_target() -> None:
    """From 5 a day to 30 in fifteen sending days, which are three weeks of working days."""
    assert ramp_curve(30) == [5, 5, 5, 6, 7, 8, 9, 10, 12, 14, 16, 19, 22, 26, 30]


@given(st.integers(0, 200), st.integers(1, 20))
def test_a_curve_never_grows_by_more_than_a_fifth(target: int, start: int) -> None:
    """No step is more than a fifth (or one letter) up, none goes down, and it ends at the target."""
    curve = ramp_curve(target, start)
    assert curve[0] == curve[1] == curve[2] == min(start, target) and curve[-1] == target
    assert all(a <= b <= max(a * 1.2, a + 1) for a, b in pairwise(curve))


def test_the_maximum_follows_the_curve_by_days_with_letters() -> None:
    """The n-th sending day has the n-th place of the curve; a weekend between changes nothing."""
    for days, maximum in enumerate([*ramp_curve(30), 30, 30]):
        assert daily_maximum(after_days(30, days), MONDAY) == maximum
        assert daily_maximum(after_days(30, days), MONDAY + 3 * DAY) == maximum


def test_the_maximum_is_the_same_all_day_long() -> None:
    """The first letter of a day does not raise that day's maximum, nor do the others."""
    ramp = after_days(30, 6)
    begun = after_sending(ramp, MONDAY)
    assert daily_maximum(begun, MONDAY) == daily_maximum(ramp, MONDAY)
    assert after_sending(begun, MONDAY) == begun
    assert daily_maximum(begun, MONDAY + DAY) == 10


def test_each_idle_week_drops_a_step_for_good() -> None:
    """After a week without letters the place is one lower, after two weeks two; the next letter does not undo it."""
    ramp = after_days(30, 15)
    assert [daily_maximum(ramp, MONDAY + days * DAY) for days in (5, 6, 13, 20)] == [30, 26, 22, 19]
    again = after_sending(ramp, MONDAY + 6 * DAY)
    assert daily_maximum(again, MONDAY + 6 * DAY) == 26
    assert daily_maximum(again, MONDAY + 7 * DAY) == 30


def test_a_long_career_is_no_credit_against_idle_weeks() -> None:
    """A mailbox with a thousand sending days drops from the target like any other."""
    assert daily_maximum(after_days(30, 1000), MONDAY + 6 * DAY) == 26


def test_thirty_idle_days_start_again() -> None:
    """The whole ramp is walked again after a month of silence."""
    ramp = after_days(30, 15)
    assert daily_maximum(ramp, MONDAY + 28 * DAY) == 16
    assert daily_maximum(ramp, MONDAY + 29 * DAY) == 5
    assert after_sending(ramp, MONDAY + 29 * DAY) == Ramp(30, 1, MONDAY + 29 * DAY)


def test_each_stop_rule_halves_down_to_one() -> None:
    """Halvings add up; a mailbox with a target keeps one letter a day, one without has none."""
    ramp = after_days(30, 15)
    assert [daily_maximum(replace(ramp, halvings=n), MONDAY) for n in range(7)] == [30, 15, 7, 3, 1, 1, 1]
    assert daily_maximum(Ramp(0, halvings=2), MONDAY) == 0


@given(
    st.integers(0, 60), st.integers(-3, 400), st.none() | st.integers(-400, 5), st.integers(0, 9), st.integers(1, 40)
)
def test_no_history_lifts_a_mailbox_above_its_target(
    target: int, sending_days: int, last: int | None, halvings: int, start: int
) -> None:
    """Whatever the row says, also a day in the future: the maximum lies between 0 and the target."""
    last_on = None if last is None else MONDAY + last * DAY
    assert 0 <= daily_maximum(Ramp(target, sending_days, last_on, halvings, start), MONDAY) <= target
