"""What health counts and stops: scopes, the families of trouble, and where each mailbox lies. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from mailfleet.model.words import ScopeKind

CONTACT_LIST = "contact_list"

NARROW_FIRST = (
    CONTACT_LIST,
    ScopeKind.CAMPAIGN,
    ScopeKind.MAILBOX,
    ScopeKind.DOMAIN,
    ScopeKind.ACCOUNT,
    ScopeKind.PROVIDER,
    ScopeKind.SENDER_HOST,
    ScopeKind.IDENTITY,
    ScopeKind.RECIPIENT_PROVIDER,
)
"""Of two scopes that explain the same, the one that stands first here is the cause."""

RANK = {str(kind): rank for rank, kind in enumerate(NARROW_FIRST)}


class Scope(NamedTuple):
    """Kind: a ScopeKind or `contact_list`. Key as in table hold."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mailbox lies. `letters_a_day`: what it would write today if nothing stopped it."""

    mailbox_id: int
    domain_id: int
    account_id: int
    provider_id: int
    identity_id: int
    letters_a_day: int = 30

    @property
    def scopes(self) -> tuple[Scope, ...]:
        return (
            Scope(ScopeKind.MAILBOX, str(self.mailbox_id)),
            Scope(ScopeKind.DOMAIN, str(self.domain_id)),
            Scope(ScopeKind.ACCOUNT, str(self.account_id)),
            Scope(ScopeKind.PROVIDER, str(self.provider_id)),
            Scope(ScopeKind.IDENTITY, str(self.identity_id)),
        )
