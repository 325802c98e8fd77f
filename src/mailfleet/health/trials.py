"""Half-open: after a hold a few letters, then as many again with each rung that goes well, until nothing binds but the
ramp. A trial that goes wrong ends in a new, longer hold, which the rules order as any other: only their floor is lower.

A rung is over when the letters that it added were judged: whatever its limit counts, as soon as what came of it is
settled and its answers had time to come (`settle_time`). So no letter that was put off keeps a rung.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailfleet.health.facts import Trial
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family

_FAST = frozenset({Family.AUTHENTICATION, Family.RATE_LIMIT, Family.UNREACHABLE})
_SLOW = frozenset({Family.COMPLAINTS, Family.SILENCE})


@dataclass(frozen=True, slots=True)
class Rung:
    """Where a trial stands, and the most letters that its scope may write in a rolling day; None: nothing binds."""

    trial: Trial
    letters_a_day: int | None


def next_rung(trial: Trial, *, normal: int, tunables: HealthTunables, now: datetime) -> Rung:
    """One rung up when this one's letters were judged; else where it stands.

    `normal`: letters a day of the scope when nothing is wrong. To be asked for trials that the rules did not fail.
    """
    if trial.is_over:
        return Rung(trial, None)
    maximum = _maximum(trial.rung, normal, tunables)
    before = _maximum(trial.rung - 1, normal, tunables) if trial.rung else 0
    if trial.letters < maximum - before:
        return Rung(trial, maximum)
    if maximum >= normal:
        return Rung(replace(trial, is_over=True), None)
    rung = replace(trial, rung=trial.rung + 1, rung_at=now, letters=0)
    return Rung(rung, _maximum(rung.rung, normal, tunables))


def settle_time(family: Family, tunables: HealthTunables) -> timedelta:
    """How long the answers to a rung's letters take."""
    if family in _FAST:
        return tunables.trial_settle_fast
    return tunables.trial_settle_slow if family in _SLOW else tunables.trial_settle_bounces


def _maximum(rung: int, normal: int, tunables: HealthTunables) -> int:
    """Never below the first rung's: a scope that was held for so long that it wrote nothing has its trial too."""
    grown: int = tunables.trial_letters * tunables.trial_growth**rung
    return max(min(grown, normal), tunables.trial_letters)
