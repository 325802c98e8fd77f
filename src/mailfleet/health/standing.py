"""Causes that no rate tells of: domains whose DNS is not right, grants that do not serve. Pure: findings for incidents;
what is held for them is held where they were found.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from mailfleet.health.facts import Facts
from mailfleet.health.findings import Finding, Level
from mailfleet.health.scopes import Scope
from mailfleet.model.words import FLEET_KEY, Family, ScopeKind
from mailfleet.providers.oauth.grants import EndingGrant, StandingFault

TOGETHER = 3  # chosen: domains of an identity, mailboxes of an account that fail at once are one thing to tell
UNCHECKED = timedelta(hours=1)  # chosen: four looks without an answer
NAMED = 5  # chosen: as many as a sentence can bear

_HELD = "Mailfleet writes nothing from there until a check finds the records right."
_WATCHED = "Mailfleet looks again every hour, and holds what is not mended within three days."
_MENDED = "It writes again by itself when this is mended."


@dataclass(frozen=True, slots=True)
class DomainTrouble:
    """A domain that its DNS checks hold, or found wrong. `is_checked`: one came to a conclusion."""

    id: int
    name: str
    identity_id: int
    is_checked: bool
    held_since: datetime | None
    reason: str


def dns_findings(troubles: Sequence[DomainTrouble], facts: Facts, now: datetime) -> list[Finding]:
    """One for each domain that is wrong; for many of one identity one together; and one for all that no check answers
    for. Domains that came in a moment ago are not news."""
    by_identity: dict[int, list[DomainTrouble]] = defaultdict(list)
    for one in troubles:
        if one.is_checked:
            by_identity[one.identity_id].append(one)
    found = [
        finding
        for identity, wrong in sorted(by_identity.items())
        for finding in (
            [_of_identity(identity, wrong, facts)] if len(wrong) >= TOGETHER else [_of_domain(one) for one in wrong]
        )
    ]
    waiting = [one for one in troubles if not one.is_checked and one.held_since and now - one.held_since >= UNCHECKED]
    return [*found, _unanswered(waiting, facts)] if waiting else found


def _of_domain(one: DomainTrouble) -> Finding:
    scope = Scope(ScopeKind.DOMAIN, str(one.id))
    level, did = (Level.STOP, _HELD) if one.held_since else (Level.WARN, _WATCHED)
    return Finding(Family.DNS, level, scope, (scope,), one.reason.rstrip("."), {}, did=did)


def _of_identity(identity: int, wrong: Sequence[DomainTrouble], facts: Facts) -> Finding:
    held = [one for one in wrong if one.held_since]
    return Finding(
        Family.DNS,
        Level.STOP if held else Level.WARN,
        Scope(ScopeKind.IDENTITY, str(identity)),
        (),
        f"the DNS of {len(wrong)} of its domains is not right ({_names(wrong)})",
        {"domains": len(wrong), "held": len(held)},
        letters_a_day=_stake(wrong, facts),
        did=_HELD if held else _WATCHED,
    )


def _unanswered(waiting: Sequence[DomainTrouble], facts: Facts) -> Finding:
    return Finding(
        Family.DNS,
        Level.WARN,
        Scope(ScopeKind.FLEET, FLEET_KEY),
        (),
        f"no DNS check of {len(waiting)} domains has come to a conclusion ({_names(waiting)})",
        {"domains": len(waiting)},
        letters_a_day=_stake(waiting, facts),
        did="Mailfleet writes nothing from new domains before their first good check, and tries every 15 minutes.",
        todo="See what `mailfleet dns` says; if the resolver does not answer, name another by MAILFLEET_RESOLVER.",
    )


def _names(domains: Sequence[DomainTrouble]) -> str:
    return _listed(one.name for one in domains)


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:NAMED]) + (", …" if len(ordered) > NAMED else "")


def _stake(domains: Iterable[DomainTrouble], facts: Facts) -> int:
    return sum(facts.normal(scope) for one in domains if (scope := _scope(one)) in facts.mailboxes_of)


def _scope(one: DomainTrouble) -> Scope:
    return Scope(ScopeKind.DOMAIN, str(one.id))


def oauth_findings(
    faults: Iterable[StandingFault], ending: Iterable[EndingGrant], facts: Facts, today: date
) -> list[Finding]:
    """One for each account; for a mailbox where that alone is concerned, and for its account where many are. What does
    not serve now comes first, for of an account's causes the first is told."""
    by_account: dict[int, list[StandingFault]] = defaultdict(list)
    for fault in faults:
        by_account[fault.account_id].append(fault)
    return [
        *(finding for account in sorted(by_account) for finding in _of_faults(account, by_account[account], facts)),
        *(_of_ending(grant, today) for grant in ending),
    ]


def _of_faults(account: int, faults: Sequence[StandingFault], facts: Facts) -> list[Finding]:
    scope = Scope(ScopeKind.ACCOUNT, str(account))
    of_account = [fault for fault in faults if fault.mailbox_id is None]
    if of_account:
        return [_of_fault(of_account[0], scope, of_account[0].text)]
    scopes = {fault.name: Scope(ScopeKind.MAILBOX, str(fault.mailbox_id)) for fault in faults}
    if len(faults) < TOGETHER:
        return [_of_fault(fault, scopes[fault.name], fault.text) for fault in faults]
    stake = sum(facts.normal(one) for one in scopes.values() if one in facts.mailboxes_of)
    text = f"{len(faults)} of its mailboxes get no token ({_listed(scopes)}); of the first: {faults[0].text}"
    return [replace(_of_fault(faults[0], scope, text), letters_a_day=stake)]


def _of_fault(fault: StandingFault, scope: Scope, text: str) -> Finding:
    return Finding(
        Family.AUTHENTICATION,
        Level.STOP,
        scope,
        (),
        text.rstrip("."),
        {"kind": str(fault.kind), "since_at": fault.since_at.isoformat()},
        did=f"Without a token nothing is written or read there. {_MENDED}",
        todo=fault.hint,
    )


def _of_ending(grant: EndingGrant, today: date) -> Finding:
    is_over = grant.expires_on < today
    verb = "ended" if is_over else "ends"
    return Finding(
        Family.AUTHENTICATION,
        Level.STOP if is_over else Level.WARN,
        Scope(ScopeKind.ACCOUNT, str(grant.account_id)),
        (),
        f"the secret of its application {grant.client_id} {verb} on {grant.expires_on:%Y-%m-%d}",
        {"expires_on": grant.expires_on.isoformat()},
        did="After that day no token comes, and nothing is written or read there.",
        todo=f"Make a new secret and give it: `mailfleet account connect {grant.account}`.",
    )
