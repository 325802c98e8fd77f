"""What a rule found: a cause, how grave it is, what is to be stopped or slowed for it, and the evidence. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from mailfleet.health.causes import Cause, Counted, Threshold
from mailfleet.health.facts import Facts, scopes_of_cell
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family

Evidence = Mapping[str, int | float | str | list[str]]


class Level(StrEnum):
    WARN = "warn"
    SLOW = "slow"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Ladder:
    """How long a hold lasts: `first`, doubled for each hold before it, at most `longest`."""

    first: timedelta
    longest: timedelta

    def length(self, strikes: int) -> timedelta:
        doubled: timedelta = self.first * 2 ** min(strikes, 20)
        return min(doubled, self.longest)


@dataclass(frozen=True, slots=True)
class Finding:
    """`scope` is the cause; `targets` what is stopped or slowed for it (a list's campaigns), empty for a warning.

    `reason`: one clause for a person. `ladder` None: until a person lifts it. `not_before`: a server named this moment.
    `letters_a_day`: at stake, for causes that are no set of mailboxes; else those of its mailboxes count. `did` and
    `todo`: what a person is told, where it is not what the family says.
    """

    family: Family
    level: Level
    scope: Scope
    targets: tuple[Scope, ...]
    reason: str
    evidence: Evidence
    ladder: Ladder | None = None
    not_before: datetime | None = None
    letters_a_day: int | None = None
    did: str = ""
    todo: str = ""


def count(facts: Facts, family: Family) -> list[Counted]:
    """The cells of a family with their scopes; none when no letter met with its event."""
    cells = facts.cells.get(family, ())
    if not any(cell.events for cell in cells):
        return []
    return [
        Counted(scopes, cell.letters, cell.events, cell.mailbox_id, cell.recipient_provider or cell.receiver)
        for cell in cells
        if (scopes := scopes_of_cell(facts, cell))
    ]


def adapt(
    threshold: Threshold, facts: Facts, scope: Scope, family: Family, tunables: HealthTunables, now: datetime
) -> Threshold:
    """The floor of a scope whose hold ended inside the window: what a trial lets out must be enough to judge it."""
    trial = facts.resumed.get((scope, family))
    if trial is None or trial.ended_at <= now - tunables.window_of(family):
        return threshold
    events = tunables.trial_events if family is Family.BOUNCES else 1
    return replace(
        threshold,
        letters=min(threshold.letters, tunables.trial_letters),
        events=min(threshold.events, events),
        receivers=1,
    )


def evidence_of(cause: Cause) -> dict[str, int | float | str | list[str]]:
    """The numbers behind a verdict on a rate."""
    rate = cause.tally.rate
    at_least = rate.lower_bound(cause.threshold.confidence) if cause.threshold.confidence else rate.share
    return {
        "events": cause.tally.events,
        "letters": cause.tally.letters,
        "rate": round(rate.share, 5),
        "at_least": round(at_least, 5),
        "threshold": cause.threshold.rate,
        "receivers": sorted(cause.tally.receivers - {""}),
    }


def describe(cause: Cause, did: str, window: timedelta) -> str:
    """ "12 of 200 letters (6 %, surely above 3 %) bounced for good in 7 days"."""
    rate = cause.tally.rate
    span = f"{window.days} days" if window.days > 1 else f"{window // timedelta(hours=1)} hours"
    return (
        f"{cause.tally.events} of {cause.tally.letters} letters ({percent(rate.share)}, surely above"
        f" {percent(cause.threshold.rate)}) {did} in {span}"
    )


def percent(share: float) -> str:
    """Two digits of it, or all before the point."""
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.2g} %"


def letters_a_day(cause: Cause, window: timedelta) -> int:
    """What the cause's letters come to in a day of the window, rounded up."""
    return -(-cause.tally.letters // max(window.days, 1))
