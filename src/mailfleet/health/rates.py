"""A rate is events among letters sent, never a bare percentage: what it surely is at least, and whether that is too
much.

The bound is that of Clopper and Pearson (Biometrika 26, 1934), one-sided and exact: with few letters it is low by
itself, so a handful of events says only what it can say. A threshold is compared through the binomial tail, without
the bound.
"""

import math
from dataclasses import dataclass

_STEPS = 50  # chosen: halvings of an interval of at most 1; far below what is ever printed
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True, slots=True)
class Rate:
    """`events` of `letters` sent. A late event belongs to the letter's day, so events never exceed letters."""

    events: int
    letters: int

    @property
    def share(self) -> float:
        return self.events / self.letters if self.letters else 0.0

    def exceeds(self, threshold: float, confidence: float) -> bool:
        """Whether the true rate is above `threshold` with `confidence` (0.5 to 1), so far as these letters tell."""
        return self.share > threshold and tail(self.events, self.letters, threshold) <= 1 - confidence

    def lower_bound(self, confidence: float) -> float:
        """The rate that the true one exceeds with `confidence`; never above the share; 0 without an event."""
        low, high = 0.0, self.share
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if self.exceeds(middle, confidence):
                low = middle
            else:
                high = middle
        return low


def tail(events: int, letters: int, rate: float) -> float:
    """The chance of `events` or more among `letters` when each has `rate`; `events` beyond the mean, for speed."""
    if events <= 0:
        return 1.0
    if rate <= 0.0:
        return 0.0
    term = math.exp(_log_chance(events, letters, rate))
    total, odds = term, rate / (1 - rate) if rate < 1 else math.inf
    for count in range(events, letters):
        term *= (letters - count) / (count + 1) * odds
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return min(total, 1.0)


def _log_chance(events: int, letters: int, rate: float) -> float:
    """The logarithm of the chance of exactly `events`."""
    ways = math.lgamma(letters + 1) - math.lgamma(events + 1) - math.lgamma(letters - events + 1)
    return ways + events * math.log(rate) + (letters - events) * math.log1p(-rate)
