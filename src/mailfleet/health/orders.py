"""What is done about findings, beside the holds that stand: new holds, holds that a wider one replaces, letters
halved."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailfleet.health.facts import Facts, StandingHold, scopes_of_letters
from mailfleet.health.findings import Evidence, Finding, Level
from mailfleet.health.scopes import RANK, Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """A hold to place; `until` None: until a person lifts it. However it ends, a trial follows.

    `cause`: the scope whose incident it belongs to, which is `scope` except for a list's campaigns. `evidence` keeps
    what the trial will need: `letters_a_day` of a scope that is no set of mailboxes.
    """

    scope: Scope
    family: Family
    cause: Scope
    reason: str
    evidence: Evidence
    until: datetime | None
    strikes: int


@dataclass(frozen=True, slots=True)
class Absorption:
    """A hold that ends because `into`, of the same family, covers it and lasts as long: one thing to lift, not a
    hundred."""

    hold_id: int
    into: Scope


def order_holds(
    findings: Iterable[Finding], facts: Facts, tunables: HealthTunables, now: datetime
) -> tuple[HoldOrder, ...]:
    """A hold for each target that no hold of the family covers for as long as it needs. Nothing here ever lifts.

    What is needed is counted from the beginning of the hold that stands, so that a cause that goes on prolongs nothing.
    """
    orders = [
        _order(finding, target, facts, tunables, now)
        for finding in findings
        if finding.level is Level.STOP
        for target in finding.targets
        if not any(_suffices(hold, finding, target, facts, tunables) for hold in facts.holds)
    ]
    return tuple(sorted(_longest(orders, facts), key=lambda order: (order.family, order.scope)))


def absorb_holds(orders: Sequence[HoldOrder], facts: Facts) -> tuple[Absorption, ...]:
    """The standing holds that wider ones of the same family, ordered or standing, make needless."""
    wide: dict[Family, list[tuple[Scope, datetime | None]]] = defaultdict(list)
    for order in orders:
        wide[order.family].append((order.scope, order.until))
    for hold in facts.holds:
        if hold.family is not None:
            wide[hold.family].append((hold.scope, hold.until))
    found = []
    for hold in sorted(facts.holds, key=lambda hold: hold.id):
        into = [
            scope
            for scope, until in (wide[hold.family] if hold.family else ())
            if is_wider(scope, hold.scope, facts) and _lasts(until, hold.until)
        ]
        if into:
            found.append(
                Absorption(
                    hold.id, max(into, key=lambda scope: (len(facts.mailboxes_of[scope]), RANK[scope.kind], scope))
                )
            )
    return tuple(found)


def halve_letters(findings: Iterable[Finding], facts: Facts) -> dict[int, int]:
    """Of each mailbox how often its ramp is halved now; a mailbox that is not named: not at all."""
    slowing: dict[int, set[Family]] = defaultdict(set)
    for finding in findings:
        if finding.level is Level.SLOW:
            for target in finding.targets:
                for mailbox_id in facts.mailboxes_of.get(target, ()):
                    slowing[mailbox_id].add(finding.family)
    return {mailbox_id: len(families) for mailbox_id, families in sorted(slowing.items())}


def strikes_of(facts: Facts, scope: Scope, family: Family, tunables: HealthTunables, now: datetime) -> int:
    """How many holds of the family came before a new one on the scope, without a month of peace between."""
    trial = facts.latest_trial.get((scope, family))
    return trial.strikes + 1 if trial and now - trial.ended_at < tunables.strike_memory else 0


def _suffices(hold: StandingHold, finding: Finding, target: Scope, facts: Facts, tunables: HealthTunables) -> bool:
    if hold.family is not finding.family or not covers(hold.scope, target, facts):
        return False
    strikes = strikes_of(facts, target, finding.family, tunables, hold.since)
    return _lasts(hold.until, _until(finding, strikes, hold.since))


def _until(finding: Finding, strikes: int, since: datetime) -> datetime | None:
    if finding.ladder is None:
        return None
    until = since + finding.ladder.length(strikes)
    return max(until, finding.not_before) if finding.not_before else until


def _order(finding: Finding, target: Scope, facts: Facts, tunables: HealthTunables, now: datetime) -> HoldOrder:
    strikes = strikes_of(facts, target, finding.family, tunables, now)
    until = _until(finding, strikes, now)
    evidence = finding.evidence
    if target not in facts.mailboxes_of and (written := _letters_a_day(facts, target, finding.family, tunables)):
        evidence = {**evidence, "letters_a_day": written}
    return HoldOrder(target, finding.family, finding.scope, finding.reason, evidence, until, strikes)


def _letters_a_day(facts: Facts, scope: Scope, family: Family, tunables: HealthTunables) -> int:
    """Of a campaign or a recipient provider: what counts of it in a day of the window, or before an earlier hold, if
    that was more: of a trial that failed only its few letters count."""
    letters = sum(cell.letters for cell in facts.cells.get(family, ()) if scope in scopes_of_letters(cell))
    days = max(tunables.window_of(family).days, 1)
    return max(-(-letters // days), facts.written_before.get(scope, 0))


def _longest(orders: Sequence[HoldOrder], facts: Facts) -> list[HoldOrder]:
    """One order a scope and family (two dead lists of one campaign hold it once), none that a wider one makes
    needless."""
    found: dict[tuple[Scope, Family], HoldOrder] = {}
    for order in sorted(orders, key=lambda order: (order.until is None, order.until or 0, order.cause)):
        found[order.scope, order.family] = order
    return [
        order
        for order in found.values()
        if not any(
            wide.family is order.family and is_wider(wide.scope, order.scope, facts) and _lasts(wide.until, order.until)
            for wide in found.values()
        )
    ]


def covers(wide: Scope, narrow: Scope, facts: Facts) -> bool:
    """Whether what stops `wide` stops all of `narrow`."""
    if wide == narrow:
        return True
    inside = facts.mailboxes_of.get(narrow)
    return inside is not None and inside <= facts.mailboxes_of.get(wide, frozenset())


def is_wider(wide: Scope, narrow: Scope, facts: Facts) -> bool:
    """Whether `wide` covers `narrow` and is not the same to it; of two with the same mailboxes one is the wider."""
    if wide == narrow or not covers(wide, narrow, facts):
        return False
    return not covers(narrow, wide, facts) or RANK[wide.kind] > RANK[narrow.kind]


def _lasts(until: datetime | None, other: datetime | None) -> bool:
    """Whether a hold until `until` ends no sooner than one until `other`."""
    return until is None or (other is not None and other <= until)
