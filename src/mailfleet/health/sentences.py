"""What a person is told of a cause: what happened, to what, what Mailfleet did, what to do."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from mailfleet.health.findings import Finding, Level
from mailfleet.health.scopes import CONTACT_LIST, Scope
from mailfleet.model.words import Family, ScopeKind

Names = Mapping[Scope, str]

_KINDS = {
    CONTACT_LIST: "contact list",
    ScopeKind.RECIPIENT_PROVIDER: "recipient provider",
    ScopeKind.SENDER_HOST: "sender host",
}

ADVICE = {
    Family.BOUNCES: "Check where these addresses come from and take the dead ones out, then lift the hold.",
    Family.POLICY: "Read the replies, check the domain's records (`mailfleet dns`) and the text of the letters.",
    Family.COMPLAINTS: "Write to fewer people and to better chosen ones; do not move to other domains.",
    Family.SILENCE: "Write to an address of your own there: the letters may lie in junk folders.",
    Family.AUTHENTICATION: "Renew the password or the grant, check it, then lift the hold.",
    Family.RATE_LIMIT: "Nothing now; if it comes again, set a lower limit.",
    Family.DNS: "Set the records that `mailfleet dns` names; have a listed domain taken off the list.",
    Family.UNREACHABLE: "Nothing if it passes; else see what the provider says of its service.",
}


def name_of(scope: Scope, names: Names) -> str:
    """As in "domain example.com"."""
    if scope.kind == ScopeKind.FLEET:
        return "the fleet"
    return f"{_KINDS.get(scope.kind, scope.kind)} {names.get(scope, scope.key)}"


def describe_cause(scope: Scope, reason: str, did: str, letters_a_day: int, todo: str, names: Names) -> str:
    """The whole of it, in plain sentences."""
    name = name_of(scope, names)
    stake = f"Letters a day at stake: {letters_a_day}. " if letters_a_day else ""
    return f"{name[0].upper()}{name[1:]}: {reason}. {did} {stake}{todo}"


def what_was_done(finding: Finding, ends: Sequence[datetime | None], names: Names) -> str:
    """`ends`: when the holds on its targets end, None: until they are lifted."""
    if finding.did:
        return finding.did
    if finding.level is Level.WARN:
        return "Mailfleet goes on writing and watches."
    if finding.level is Level.SLOW:
        return "Mailfleet halves its letters."
    targets = [name_of(target, names) for target in finding.targets if target != finding.scope]
    return f"Mailfleet holds {' and '.join(targets) or 'it'} {until(ends)}."


def until(ends: Sequence[datetime | None]) -> str:
    known = [end for end in ends if end is not None]
    if len(known) < len(ends) or not known:
        return "until you lift the hold"
    return f"until {max(known):%Y-%m-%d %H:%M} UTC, then tries a few letters"
