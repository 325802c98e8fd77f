"""What health counts and stops: scopes, the families of trouble, and where each mailbox lies. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mailfleet.mail.replies import ReplyClass
from mailfleet.mail.replies import Scope as ReplyScope
from mailfleet.model.words import ScopeKind

CONTACT_LIST = "contact_list"
RECIPIENT_PROVIDER = "recipient_provider"

NARROW_FIRST = (
    CONTACT_LIST,
    ScopeKind.CAMPAIGN,
    ScopeKind.MAILBOX,
    ScopeKind.DOMAIN,
    ScopeKind.ACCOUNT,
    ScopeKind.PROVIDER,
    ScopeKind.SENDER_HOST,
    ScopeKind.IDENTITY,
    RECIPIENT_PROVIDER,
)
"""Of two scopes that explain the same, the one that stands first here is the cause."""

RANK = {str(kind): rank for rank, kind in enumerate(NARROW_FIRST)}


class Scope(NamedTuple):
    """Kind: a ScopeKind, `contact_list` or `recipient_provider` (who runs the recipients' MX). Key as in table hold."""

    kind: str
    key: str


class Family(StrEnum):
    """What kind of trouble. A hold, its trial and its incident belong to one family; each is judged on its own."""

    BOUNCES = "bounces"
    POLICY = "policy"
    COMPLAINTS = "complaints"
    SILENCE = "silence"
    AUTHENTICATION = "authentication"
    RATE_LIMIT = "rate_limit"
    UNREACHABLE = "unreachable"
    DNS = "dns"


_FAMILIES = {
    ReplyClass.RECIPIENT_UNKNOWN: Family.BOUNCES,
    ReplyClass.RECIPIENT_DISABLED: Family.BOUNCES,
    ReplyClass.POLICY_SPAM_BLOCK: Family.POLICY,
    ReplyClass.REPUTATION_BLOCK: Family.POLICY,
    ReplyClass.RATE_LIMITED_ACCOUNT: Family.RATE_LIMIT,
    ReplyClass.RATE_LIMITED_DOMAIN_OR_IP: Family.RATE_LIMIT,
    ReplyClass.MAILBOX_SUSPENDED_OR_AUTH: Family.AUTHENTICATION,
}


def family_of(reply_class: str, scope: str, *, is_temporary: bool = False) -> Family | None:
    """The family that a reply (at submission, or quoted in a bounce) counts in; None: it says nothing against us.

    Only a dead address is a hard bounce. A busy system counts when it is our own side's, not the recipient's. A login
    refused for now (4yz) is no wrong password, but a server that cannot be used.
    """
    known = ReplyClass(reply_class)
    if is_temporary and known is ReplyClass.MAILBOX_SUSPENDED_OR_AUTH:
        return Family.UNREACHABLE
    if is_temporary and _FAMILIES.get(known) is Family.BOUNCES:
        return None
    ours = scope in (ReplyScope.MAILBOX, ReplyScope.DOMAIN, ReplyScope.ACCOUNT, ReplyScope.PROVIDER)
    if known is ReplyClass.TEMPORARY_SYSTEM:
        return Family.UNREACHABLE if ours else None
    if known is ReplyClass.DNS_OR_AUTH_FAILURE:
        return Family.POLICY if scope == ReplyScope.DOMAIN else None
    return _FAMILIES.get(known)


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
