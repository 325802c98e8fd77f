"""Law 8: what is not planned is explained in one sentence that names what binds, and until when."""

from dataclasses import replace
from datetime import timedelta

import pytest
from test_planner_order import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    campaign,
    follow_up,
    full_until_half_past,
    mailbox,
    opening,
    plan_hour,
)

from mailfleet.model.words import ScopeKind
from mailfleet.outbox.limits import Usage
from mailfleet.planning.snapshot import Enrollment, Hold, Limit, Queued, Reason, Snapshot, Unplanned
from mailfleet.planning.windows import LocalWindow

NAMES = {(ScopeKind.MAILBOX, "1"): "ann@north.example", (ScopeKind.DOMAIN, "1"): "north.example"}


def snapshot(*rows: Enrollment) -> Snapshot:
    return Snapshot((mailbox(1),), (), (), (campaign(1, 1),), rows, NAMES)


def only_reason(given: Snapshot) -> Unplanned:
    result = plan_hour(given)
    assert not result.slots
    (reason,) = result.reasons
    return reason


def test_a_full_limit_is_named_with_its_numbers_and_its_end() -> None:
    """LIMIT: the limit, the scope, how much of it is used, and when there is room again; the same for the mailbox."""
    limit = Limit(9, ScopeKind.DOMAIN, None, DAY, 40, {"1": Usage(DAY.bucket(NOW), (40,))})
    given = replace(snapshot(opening(1)), limits=(limit,))
    free_at = DAY.bucket_start(DAY.bucket(NOW) + DAY.span)
    until = f"{free_at:%Y-%m-%d %H:%M} UTC"
    cause = f"the limit of 40 in a rolling day for domain north.example is reached (40 of 40 used) until {until}."
    lead = "No mailbox of the pool can write it before 2026-11-24 10:00 UTC; the first to be free is mailbox"
    reason = only_reason(given)
    assert reason == Unplanned(1, Reason.LIMIT, f"{lead} ann@north.example: {cause}", 9, free_at)
    (of_mailbox,) = plan_hour(given).mailbox_reasons
    assert of_mailbox.text == cause.replace("the limit", "The limit", 1)
    assert (of_mailbox.binding, of_mailbox.used, of_mailbox.maximum, of_mailbox.free_at) == (9, 40, 40, free_at)


def test_the_limit_that_ends_last_is_the_one_that_binds() -> None:
    """Of two full limits the one that is free later is named: lifting the other would not help."""
    short = Limit(1, ScopeKind.MAILBOX, None, DAY, 5, {"1": Usage(DAY.bucket(NOW), (0,) * 50 + (5,))})
    long = Limit(2, ScopeKind.ACCOUNT, None, DAY, 5, {"1": Usage(DAY.bucket(NOW), (5,))})
    assert only_reason(replace(snapshot(follow_up(1, 1)), limits=(short, long))).binding == 2
    assert only_reason(replace(snapshot(opening(1)), limits=(long, short))).binding == 2


def test_turns_that_outlast_a_limit_are_what_binds() -> None:
    """A limit with room again at half past is not blamed for a mailbox that is busy until later, nor the reverse."""
    box = replace(mailbox(1, pace=40 * MINUTE), queued=(Queued(NOW + 40 * MINUTE, "r.example", 1),))
    given = replace(snapshot(follow_up(1, 1)), mailboxes=(box,), limits=(full_until_half_past(ScopeKind.MAILBOX),))
    assert only_reason(given).code is Reason.PACE
    assert plan_hour(given).mailbox_reasons[0].free_at == NOW + 80 * MINUTE


def test_a_mailbox_that_may_not_begin_in_the_horizon_says_when() -> None:
    """`next_at` beyond the horizon is the end of its waiting, for the letter and for the mailbox."""
    given = replace(snapshot(opening(1)), mailboxes=(replace(mailbox(1), next_at=NOW + 2 * HOUR),))
    assert (only_reason(given).code, only_reason(given).retry_at) == (Reason.PACE, NOW + 2 * HOUR)
    assert plan_hour(given).mailbox_reasons[0].free_at == NOW + 2 * HOUR


def test_a_limit_of_nothing_has_no_end() -> None:
    """A maximum of 0 is a person's decision: no moment is promised."""
    reason = only_reason(replace(snapshot(opening(1)), limits=(Limit(1, ScopeKind.FLEET, None, DAY, 0),)))
    assert reason.code is Reason.LIMIT and reason.retry_at is None
    assert reason.text.endswith("the limit of 0 in a rolling day for the fleet lets nothing through.")


def test_a_full_receiver_is_named() -> None:
    """A recipient domain's limit stops letters to it alone."""
    limit = Limit(3, ScopeKind.RECIPIENT_DOMAIN, "r.example", DAY, 1, {"r.example": Usage(DAY.bucket(NOW), (1,))})
    other = replace(opening(2), recipient_domain="other.example")
    result = plan_hour(replace(snapshot(opening(1), other), limits=(limit,)))
    assert [slot.enrollment_id for slot in result.slots] == [2]
    assert result.reasons[0].binding == 3 and "recipient domain r.example" in result.reasons[0].text


def test_a_full_provider_of_recipients_is_named_and_one_that_is_not_known_is_in_no_limit() -> None:
    """Its limit, for one of the name or for each, stops letters to its domains, and no letter to a domain of which
    nobody knows who runs it."""
    used = {"google": Usage(DAY.bucket(NOW), (1,)), "": Usage(DAY.bucket(NOW), (1,))}
    rows = (at_google(opening(1)), opening(2))
    for scope in ("google", None):
        limit = Limit(3, ScopeKind.RECIPIENT_PROVIDER, scope, DAY, 1, used)
        result = plan_hour(replace(snapshot(*rows), limits=(limit,)))
        assert [slot.enrollment_id for slot in result.slots] == [2]
        assert result.reasons[0].binding == 3 and "for recipient provider google is reached" in result.reasons[0].text


def test_letters_of_a_run_and_letters_queued_count_for_the_provider_of_recipients() -> None:
    """One is queued, one more is allowed: of two letters to two of its domains, one waits."""
    box = replace(mailbox(1), queued=(Queued(NOW, "q.example", 1, "google"),))
    other = replace(at_google(opening(2)), recipient_domain="other.example")
    limit = Limit(3, ScopeKind.RECIPIENT_PROVIDER, "google", DAY, 2)
    given = replace(snapshot(at_google(opening(1)), other), mailboxes=(box,), limits=(limit,))
    result = plan_hour(given)
    assert (len(result.slots), len(result.reasons)) == (1, 1)


@pytest.mark.parametrize("kind", [ScopeKind.MAILBOX, ScopeKind.DOMAIN, ScopeKind.ACCOUNT, ScopeKind.CAMPAIGN])
def test_who_is_half_open_says_so(kind: ScopeKind) -> None:
    """With room left, full, or bound by something else: the mailbox's reason names the trial that it is part of; the
    letter's reason says that the limit is a trial's."""
    limit = Limit(7, kind, "1", DAY, 2, {}, is_half_open=True)
    note = f"Half open after a hold: {kind.value} {NAMES.get((kind, '1'), '1')}, at most 2 letters in a rolling day."
    roomy = plan_hour(replace(snapshot(opening(1)), limits=(limit,)))
    assert len(roomy.slots) == 1 and roomy.mailbox_reasons[0].text.endswith(f" {note}")
    full = plan_hour(replace(snapshot(*map(opening, (1, 2, 3))), limits=(limit,)))
    assert len(full.slots) == 2 and "half open after a hold, is reached (2 of 2 used)" in full.reasons[0].text
    assert "alf open after a hold" in full.mailbox_reasons[0].text
    paced = plan_hour(replace(snapshot(opening(1)), mailboxes=(mailbox(1, pace=2 * HOUR),), limits=(limit,)))
    assert paced.mailbox_reasons[0].code is Reason.PACE and paced.mailbox_reasons[0].text.endswith(f". {note}")
    assert "alf open" not in plan_hour(snapshot(opening(1))).mailbox_reasons[0].text


def at_google(row: Enrollment) -> Enrollment:
    return replace(row, recipient_provider="google")


@pytest.mark.parametrize("kind", [k for k in ScopeKind if k is not ScopeKind.SENDER_HOST])
def test_a_hold_on_any_scope_stops_the_letter_and_is_named(kind: ScopeKind) -> None:
    """HOLD: its scope, reason and end, whichever of the letter's scopes it stands on."""
    named = {
        ScopeKind.FLEET: "fleet",
        ScopeKind.RECIPIENT_DOMAIN: "r.example",
        ScopeKind.RECIPIENT_PROVIDER: "google",
    }
    hold = Hold(4, kind, named.get(kind, "1"), "complaints at 0.3 %", NOW + 2 * HOUR)
    for row in (at_google(opening(1)), at_google(follow_up(1, 1))):
        reason = only_reason(replace(snapshot(row), holds=(hold,)))
        assert (reason.code, reason.binding, reason.retry_at) == (Reason.HOLD, 4, NOW + 2 * HOUR)
        assert "is held until 2026-11-24 11:00 UTC (complaints at 0.3 %)" in reason.text


def test_of_several_holds_the_last_to_end_is_named_and_one_that_ended_stops_nothing() -> None:
    """A hold without an end binds before one with an end; one that ended a second ago is history."""
    holds = (
        Hold(1, ScopeKind.DOMAIN, "1", "listed", None),
        Hold(2, ScopeKind.MAILBOX, "1", "bounces", NOW + HOUR),
        Hold(3, ScopeKind.PROVIDER, "1", "rate limited", NOW - timedelta(seconds=1)),
    )
    reason = only_reason(replace(snapshot(opening(1)), holds=holds))
    assert (reason.binding, reason.retry_at) == (1, None)
    assert "until it is lifted" in reason.text
    assert plan_hour(replace(snapshot(opening(1)), holds=holds[2:])).slots


def test_a_closed_window_names_its_opening() -> None:
    """WINDOW: when the contact's day begins, in its own zone."""
    pool = replace(campaign(1, 1), window=LocalWindow.parse((1, 2, 3), ["09:00-17:00"], "UTC"))
    given = replace(snapshot(replace(opening(1), zone="Asia/Tokyo")), campaigns=(pool,))
    reason = only_reason(given)
    assert (reason.code, reason.retry_at) == (Reason.WINDOW, NOW + 15 * HOUR)
    assert "Asia/Tokyo" in reason.text and "2026-11-25 00:00 UTC" in reason.text


def test_turns_already_taken_are_told() -> None:
    """PACE: until when the mailbox is busy; a letter planned before takes the turn."""
    box = mailbox(1, pace=2 * HOUR)
    rows = (opening(1, waited=HOUR), opening(2))
    result = plan_hour(Snapshot((box,), (), (), (campaign(1, 1),), rows))
    free_at = result.slots[0].due_at + 2 * HOUR
    assert (result.reasons[0].code, result.reasons[0].retry_at) == (Reason.PACE, free_at)
    (of_mailbox,) = result.mailbox_reasons
    assert (of_mailbox.code, of_mailbox.free_at) == (Reason.PACE, free_at)


def test_a_mailbox_without_work_says_so() -> None:
    """NO_WORK: it may write, and from when."""
    (reason,) = plan_hour(replace(snapshot(), mailboxes=(replace(mailbox(1), next_at=NOW + MINUTE),))).mailbox_reasons
    assert (reason.code, reason.free_at) == (Reason.NO_WORK, NOW + MINUTE)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (opening(1, campaign=9), Reason.CAMPAIGN_STOPPED),
        (replace(opening(1), zone="Mars/Olympus"), Reason.UNKNOWN_ZONE),
        (replace(opening(1), zone="../etc"), Reason.UNKNOWN_ZONE),
        (opening(1, campaign=2), Reason.NO_MAILBOX),
        (opening(1, campaign=3), Reason.NO_MAILBOX),
        (follow_up(1, 77), Reason.MAILBOX_GONE),
        (replace(opening(1, campaign=2), mailbox_id=1), Reason.OUTSIDE_POOL),
        (follow_up(1, 1, campaign=3), Reason.OTHER_IDENTITY),
    ],
)
def test_what_only_a_person_can_mend_is_named_and_never_retried(row: Enrollment, code: Reason) -> None:
    """A letter never moves to another mailbox or identity by itself, and one bad row stops no other."""
    campaigns = (campaign(1, 1), campaign(2), replace(campaign(3, 1), identity_id=2))
    result = plan_hour(replace(snapshot(row, opening(2)), campaigns=campaigns))
    assert [slot.enrollment_id for slot in result.slots] == [2]
    (reason,) = result.reasons
    assert (reason.code, reason.binding, reason.retry_at) == (code, None, None)


def test_a_follow_up_goes_from_its_mailbox_though_the_pool_changed() -> None:
    """Law 5: a thread stays where it began, also when its mailbox has left the campaign's pool."""
    given = replace(snapshot(follow_up(1, 1, campaign=2)), campaigns=(campaign(2),))
    assert [slot.mailbox_id for slot in plan_hour(given).slots] == [1]
