"""Judging a whole fleet: calls are counted, which no slow machine changes."""

import sys
from types import FrameType

from health_fleet import NOW, TUNABLES, facts_of, fleet

from mailfleet.health.rules import judge
from mailfleet.health.rules_bounces import find_bounces
from mailfleet.health.scopes import Place
from mailfleet.model.words import Family


def calls(mailboxes: int, *, on_fire: bool) -> int:
    """How many functions of Python one judgement of so many mailboxes calls (9 cells each)."""

    def events(place: Place, campaign: int, receiver: str) -> int:
        burns = campaign == 1 or place.mailbox_id % 7 == 0
        return 3 * int(burns and on_fire) or int(place.mailbox_id % 9 == 0 and receiver == "google")

    facts = facts_of(fleet(mailboxes), Family.BOUNCES, events)
    count = 0

    def tally(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(tally)
    try:
        judge(facts, TUNABLES, now=NOW)
    finally:
        sys.setprofile(before)
    return count


def test_work_grows_with_the_fleet_and_not_with_its_square() -> None:
    """Ten times the mailboxes are about ten times the work, whether one letter in a hundred bounces or ten."""
    for on_fire in (False, True):
        assert calls(1200, on_fire=on_fire) < 15 * calls(120, on_fire=on_fire)


def test_a_fleet_at_peace_costs_a_few_dozen_calls_a_mailbox() -> None:
    """1,200 mailboxes with 10,800 cells: tens of milliseconds."""
    assert calls(1200, on_fire=False) < 200 * 1200


def test_a_fleet_without_events_costs_next_to_nothing() -> None:
    """No bounce in the window: its letters are not even counted."""
    cells = facts_of(fleet(1200), Family.BOUNCES, lambda p, c, r: 0)
    assert find_bounces(cells, TUNABLES, NOW) == [] and "scopes_of" not in vars(cells)
