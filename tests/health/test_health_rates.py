"""Rates and their lower bound."""

import math

from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.rates import Rate, tail

RATES = st.floats(0.001, 0.5)
LEVELS = st.floats(0.5, 0.999)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    letters = draw(st.integers(1, 400))
    return Rate(draw(st.integers(0, letters)), letters)


def plain_tail(events: int, letters: int, rate: float) -> float:
    """The chance of fewer, summed from its definition and taken from one."""
    fewer = (math.comb(letters, k) * rate**k * (1 - rate) ** (letters - k) for k in range(events))
    return 1 - math.fsum(fewer)


@given(rates(), RATES)
def test_the_tail_is_the_binomial_one(rate: Rate, chance: float) -> None:
    """Summed upwards from the count it is what one minus the chance of fewer is."""
    assert math.isclose(
        tail(rate.events, rate.letters, chance), plain_tail(rate.events, rate.letters, chance), abs_tol=1e-9
    )


def test_published_bounds() -> None:
    """One-sided Clopper-Pearson bounds that have a closed form: one event, and nothing but events."""
    assert math.isclose(Rate(1, 100).lower_bound(0.95), 1 - 0.95 ** (1 / 100), rel_tol=1e-9)
    assert math.isclose(Rate(20, 20).lower_bound(0.95), 0.05 ** (1 / 20), rel_tol=1e-9)
    assert Rate(0, 50).lower_bound(0.95) == 0.0 == Rate(0, 0).lower_bound(0.95)


@given(rates(), RATES, LEVELS)
def test_the_verdict_is_that_of_the_bound(rate: Rate, threshold: float, confidence: float) -> None:
    """A threshold is exceeded exactly when the lower bound is above it, and the bound is never above the share."""
    bound = rate.lower_bound(confidence)
    assert bound <= rate.share
    if abs(bound - threshold) > 1e-6:
        assert rate.exceeds(threshold, confidence) == (bound > threshold)


@given(rates(), RATES, LEVELS)
def test_more_events_never_clear(rate: Rate, threshold: float, confidence: float) -> None:
    """With one event more among the same letters what exceeded still exceeds."""
    more = Rate(min(rate.events + 1, rate.letters), rate.letters)
    assert more.exceeds(threshold, confidence) >= rate.exceeds(threshold, confidence)


@given(rates(), RATES, st.floats(0.5, 0.9), st.floats(0.0, 0.099))
def test_more_confidence_never_condemns(rate: Rate, threshold: float, confidence: float, more: float) -> None:
    """What is sure with more confidence is sure with less."""
    assert rate.exceeds(threshold, confidence) >= rate.exceeds(threshold, confidence + more)


def test_a_percentage_alone_condemns_nobody() -> None:
    """One bounce in ten letters is 10 % and says nothing; forty in four hundred say it."""
    assert not Rate(1, 10).exceeds(0.05, 0.8)
    assert Rate(40, 400).exceeds(0.05, 0.8)


def test_the_bound_holds_for_large_counts() -> None:
    """No overflow and no underflow at a fleet's numbers."""
    assert Rate(30_300, 1_000_000).exceeds(0.03, 0.9)
    assert not Rate(30_050, 1_000_000).exceeds(0.03, 0.9)
