"""A burnt domain: where its openings may go, and whether its identity may take on new domains."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailfleet.health.facts import Facts
from mailfleet.health.orders import HoldOrder
from mailfleet.health.scopes import Scope
from mailfleet.model.words import Family, ScopeKind

BURNT = frozenset({Family.POLICY, Family.COMPLAINTS, Family.DNS})


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A held domain of which openings move and threads stay: an enrollment that has its mailbox waits for it (law 5).

    `heirs`: the other domains of the identity that may take openings, the roomiest first, with the letters a day each
    has left within its own limits. Openings beyond their sum wait.
    """

    domain: Scope
    heirs: tuple[tuple[Scope, int], ...]

    @property
    def room(self) -> int:
        return sum(room for _, room in self.heirs)


def quarantine_domains(orders: Iterable[HoldOrder], facts: Facts, room: Mapping[Scope, int]) -> tuple[Quarantine, ...]:
    """One for each domain that is or is to be held for its reputation. `room`: letters a day that each domain has left.

    No domain inherits that is held itself or lies in anything held: rotation never escapes a block (law 7).
    """
    held = {(hold.scope, hold.family) for hold in facts.holds} | {(order.scope, order.family) for order in orders}
    stopped = {scope for scope, _ in held}
    burnt = sorted({scope for scope, family in held if scope.kind == ScopeKind.DOMAIN and family in BURNT})
    identity_of = _identities(facts)
    open_domains = [domain for domain in identity_of if not _lies_in(domain, stopped, facts)]
    return tuple(
        Quarantine(domain, _heirs(open_domains, identity_of.get(domain), identity_of, room)) for domain in burnt
    )


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


def _lies_in(domain: Scope, stopped: set[Scope], facts: Facts) -> bool:
    """Whether every mailbox of the domain is stopped, by whatever scope."""
    return all(not stopped.isdisjoint(facts.scopes_of[mailbox]) for mailbox in facts.mailboxes_of[domain])


def _heirs(
    domains: Iterable[Scope], identity: Scope | None, identity_of: Mapping[Scope, Scope], room: Mapping[Scope, int]
) -> tuple[tuple[Scope, int], ...]:
    found = [(domain, room.get(domain, 0)) for domain in domains if identity_of[domain] == identity]
    return tuple(sorted(((domain, left) for domain, left in found if left > 0), key=lambda heir: (-heir[1], heir[0])))
