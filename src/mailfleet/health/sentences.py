"""What a person is told of a cause: what happened, to what, what Mailfleet did, what to do."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime

from mailfleet.health.facts import StandingHold
from mailfleet.health.findings import Finding, Level
from mailfleet.health.scopes import CONTACT_LIST, Scope
from mailfleet.model.words import Family, ScopeKind

Names = Mapping[Scope, str]

_KINDS = {
    CONTACT_LIST: "contact list",
    ScopeKind.RECIPIENT_PROVIDER: "recipient provider",
    ScopeKind.SENDER_HOST: "sender host",
}

_ADVICE = {
    Family.BOUNCES: "Check where these addresses come from and take the dead ones out.",
    Family.POLICY: (
        "Read the servers' replies (`mailfleet why mailbox ADDRESS`), check the DNS records ({dns}) and the text of the"
        " letters."
    ),
    Family.COMPLAINTS: "Write to fewer people and to better chosen ones; do not move to other domains.",
    Family.SILENCE: "Write from there to addresses of your own elsewhere: the letters may lie in junk folders.",
    Family.AUTHENTICATION: (
        "Renew the password (`mailfleet import mailboxes FILE --check`) or the grant (`mailfleet account check"
        " {account}`)."
    ),
    Family.RATE_LIMIT: "Nothing now; if it comes again, set a lower limit (`mailfleet limits set`).",
    Family.DNS: "Set the records that {dns} names; have a listed domain taken off the list.",
    Family.UNREACHABLE: "Nothing if it passes; else see what the provider says of its service.",
}

_ADVICE_FOR: dict[tuple[Family, str], str] = {
    (Family.BOUNCES, ScopeKind.RECIPIENT_PROVIDER): (
        "Nothing if it passes: servers that know nobody are out of order. Else check these addresses."
    ),
    (Family.POLICY, ScopeKind.CAMPAIGN): (
        "Read the servers' replies (`mailfleet why mailbox ADDRESS`) and change the text, which is what was refused."
    ),
    (Family.POLICY, ScopeKind.RECIPIENT_PROVIDER): (
        "Read its replies (`mailfleet why mailbox ADDRESS`) and its rules for senders, and keep to them."
    ),
    **dict.fromkeys(
        ((Family.POLICY, ScopeKind.ACCOUNT), (Family.POLICY, ScopeKind.PROVIDER)),
        "Ask the provider about the addresses that it sends from: all domains there are refused.",
    ),
    **dict.fromkeys(
        ((family, ScopeKind.SENDER_HOST) for family in (Family.AUTHENTICATION, Family.RATE_LIMIT, Family.UNREACHABLE)),
        "See to that host: its network, its clock, and whether the providers block its address.",
    ),
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


def advice(family: Family, scope: Scope, names: Names) -> str:
    """What to do about trouble of the family on the scope."""
    name = _quoted(scope, names)
    dns = f"`mailfleet dns {name}`" if scope.kind == ScopeKind.DOMAIN else "`mailfleet dns`"
    account = name if scope.kind == ScopeKind.ACCOUNT else "NAME"
    return _ADVICE_FOR.get((family, scope.kind), _ADVICE[family]).format(dns=dns, account=account)


def what_was_done(finding: Finding, ends: Sequence[datetime | None], names: Names) -> str:
    """`ends`: when the holds on its targets end, None: until they are lifted."""
    if finding.did:
        return finding.did
    if finding.level is Level.WARN:
        return "Mailfleet goes on writing and watches."
    if finding.level is Level.SLOW:
        return "Mailfleet halves its letters while this lasts."
    return _holding(finding.scope, finding.targets, until(ends, finding.targets, names), names)


def what_holds(hold: StandingHold, names: Names) -> str:
    """Of a hold without an end. A watcher lets go of its own."""
    ends = until([None], (hold.scope,), names)
    if hold.is_of_watcher:
        ends = f"until its inbox can be read again, or {ends.removeprefix('until ')}"
    return _holding(hold.told_of, (hold.scope,), ends, names)


def until(ends: Sequence[datetime | None], targets: Sequence[Scope], names: Names) -> str:
    """Of the holds on these targets the last end, or the commands that lift them."""
    known = [end for end in ends if end is not None]
    if known and len(known) == len(ends):
        return f"until {max(known):%Y-%m-%d %H:%M} UTC, then tries a few letters"
    lifts = " and ".join(f"`mailfleet lift {target.kind} {_quoted(target, names)}`" for target in targets)
    return f"until you lift {'it' if len(targets) == 1 else 'them'}: {lifts}"


def _holding(scope: Scope, targets: Sequence[Scope], ends: str, names: Names) -> str:
    own = "letters to it" if scope.kind == ScopeKind.RECIPIENT_PROVIDER else "it"
    held = " and ".join(own if target == scope else name_of(target, names) for target in targets)
    return f"Mailfleet holds {held} {ends}."


def _quoted(scope: Scope, names: Names) -> str:
    return shlex.quote(names.get(scope, scope.key))
