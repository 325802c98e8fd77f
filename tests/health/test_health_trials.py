"""Half-open: what is let out after a hold, what is judged, and how long the next hold is."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from health_fleet import NOW, TUNABLES, attempts, fleet, scope
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.facts import Attempted, Cell, Facts, StandingHold, Trial
from mailfleet.health.rules import Judgement, judge
from mailfleet.health.trials import next_rung
from mailfleet.model.words import Family

FLEET = fleet(60)
MAILBOX = scope("mailbox", 3)
CAMPAIGN = scope("campaign", 1)
HOUR = timedelta(hours=1)
FAMILIES = st.sampled_from(Family)


def bounced(*letters: tuple[datetime, bool], since: datetime) -> tuple[Cell, ...]:
    """Letters of mailbox 3 in campaign 1, counted from `since`: as a store counts them."""
    counted = [is_bounced for at, is_bounced in letters if at >= since]
    return (Cell(3, 1, len(counted), sum(counted)),)


def judged(facts: Facts, now: datetime = NOW) -> Judgement:
    return judge(facts, TUNABLES, now=now)


@given(FAMILIES, st.integers(0, 40_000))
def test_the_ladder_reaches_everything_when_nothing_fails(family: Family, normal: int) -> None:
    """Five letters in any case, then at most twice as many with each rung, up to the normal: then nothing binds any
    more."""
    trial, now, seen = Trial(1, MAILBOX, family, NOW), NOW, []
    for _ in range(40):
        rung = next_rung(trial, normal=normal, tunables=TUNABLES, now=now)
        if rung.letters_a_day is None:
            break
        seen.append(rung.letters_a_day)
        now += HOUR
        trial = replace(rung.trial, letters=rung.letters_a_day)
    assert rung.trial.is_over and next_rung(rung.trial, normal=normal, tunables=TUNABLES, now=now).letters_a_day is None
    assert seen[0] == 5 and seen[-1] == max(5, normal)
    assert all(after <= 2 * before for before, after in pairwise(seen))


@given(FAMILIES, st.integers(0, 5), st.integers(0, 1000))
def test_a_rung_waits_for_the_letters_that_it_added(family: Family, rung: int, letters: int) -> None:
    """Time alone does not lead up; as many letters judged as it lets out beyond the rung before do."""
    trial = Trial(1, MAILBOX, family, NOW, rung=rung, rung_at=NOW, letters=letters)
    moved = next_rung(trial, normal=1000, tunables=TUNABLES, now=NOW + 1000 * HOUR).trial
    if letters < (5, 5, 10, 20, 40, 80)[rung]:
        assert moved == trial
    else:
        assert (moved.rung, moved.rung_at, moved.letters) == (rung + 1, NOW + 1000 * HOUR, 0)


@given(st.integers(0, 40))
def test_each_failure_makes_the_next_hold_longer_up_to_a_cap(strikes: int) -> None:
    """Ten minutes, twenty, forty … six hours, each a hold of its own after a trial that failed."""
    trial = Trial(1, MAILBOX, Family.UNREACHABLE, NOW - HOUR, strikes=strikes)
    failing = attempts(FLEET, lambda p: Family.UNREACHABLE if p.mailbox_id == 3 else None)
    (order,) = judged(Facts(FLEET, attempted=failing, trials=(trial,))).orders
    assert order.strikes == strikes + 1
    assert order.until == NOW + min(timedelta(minutes=10) * 2 ** min(strikes + 1, 20), timedelta(hours=6))


def test_a_month_of_peace_is_a_clean_sheet() -> None:
    """What went wrong once and well for thirty days begins at the foot of the ladder."""
    trial = Trial(1, MAILBOX, Family.UNREACHABLE, NOW - timedelta(days=30), strikes=7, is_over=True)
    failing = attempts(FLEET, lambda p: Family.UNREACHABLE if p.mailbox_id == 3 else None)
    (order,) = judged(Facts(FLEET, attempted=failing, trials=(trial,))).orders
    assert order.strikes == 0 and order.until == NOW + timedelta(minutes=10)


def test_a_sender_s_short_hold_is_lengthened_after_a_failed_trial_and_only_once() -> None:
    """The ten minutes that a sender set become twenty, counted from its beginning; looking again adds nothing."""
    since = NOW - timedelta(minutes=2)
    standing = StandingHold(7, MAILBOX, Family.UNREACHABLE, since, since + timedelta(minutes=10))
    failing = attempts(FLEET, lambda p: Family.UNREACHABLE if p.mailbox_id == 3 else None)
    trial = Trial(1, MAILBOX, Family.UNREACHABLE, NOW - HOUR)
    facts = Facts(FLEET, attempted=failing, holds=(standing,), trials=(trial,))
    (order,) = judged(facts).orders
    assert order.until == NOW + timedelta(minutes=20)
    placed = StandingHold(8, MAILBOX, Family.UNREACHABLE, NOW, order.until)
    later = NOW + timedelta(minutes=5)
    assert judged(replace(facts, holds=(standing, placed)), later).orders == ()
    assert judged(replace(facts, trials=())).orders == ()


def test_a_moment_that_the_server_names_is_kept() -> None:
    """A limit that ends at noon holds until noon, not for our hour; one that ends sooner, for our hour."""
    for named, until in ((NOW + 2 * HOUR, NOW + 2 * HOUR), (NOW + HOUR / 2, NOW + HOUR)):
        tried = Attempted(3, "host", NOW, Family.RATE_LIMIT, until=named)
        (order,) = judged(Facts(FLEET, attempted=(tried,))).orders
        assert order.until == until


def test_old_events_do_not_bring_a_lifted_hold_back() -> None:
    """Half of what a mailbox wrote before a person lifted its hold bounced; that counts no more."""
    lifted_at = NOW - HOUR
    trial = Trial(1, MAILBOX, Family.BOUNCES, lifted_at)
    facts = Facts(FLEET, trials=(trial,))
    letters = [(lifted_at - n * HOUR, n % 2 == 0) for n in range(1, 80)]
    since = facts.resumed_at((MAILBOX, CAMPAIGN), Family.BOUNCES)
    assert since == lifted_at
    assert judged(replace(facts, cells={Family.BOUNCES: bounced(*letters, since=since)})).orders == ()


def test_a_lifted_hold_is_judged_from_the_first_letters_after_it() -> None:
    """No blind period: two of the five letters after it bounce and the mailbox is held again; one is luck;
    without a lift five letters are below the floor."""
    lifted_at = NOW - HOUR
    trial = Trial(1, MAILBOX, Family.BOUNCES, lifted_at)
    after = [lifted_at + n * timedelta(minutes=5) for n in range(5)]
    for bounces, held in ((2, [MAILBOX]), (1, [])):
        cells = bounced(*((at, n < bounces) for n, at in enumerate(after)), since=lifted_at)
        judgement = judged(Facts(FLEET, {Family.BOUNCES: cells}, trials=(trial,)))
        assert [order.scope for order in judgement.orders] == held
        assert len(judgement.rungs) == 1 - len(held)
        assert judged(Facts(FLEET, {Family.BOUNCES: cells})).orders == ()


def test_a_lift_counts_for_its_own_family_alone() -> None:
    """That a rate limit ended does not wipe out bounces."""
    trial = Trial(1, MAILBOX, Family.RATE_LIMIT, NOW - HOUR)
    assert Facts(FLEET, trials=(trial,)).resumed_at((MAILBOX,), Family.BOUNCES) is None


def test_a_trial_of_long_ago_changes_no_floor() -> None:
    """Once the window has passed the end of a hold, five letters are again no verdict."""
    cells = (Cell(3, 1, 5, 2),)
    old = Trial(1, MAILBOX, Family.BOUNCES, NOW - TUNABLES.window, is_over=True)
    assert judged(Facts(FLEET, {Family.BOUNCES: cells}, trials=(old,))).orders == ()


def test_a_list_that_a_person_let_go_on_is_judged_as_that_list_again() -> None:
    """Its campaign was held and lifted: the first dead addresses after are its incident, and its campaign's hold."""
    trial = Trial(1, CAMPAIGN, Family.BOUNCES, NOW - HOUR, cause=scope("contact_list", 2))
    cells = tuple(Cell(mailbox, 1, 1, 1, list_id=2) for mailbox in range(5))
    (order,) = judged(Facts(FLEET, {Family.BOUNCES: cells}, trials=(trial,))).orders
    assert (order.scope, order.cause) == (CAMPAIGN, scope("contact_list", 2))


def test_a_renewed_grant_that_fails_again_stops_its_account_after_two_mailboxes() -> None:
    """On trial the account's floor is two, not a tenth of its mailboxes; what failed before the lift counts no more."""
    lifted_at = NOW - timedelta(minutes=3)
    account = scope("account", 1)
    trial = Trial(1, account, Family.AUTHENTICATION, lifted_at)
    revoked = Facts(FLEET, trials=(trial,))

    def refused(mailboxes: set[int], at: datetime) -> Judgement:
        tried = [place for place in FLEET if place.mailbox_id in mailboxes]
        return judged(replace(revoked, attempted=attempts(tried, lambda p: Family.AUTHENTICATION, at)))

    assert [order.scope for order in refused({33, 45}, NOW).orders] == [account]
    assert [order.scope.kind for order in refused({33}, NOW).orders] == ["mailbox"]
    assert refused({33, 45}, lifted_at - timedelta(minutes=1)).orders == ()


def test_nothing_is_let_out_while_a_hold_of_the_family_stands() -> None:
    """A trial whose scope is held again is over; one of another family goes on."""
    trial = Trial(1, MAILBOX, Family.BOUNCES, NOW - HOUR)
    held = StandingHold(2, MAILBOX, Family.BOUNCES, NOW - HOUR / 2, None)
    other = replace(held, family=Family.POLICY)
    assert judged(Facts(FLEET, holds=(held,), trials=(trial,))).rungs == ()
    assert [rung.letters_a_day for rung in judged(Facts(FLEET, holds=(other,), trials=(trial,))).rungs] == [5]
