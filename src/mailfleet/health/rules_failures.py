"""Failures at our own providers: logins refused, limits said, servers not reached; one cause however many mailboxes
fail.

Senders stop the single mailbox at its first refused login; here many that fail alike are seen as one domain, account,
provider or sender host.
"""

import math
from collections.abc import Iterable
from datetime import datetime

from mailfleet.health.causes import Cause, Counted, Threshold, ThresholdOf, find_causes
from mailfleet.health.facts import Attempted, Facts
from mailfleet.health.findings import Finding, Ladder, Level
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, ScopeKind

FAMILIES = (Family.AUTHENTICATION, Family.RATE_LIMIT, Family.UNREACHABLE)
WIDE = (ScopeKind.DOMAIN, ScopeKind.ACCOUNT, ScopeKind.PROVIDER, ScopeKind.SENDER_HOST)
_DID = {
    Family.AUTHENTICATION: "refuses the login of",
    Family.RATE_LIMIT: "says that a limit is reached to",
    Family.UNREACHABLE: "is not reached, or is busy, for",
}


def find_failures(facts: Facts, tunables: HealthTunables, now: datetime) -> list[Finding]:
    """The causes of each family's failures: of the latest attempts of the last minutes, and of readings by themselves:
    an inbox that can be read says nothing of what a server says to letters."""
    latest = _latest(one for one in facts.attempted if not one.is_reading)
    sent = [one for one in latest if now - one.at <= tunables.failure_window]
    # A mailbox has one reading, which holds until the next: else a pause of the watchers would leave the broken alone.
    read = [one for one in facts.attempted if one.is_reading]
    return [
        finding for family in FAMILIES for tried in (sent, read) for finding in _find(tried, facts, family, tunables)
    ]


def _find(tried: Iterable[Attempted], facts: Facts, family: Family, tunables: HealthTunables) -> list[Finding]:
    attempted = {one.mailbox_id: one for one in tried if _tells(one, facts, family)}
    if not any(one.trouble for one in attempted.values()):
        return []
    counted = [
        Counted(_scopes(facts, one), 1, int(one.trouble is family), mailbox_id)
        for mailbox_id, one in sorted(attempted.items())
    ]
    is_reading = any(one.is_reading for one in attempted.values())
    causes, _ = find_causes(
        counted,
        _threshold_of(facts, counted, family, tunables, is_reading=is_reading),
        explained_share=tunables.explained_share,
    )
    return [_finding(cause, family, attempted, facts, tunables) for cause in causes]


def _latest(attempted: Iterable[Attempted]) -> list[Attempted]:
    """Of each mailbox the latest; of two at one moment, the one that failed."""
    ordered = sorted(attempted, key=lambda one: (one.at, one.trouble or "", one.host))
    return list({one.mailbox_id: one for one in ordered}.values())


def _scopes(facts: Facts, one: Attempted) -> tuple[Scope, ...]:
    """A reading has no sender host: which watcher reads says nothing."""
    own = facts.scopes_of[one.mailbox_id]
    return own if one.is_reading else (*own, Scope(ScopeKind.SENDER_HOST, one.host))


def _tells(one: Attempted, facts: Facts, family: Family) -> bool:
    """An attempt from before a resume is over and done; one that failed otherwise says nothing of this family."""
    if one.mailbox_id not in facts.scopes_of or one.trouble not in (None, family):
        return False
    resumed_at = facts.resumed_at(_scopes(facts, one), family)
    return resumed_at is None or one.at >= resumed_at


def _threshold_of(
    facts: Facts, counted: list[Counted], family: Family, tunables: HealthTunables, *, is_reading: bool
) -> ThresholdOf:
    """The watcher holds the single mailbox that it cannot read, and lets go of it again."""

    def of(scope: Scope) -> Threshold | None:
        if scope.kind == ScopeKind.MAILBOX:
            return None if is_reading else Threshold(1.0)
        if scope.kind not in WIDE:
            return None
        if (trial := facts.latest_trial.get((scope, family))) and not trial.is_over:
            return Threshold(tunables.failure_share, events=tunables.trial_events)
        members = len(facts.mailboxes_of.get(scope, ())) or sum(scope in one.scopes for one in counted)
        least = max(tunables.failure_members, math.ceil(tunables.failure_part * members))
        return Threshold(tunables.failure_share, events=least)

    return of


def _finding(
    cause: Cause, family: Family, attempted: dict[int, Attempted], facts: Facts, tunables: HealthTunables
) -> Finding:
    failing = [attempted[one.mailbox_id] for one in cause.counted if one.events]
    is_host = cause.scope.kind == ScopeKind.SENDER_HOST
    return Finding(
        family,
        Level.STOP,
        cause.scope,
        (cause.scope,),
        _reason(cause, family, failing),
        {"mailboxes": len(failing), "of": len(cause.counted), "first_at": min(one.at for one in failing).isoformat()},
        _ladder(family, tunables),
        max((one.until for one in failing if one.until), default=None),
        sum(facts.place_of[one.mailbox_id].letters_a_day for one in cause.counted) if is_host else None,
    )


def _reason(cause: Cause, family: Family, failing: list[Attempted]) -> str:
    """A server that is asked for letters and one that takes them fail apart, and are mended apart."""
    server = "server for reading (IMAP)" if failing[0].is_reading else "server for sending (SMTP)"
    whose = "tried from there, the" if cause.scope.kind == ScopeKind.SENDER_HOST else "the"
    among = f"{len(failing)} of {len(cause.counted)} mailboxes"
    who = "this mailbox" if cause.scope.kind == ScopeKind.MAILBOX else among
    return f"{whose} provider's {server} {_DID[family]} {who}"


def _ladder(family: Family, tunables: HealthTunables) -> Ladder | None:
    """A refused login is never tried again by itself."""
    if family is Family.RATE_LIMIT:
        return Ladder(tunables.rate_hold, tunables.rate_longest)
    if family is Family.UNREACHABLE:
        return Ladder(tunables.unreachable_hold, tunables.unreachable_longest)
    return None
