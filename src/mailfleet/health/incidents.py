"""How verdicts become incidents: one for each cause, opened, updated and closed, and told to a person once. Pure."""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from enum import IntEnum
from zoneinfo import ZoneInfo

from mailfleet.base.errors import InvariantError
from mailfleet.health.facts import Facts, StandingHold
from mailfleet.health.findings import Finding, Level
from mailfleet.health.orders import is_wider
from mailfleet.health.rules import Judgement
from mailfleet.health.scopes import RANK, Scope
from mailfleet.health.sentences import Names, advice, describe_cause, what_holds, what_was_done
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, ScopeKind

Span = tuple[datetime, datetime | None]
"""Of a hold: since when, and until when; None: until it is lifted."""


class Severity(IntEnum):
    """NOTE is shown and never sent; GRAVE is sent at any hour; what lies between waits for the end of the quiet
    hours."""

    NOTE = 0
    WARNING = 1
    SERIOUS = 2
    GRAVE = 3


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause. `text`: what happened, to what, what Mailfleet did, what to do. `told`: the severity of the latest
    notice.

    `part_of`: the cause that turned out to be behind it.
    """

    family: Family
    scope: Scope
    severity: Severity
    opened_at: datetime
    letters_a_day: int
    text: str
    told: Severity | None = None
    told_at: datetime | None = None
    closed_at: datetime | None = None
    part_of: Scope | None = None

    @property
    def key(self) -> tuple[Family, Scope]:
        """Unique among those that are open."""
        return self.family, self.scope


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to `end` of a day in `zone`, over midnight when `end` is the earlier; equal: never quiet."""

    start: time
    end: time
    zone: str

    def is_quiet(self, now: datetime) -> bool:
        clock = now.astimezone(ZoneInfo(self.zone)).time()
        if self.start <= self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


@dataclass(frozen=True, slots=True)
class Changes:
    """`written`: incidents to insert or update, by key, among them those closed. `notices`: those to send now;
    whoever sends one stores it as `told`."""

    written: tuple[Incident, ...]
    notices: tuple[Incident, ...]


@dataclass(frozen=True, slots=True)
class _Cause:
    """What keeps an incident open: a finding, a hold that stands or its trial. `stops`: all that lies in the scope is
    stopped, so it is part of this. `found`: as it would open now, if it may."""

    family: Family
    scope: Scope
    stops: bool
    found: Incident | None

    @property
    def key(self) -> tuple[Family, Scope]:
        return self.family, self.scope


@dataclass(frozen=True, slots=True)
class View:
    """What sentences and severities are made from."""

    judgement: Judgement
    facts: Facts
    names: Names
    tunables: HealthTunables
    now: datetime


def next_incidents(known: Sequence[Incident], view: View, quiet: QuietHours | None = None) -> Changes:
    """What becomes of the incidents after a judgement.

    `known`: those open, and those closed of late: what comes back within `reopen_within` is the same, and no news.
    """
    latest = _latest(known, view)
    causes = [cause for cause in _causes(view, latest) if cause.found or cause.key in latest]
    spans = _spans(view)
    alive = {
        cause.key: _kept(latest.get(cause.key), cause.found, spans[cause.key], view)
        for cause in causes
        if _behind(cause.key, causes, view.facts) is None
    }
    written = [incident for key, incident in alive.items() if latest.get(key) != incident]
    gone = [incident for key, incident in latest.items() if key not in alive and incident.closed_at is None]
    closed = [_closed(incident, causes, view) for incident in gone]
    ordered = sorted([*written, *closed], key=lambda incident: incident.key)
    notices = due_notices(alive.values(), quiet, view.now)
    return Changes(tuple(ordered), tuple(notices))


def told(incident: Incident, now: datetime) -> Incident:
    """The same after its notice was sent."""
    return replace(incident, told=incident.severity, told_at=now)


def _latest(known: Sequence[Incident], view: View) -> dict[tuple[Family, Scope], Incident]:
    recent = view.now - view.tunables.reopen_within
    fresh = [incident for incident in known if incident.closed_at is None or incident.closed_at >= recent]
    return {incident.key: incident for incident in sorted(fresh, key=lambda incident: incident.opened_at)}


def _causes(view: View, latest: Container[tuple[Family, Scope]]) -> list[_Cause]:
    """Findings first; then holds and trials, which keep open what they were set for."""
    found = [
        _Cause(finding.family, finding.scope, finding.level is Level.STOP, _open(finding, view))
        for finding in view.judgement.findings
    ]
    held = [
        _Cause(
            hold.family, scope, True, None if (hold.family, scope) in latest else _open_held(hold, hold.family, view)
        )
        for hold in sorted(view.facts.holds, key=lambda hold: hold.id)
        if hold.family and (scope := hold.told_of)
    ]
    tried = [
        _Cause(rung.trial.family, rung.trial.cause or rung.trial.scope, False, None) for rung in view.judgement.rungs
    ]
    return _one_a_key([*found, *held, *tried])


def _one_a_key(causes: Iterable[_Cause]) -> list[_Cause]:
    found: dict[tuple[Family, Scope], _Cause] = {}
    for cause in causes:
        known = found.setdefault(cause.key, cause)
        found[cause.key] = replace(known, stops=known.stops or cause.stops, found=known.found or cause.found)
    return list(found.values())


def _behind(key: tuple[Family, Scope], causes: Iterable[_Cause], facts: Facts) -> Scope | None:
    """The widest cause of the family that stops all of the scope and more."""
    family, scope = key
    wider = [one.scope for one in causes if one.stops and one.family is family and is_wider(one.scope, scope, facts)]
    return max(wider, key=lambda one: (len(facts.mailboxes_of[one]), RANK[one.kind], one), default=None)


def _open(finding: Finding, view: View) -> Incident:
    stake = finding.letters_a_day
    if stake is None:
        stake = _stake(finding.scope, view.facts)
    did = what_was_done(finding, _ends(finding, view), view.names)
    todo = finding.todo or advice(finding.family, finding.scope, view.names)
    text = describe_cause(finding.scope, finding.reason, did, stake, todo, view.names)
    return Incident(finding.family, finding.scope, _severity(finding, stake, view), view.now, stake, text)


def _open_held(hold: StandingHold, family: Family, view: View) -> Incident | None:
    """A hold that only a person ends is an incident, whoever set it; one that passes is not."""
    if hold.until is not None:
        return None
    stake = _stake(hold.scope, view.facts)
    did = what_holds(hold, view.names)
    todo = advice(family, hold.scope, view.names)
    text = describe_cause(hold.told_of, hold.reason.rstrip("."), did, stake, todo, view.names)
    return Incident(family, hold.told_of, Severity.SERIOUS, view.now, stake, text)


def _ends(finding: Finding, view: View) -> list[datetime | None]:
    ends = [order.until for order in view.judgement.orders if _concerns(order.scope, order.family, finding)]
    if ends:
        return ends
    return [hold.until for hold in view.facts.holds if hold.family and _concerns(hold.scope, hold.family, finding)]


def _concerns(scope: Scope, family: Family, finding: Finding) -> bool:
    return family is finding.family and scope in finding.targets


def _stake(scope: Scope, facts: Facts) -> int:
    return sum(facts.place_of[mailbox].letters_a_day for mailbox in facts.mailboxes_of.get(scope, ()))


def _severity(finding: Finding, stake: int, view: View) -> Severity:
    if finding.level is not Level.STOP:
        return Severity.NOTE if finding.evidence.get("events") == 1 else Severity.WARNING
    fleet = sum(place.letters_a_day for place in view.facts.places)
    if stake and stake >= view.tunables.grave_part * fleet:
        return Severity.GRAVE
    passes = finding.ladder is not None and finding.scope.kind == ScopeKind.MAILBOX
    return Severity.NOTE if passes else Severity.SERIOUS


def _kept(known: Incident | None, found: Incident | None, spans: Sequence[Span], view: View) -> Incident:
    """The incident as it goes on: opened when it first was, never milder than it was, closed no more; held anew it is
    news again."""
    if known is None:
        if found is None:
            raise InvariantError("An incident is kept open by a cause that neither opened it nor would.")
        return found
    told = None if _is_held_anew(known, spans, view) else known.told
    known = replace(known, told=told, closed_at=None, part_of=None)
    if found is None:
        return known
    severity = max(known.severity, found.severity)
    return replace(known, severity=severity, letters_a_day=found.letters_a_day, text=found.text)


def _is_held_anew(known: Incident, spans: Sequence[Span], view: View) -> bool:
    """Whether all that holds it began after it was told, so that what was told of is over. A hold of less than a day
    ends by itself, and is told once."""
    if known.told_at is None or any(since <= known.told_at for since, _ in spans):
        return False
    return any(until is None or until - since >= view.tunables.reopen_within for since, until in spans)


def _spans(view: View) -> defaultdict[tuple[Family | None, Scope], list[Span]]:
    """Of each incident's holds, those now ordered too, when they begin and end. Those that a watcher itself ends, with
    the next good read, are left out."""
    spans = defaultdict(list)
    for hold in view.facts.holds:
        if not (hold.is_of_watcher and hold.family is Family.UNREACHABLE):
            spans[hold.family, hold.told_of].append((hold.since, hold.until))
    for order in view.judgement.orders:
        spans[order.family, order.cause].append((view.now, order.until))
    return spans


def _closed(incident: Incident, causes: Sequence[_Cause], view: View) -> Incident:
    return replace(incident, closed_at=view.now, part_of=_behind(incident.key, causes, view.facts))


def due_notices(open_incidents: Iterable[Incident], quiet: QuietHours | None, now: datetime) -> list[Incident]:
    """Those that were not told yet, or not as grave as they are, by key."""
    is_quiet = quiet is not None and quiet.is_quiet(now)
    least = Severity.GRAVE if is_quiet else Severity.WARNING
    due = [one for one in open_incidents if one.severity >= least and (one.told is None or one.told < one.severity)]
    return sorted(due, key=lambda incident: incident.key)
