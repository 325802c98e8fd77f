"""From verdicts to incidents, and to what a person is told."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from health_fleet import NOW, TUNABLES, attempts, cells, facts_of, fleet, scope

from mailfleet.health.facts import READING, Attempted, Facts, StandingHold, Trial
from mailfleet.health.findings import Finding, Level, percent
from mailfleet.health.incidents import Changes, Incident, QuietHours, Severity, View, next_incidents, told
from mailfleet.health.orders import halve_letters
from mailfleet.health.rules import judge
from mailfleet.health.scopes import Scope
from mailfleet.health.sentences import advice, until
from mailfleet.model.words import Family, ScopeKind

FLEET = fleet(300)
ACCOUNT = scope("account", 1)
NAMES = {ACCOUNT: "google/main", scope("mailbox", 30): "ann@example.com", scope("campaign", 1): "Spring"}
NIGHT = QuietHours(time(22), time(7), "Europe/Berlin")


def view(facts: Facts, now: datetime = NOW) -> View:
    return View(judge(facts, TUNABLES, now=now), facts, NAMES, TUNABLES, now)


def refused(mailboxes: range, at: datetime = NOW) -> Facts:
    return Facts(
        FLEET, attempted=attempts(FLEET, lambda p: Family.AUTHENTICATION if p.mailbox_id in mailboxes else None, at)
    )


def outcome(facts: Facts, known: tuple[Incident, ...] = (), now: datetime = NOW) -> Changes:
    return next_incidents(known, view(facts, now))


def held(number: int, of: Scope, until: datetime | None = None, family: Family = Family.AUTHENTICATION) -> StandingHold:
    return StandingHold(number, of, family, NOW, until, "535 5.7.8 refused")


def test_mailboxes_that_failed_first_become_part_of_their_account() -> None:
    """Two incidents of mailboxes end in the one of their account, and their holds in its hold: one thing to tell, one
    thing to lift. The mailbox of another account keeps its own."""
    few = refused(range(30, 32))
    early = outcome(few)
    assert [one.scope for one in early.written] == [scope("mailbox", 30), scope("mailbox", 31)]
    holds = (held(1, scope("mailbox", 30)), held(2, scope("mailbox", 31)), held(3, scope("mailbox", 200)))
    all_of_them = replace(refused(range(30, 60)), holds=holds)
    judgement = judge(all_of_them, TUNABLES, now=NOW)
    assert [(absorption.hold_id, absorption.into) for absorption in judgement.absorptions] == [
        (1, ACCOUNT),
        (2, ACCOUNT),
    ]
    late = outcome(all_of_them, early.written)
    opened = {one.scope: one for one in late.written}
    assert set(opened) == {ACCOUNT, scope("mailbox", 30), scope("mailbox", 31), scope("mailbox", 200)}
    assert opened[scope("mailbox", 30)].part_of == ACCOUNT and opened[scope("mailbox", 30)].closed_at == NOW
    assert [one.scope for one in late.notices] == [ACCOUNT, scope("mailbox", 200)]


def test_two_holds_on_the_same_mailboxes_never_end_each_other() -> None:
    """A domain that is all of its account: of the two open holds the wider one stays."""
    only = tuple(place for place in FLEET if place.domain_id == 10)
    facts = Facts(only, holds=(held(1, scope("domain", 10)), held(2, ACCOUNT)))
    assert [one.hold_id for one in judge(facts, TUNABLES, now=NOW).absorptions] == [1]


def test_a_hold_that_lasts_longer_than_the_wider_one_stays() -> None:
    """A mailbox held until a person lifts it is not let go by its account's hold of an hour."""
    hour = NOW + timedelta(hours=1)
    facts = Facts(
        FLEET, holds=(held(1, scope("mailbox", 30)), held(2, ACCOUNT, hour), held(3, scope("mailbox", 31), hour))
    )
    assert [one.hold_id for one in judge(facts, TUNABLES, now=NOW).absorptions] == [3]


def test_a_warning_of_what_is_wider_hides_no_stop() -> None:
    """A mailbox stopped for bounces keeps its incident while a list it writes to is warned of."""
    facts = facts_of(
        FLEET, Family.BOUNCES, lambda p, c, r: 4 if p.mailbox_id == 70 else int(c == 0 and p.mailbox_id % 10 < 3)
    )
    assert [(one.scope.kind, one.severity) for one in outcome(facts).written] == [
        ("contact_list", Severity.WARNING),
        ("mailbox", Severity.SERIOUS),
    ]


def test_an_identity_that_is_slowed_hides_no_stopped_domain() -> None:
    """Only what stops a scope makes it a part."""
    facts = facts_of(
        FLEET,
        Family.COMPLAINTS,
        lambda p, c, r: int(r == "yahoo" and ((c == 0 and p.mailbox_id % 3 == 0) or (c < 2 and p.domain_id == 9))),
    )
    assert [(one.scope, one.severity) for one in outcome(facts).written] == [
        (scope("domain", 9), Severity.SERIOUS),
        (scope("identity", 0), Severity.WARNING),
    ]


def test_a_family_halves_once() -> None:
    """A mailbox slowed for its domain and for its identity writes half; blocks beside complaints halve again."""
    slow = [
        Finding(family, Level.SLOW, of, (of,), "a reason", {})
        for family, of in (
            (Family.COMPLAINTS, scope("domain", 0)),
            (Family.COMPLAINTS, scope("identity", 0)),
            (Family.POLICY, scope("domain", 1)),
        )
    ]
    halvings = halve_letters(slow, Facts(FLEET[:6]))
    assert halvings == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 2}


def unreached(at: datetime = NOW) -> Facts:
    return Facts(
        FLEET, attempted=attempts(FLEET, lambda p: Family.UNREACHABLE if p.mailbox_id in range(30, 60) else None, at)
    )


def test_a_cause_that_comes_back_within_a_day_is_no_news() -> None:
    """It is the same incident, open again and told to nobody; after more than a day it is another."""
    facts = unreached()
    (first,) = outcome(facts).written
    known = told(first, NOW)
    (closed,) = outcome(Facts(FLEET), (known,), NOW + timedelta(hours=1)).written
    assert closed.closed_at == NOW + timedelta(hours=1) and closed.part_of is None
    for later, news in ((NOW + timedelta(hours=24), 0), (NOW + timedelta(hours=26), 1)):
        again = outcome(unreached(later), (closed,), later)
        assert len(again.notices) == news
        assert (again.written[0].opened_at == NOW) == (not news) and again.written[0].closed_at is None


def test_an_incident_lives_as_long_as_its_hold_and_the_trial_after() -> None:
    """It is closed when nothing fails, nothing is held and the last rung is passed."""
    (first,) = outcome(refused(range(30, 60))).written
    later = NOW + timedelta(hours=2)
    standing = Facts(FLEET, holds=(held(1, ACCOUNT),))
    trial = Trial(1, ACCOUNT, Family.AUTHENTICATION, later)
    assert outcome(standing, (first,), later).written == ()
    assert outcome(Facts(FLEET, trials=(trial,)), (first,), later).written == ()
    over = outcome(Facts(FLEET, trials=(replace(trial, is_over=True),)), (first,), later)
    assert [one.closed_at for one in over.written] == [later]


def test_a_second_hold_after_a_lift_is_told() -> None:
    """Who lifted the hold must hear that it came back, whoever set it and however soon; once, and not while it stands.
    What ends by itself, within a day or with the next good read, is told once."""
    (first,) = outcome(refused(range(30, 60))).written
    known = told(first, NOW)
    hour, two = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    trial = Trial(1, ACCOUNT, Family.AUTHENTICATION, hour)
    on_trial = replace(refused(range(30, 60), two), trials=(trial,))
    assert outcome(replace(on_trial, attempted=()), (known,), two).notices == ()
    (again,) = outcome(on_trial, (known,), two).notices
    assert (again.scope, again.opened_at, again.told) == (ACCOUNT, NOW, None)
    second = replace(held(2, ACCOUNT), since=two)
    stands = replace(on_trial, holds=(second,))
    assert len(outcome(stands, (known,), two).notices) == 1
    assert outcome(stands, (told(again, two),), two).notices == ()
    assert outcome(replace(on_trial, holds=(held(1, ACCOUNT),)), (known,), two).notices == ()


def test_a_hold_that_ends_by_itself_is_told_once() -> None:
    """Ten minutes, twenty, forty of an outage are one; so are the holds of a watcher whose server comes and goes."""
    (first,) = outcome(unreached()).written
    hour = NOW + timedelta(hours=1)
    trial = Trial(1, ACCOUNT, Family.UNREACHABLE, NOW + timedelta(minutes=10))
    changes = outcome(replace(unreached(hour), trials=(trial,)), (told(first, NOW),), hour)
    assert changes.notices == () and "10:20" not in first.text and "11:20" in changes.written[0].text
    mailbox = scope("mailbox", 30)
    known = replace(first, scope=mailbox, severity=Severity.SERIOUS, told=Severity.SERIOUS, told_at=NOW)
    blind = replace(held(3, mailbox, family=Family.UNREACHABLE), since=hour)
    assert len(outcome(Facts(FLEET, holds=(blind,)), (known,), hour).notices) == 1
    assert outcome(Facts(FLEET, holds=(replace(blind, set_by="watcher"),)), (known,), hour).notices == ()


def test_a_graver_incident_is_told_again_and_a_milder_one_is_not() -> None:
    """A warning that becomes a stop is news; what was grave stays so until it is over."""
    warned = Incident(Family.COMPLAINTS, scope("domain", 9), Severity.WARNING, NOW, 90, "…", told=Severity.WARNING)
    stopped = Facts(FLEET, {Family.COMPLAINTS: cells(FLEET, lambda p, c, r: int(p.domain_id == 9))})
    (worse,) = outcome(stopped, (warned,)).notices
    assert worse.severity is Severity.SERIOUS and worse.opened_at == NOW
    grave = replace(warned, severity=Severity.GRAVE, told=Severity.GRAVE)
    changes = outcome(stopped, (grave,))
    assert changes.written[0].severity is Severity.GRAVE and changes.notices == ()


def test_a_mailbox_held_for_minutes_is_shown_and_not_told() -> None:
    """One mailbox at its limit passes by itself."""
    facts = Facts(FLEET, attempted=attempts(FLEET, lambda p: Family.RATE_LIMIT if p.mailbox_id == 30 else None))
    changes = outcome(facts)
    assert [one.severity for one in changes.written] == [Severity.NOTE] and changes.notices == ()
    assert changes.written[0].text == (
        "Mailbox ann@example.com: the provider's server for sending (SMTP) says that a limit is reached to this"
        " mailbox. Mailfleet holds it until 2026-11-24 11:00 UTC, then tries a few letters. Letters a day at stake: 30."
        " Nothing now; if it comes again, set a lower limit (`mailfleet limits set`)."
    )


def test_a_refused_login_that_no_attempt_shows_any_more_is_an_incident() -> None:
    """The open hold a sender set is told of, with the reply; one that passes is not."""
    changes = outcome(Facts(FLEET, holds=(held(1, scope("mailbox", 30)), held(2, scope("mailbox", 31), NOW))))
    assert [(one.scope.key, one.severity) for one in changes.notices] == [("30", Severity.SERIOUS)]
    assert changes.written[0].text.startswith(
        "Mailbox ann@example.com: 535 5.7.8 refused. Mailfleet holds it until you lift it: `mailfleet lift mailbox"
        " ann@example.com`. Letters a day at stake: 30. Renew the password"
    )


def test_a_list_s_incident_names_the_campaign_that_is_held() -> None:
    """What was done is said of what it was done to; the evidence is in the sentence."""
    (incident,) = outcome(facts_of(FLEET, Family.BOUNCES, lambda p, c, r: 3 if c == 1 else 0)).written
    assert incident.text == (
        "Contact list 2: 2700 of 10800 letters (25 %, surely above 3 %) bounced for good in 7 days. Mailfleet holds"
        " campaign Spring until you lift it: `mailfleet lift campaign Spring`. Letters a day at stake: 1543. Check"
        " where these addresses come from and take the dead ones out."
    )


def test_a_warning_speaks_of_no_hold() -> None:
    """Nothing is held, so nothing is to be lifted."""
    (incident,) = outcome(
        facts_of(FLEET, Family.BOUNCES, lambda p, c, r: int(c == 0 and p.mailbox_id % 10 < 3))
    ).written
    assert incident.severity is Severity.WARNING and "lift" not in incident.text
    assert "Mailfleet goes on writing and watches." in incident.text


def test_a_receiver_s_outage_asks_for_nothing() -> None:
    """What is held are letters to it, and they go on by themselves."""
    (incident,) = outcome(facts_of(FLEET, Family.BOUNCES, lambda p, c, r: 8 if r == "google" else 0)).written
    assert (
        "Mailfleet holds letters to it until 2026-11-24 11:00 UTC, then tries a few letters. Letters a day at stake:"
        " 1543. Nothing if it passes" in incident.text
    )


def test_inboxes_that_cannot_be_read_are_told_apart_from_letters_that_cannot_leave() -> None:
    """The sentence names the server; the watcher's own hold ends with the next good read."""
    readings = tuple(
        Attempted(p.mailbox_id, READING, NOW, Family.AUTHENTICATION if p.account_id == 1 else None) for p in FLEET
    )
    (incident,) = outcome(Facts(FLEET, attempted=readings)).written
    assert "google/main: the provider's server for reading (IMAP) refuses the login of 30 of 30" in incident.text
    own = replace(held(1, scope("mailbox", 30)), reason="Its answers cannot be read.", set_by="watcher")
    (incident,) = outcome(Facts(FLEET, holds=(own,))).written
    assert (
        "cannot be read. Mailfleet holds it until its inbox can be read again, or you lift it: `mailfleet"
        in incident.text
    )


def test_what_is_to_be_done_names_what_it_is_to_be_done_to() -> None:
    """A domain's records are asked for by its name; a name with a space is one word of the command."""
    domain, campaign = scope("domain", 7), scope("campaign", 1)
    names = {domain: "north.example", campaign: "Spring sale"}
    assert "`mailfleet dns north.example`" in advice(Family.DNS, domain, names)
    assert "(`mailfleet dns`)" in advice(Family.POLICY, scope("identity", 0), names)
    assert until([None], (campaign, domain), names) == (
        "until you lift them: `mailfleet lift campaign 'Spring sale'` and `mailfleet lift domain north.example`"
    )
    assert all("{" not in advice(family, scope(kind, "x"), {}) for family in Family for kind in ScopeKind)


@pytest.mark.parametrize(
    ("share", "text"), [(0.0004, "0.04 %"), (0.0123, "1.2 %"), (0.0999, "10 %"), (0.25, "25 %"), (0.999, "100 %")]
)
def test_a_share_is_two_digits_or_all_before_the_point(share: float, text: str) -> None:
    """Never as a power of ten."""
    assert percent(share) == text


def test_of_several_holds_the_last_end_is_named() -> None:
    """A list's campaigns may be held for different times; one that only a person lifts outlasts all."""
    campaign = (scope("campaign", 1),)
    last = "until 2026-11-25 10:00 UTC, then tries a few letters"
    assert until([NOW, NOW + timedelta(days=1)], campaign, NAMES) == last
    assert until([NOW, None], campaign, NAMES) == "until you lift it: `mailfleet lift campaign Spring`"


@pytest.mark.parametrize(
    ("hour", "minute", "is_quiet"), [(20, 59, False), (21, 0, True), (23, 30, True), (5, 59, True), (6, 0, False)]
)
def test_quiet_hours_are_those_of_the_clock_on_the_wall(hour: int, minute: int, is_quiet: bool) -> None:
    """From 22 to 7 in Berlin is from 21 to 6 UTC in winter, over midnight."""
    assert NIGHT.is_quiet(datetime(2026, 11, 24, hour, minute, tzinfo=UTC)) == is_quiet


def test_at_night_only_what_is_grave_is_told() -> None:
    """A provider outage that stops every fourth letter wakes; a mailbox waits for the morning."""
    late = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)
    at_night = view(refused(range(30, 31), late), late)
    assert next_incidents((), at_night, NIGHT).notices == ()
    assert len(next_incidents((), at_night).notices) == 1
    outage = Facts(FLEET, attempted=attempts(FLEET, lambda p: Family.UNREACHABLE, late))
    assert len(next_incidents((), view(outage, late), NIGHT).notices) == 1
