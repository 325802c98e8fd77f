"""Law 3, by the rules alone: whatever is reserved, whenever it leaves, no window holds more than its limit allows."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.outbox.limits import SLACK, Usage, Window
from mailfleet.outbox.rules import Candidate, LimitUsage, UsageKey, admit

MICROSECOND = timedelta(microseconds=1)
Batch = list[tuple[set[int], timedelta]]  # of each letter its scopes' places, and how long after it leaves
SCOPES = (("mailbox", "1"), ("mailbox", "2"), ("provider", "1"), ("fleet", "fleet"))
ROLLING = [Window("rolling", timedelta(seconds=length)) for length in (1, 10, 60, 600, 3_600, 86_400)]
CALENDAR = [
    Window("calendar", zone=zone)
    for zone in ("UTC", "Europe/Berlin", "Africa/Cairo", "America/Havana", "America/Nuuk", "Pacific/Kiritimati")
]
NIGHTS = [
    datetime(2026, 3, 29, tzinfo=UTC),  # Berlin and Nuuk spring forward
    datetime(2026, 4, 23, 21, 50, tzinfo=UTC),  # Cairo has no midnight
    datetime(2026, 10, 24, 23, 50, tzinfo=UTC),  # Berlin, and Nuuk at its midnight, fall back
    datetime(2026, 10, 29, 20, 50, tzinfo=UTC),  # Cairo falls back at midnight
    datetime(2026, 11, 1, 4, 50, tzinfo=UTC),  # Havana shows 00:00 to 01:00 twice
    datetime(2026, 11, 24, 9, 59, 50, tzinfo=UTC),  # Kiritimati's midnight
]


@dataclass(frozen=True)
class Letter:
    """`left_at` on a clock that nobody sets; `days`: of each calendar limit the day on which it left, by the database's
    clock, or the later one that had already begun for that limit."""

    scopes: tuple[tuple[str, str], ...]
    reserved_at: datetime
    left_at: datetime
    days: dict[UsageKey, int]


@dataclass
class World:
    """One database: its usage, a true clock, and its own, which may be set back."""

    limits: list[LimitUsage]
    true_at: datetime
    behind: timedelta = timedelta()
    letters: dict[int, Letter] = field(default_factory=dict)
    numbers: int = 0

    @property
    def now(self) -> datetime:
        return self.true_at - self.behind

    def turn(self, wait: timedelta, back: timedelta, batch: Batch) -> None:
        """Waits, sets the clock back, then reserves letters of these scopes that leave a while later."""
        self.true_at += wait
        self.behind += back
        candidates = []
        for scopes, _ in batch:
            self.numbers += 1
            candidates.append(Candidate(self.numbers, 1, 1, tuple(SCOPES[n] for n in sorted(scopes))))
        admission = admit(candidates, self.limits, now=self.now)
        assert admission.admitted.keys() | admission.refused.keys() == {c.message_id for c in candidates}
        self._check_every_refusal(candidates, admission.admitted)
        self.limits = [replace(limit, usage=admission.usages.get(limit.key, limit.usage)) for limit in self.limits]
        for candidate, (_, delay) in zip(candidates, batch, strict=True):
            if candidate.message_id in admission.admitted:
                touched = {limit.key for limit in self.limits if limit.scope in candidate.scopes}
                assert set(admission.admitted[candidate.message_id]) == touched
                days = {
                    limit.key: max(limit.window.bucket(self.now + delay), limit.usage.head)
                    for limit in self.limits
                    if limit.key in touched and limit.window.kind == "calendar"
                }
                self.letters[candidate.message_id] = Letter(candidate.scopes, self.now, self.true_at + delay, days)

    def _check_every_refusal(self, candidates: list[Candidate], admitted: object) -> None:
        """Work-conserving and in order: each letter in turn is admitted exactly when all its limits have room."""
        assert isinstance(admitted, dict)
        room = {
            limit.key: -1 if limit.window.is_closing(self.now)
            else limit.maximum - limit.usage.at(limit.window.bucket(self.now), limit.window.span).used
            for limit in self.limits
        }  # fmt: skip
        for candidate in candidates:
            keys = [limit.key for limit in self.limits if limit.scope in candidate.scopes]
            assert (candidate.message_id in admitted) == all(room[key] > 0 for key in keys)
            if candidate.message_id in admitted:
                for key in keys:
                    room[key] -= 1

    def give_back(self, number: int) -> None:
        """The letter never left: its usage comes back where its reservation's moment says."""
        letter = self.letters.pop(number)
        for n, limit in enumerate(self.limits):
            if limit.scope in letter.scopes:
                usage = limit.usage.give_back(limit.window.bucket(letter.reserved_at), 1)
                self.limits[n] = replace(limit, usage=usage)

    def most(self, limit: LimitUsage) -> int:
        """How many letters the fullest window of that limit ever held."""
        letters = [letter for letter in self.letters.values() if limit.scope in letter.scopes]
        if limit.window.kind == "calendar":
            return max(Counter(letter.days[limit.key] for letter in letters).values(), default=0)
        left = sorted(letter.left_at for letter in letters)
        inside = (bisect_left(left, start + limit.window.length) - n for n, start in enumerate(left))
        return max(inside, default=0)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    windows = st.sampled_from(ROLLING + CALENDAR)
    limits = [
        LimitUsage(number, draw(st.sampled_from(SCOPES)), draw(windows), draw(st.integers(0, 4)), Usage())
        for number in range(draw(st.integers(1, 4)))
    ]
    return World(limits, draw(st.sampled_from(NIGHTS)))


def waits(window: Window) -> st.SearchStrategy[timedelta]:
    """Moments around the edges of its buckets and of the window itself."""
    parts = st.sampled_from((0.0, 0.005, 0.0104, 0.3, 0.5, 0.99, 1.0, 1.01))
    length = timedelta(days=1) if window.kind == "calendar" else window.length
    return st.builds(lambda part, odd: length * part + odd * MICROSECOND, parts, st.integers(0, 2_000_000))


DELAYS = st.sampled_from((timedelta(), SLACK / 3, SLACK)) | st.integers(0, 30_000_000).map(lambda n: n * MICROSECOND)
BACKS = st.sampled_from((0.0, 0.0, 0.0, 0.0, 0.2, 7.0, 3_600.0)).map(lambda seconds: timedelta(seconds=seconds))
BATCHES = st.lists(st.tuples(st.sets(st.integers(0, 3), min_size=1), DELAYS), max_size=6)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_no_window_ever_holds_more_than_its_limit(world: World, data: st.DataObject) -> None:
    """Letters reserved at any moment, leaving up to the slack later, some given back, the clock set back now and then:
    no interval of a rolling window's length on the true clock, and no day, holds more than the maximum; and a letter is
    refused only by a limit without room."""
    for _ in range(data.draw(st.integers(1, 14))):
        window = data.draw(st.sampled_from([limit.window for limit in world.limits]))
        world.turn(data.draw(waits(window)), data.draw(BACKS), data.draw(BATCHES))
        if world.letters and data.draw(st.booleans()):
            world.give_back(data.draw(st.sampled_from(sorted(world.letters))))
        for limit in world.limits:
            assert limit.usage.used == sum(limit.usage.counts) <= limit.maximum
    for limit in world.limits:
        assert world.most(limit) <= limit.maximum, str(limit.window)


@pytest.mark.parametrize("window", ROLLING, ids=str)
def test_a_letter_that_left_late_counts_as_long_as_it_is_in_the_window(window: Window) -> None:
    """Letters that leave the whole slack after their reservation, and letters that leave at once, asked for again and
    again: wherever a window begins, it holds no more than the one that is allowed."""
    world = World([LimitUsage(1, SCOPES[3], window, 1, Usage())], NIGHTS[5])
    for turn in range(200):
        world.turn((window.length + SLACK) / 40, timedelta(), [({3}, SLACK if turn % 3 else timedelta())])
    assert len(world.letters) >= 4
    assert world.most(world.limits[0]) == 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ROLLING), st.integers(1, 4), st.integers(0, 1_000_000))
def test_a_full_window_is_free_again_when_its_letters_are_out_of_it(window: Window, maximum: int, odd: int) -> None:
    """What a rolling limit refuses now it admits again once the window, a ninety-sixth of it and the slack are over,
    with one bucket to spare: the price that the limit's rule states is the whole price."""
    start = datetime(2026, 11, 24, 9, tzinfo=UTC) + odd * MICROSECOND
    world = World([LimitUsage(1, SCOPES[3], window, maximum, Usage())], start)
    full = [({3}, timedelta())] * maximum
    world.turn(timedelta(), timedelta(), full)
    assert len(world.letters) == maximum
    world.turn(window.length, timedelta(), full)
    assert len(world.letters) == maximum, "the slack is not over"
    world.turn(SLACK + window.length / 96 * 2, timedelta(), full)
    assert len(world.letters) == 2 * maximum


@given(st.sampled_from(ROLLING + CALENDAR), st.lists(st.tuples(BACKS, BATCHES), min_size=1, max_size=6))
def test_usage_only_ages_with_time(window: Window, steps: list[tuple[timedelta, Batch]]) -> None:
    """Seen from any later bucket usage is never more, from an earlier one never less; looking on by steps is looking
    on at once."""
    world = World([LimitUsage(1, SCOPES[3], window, 5, Usage())], NIGHTS[0])
    for back, batch in steps:
        world.turn(timedelta(seconds=3), back, [({3}, delay) for _, delay in batch])
    [limit] = world.limits
    usage, span = limit.usage, window.span
    later = [usage.at(usage.head + step, span) for step in sorted((0, 1, span // 2, span - 1, span, span + 7))]
    assert all(after.used <= before.used for before, after in pairwise(later))
    assert all(before.at(after.head, span) == after for before, after in pairwise(later))
    assert usage.at(usage.head - 3, span).used == usage.used
    assert later[-1].used == 0


def test_the_last_moments_of_a_day_reserve_nothing() -> None:
    """A letter reserved in a day's last half minute might leave on the next: it waits, though the day has room."""
    midnight = datetime(2026, 11, 24, 23, tzinfo=UTC)  # in Berlin
    limit = LimitUsage(1, SCOPES[3], Window("calendar", zone="Europe/Berlin"), 9, Usage())
    letter = Candidate(1, 1, 1, (SCOPES[3],))
    for before, is_admitted in ((SLACK + MICROSECOND, True), (SLACK, False), (MICROSECOND, False), (timedelta(), True)):
        assert bool(admit([letter], [limit], now=midnight - before).admitted) is is_admitted


def test_admission_takes_the_first_and_names_what_binds() -> None:
    """In order, one scope's fullness leaves others alone: the first two fit, the third meets the full fleet, the
    fourth the empty limit of its own mailbox."""
    at = NIGHTS[5]
    window = ROLLING[4]
    fleet, none = LimitUsage(1, SCOPES[3], window, 2, Usage()), LimitUsage(2, SCOPES[1], window, 0, Usage())
    one, two, fleet_scope = SCOPES[0], SCOPES[1], SCOPES[3]
    scopes = {1: (two, fleet_scope), 2: (one, fleet_scope), 3: (one,), 4: (one, fleet_scope), 5: (one, fleet_scope)}
    admission = admit([Candidate(n, n, 1, s) for n, s in scopes.items()], [fleet, none], now=at)
    assert list(admission.admitted.items()) == [(2, (fleet.key,)), (3, ()), (4, (fleet.key,))]
    assert admission.refused == {1: none, 5: fleet}
    assert {key: (usage.head, usage.used) for key, usage in admission.usages.items()} == {
        fleet.key: (window.bucket(at), 2)
    }
