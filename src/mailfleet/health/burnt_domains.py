"""Whether an identity may take on new domains. Pure.

What happens to a burnt domain itself follows from its hold: its openings go to other domains of the identity within
their limits, for the planner passes over what is held; its threads stay and wait (one mailbox per contact, for life).
"""

from collections.abc import Mapping

from mailfleet.health.facts import Facts
from mailfleet.health.scopes import Scope
from mailfleet.model.words import Family, ScopeKind


def acknowledgement_needed(identity: Scope, facts: Facts, names: Mapping[Scope, str]) -> str | None:
    """Why a new domain of the identity asks for an acknowledgement; None when it does not.

    Burning domains and replacing them is what snowshoe senders do (Spamhaus); so while the identity, or a domain of
    it, is stopped for complaints, or is on trial after it, a person must say that this is something else.
    """
    domains = {domain for domain, owner in _identities(facts).items() if owner == identity}
    concerned = domains | {identity}
    stopped = sorted(
        {hold.scope for hold in facts.holds if hold.family is Family.COMPLAINTS and hold.scope in concerned}
        | {
            trial.scope
            for trial in facts.latest_trial.values()
            if trial.family is Family.COMPLAINTS and not trial.is_over and trial.scope in concerned
        }
    )
    if not stopped:
        return None
    named = ", ".join(names.get(scope, scope.key) for scope in stopped)
    return (
        f"{named} was stopped for complaints. A new domain of this identity must not replace it: say why it is added,"
        " or wait until the trial after the stop is over."
    )


def _identities(facts: Facts) -> dict[Scope, Scope]:
    """Of each domain its identity, in the order of domains."""
    return {
        Scope(ScopeKind.DOMAIN, str(place.domain_id)): Scope(ScopeKind.IDENTITY, str(place.identity_id))
        for place in sorted(facts.places, key=lambda place: (place.domain_id, place.mailbox_id))
    }
