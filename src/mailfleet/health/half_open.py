"""Trials as limits: of each scope on trial, and of each that is held, for its trial begins with the hold's last second.

So however a hold ends, and whoever ends it, the first letters meet the limit already. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mailfleet.health.facts import Facts
from mailfleet.health.rules import Judgement
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables


@dataclass(frozen=True, slots=True)
class TrialLimit:
    """A limit that stands: it counts what left since `since`."""

    id: int
    scope: Scope
    maximum: int
    since: datetime


@dataclass(frozen=True, slots=True)
class WantedLimit:
    """`held_since`: the hold before the trial, while it stands."""

    scope: Scope
    maximum: int
    held_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class LimitChanges:
    """`written` are new, or count anew; of them and of `removed` the usage in `forgotten` (ids) goes. `changed`: id →
    maximum."""

    written: tuple[WantedLimit, ...]
    forgotten: tuple[int, ...]
    removed: tuple[int, ...]
    changed: Mapping[int, int]

    @property
    def comes_or_goes(self) -> bool:
        return bool(self.written or self.removed)


def wanted_limits(facts: Facts, judgement: Judgement, tunables: HealthTunables, now: datetime) -> list[WantedLimit]:
    """One a scope, by scope: the smallest of its trials, and of a held one the first rung."""
    found: dict[Scope, WantedLimit] = {}
    for rung in judgement.rungs:
        if rung.letters_a_day is not None:
            scope, maximum = rung.trial.scope, rung.letters_a_day
            known = found.get(scope)
            if known is None or maximum < known.maximum:
                found[scope] = WantedLimit(scope, maximum)
    holds = [(hold.scope, hold.since) for hold in facts.holds if hold.family and hold.has_trial]
    for scope, since in sorted([*holds, *((order.scope, now) for order in judgement.orders)], key=lambda one: one[1]):
        found[scope] = WantedLimit(scope, tunables.trial_letters, held_since=since)
    return [found[scope] for scope in sorted(found)]


def change_limits(standing: Iterable[TrialLimit], wanted: Iterable[WantedLimit]) -> LimitChanges:
    """What leads from the limits that stand to those wanted. A new hold begins a new trial, which counts anew."""
    known = {limit.scope: limit for limit in standing}
    want = {one.scope: one for one in wanted}
    anew = {
        scope: one
        for scope, one in want.items()
        if scope not in known or (one.held_since is not None and known[scope].since < one.held_since)
    }
    removed = tuple(limit.id for scope, limit in known.items() if scope not in want)
    renewed = tuple(known[scope].id for scope in anew if scope in known)
    changed = {
        known[scope].id: one.maximum
        for scope, one in want.items()
        if scope not in anew and known[scope].maximum != one.maximum
    }
    return LimitChanges(tuple(anew.values()), (*renewed, *removed), removed, changed)
