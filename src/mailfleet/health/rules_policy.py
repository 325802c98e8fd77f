"""Policy and reputation blocks (5.7.x): two slow the domain; a few at several receivers stop what they have in
common."""

from datetime import datetime

from mailfleet.health.causes import Cause, Threshold, find_causes
from mailfleet.health.facts import Facts
from mailfleet.health.findings import Finding, Ladder, Level, adapt, count, describe, evidence_of, letters_a_day
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, ScopeKind

FAMILY = Family.POLICY
KINDS = (ScopeKind.CAMPAIGN, ScopeKind.DOMAIN, ScopeKind.ACCOUNT, ScopeKind.PROVIDER, ScopeKind.RECIPIENT_PROVIDER)


def find_policy_blocks(facts: Facts, tunables: HealthTunables, now: datetime) -> list[Finding]:
    """What is stopped: a text (campaign), a name (domain), shared addresses (account, provider), or, where one receiver
    alone refuses several of our domains, letters to that receiver. Any other domain with two blocks is slowed."""
    stops, rest = find_causes(
        count(facts, FAMILY),
        lambda scope: _threshold(facts, scope, tunables, now),
        explained_share=tunables.explained_share,
    )
    slowed = Threshold(0.0, events=tunables.policy_slow_events)
    slows, _ = find_causes(
        rest, lambda scope: slowed if scope.kind == ScopeKind.DOMAIN else None, explained_share=tunables.explained_share
    )
    return [*(_stop(cause, tunables) for cause in stops), *(_slow(cause, tunables) for cause in slows)]


def _threshold(facts: Facts, scope: Scope, tunables: HealthTunables, now: datetime) -> Threshold | None:
    if scope.kind not in KINDS:
        return None
    receivers = 1 if scope.kind == ScopeKind.RECIPIENT_PROVIDER else tunables.policy_receivers
    threshold = Threshold(tunables.policy_rate, 1, tunables.policy_events, receivers, tunables.confidence)
    return adapt(threshold, facts, scope, FAMILY, tunables, now)


def _stop(cause: Cause, tunables: HealthTunables) -> Finding:
    return Finding(
        FAMILY,
        Level.STOP,
        cause.scope,
        (cause.scope,),
        describe(cause, "were refused by policy", tunables.policy_window),
        evidence_of(cause),
        _ladder(cause.scope, tunables),
        letters_a_day=letters_a_day(cause, tunables.policy_window) if _is_content(cause.scope) else None,
    )


def _ladder(scope: Scope, tunables: HealthTunables) -> Ladder | None:
    """A text does not mend by itself."""
    if scope.kind == ScopeKind.CAMPAIGN:
        return None
    if scope.kind == ScopeKind.RECIPIENT_PROVIDER:
        return Ladder(tunables.recipients_hold, tunables.recipients_longest)
    return Ladder(tunables.policy_hold, tunables.policy_longest)


def _is_content(scope: Scope) -> bool:
    return scope.kind in (ScopeKind.CAMPAIGN, ScopeKind.RECIPIENT_PROVIDER)


def _slow(cause: Cause, tunables: HealthTunables) -> Finding:
    hours = tunables.policy_window.total_seconds() / 3600
    reason = f"{cause.tally.events} letters were refused by policy in {hours:.0f} hours"
    return Finding(FAMILY, Level.SLOW, cause.scope, (cause.scope,), reason, evidence_of(cause))
