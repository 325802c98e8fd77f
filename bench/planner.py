"""How long a planning run takes: the pure planner on literals, and the whole run on a database."""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.burst import plan_wave, planner
from bench.fleet import FleetSpec, lay
from bench.place import Place
from bench.report import Figure
from mailfleet.planning.rules import plan

PART = "planning the next hour"
PACE = timedelta(minutes=5)
MAILBOXES, READY = 1_200, 50_000


def pure() -> Iterator[Figure]:
    """The fleets of the planner's own tests: limits half used, big receivers nearly full."""
    large = _large()
    for name, size, limit in (
        ("1,200 mailboxes, 50,000 ready", large.ISSUE, 5.0),
        ("100,000 mailboxes, 100,000 ready", large.HUGE, None),
    ):
        snapshot = large.build_snapshot(size, pace=PACE)
        began = time.monotonic()
        made = plan(snapshot, now=large.NOW, until=large.NOW + large.HOUR, seed=1)
        yield Figure(PART, f"rules alone, {name}", time.monotonic() - began, "s", at_most=limit)
        yield Figure(PART, f"slots, {name}", len(made.slots))


def whole(place: Place) -> Iterator[Figure]:
    """Read, plan, write. Nothing is sent; of 50,000 ready the fleet's hour takes some 12 a mailbox."""
    with place.database() as (conninfo, home):
        lay(conninfo, home, FleetSpec(MAILBOXES, port=1, pace_seconds=300), contacts=READY)
        with planner(conninfo) as planning:
            plan_wave(planning, 0, -1)
            began = time.monotonic()
            slots = plan_wave(planning, 1, READY)
            yield Figure(PART, "a whole run on a database, 1,200 and 50,000", time.monotonic() - began, "s")
            yield Figure(PART, "slots of that run", slots)
            began = time.monotonic()
            plan_wave(planning, 0, -1)
            yield Figure(PART, "the next run, nothing new being ready", time.monotonic() - began, "s")


def _large() -> Any:
    folder = str(Path(__file__).parents[1] / "tests" / "planning")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import planning_large  # type: ignore[import-not-found]

    return planning_large
