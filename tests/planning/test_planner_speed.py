"""The planner on large fleets. Seconds are `make bench`'s; here calls are counted, which no slow machine changes."""

import sys
from datetime import timedelta
from types import FrameType

from planning_large import HOUR, NOW, Size, build_snapshot

from mailfleet.planning.rules import plan


def calls(size: Size) -> int:
    """How many functions of Python one plan of that size calls."""
    snapshot = build_snapshot(size, pace=timedelta(minutes=5))
    count = 0

    def tally(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(tally)
    try:
        result = plan(snapshot, now=NOW, until=NOW + HOUR, seed=1)
    finally:
        sys.setprofile(before)
    assert len(result.slots) + len(result.reasons) == size.ready
    return count


def test_work_grows_with_the_fleet_and_not_with_its_square() -> None:
    """Ten times the mailboxes and letters take about ten times the work."""
    tenth = Size(200, 70, 20, 5, 4, 500)
    whole = Size(2_000, 700, 20, 5, 4, 5_000)
    assert calls(whole) < 15 * calls(tenth)
