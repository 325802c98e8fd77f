"""The laws of a judgement on small fleets full of trouble."""

import random
from dataclasses import replace
from datetime import timedelta

from health_fleet import NOW, RECEIVERS, TUNABLES, fleet, scope
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.health.facts import Attempted, Cell, Facts, Listening, StandingHold, Trial
from mailfleet.health.findings import Level
from mailfleet.health.incidents import QuietHours, View, next_incidents
from mailfleet.health.orders import covers
from mailfleet.health.rates import Rate
from mailfleet.health.rules import Judgement, judge
from mailfleet.health.scopes import Scope
from mailfleet.model.words import Family

EXAMPLES = settings(max_examples=60, deadline=None)
FLEET = fleet(60)
MAILBOXES = st.integers(0, 59)
COUNTED = (Family.BOUNCES, Family.POLICY, Family.COMPLAINTS)
FAILURES = (Family.AUTHENTICATION, Family.RATE_LIMIT, Family.UNREACHABLE)
AGO = st.integers(1, 40).map(lambda hours: NOW - timedelta(hours=hours))
SCOPES = st.one_of(
    MAILBOXES.map(lambda key: scope("mailbox", key)),
    st.integers(0, 19).map(lambda key: scope("domain", key)),
    st.integers(0, 1).map(lambda key: scope("account", key)),
    st.just(scope("provider", 0)),
    st.integers(0, 2).map(lambda key: scope("campaign", key)),
)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    letters = draw(st.sampled_from((5, 30, 120)))
    events = draw(st.sampled_from((0, 0, 0, 1, 2, letters // 10, letters // 2)))
    campaign = draw(st.integers(0, 2))
    return Cell(draw(MAILBOXES), campaign, letters, events, campaign + 1, draw(st.sampled_from(RECEIVERS)))


@st.composite
def attempted(draw: st.DrawFn) -> Attempted:
    at = NOW - timedelta(minutes=draw(st.integers(0, 20)))
    return Attempted(draw(MAILBOXES), draw(st.sampled_from(("a", "b"))), at, draw(st.sampled_from((None, *FAILURES))))


@st.composite
def listening(draw: st.DrawFn) -> Listening:
    replies, unanswered = draw(st.integers(0, 60)), draw(st.sampled_from((0, 20, 400)))
    return Listening(draw(MAILBOXES), 600, replies, unanswered, draw(st.sampled_from((None, NOW))))


@st.composite
def holds(draw: st.DrawFn, number: int) -> StandingHold:
    family = draw(st.sampled_from((None, *Family)))
    until = draw(st.one_of(st.none(), st.integers(1, 300).map(lambda hours: NOW + timedelta(hours=hours))))
    return StandingHold(number, draw(SCOPES), family, draw(AGO), until, "a reason")


@st.composite
def trials(draw: st.DrawFn, number: int) -> Trial:
    return Trial(
        number,
        draw(SCOPES),
        draw(st.sampled_from(Family)),
        draw(AGO),
        strikes=draw(st.integers(0, 5)),
        rung=draw(st.integers(0, 3)),
        letters=draw(st.integers(0, 40)),
        is_over=draw(st.booleans()),
    )


@st.composite
def fleets(draw: st.DrawFn) -> Facts:
    counted = {family: tuple(draw(st.lists(cells(), max_size=12))) for family in COUNTED}
    return Facts(
        FLEET,
        counted,
        tuple(draw(st.lists(attempted(), max_size=30))),
        tuple(draw(st.lists(listening(), max_size=6, unique_by=lambda one: one.mailbox_id))),
        tuple(draw(holds(number)) for number in range(draw(st.integers(0, 4)))),
        tuple(draw(trials(number)) for number in range(10, 10 + draw(st.integers(0, 4)))),
    )


def judged(facts: Facts) -> Judgement:
    return judge(facts, TUNABLES, now=NOW)


def shuffled(facts: Facts, chance: random.Random) -> Facts:
    def mixed(items: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(chance.sample(items, len(items)))

    return Facts(
        mixed(facts.places),
        {family: mixed(of_family) for family, of_family in reversed(facts.cells.items())},
        mixed(facts.attempted),
        mixed(facts.listening),
        mixed(facts.holds),
        mixed(facts.trials),
    )


@EXAMPLES
@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_is_irrelevant(facts: Facts, chance: random.Random) -> None:
    """Whatever the order of rows, verdicts, holds, trials and incidents are the same."""
    one, other = judged(facts), judged(shuffled(facts, chance))
    assert one == other
    view = View(one, facts, {}, TUNABLES, NOW)
    assert next_incidents((), view) == next_incidents((), replace(view, facts=shuffled(facts, chance)))


@EXAMPLES
@given(fleets(), st.data())
def test_more_events_never_end_a_stop(facts: Facts, data: st.DataObject) -> None:
    """Where a family's rates stopped something, one event more among the same letters still stops something."""
    family = data.draw(st.sampled_from([family for family in COUNTED if facts.cells[family]] or [None]))
    if family is None:
        return
    of_family = list(facts.cells[family])
    index = data.draw(st.integers(0, len(of_family) - 1))
    cell = of_family[index]
    of_family[index] = replace(cell, events=min(cell.events + data.draw(st.integers(1, 5)), cell.letters))
    worse = replace(facts, cells={**facts.cells, family: tuple(of_family)})
    assert family not in stopping(facts) or family in stopping(worse)


def stopping(facts: Facts) -> set[Family]:
    return {finding.family for finding in judged(facts).findings if finding.level is Level.STOP}


@EXAMPLES
@given(fleets())
def test_a_hold_is_given_up_only_for_a_wider_one(facts: Facts) -> None:
    """What ends is covered, for as long, by a hold of its family that stays or is ordered; a person's never ends."""
    judgement = judged(facts)
    ended = {absorption.hold_id for absorption in judgement.absorptions}
    left = [(hold.scope, hold.family, hold.until) for hold in facts.holds if hold.id not in ended]
    left += [(order.scope, order.family, order.until) for order in judgement.orders]
    for hold in facts.holds:
        if hold.id in ended:
            assert hold.family is not None
            assert any(
                family is hold.family
                and covers(wide, hold.scope, facts)
                and (until is None or (hold.until is not None and until >= hold.until))
                for wide, family, until in left
            )


@EXAMPLES
@given(fleets())
def test_every_stop_is_held_from_now_on(facts: Facts) -> None:
    """Each target of each finding is held after the judgement, by a new hold or by one that stands."""
    judgement = judged(facts)
    held = [(hold.scope, hold.family) for hold in facts.holds]
    held += [(order.scope, order.family) for order in judgement.orders]
    for finding in judgement.findings:
        for target in finding.targets if finding.level is Level.STOP else ():
            assert any(family is finding.family and covers(wide, target, facts) for wide, family in held)


def test_a_domain_and_the_rest_of_its_account_are_one_hold() -> None:
    """Where one domain burns and its account without it too, the account's hold is enough from the first."""
    blocked = ((30, 5, 1, "microsoft"), (30, 5, 2, "google"), (33, 5, 2, "google"), (36, 30, 1, "google"))
    counted = tuple(Cell(box, 0, letters, events, 1, receiver) for box, letters, events, receiver in blocked)
    clean = tuple(Cell(0, 0, 30, 0, 1, "google") for _ in range(9))
    orders = judged(Facts(FLEET, {Family.POLICY: (*counted, *clean)})).orders
    assert len({order.scope for order in orders}) == len(orders)
    assert not any(a.scope != b.scope and covers(a.scope, b.scope, Facts(FLEET)) for a in orders for b in orders)


@EXAMPLES
@given(fleets())
def test_a_judgement_repeats_itself_no_more(facts: Facts) -> None:
    """Once its orders stand, the same facts a minute later order nothing new: one cause, one hold."""
    judgement = judged(facts)
    ended = {absorption.hold_id for absorption in judgement.absorptions}
    placed = [
        StandingHold(1000 + number, order.scope, order.family, NOW, order.until, order.reason, order.cause)
        for number, order in enumerate(judgement.orders)
    ]
    kept = tuple(hold for hold in facts.holds if hold.id not in ended)
    again = judge(replace(facts, holds=(*kept, *placed)), TUNABLES, now=NOW)
    assert again.orders == () and again.absorptions == ()


@EXAMPLES
@given(fleets())
def test_no_two_causes_of_a_family_share_a_mailboxs_failure(facts: Facts) -> None:
    """Never more causes than failures: each failing mailbox lies in exactly one of the causes of its family."""
    judgement = judged(facts)
    for family in FAILURES:
        causes = [finding for finding in judgement.findings if finding.family is family]
        assert sum(int(str(cause.evidence["mailboxes"])) for cause in causes) <= len(facts.attempted)
        for one, other in ((a, b) for a in causes for b in causes if a.scope < b.scope):
            assert one.scope.kind != other.scope.kind or one.scope.key != other.scope.key
            assert failing_in(facts, one.scope, family).isdisjoint(failing_in(facts, other.scope, family)) or (
                "sender_host" in (one.scope.kind, other.scope.kind)
            )


def failing_in(facts: Facts, of: Scope, family: Family) -> frozenset[int]:
    return facts.mailboxes_of.get(of, frozenset()) & {
        one.mailbox_id for one in facts.attempted if one.trouble is family
    }


@EXAMPLES
@given(fleets())
def test_a_wide_hold_has_failures_in_more_than_one_of_its_parts(facts: Facts) -> None:
    """An account or provider is stopped for failures only when more than one of its domains failed, and nearly all that
    was tried in it: never wider than what explains."""
    for finding in judged(facts).findings:
        if finding.family in FAILURES and finding.scope.kind in ("account", "provider"):
            failing = failing_in(facts, finding.scope, finding.family)
            assert len({mailbox // 3 for mailbox in failing}) > 1
            assert int(str(finding.evidence["mailboxes"])) >= 0.9 * int(str(finding.evidence["of"]))


@EXAMPLES
@given(fleets())
def test_floors_are_respected(facts: Facts) -> None:
    """Without a trial nothing is stopped for a rate unless the fleet shows the floor's letters and events."""
    judgement = judged(replace(facts, trials=()))
    floors = {Family.BOUNCES: (30, 3), Family.COMPLAINTS: (100, 2), Family.POLICY: (1, 3)}
    for finding in judgement.findings:
        if finding.level is Level.STOP and finding.family in floors:
            letters, events = floors[finding.family]
            counted = facts.cells[finding.family]
            assert sum(cell.letters for cell in counted) >= letters and sum(cell.events for cell in counted) >= events
            rate = Rate(int(str(finding.evidence["events"])), int(str(finding.evidence["letters"])))
            assert rate.exceeds(float(str(finding.evidence["threshold"])), TUNABLES.confidence)


@EXAMPLES
@given(fleets(), st.booleans())
def test_incidents_are_told_once_and_nothing_is_forgotten(facts: Facts, is_night: bool) -> None:
    """Every finding lies in one open incident; a second look writes nothing and tells nobody again; what the night kept
    back is told in the morning."""
    judgement = judged(facts)
    view = View(judgement, facts, {}, TUNABLES, NOW)
    quiet = QuietHours(NOW.time(), (NOW + timedelta(hours=1)).time(), "UTC") if is_night else None
    first = next_incidents((), view, quiet)
    keys = [incident.key for incident in first.written]
    assert len(keys) == len(set(keys))
    for finding in judgement.findings:
        assert any(family is finding.family and covers(of, finding.scope, facts) for family, of in keys)
    known = [replace(one, told=one.severity, told_at=NOW) if one in first.notices else one for one in first.written]
    again = next_incidents(known, view, quiet)
    assert again == type(again)((), ())
    morning = next_incidents(known, view, None)
    assert {one.key for one in first.notices}.isdisjoint({one.key for one in morning.notices})
    assert len(first.notices) + len(morning.notices) == sum(one.severity > 0 for one in first.written)
