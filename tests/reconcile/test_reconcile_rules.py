"""The rules of looking into Sent folders, by literals and by any history that hypothesis finds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.inbox.rules_reconciling import (
    APART,
    MISSED_ENOUGH,
    SAFE_AFTER,
    SEEN_ENOUGH,
    SOON,
    Facts,
    Fate,
    Look,
    Memory,
    Probe,
    decide,
    learned,
)

AT = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
PROVABLE = Facts(AT, AT, may_settle=False, is_answered=False, files_copies=True, rewrites=None)
SAFE = AT + SAFE_AFTER

facts = st.builds(
    Facts,
    reserved_at=st.just(AT),
    ambiguous_at=st.integers(0, 3600).map(lambda seconds: AT + timedelta(seconds=seconds)),
    may_settle=st.booleans(),
    is_answered=st.booleans(),
    files_copies=st.booleans(),
    rewrites=st.sampled_from([None, False, True]),
)
steps = st.lists(
    st.tuples(facts, st.integers(-600, 5400), st.booleans(), st.booleans()).map(
        lambda it: (it[0], timedelta(seconds=it[1]), it[2], it[3])
    ),
    max_size=12,
)
likely = st.lists(
    st.tuples(st.just(PROVABLE), st.integers(-600, 1500), st.just(False), st.booleans()).map(
        lambda it: (it[0], timedelta(seconds=it[1]), it[2], it[3])
    ),
    max_size=12,
)


def proves(known: Facts, look: Look) -> bool:
    """Said in other words than the rule's: at this look, not to be there is not to have been accepted."""
    is_late = look.at - known.reserved_at >= SAFE_AFTER and look.at - known.ambiguous_at >= SAFE_AFTER
    is_sure = known.files_copies and known.rewrites in (None, False) and look.is_telling
    return is_late and is_sure and not known.may_settle and not look.is_seen and not known.is_answered


@given(steps | likely)
def test_never_again_unless_absence_is_certain(history: list[tuple[Facts, timedelta, bool, bool]]) -> None:
    """Whatever is known and seen, in whatever order and with whatever clock: a letter is planned again only after two
    looks far enough apart that each prove it, with none between them that does not; a letter that is seen is accepted
    at once, and no other is."""
    memory, now, row = Memory(), AT, list[datetime]()
    for known, gap, is_seen, is_telling in history:
        now += gap
        look = Look(now, is_seen, is_telling)
        decision = decide(known, memory, look)
        assert (decision.fate is Fate.ACCEPTED) == is_seen
        row = [*row, now] if proves(known, look) else []
        if decision.fate is Fate.AGAIN:
            assert row and any(now - earlier >= APART for earlier in row)
            return
        memory = Memory.of_record(decision.memory.as_record())


def test_two_certain_looks_apart_plan_it_again() -> None:
    """The rule is not empty: absent at the safe moment and again ten minutes later, it leaves again."""
    first = decide(PROVABLE, Memory(), Look(SAFE, False, True))
    assert (first.fate, first.memory.next_at) == (Fate.WAITS, SAFE + APART)
    early = decide(PROVABLE, first.memory, Look(SAFE + APART - timedelta(seconds=1), False, True))
    assert early.fate is Fate.WAITS
    assert decide(PROVABLE, first.memory, Look(SAFE + APART, False, True)).fate is Fate.AGAIN


@pytest.mark.parametrize(
    "facts",
    [
        replace(PROVABLE, files_copies=False),
        replace(PROVABLE, rewrites=True),
        replace(PROVABLE, may_settle=True),
        replace(PROVABLE, is_answered=True),
        replace(PROVABLE, reserved_at=AT + timedelta(hours=3)),
        replace(PROVABLE, ambiguous_at=AT + timedelta(hours=3)),
    ],
)
def test_each_doubt_keeps_it_waiting_and_is_said(facts: Facts) -> None:
    """A provider that files for certain, ids that stay, a sender that has had its word, and time: each is needed, and
    the one that is missing is named."""
    memory = Memory(3, SAFE)
    decision = decide(facts, memory, Look(SAFE + timedelta(hours=2), False, True))
    assert (decision.fate, decision.memory.absent_since) == (Fate.WAITS, None)
    assert decision.why


def test_a_look_that_proves_nothing_begins_the_row_anew() -> None:
    """The neighbours vanish between two looks that had them: the folder was meddled with, and one look counts again."""
    memory = Memory(1, SAFE)
    doubtful = decide(PROVABLE, memory, Look(SAFE + APART, False, False))
    again = decide(PROVABLE, doubtful.memory, Look(SAFE + 2 * APART, False, True))
    assert (doubtful.fate, again.fate, again.memory.absent_since) == (Fate.WAITS, Fate.WAITS, SAFE + 2 * APART)


def test_looks_are_few() -> None:
    """At once, soon, when it is safe, then each time after as long again: eight in the day before the deadline."""
    now, memory, moments = AT, Memory(), list[timedelta]()
    while now < AT + timedelta(hours=24):
        moments.append(now - AT)
        memory = decide(replace(PROVABLE, files_copies=False), memory, Look(now, False)).memory
        assert memory.next_at is not None
        now = memory.next_at
    assert moments[:4] == [timedelta(), SOON, SAFE_AFTER, 2 * SAFE_AFTER]
    assert len(moments) == 8


@given(facts, st.integers(0, 90_000))
def test_the_next_look_is_always_ahead(known: Facts, seconds: int) -> None:
    """Whatever is waited for, the next look is later than this one, so nothing is looked for again and again."""
    now = AT + timedelta(seconds=seconds)
    for is_telling in (False, True):
        decision = decide(known, Memory(), Look(now, False, is_telling))
        assert decision.fate is Fate.ACCEPTED or (decision.memory.next_at is not None and decision.memory.next_at > now)


SEEN = [Probe(mailbox, True) for mailbox in (1, 2, 3)]
MISSED = [Probe(mailbox, False) for mailbox in (1, 2, 3) * 4]


@pytest.mark.parametrize(
    ("probes", "mailboxes", "who"),
    [
        ([], 5, None),
        (SEEN, 5, "server"),
        (SEEN[:2], 5, None),
        (SEEN[:2] * 2, 5, None),
        (SEEN[:2] * 2, 2, "server"),
        ([SEEN[0]] * 2, 1, None),
        ([SEEN[0]] * 3, 1, "server"),
        (MISSED[: MISSED_ENOUGH - 1], 5, None),
        (MISSED[:MISSED_ENOUGH], 5, "client"),
        ([MISSED[0]] * 9, 5, None),
        ([*SEEN, MISSED[0]], 5, None),
        ([*MISSED[:11], SEEN[0]], 5, None),
    ],
)
def test_what_is_learned_of_a_provider(probes: list[Probe], mailboxes: int, who: str | None) -> None:
    """Three mailboxes (or all there are), every look alike; copies must be missed twice as often as seen."""
    assert learned(probes, mailboxes) == who


@given(st.lists(st.builds(Probe, mailbox_id=st.integers(1, 4), is_seen=st.booleans()), max_size=15), st.integers(1, 9))
def test_nothing_is_learned_from_looks_that_do_not_agree(probes: list[Probe], mailboxes: int) -> None:
    """One copy seen forbids "client", one missed forbids "server"."""
    who = learned(probes, mailboxes)
    seen = [probe for probe in probes if probe.is_seen]
    assert who != "client" or (not seen and len(probes) >= MISSED_ENOUGH)
    assert who != "server" or (len(seen) == len(probes) >= SEEN_ENOUGH)
