"""The laws of the planner on small instances full of conflicts, against a plain checker."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_checker import Checker
from planning_instances import MOMENTS, snapshots

from mailfleet.base.errors import InvariantError
from mailfleet.planning.rules import plan
from mailfleet.planning.snapshot import Reason, Snapshot

HORIZON = timedelta(hours=2)
EXAMPLES = settings(max_examples=150, deadline=None)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Snapshot, datetime, int]:
    now = draw(st.sampled_from(MOMENTS))
    return draw(snapshots(now)), now, draw(st.integers(0, 3))


def check(case: tuple[Snapshot, datetime, int]) -> Checker:
    snapshot, now, seed = case
    return Checker(snapshot, plan(snapshot, now=now, until=now + HORIZON, seed=seed), now, now + HORIZON)


@EXAMPLES
@given(cases())
def test_each_enrollment_has_one_slot_or_one_reason(case: tuple[Snapshot, datetime, int]) -> None:
    """Counts in equal counts out: nobody is planned twice, nobody is left without a reason, nor any mailbox."""
    checker = check(case)
    planned = [slot.enrollment_id for slot in checker.plan.slots]
    explained = [reason.enrollment_id for reason in checker.plan.reasons]
    assert sorted(planned + explained) == sorted(checker.enrollments)
    assert [reason.mailbox_id for reason in checker.plan.mailbox_reasons] == sorted(checker.mailboxes)


@EXAMPLES
@given(cases())
def test_no_limit_is_exceeded_in_any_window(case: tuple[Snapshot, datetime, int]) -> None:
    """No window that holds a slot has more in it than the maximum, with usage and queued letters counted."""
    checker = check(case)
    for slot in checker.plan.slots:
        enrollment = checker.enrollments[slot.enrollment_id]
        for limit, key in checker.limits_met(slot.mailbox_id, enrollment):
            bucket = checker.bucket(limit, key, slot.due_at)
            assert checker.most_in_a_window_with(limit, key, bucket) <= limit.maximum


@EXAMPLES
@given(cases())
def test_every_gap_is_at_least_the_pace(case: tuple[Snapshot, datetime, int]) -> None:
    """A slot keeps the mailbox's pace to every other slot and queued letter, before and after, and to `next_at`."""
    checker = check(case)
    for slot in checker.plan.slots:
        mailbox = checker.mailboxes[slot.mailbox_id]
        others = list(checker.turns[mailbox.id])
        others.remove(slot.due_at)
        assert all(abs(slot.due_at - other) >= mailbox.pace for other in others)
        assert mailbox.next_at is None or slot.due_at >= mailbox.next_at


@EXAMPLES
@given(cases())
def test_every_slot_lies_in_the_horizon_and_in_the_contacts_window(case: tuple[Snapshot, datetime, int]) -> None:
    """The wall clock of the contact shows an allowed weekday and hour, also on the nights when it changes."""
    checker = check(case)
    for slot in checker.plan.slots:
        assert checker.now <= slot.due_at < checker.until
        assert checker.is_open(checker.enrollments[slot.enrollment_id], slot.due_at)


@EXAMPLES
@given(cases())
def test_a_contact_keeps_one_mailbox_and_it_may_write(case: tuple[Snapshot, datetime, int]) -> None:
    """All letters of a contact go from one mailbox: its own, else one of the pool, of the identity, without a hold."""
    checker = check(case)
    for slot in checker.plan.slots:
        enrollment = checker.enrollments[slot.enrollment_id]
        mailbox = checker.mailboxes[slot.mailbox_id]
        assert checker.mailboxes_for(enrollment) == [mailbox]
        assert not checker.holds_on(mailbox, enrollment)


@EXAMPLES
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_means_nothing(case: tuple[Snapshot, datetime, int], chance: random.Random) -> None:
    """Any permutation of mailboxes, queued letters, limits, holds, campaigns and enrollments gives the same plan."""
    snapshot, now, seed = case

    def shuffled(rows: tuple) -> tuple:
        return tuple(chance.sample(rows, len(rows)))

    mailboxes = tuple(replace(mailbox, queued=shuffled(mailbox.queued)) for mailbox in snapshot.mailboxes)
    other = Snapshot(
        mailboxes=shuffled(mailboxes),
        limits=shuffled(snapshot.limits),
        holds=shuffled(snapshot.holds),
        campaigns=shuffled(snapshot.campaigns),
        enrollments=shuffled(snapshot.enrollments),
    )
    until = now + HORIZON
    assert plan(snapshot, now=now, until=until, seed=seed) == plan(other, now=now, until=until, seed=seed)


@EXAMPLES
@given(cases())
def test_nothing_waits_while_a_mailbox_may_write(case: tuple[Snapshot, datetime, int]) -> None:
    """At the end no unplanned letter could take any moment of the horizon in any mailbox it may go from."""
    checker = check(case)
    for reason in checker.plan.reasons:
        enrollment = checker.enrollments[reason.enrollment_id]
        for mailbox in checker.mailboxes_for(enrollment):
            assert not [at for at in checker.moments(mailbox) if checker.could_take(mailbox, enrollment, at)]


@EXAMPLES
@given(cases())
def test_reasons_name_what_binds(case: tuple[Snapshot, datetime, int]) -> None:
    """LIMIT names a limit that is full and its end, HOLD a hold that stands; a letter can move no sooner than told."""
    checker = check(case)
    limits = {limit.id: limit for limit in checker.snapshot.limits}
    holds = {hold.id: hold for hold in checker.snapshot.holds}
    for reason in (*checker.plan.reasons, *checker.plan.mailbox_reasons):
        assert (reason.binding in limits) if reason.code is Reason.LIMIT else True
        assert (reason.binding in holds) if reason.code is Reason.HOLD else True
        assert (reason.binding is None) == (reason.code not in (Reason.LIMIT, Reason.HOLD))
    for reason in checker.plan.reasons:
        if reason.code in (Reason.LIMIT, Reason.PACE, Reason.WINDOW) and reason.retry_at:
            assert reason.retry_at >= checker.until or not checker.is_open(
                checker.enrollments[reason.enrollment_id], reason.retry_at - timedelta(microseconds=1)
            )
    for mailbox_reason in checker.plan.mailbox_reasons:
        if mailbox_reason.code is Reason.LIMIT and mailbox_reason.maximum:
            assert mailbox_reason.used is not None and mailbox_reason.used >= mailbox_reason.maximum


@EXAMPLES
@given(cases())
def test_a_mailbox_without_work_could_have_written(case: tuple[Snapshot, datetime, int]) -> None:
    """NO_WORK is said of a mailbox with a free moment before the end of the horizon, and of no other."""
    checker = check(case)
    for reason in checker.plan.mailbox_reasons:
        mailbox = checker.mailboxes[reason.mailbox_id]
        free = [at for at in checker.moments(mailbox) if could_write(checker, mailbox.id, at)]
        assert bool(free) == (reason.code is Reason.NO_WORK)
        if free:
            assert reason.free_at == min(free)


def could_write(checker: Checker, mailbox_id: int, at: datetime) -> bool:
    mailbox = checker.mailboxes[mailbox_id]
    scopes = mailbox.scopes()
    return (
        checker.now <= at < checker.until
        and not checker.holds_on(mailbox)
        and (mailbox.next_at is None or at >= mailbox.next_at)
        and all(abs(at - turn) >= mailbox.pace for turn in checker.turns[mailbox_id])
        and all(
            checker.most_in_a_window_with(limit, key, checker.bucket(limit, key, at)) < limit.maximum
            for kind, key in scopes
            for limit in checker.snapshot.limits
            if limit.scope_kind == kind and limit.scope in (None, key)
        )
    )


@pytest.mark.parametrize("hours", [0, -1])
def test_a_plan_without_a_moment_is_our_own_fault(hours: int) -> None:
    """An empty horizon is refused loudly: a planner that plans nothing would look like a fleet with no work."""
    with pytest.raises(InvariantError):
        plan(Snapshot((), (), (), (), ()), now=MOMENTS[0], until=MOMENTS[0] + timedelta(hours=hours), seed=1)
