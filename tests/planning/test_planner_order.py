"""Who goes first, from which mailbox, and when."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from planning_instances import ALWAYS

from mailfleet.base.errors import InvariantError
from mailfleet.model.words import ScopeKind
from mailfleet.outbox.limits import Usage, Window
from mailfleet.planning.chance import draw_variant
from mailfleet.planning.rules import plan
from mailfleet.planning.snapshot import Campaign, Enrollment, Limit, Mailbox, Plan, Queued, Snapshot
from mailfleet.planning.windows import LocalWindow

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = Window("rolling")


def mailbox(
    number: int, *, domain: int = 1, account: int = 1, provider: int = 1, pace: timedelta = 10 * MINUTE
) -> Mailbox:
    return Mailbox(number, domain, account, provider, 1, pace)


def opening(number: int, *, campaign: int = 1, waited: timedelta = MINUTE) -> Enrollment:
    return Enrollment(number, campaign, number, "r.example", "UTC", 1, True, NOW - waited, ((1, 1),))


def follow_up(number: int, mailbox_id: int, *, campaign: int = 1, waited: timedelta = MINUTE) -> Enrollment:
    return Enrollment(number, campaign, number, "r.example", "UTC", 2, False, NOW - waited, ((1, 1),), mailbox_id)


def campaign(number: int, *mailbox_ids: int, priority: int = 0, share: float = 0.0) -> Campaign:
    return Campaign(number, 1, frozenset(mailbox_ids), ALWAYS, priority=priority, openings_share=share)


def plan_hour(snapshot: Snapshot, seed: int = 1) -> Plan:
    return plan(snapshot, now=NOW, until=NOW + HOUR, seed=seed)


def planned(result: Plan) -> list[int]:
    return [slot.enrollment_id for slot in result.slots]


def test_follow_ups_go_before_openings() -> None:
    """With one turn left, the follow-up has it, however long the opening has waited."""
    rows = (opening(1, waited=HOUR), follow_up(2, 1))
    assert planned(plan_hour(Snapshot((mailbox(1, pace=HOUR),), (), (), (campaign(1, 1),), rows))) == [2]


def test_the_higher_priority_goes_before_the_longer_wait() -> None:
    """With one turn left, the campaign of the higher priority has it."""
    rows = (opening(1, campaign=1, waited=HOUR), opening(2, campaign=2))
    campaigns = (campaign(1, 1), campaign(2, 1, priority=5))
    assert planned(plan_hour(Snapshot((mailbox(1, pace=HOUR),), (), (), campaigns, rows))) == [2]


def test_the_longest_wait_goes_first() -> None:
    """Equals in all else go in the order in which they became ready."""
    rows = tuple(opening(number, waited=number * MINUTE) for number in range(1, 5))
    assert planned(plan_hour(Snapshot((mailbox(1),), (), (), (campaign(1, 1),), rows))) == [4, 3, 2, 1]


@pytest.mark.parametrize(("share", "least"), [(0.0, 0), (0.3, 2), (0.5, 3), (1.0, 6)])
def test_a_campaigns_share_of_openings_is_kept(share: float, least: int) -> None:
    """Of six turns, at least the share goes to openings while both kinds wait, and follow-ups have all the others."""
    rows = tuple(opening(number) for number in range(1, 11)) + tuple(follow_up(number, 1) for number in range(11, 21))
    snapshot = Snapshot((mailbox(1, pace=9 * MINUTE),), (), (), (campaign(1, 1, share=share),), rows)
    numbers = planned(plan_hour(snapshot))
    openings = [number for number in numbers if number <= 10]
    assert least <= len(openings) <= least + 1 and len(numbers) in (6, 7)


def test_load_is_spread_over_providers_accounts_domains_and_mailboxes() -> None:
    """Sixteen letters over sixteen equal mailboxes go one to each, and neighbours in turn share no domain."""
    boxes = tuple(
        mailbox(number, domain=number // 2, account=number // 4, provider=number // 8) for number in range(16)
    )
    rows = tuple(opening(number) for number in range(16))
    pool = campaign(1, *range(16))
    whole = plan_hour(Snapshot(boxes, (), (), (pool,), rows))
    assert Counter(slot.mailbox_id for slot in whole.slots) == Counter(range(16))
    half = plan_hour(Snapshot(boxes, (), (), (pool,), rows[:8]))
    assert Counter(slot.mailbox_id // 2 for slot in half.slots) == Counter(range(8))
    pair = plan_hour(Snapshot(boxes, (), (), (pool,), rows[:2]))
    assert {slot.mailbox_id // 8 for slot in pair.slots} == {0, 1}


def test_the_smallest_fill_of_the_binding_limit_goes_first() -> None:
    """A fresh mailbox of a domain that is nearly full is passed over for a fuller mailbox of an empty domain."""
    boxes = (mailbox(1, domain=1), mailbox(2, domain=2))
    bucket = DAY.bucket(NOW)
    limits = (
        Limit(1, ScopeKind.MAILBOX, None, DAY, 30, {"2": Usage(bucket, (15,))}),
        Limit(2, ScopeKind.DOMAIN, None, DAY, 100, {"1": Usage(bucket, (60,))}),
    )
    pool = campaign(1, 1, 2)
    assert [slot.mailbox_id for slot in plan_hour(Snapshot(boxes, limits, (), (pool,), (opening(1),))).slots] == [2]
    rows = tuple(opening(number) for number in range(8))
    result = plan_hour(Snapshot(boxes, limits, (), (pool,), rows))
    assert Counter(slot.mailbox_id for slot in result.slots) == {1: 4, 2: 4}


def test_mailboxes_free_at_one_moment_do_not_write_at_one_moment() -> None:
    """When a window opens for a whole fleet, first letters are spread over up to 0.3 paces."""
    boxes = tuple(mailbox(number) for number in range(50))
    rows = tuple(opening(number) for number in range(50))
    moments = [slot.due_at for slot in plan_hour(Snapshot(boxes, (), (), (campaign(1, *range(50)),), rows)).slots]
    assert len(set(moments)) == 50
    assert NOW <= min(moments) < NOW + MINUTE < NOW + 2 * MINUTE < max(moments) < NOW + 3 * MINUTE


def test_gaps_have_jitter_between_one_and_one_point_three_paces() -> None:
    """A mailbox with work has gaps in [pace, 1.3 paces), not all alike."""
    rows = tuple(opening(number) for number in range(60))
    slots = plan_hour(Snapshot((mailbox(1, pace=MINUTE),), (), (), (campaign(1, 1),), rows)).slots
    gaps = {later.due_at - earlier.due_at for earlier, later in pairwise(slots)}
    assert min(gaps) >= MINUTE and max(gaps) < 1.3 * MINUTE and len(gaps) > 20


def test_a_backlog_after_a_pause_is_paced_and_limited() -> None:
    """Law 6: hundreds of letters, some queued and long late, leave no faster than letters of any other hour."""
    box = replace(mailbox(1), queued=tuple(Queued(NOW - (n + 1) * MINUTE, "r.example", 1) for n in range(3)))
    rows = tuple(follow_up(number, 1, waited=24 * HOUR) for number in range(300))
    limits = (Limit(1, ScopeKind.MAILBOX, None, DAY, 5, {}),)
    result = plan_hour(Snapshot((box,), limits, (), (campaign(1, 1),), rows))
    assert len(result.slots) == 2
    assert result.slots[0].due_at >= NOW + 30 * MINUTE


def test_a_limit_frees_room_inside_the_horizon() -> None:
    """Usage that leaves the window at half past makes room for a letter from then on, not before."""
    limits = (full_until_half_past(ScopeKind.PROVIDER),)
    rows = tuple(opening(number) for number in range(5))
    result = plan_hour(Snapshot((mailbox(1, pace=MINUTE),), limits, (), (campaign(1, 1),), rows))
    assert len(result.slots) == 2 and result.slots[0].due_at >= NOW + 30 * MINUTE


def full_until_half_past(kind: ScopeKind) -> Limit:
    """A limit of 2 an hour that is full now and has room from 9:30 on."""
    hour = Window("rolling", HOUR)
    counts = [0] * hour.span
    counts[hour.bucket(NOW) - hour.bucket(NOW + 30 * MINUTE) + hour.span] = 2
    return Limit(1, kind, None, hour, 2, {key: Usage(hour.bucket(NOW), tuple(counts)) for key in ("1", "r.example")})


def test_a_receiver_that_is_full_for_now_has_its_letter_later() -> None:
    """A recipient domain's limit moves a letter inside the horizon, and lets letters to others go at once."""
    limits = (full_until_half_past(ScopeKind.RECIPIENT_DOMAIN),)
    rows = (opening(1), replace(opening(2), recipient_domain="other.example"))
    slots = plan_hour(Snapshot((mailbox(1), mailbox(2)), limits, (), (campaign(1, 1, 2),), rows)).slots
    assert [slot.enrollment_id for slot in slots] == [2, 1]
    assert slots[0].due_at < NOW + 3 * MINUTE and slots[1].due_at >= NOW + 30 * MINUTE


def test_a_mailbox_without_a_turn_for_one_letter_has_one_for_another() -> None:
    """A mailbox busy in one contact's hours, or while one receiver has room, is not lost to the letters after it."""
    box = replace(mailbox(1, pace=32 * MINUTE), queued=(Queued(NOW + 32 * MINUTE, "other.example", 1),))
    limits = (full_until_half_past(ScopeKind.RECIPIENT_DOMAIN),)
    window = LocalWindow.parse((2,), ["09:00-09:30", "10:30-12:00"], "UTC")
    rows = (
        replace(opening(1, waited=3 * MINUTE), zone="Europe/Berlin", recipient_domain="other.example"),
        opening(2, waited=2 * MINUTE),
        replace(opening(3), recipient_domain="other.example"),
    )
    result = plan_hour(Snapshot((box,), limits, (), (replace(campaign(1, 1), window=window),), rows))
    assert [(slot.enrollment_id, slot.due_at) for slot in result.slots] == [(3, NOW)]


def test_queued_letters_due_at_one_moment_have_a_lasting_order() -> None:
    """Which of two leaves first decides when its receiver has room, so it may not depend on the order of the rows."""
    queued = tuple(Queued(NOW + 10 * MINUTE, domain, 1) for domain in ("r.example", "a.example"))
    limit = Limit(1, ScopeKind.RECIPIENT_DOMAIN, None, Window("rolling", 10 * MINUTE), 1)
    pool = replace(campaign(1, 2), window=LocalWindow.parse((2,), ["09:35-09:36"], "UTC"))
    plans = []
    for order in (queued, queued[::-1]):
        boxes = (replace(mailbox(1, pace=25 * MINUTE), queued=order), mailbox(2))
        plans.append(plan_hour(Snapshot(boxes, (limit,), (), (pool,), (opening(1),))))
    assert plans[0] == plans[1]


def test_a_clock_that_went_back_gives_no_room() -> None:
    """What was reserved on a later day than today's counts today: time never gives room."""
    day = Window("calendar", zone="UTC")
    limits = (Limit(1, ScopeKind.MAILBOX, None, day, 3, {"1": Usage(day.bucket(NOW) + 1, (3,))}),)
    result = plan_hour(Snapshot((mailbox(1),), limits, (), (campaign(1, 1),), (opening(1),)))
    assert not result.slots
    assert result.reasons[0].retry_at == NOW.replace(hour=0) + timedelta(days=2)


def test_a_contact_stays_with_its_mailbox_while_that_cannot_write() -> None:
    """Law 5: an opening of another campaign waits for the contact's own mailbox, though another of the pool is idle."""
    limits = (Limit(1, ScopeKind.MAILBOX, "1", DAY, 0),)
    rows = (follow_up(1, 1), replace(opening(2), contact_id=1))
    result = plan_hour(Snapshot((mailbox(1), mailbox(2)), limits, (), (campaign(1, 1, 2),), rows))
    assert [reason.binding for reason in result.reasons] == [1, 1]


def test_a_contact_is_written_to_when_its_own_window_opens() -> None:
    """A contact two zones east has its letter now, one whose day begins at half past has it then."""
    window = LocalWindow.parse((2,), ["10:30-18:00"], "UTC")
    rows = (replace(opening(1), zone="Europe/Helsinki"), replace(opening(2), zone="Europe/Berlin"))
    pool = replace(campaign(1, 1, 2), window=window)
    slots = plan_hour(Snapshot((mailbox(1), mailbox(2)), (), (), (pool,), rows)).slots
    due = {slot.enrollment_id: slot.due_at for slot in slots}
    assert due[1] < NOW + 3 * MINUTE and NOW + 30 * MINUTE <= due[2] < NOW + 33 * MINUTE


def test_a_window_that_opens_soon_after_a_queued_letter_waits_for_the_pace() -> None:
    """The gap to the turn before is kept also where the search begins between two turns."""
    box = replace(mailbox(1, pace=25 * MINUTE), queued=(Queued(NOW + 26 * MINUTE, "r.example", 1),))
    pool = replace(campaign(1, 1), window=LocalWindow.parse((2,), ["09:30-12:00"], "UTC"))
    (slot,) = plan_hour(Snapshot((box,), (), (), (pool,), (opening(1),))).slots
    assert slot.due_at >= NOW + 51 * MINUTE


def test_jitter_leads_out_of_no_window_and_into_no_neighbour() -> None:
    """Where a shift would leave the contact's hours, come too near to a turn or fill a window, there is none."""
    pool = replace(campaign(1, *range(40)), window=LocalWindow.parse((2,), ["09:00-09:01"], "UTC"))
    boxes = tuple(mailbox(number, pace=20 * MINUTE) for number in range(40))
    rows = tuple(opening(number) for number in range(40))
    slots = plan_hour(Snapshot(boxes, (), (), (pool,), rows)).slots
    assert len(slots) == 40 and all(slot.due_at < NOW + MINUTE for slot in slots)
    queued = (Queued(NOW + 21 * MINUTE, "r.example", 1),)
    boxes = tuple(replace(box, queued=queued) for box in boxes)
    slots = plan_hour(Snapshot(boxes, (), (), (campaign(1, *range(40)),), rows)).slots
    assert len(slots) == 40 and all(slot.due_at <= NOW + MINUTE for slot in slots)


def test_a_variant_is_drawn_once() -> None:
    """The draw depends on enrollment and step alone, so that no run and no seed draws it anew; weights are kept."""
    rows = tuple(replace(opening(number), variants=((7, 1), (8, 3))) for number in range(400))
    snapshot = Snapshot((mailbox(1, pace=timedelta(0)),), (), (), (campaign(1, 1),), rows)
    drawn = [{slot.enrollment_id: slot.variant for slot in plan_hour(snapshot, seed).slots} for seed in (1, 2)]
    assert drawn[0] == drawn[1]
    assert 70 <= Counter(drawn[0].values())[7] <= 130


def test_a_draw_without_weight_is_a_broken_promise() -> None:
    """No variant is chosen out of nothing."""
    for weights in ([], [0, 0], [3, -1]):
        with pytest.raises(InvariantError):
            draw_variant("1:1", weights)


def test_an_enrollment_twice_in_a_snapshot_is_a_broken_promise() -> None:
    """The planner never plans one enrollment twice because a query joined twice."""
    with pytest.raises(InvariantError):
        plan_hour(Snapshot((mailbox(1),), (), (), (campaign(1, 1),), (opening(1), opening(1))))
