"""How many letters a campaign or a receiver writes when it is well, where no mailboxes say so."""

from dataclasses import replace
from datetime import timedelta

from health_fleet import NOW, TUNABLES, fleet, scope

from mailfleet.health.facts import Cell, Facts, Trial
from mailfleet.health.rules import Judgement, judge
from mailfleet.model.words import Family

FLEET = fleet(60)
MAILBOX, CAMPAIGN = scope("mailbox", 3), scope("campaign", 1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def judged(facts: Facts) -> Judgement:
    return judge(facts, TUNABLES, now=NOW)


def test_the_trial_of_a_campaign_ends_at_its_own_letters() -> None:
    """A campaign that wrote twenty letters a day is through when it writes twenty, though its fleet writes hundreds;
    where nothing is known of it the fleet's letters bind."""
    trial = Trial(1, CAMPAIGN, Family.BOUNCES, NOW - DAY, rung=2, rung_at=NOW - 3 * HOUR, letters=10)
    for before, letters_a_day in ((20, None), (21, 21), (None, 40)):
        (rung,) = judged(Facts(FLEET, trials=(replace(trial, letters_a_day=before),))).rungs
        assert (rung.letters_a_day, rung.trial.is_over) == (letters_a_day, before == 20)


def test_a_hold_remembers_what_its_campaign_wrote() -> None:
    """A seventh of a week's letters; and when the trial fails after a few, what it wrote before the first hold."""
    week = tuple(Cell(mailbox, 1, 28, 5, list_id=2, recipient_provider="google") for mailbox in range(10))
    (order,) = judged(Facts(FLEET, {Family.BOUNCES: week})).orders
    assert (order.scope, order.evidence["letters_a_day"]) == (CAMPAIGN, 40)
    trial = Trial(1, CAMPAIGN, Family.BOUNCES, NOW - HOUR, letters_a_day=40, cause=scope("contact_list", 2))
    few = tuple(Cell(mailbox, 1, 1, 1, list_id=2) for mailbox in range(5))
    (again,) = judged(Facts(FLEET, {Family.BOUNCES: few}, trials=(trial,))).orders
    assert again.evidence["letters_a_day"] == 40
    (mailbox,) = judged(Facts(FLEET, {Family.BOUNCES: (Cell(3, 1, 300, 30), Cell(4, 1, 3000, 0))})).orders
    assert mailbox.scope == MAILBOX and "letters_a_day" not in mailbox.evidence
