"""The planner on large fleets."""

import time
from datetime import timedelta

from planning_large import HOUR, ISSUE, NOW, Size, build_snapshot

from mailfleet.planning.rules import plan

ALLOWANCE = 3  # chosen: times the time asked for, as tests share slow machines; `make bench` gives the figure


def cpu_seconds(size: Size, pace: timedelta) -> float:
    snapshot = build_snapshot(size, pace=pace)
    began = time.process_time()
    result = plan(snapshot, now=NOW, until=NOW + HOUR, seed=1)
    took = time.process_time() - began
    assert len(result.slots) + len(result.reasons) == size.ready
    return took


def test_the_fleet_of_the_design_is_planned_in_seconds() -> None:
    """1,200 mailboxes and 50,000 ready letters, limits half used and full: 3 s of one core, whatever the pace."""
    for pace in (timedelta(minutes=5), timedelta(seconds=30)):
        assert cpu_seconds(ISSUE, pace) < 3 * ALLOWANCE


def test_time_grows_with_the_fleet_and_not_with_its_square() -> None:
    """Ten times the mailboxes and letters take no more than about ten times as long."""
    tenth = Size(2_000, 700, 20, 5, 4, 5_000)
    whole = Size(20_000, 7_000, 200, 5, 4, 50_000)
    pace = timedelta(minutes=5)
    assert cpu_seconds(whole, pace) < 25 * max(cpu_seconds(tenth, pace), 0.1)
