"""Complaints, on letters sent, by domain and by identity: half the letters first, then none.

Few receivers tell of complaints, so what is seen is less than what there is: a small floor, and the identity's sum
counts too, for many domains that each stay just below are one sender.
"""

from datetime import datetime

from mailfleet.health.causes import Cause, Threshold, ThresholdOf, find_causes
from mailfleet.health.facts import Facts
from mailfleet.health.findings import Finding, Ladder, Level, adapt, count, describe, evidence_of
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, ScopeKind

FAMILY = Family.COMPLAINTS
KINDS = (ScopeKind.DOMAIN, ScopeKind.IDENTITY)


def find_complaints(facts: Facts, tunables: HealthTunables, now: datetime) -> list[Finding]:
    """Domains and identities to stop; of the letters that these do not account for, those to slow."""
    rest, found = count(facts, FAMILY), []
    for level, threshold in _thresholds(tunables):
        causes, rest = find_causes(
            rest, _of_kinds(threshold, facts, tunables, now), explained_share=tunables.explained_share
        )
        found += [_finding(cause, level, tunables) for cause in causes]
    return found


def _thresholds(tunables: HealthTunables) -> tuple[tuple[Level, Threshold], ...]:
    floor, confidence = tunables.complaint_floor, tunables.confidence
    return (
        (Level.STOP, Threshold(tunables.complaint_stop, floor, tunables.complaint_stop_events, 1, confidence)),
        (Level.SLOW, Threshold(tunables.complaint_halve, floor, 1, 1, confidence)),
    )


def _of_kinds(threshold: Threshold, facts: Facts, tunables: HealthTunables, now: datetime) -> ThresholdOf:
    def of(scope: Scope) -> Threshold | None:
        return adapt(threshold, facts, scope, FAMILY, tunables, now) if scope.kind in KINDS else None

    return of


def _finding(cause: Cause, level: Level, tunables: HealthTunables) -> Finding:
    return Finding(
        FAMILY,
        level,
        cause.scope,
        (cause.scope,),
        describe(cause, "drew a complaint", tunables.window),
        evidence_of(cause),
        Ladder(tunables.complaint_hold, tunables.complaint_longest),
    )
