"""The judgement of health: facts in, holds and halvings and trials out. Pure, and the same for any order of the
facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mailfleet.health.facts import Facts
from mailfleet.health.findings import Finding
from mailfleet.health.orders import Absorption, HoldOrder, absorb_holds, halve_letters, order_holds
from mailfleet.health.rules_bounces import find_bounces
from mailfleet.health.rules_complaints import find_complaints
from mailfleet.health.rules_failures import find_failures
from mailfleet.health.rules_policy import find_policy_blocks
from mailfleet.health.rules_silence import find_silence
from mailfleet.health.scopes import Scope
from mailfleet.health.trials import Rung, next_rung
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family


@dataclass(frozen=True, slots=True)
class Judgement:
    """`findings`: every cause there is now, one each. `halvings`: of each mailbox slowed, how often. `rungs`: of each
    trial under way (or just over) where it stands and what it lets out."""

    findings: tuple[Finding, ...]
    orders: tuple[HoldOrder, ...]
    absorptions: tuple[Absorption, ...]
    halvings: Mapping[int, int]
    rungs: tuple[Rung, ...]


def judge(facts: Facts, tunables: HealthTunables, *, now: datetime) -> Judgement:
    """What is wrong with the fleet, and what is to be done about it at `now`."""
    findings = (
        *find_failures(facts, tunables, now),
        *find_policy_blocks(facts, tunables, now),
        *find_complaints(facts, tunables, now),
        *find_bounces(facts, tunables, now),
        *find_silence(facts, tunables, now),
    )
    orders = order_holds(findings, facts, tunables, now)
    return Judgement(
        findings,
        orders,
        absorb_holds(orders, facts),
        halve_letters(findings, facts),
        _rungs(facts, orders, tunables, now),
    )


def _rungs(facts: Facts, orders: tuple[HoldOrder, ...], tunables: HealthTunables, now: datetime) -> tuple[Rung, ...]:
    """Of the trials that are under way, did not fail now, and whose scope is not held again."""
    held: set[tuple[Scope, Family | None]] = {(hold.scope, hold.family) for hold in facts.holds}
    held |= {(order.scope, order.family) for order in orders}
    return tuple(
        next_rung(trial, normal=facts.normal(scope), tunables=tunables, now=now)
        for (scope, family), trial in sorted(facts.latest_trial.items())
        if not trial.is_over and (scope, family) not in held
    )
