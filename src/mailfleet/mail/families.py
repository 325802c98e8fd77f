"""What a server's reply says against us: the family of trouble it counts in. Pure."""

from mailfleet.mail.replies import ReplyClass, Scope
from mailfleet.model.words import Family

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
    ours = scope in (Scope.MAILBOX, Scope.DOMAIN, Scope.ACCOUNT, Scope.PROVIDER)
    if known is ReplyClass.TEMPORARY_SYSTEM:
        return Family.UNREACHABLE if ours else None
    if known is ReplyClass.DNS_OR_AUTH_FAILURE:
        return Family.POLICY if scope == Scope.DOMAIN else None
    return _FAMILIES.get(known)
