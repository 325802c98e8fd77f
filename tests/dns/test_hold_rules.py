"""When a domain begins, and when it is held."""

from datetime import timedelta

import pytest
from dns_answers import NOW
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.findings import Check, Finding, Severity, verdict_of
from mailfleet.health.dns.rules_hold import (
    DAILY,
    FAILING,
    GRACE,
    UNANSWERED,
    Standing,
    Step,
    after_check,
    decide,
    needs_check,
)

BLOCKS, WARNS, FINE, UNKNOWN = Severity.BLOCKS, Severity.WARNS, Severity.FINE, Severity.UNKNOWN


def checked(*verdicts, every=timedelta(hours=24), is_held=False, is_listed=False):
    standing = Standing(is_held=is_held)
    for number, verdict in enumerate(verdicts):
        standing = after_check(standing, verdict, is_listed=is_listed and verdict is BLOCKS, now=NOW + every * number)
    return standing, NOW + every * (len(verdicts) - 1)


def test_a_domain_not_checked_may_not_begin():
    """It is held until its first conclusion, and looked at at once."""
    decision = decide(Standing(), NOW)
    assert (decision.step, decision.may_begin, decision.look_at) == (Step.HOLD, False, NOW)
    assert decide(Standing(is_held=True), NOW).step is Step.NONE


@pytest.mark.parametrize(
    ("verdicts", "is_held", "step", "may_begin"),
    [
        ([FINE], True, Step.LIFT, True),
        ([WARNS], True, Step.LIFT, True),
        ([FINE], False, Step.NONE, True),
        ([BLOCKS], True, Step.NONE, True),
        ([BLOCKS], False, Step.NONE, True),
        ([UNKNOWN], True, Step.NONE, False),
        ([BLOCKS, BLOCKS, BLOCKS], False, Step.NONE, True),
        ([BLOCKS, BLOCKS, BLOCKS, BLOCKS], False, Step.HOLD, False),
        ([BLOCKS, BLOCKS, BLOCKS, BLOCKS], True, Step.NONE, False),
        ([BLOCKS, BLOCKS, FINE, BLOCKS], False, Step.NONE, True),
        ([BLOCKS, UNKNOWN, UNKNOWN, UNKNOWN], False, Step.HOLD, False),
        ([FINE, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], False, Step.NONE, True),
    ],
)
def test_daily_checks_hold_after_three_days(verdicts, is_held, step, may_begin):
    """72 hours of failing hold; one good check starts anew; what is not known changes nothing either way."""
    standing, now = checked(*verdicts, is_held=is_held)
    decision = decide(standing, now)
    assert (decision.step, decision.may_begin) == (step, may_begin)


def test_a_listing_holds_at_once():
    """Three days on a blocklist would burn the domain."""
    standing, now = checked(BLOCKS, is_listed=True)
    assert decide(standing, now).step is Step.HOLD


@pytest.mark.parametrize(
    ("verdicts", "wait"),
    [([FINE], DAILY), ([WARNS], DAILY), ([BLOCKS], FAILING), ([UNKNOWN], UNANSWERED), ([FINE, UNKNOWN], UNANSWERED)],
)
def test_the_next_look_depends_on_the_last(verdicts, wait):
    """Daily when all is well, hourly while it fails, soon when nobody answered."""
    standing, now = checked(*verdicts)
    assert decide(standing, now).look_at == now + wait


@given(st.lists(st.tuples(st.sampled_from(list(Severity)), st.integers(1, 100)), max_size=20))
def test_the_grace_is_exact(history):
    """A domain at work is held exactly when every conclusion of the last 72 hours, and the one before, blocked."""
    standing, now, conclusions = Standing(), NOW, []
    for verdict, hours in history:
        now += timedelta(hours=hours)
        standing = after_check(standing, verdict, is_listed=False, now=now)
        if verdict is not UNKNOWN:
            conclusions.append((now, verdict))
    first = None
    for at, verdict in reversed(conclusions):
        if verdict is not BLOCKS:
            break
        first = at
    assert (standing.failing_since is None) == (first is None)
    if conclusions:
        assert (decide(standing, now).step is Step.HOLD) == (first is not None and now - first >= GRACE)


@pytest.mark.parametrize(
    ("domain", "hosts", "expected"),
    [
        ("acme.com", ["smtp.gmail.com"], True),
        ("acme.com", [], True),
        ("acme.com", ["127.0.0.1"], False),
        ("acme.com", ["::1", "localhost"], False),
        ("acme.com", ["127.0.0.1", "smtp.gmail.com"], True),
        ("a.test", ["smtp.gmail.com"], False),
        ("mail.example", [], False),
        ("x.example.com", [], False),
        ("notexample.com", [], True),
        ("contest", [], True),
    ],
)
def test_trials_are_not_checked(domain, hosts, expected):
    """Reserved names and fleets on this machine are in nobody's DNS."""
    assert needs_check(domain, hosts) is expected


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([], FINE),
        ([(Check.SPF, FINE), (Check.MX, WARNS)], WARNS),
        ([(Check.SPF, UNKNOWN), (Check.MX, WARNS)], UNKNOWN),
        ([(Check.SPF, UNKNOWN), (Check.MX, BLOCKS)], BLOCKS),
        ([(Check.BLOCKLIST, UNKNOWN)], WARNS),
    ],
)
def test_the_verdict_is_the_worst(found, verdict):
    """What blocks, blocks; what must be there and is not known, leaves the whole unknown."""
    assert verdict_of([Finding(check, "", severity, "") for check, severity in found]) is verdict
