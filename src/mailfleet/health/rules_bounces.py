"""Hard bounces, on letters sent: a list that is dead, a mailbox that goes wrong, a receiver that says "unknown" to
all."""

from collections.abc import Sequence
from datetime import datetime

from mailfleet.health.causes import Cause, Counted, Threshold, find_causes
from mailfleet.health.facts import Facts
from mailfleet.health.findings import Finding, Ladder, Level, adapt, count, describe, evidence_of, letters_a_day
from mailfleet.health.scopes import CONTACT_LIST, NARROW_FIRST, Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, ScopeKind

FAMILY = Family.BOUNCES


def find_bounces(facts: Facts, tunables: HealthTunables, now: datetime) -> list[Finding]:
    """Causes to stop; of the letters that these do not account for, causes to warn of."""
    stops, rest = find_causes(
        count(facts, FAMILY),
        lambda scope: _hold_threshold(facts, scope, tunables, now),
        explained_share=tunables.explained_share,
    )
    warn = Threshold(tunables.bounce_warn, tunables.bounce_floor, tunables.bounce_events, 1, tunables.confidence)
    warns, _ = find_causes(
        rest, lambda scope: warn if scope.kind in NARROW_FIRST else None, explained_share=tunables.explained_share
    )
    return [
        *(_finding(cause, Level.STOP, _targets(cause), tunables) for cause in stops),
        *(_finding(cause, Level.WARN, (), tunables) for cause in warns),
    ]


def _hold_threshold(facts: Facts, scope: Scope, tunables: HealthTunables, now: datetime) -> Threshold | None:
    rates = {
        CONTACT_LIST: tunables.bounce_hold_list,
        ScopeKind.CAMPAIGN: tunables.bounce_hold_list,
        ScopeKind.MAILBOX: tunables.bounce_hold_mailbox,
        ScopeKind.RECIPIENT_PROVIDER: tunables.bounce_hold_recipients,
    }
    if (rate := rates.get(scope.kind)) is None:
        return None
    threshold = Threshold(rate, tunables.bounce_floor, tunables.bounce_events, 1, tunables.confidence)
    return adapt(threshold, facts, scope, FAMILY, tunables, now)


def _targets(cause: Cause) -> tuple[Scope, ...]:
    """A list is stopped through the campaigns that wrote to its dead addresses."""
    if cause.scope.kind != CONTACT_LIST:
        return (cause.scope,)
    return _campaigns([one for one in cause.counted if one.events])


def _campaigns(counted: Sequence[Counted]) -> tuple[Scope, ...]:
    return tuple(sorted({scope for one in counted for scope in one.scopes if scope.kind == ScopeKind.CAMPAIGN}))


def _finding(cause: Cause, level: Level, targets: tuple[Scope, ...], tunables: HealthTunables) -> Finding:
    receivers = cause.scope.kind == ScopeKind.RECIPIENT_PROVIDER
    of_mailboxes = cause.scope.kind not in (CONTACT_LIST, ScopeKind.CAMPAIGN, ScopeKind.RECIPIENT_PROVIDER)
    return Finding(
        FAMILY,
        level,
        cause.scope,
        targets,
        describe(cause, "bounced for good", tunables.window),
        evidence_of(cause),
        Ladder(tunables.recipients_hold, tunables.recipients_longest) if receivers else None,
        letters_a_day=None if of_mailboxes else letters_a_day(cause, tunables.window),
    )
