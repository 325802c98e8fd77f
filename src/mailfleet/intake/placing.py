"""Where a mailbox of a file belongs: its account, its domain's identity, and whether its provider may be used. Pure.

Providers, accounts and domains come from the file or from presets. Identities come from fleet.toml, with one exception:
while there is none at all, a file makes those it names, so that a first import needs nothing else. Such an identity has
no postal address, and no campaign starts for it before fleet.toml gives it one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mailfleet.intake.fleet_file import Account, Domain, FleetFile, Identity, Provider
from mailfleet.intake.mailboxes import MailboxRow
from mailfleet.intake.tables import Problem, RowProblem
from mailfleet.providers.presets import GENERIC, load_presets

T = TypeVar("T")

DEFAULT = "default"
"""The account of a provider that has none, and the identity of a fleet that has none."""


class Placer:
    """Places rows one after another: a domain belongs where the first of its rows put it."""

    def __init__(self, fleet: FleetFile) -> None:
        self._fleet = fleet
        self._identities = [identity.name for identity in fleet.identities]
        self._identity_of = {domain.name: domain.identity for domain in fleet.domains}
        self._answered_for = {provider.name for provider in fleet.providers if provider.acknowledge_policy}

    def place(self, row: MailboxRow, stored: Mapping[str, Any] | None) -> MailboxRow | RowProblem:
        """The row with account and identity; an account that it leaves open stays what it is."""
        identity, account, policy = self._identity(row), self._account(row, stored), self._policy(row)
        if isinstance(identity, str) and isinstance(account, str) and policy is None:
            self._identity_of[row.address.domain_ascii] = identity
            return replace(row, identity=identity, account=account)
        return RowProblem(row.line, tuple(each for each in (identity, account, policy) if isinstance(each, Problem)))

    def _identity(self, row: MailboxRow) -> str | Problem:
        domain = row.address.domain_ascii
        if known := self._identity_of.get(domain):
            is_same = row.identity in ("", known)
            return known if is_same else Problem("identity", f"{domain} belongs to {known}; fleet.toml can move it")
        if not self._identities:
            return row.identity or DEFAULT
        if row.identity:
            is_known = row.identity in self._identities
            return (
                row.identity if is_known else Problem("identity", "is none of the fleet's: apply a fleet.toml with it")
            )
        if len(self._identities) > 1:
            return Problem(
                "identity", f"{domain} is new: name one by a column or --identity {_choice(self._identities)}"
            )
        return self._identities[0]

    def _account(self, row: MailboxRow, stored: Mapping[str, Any] | None) -> str | Problem:
        if row.account or (stored and stored["provider"] == row.provider):
            return row.account
        accounts = [account.name for account in self._fleet.accounts if account.provider == row.provider]
        if len(accounts) > 1:
            return Problem(
                "account", f"{row.provider} has several: name one by a column or --account {_choice(accounts)}"
            )
        return accounts[0] if accounts else DEFAULT

    def _policy(self, row: MailboxRow) -> Problem | None:
        if not row.needs_acknowledgement or row.provider in self._answered_for:
            return None
        preset = row.provider if row.provider in load_presets() else GENERIC
        preset = next((own.preset for own in self._fleet.providers if own.name == row.provider), preset)
        reason = (
            f'{row.provider} forbids outreach; to use it all the same, add acknowledge_policy = "who, when and why"'
            f' to [[providers]] name = "{row.provider}", preset = "{preset}" in fleet.toml, and apply that'
        )
        return Problem("provider", reason)


def _choice(names: Sequence[str]) -> str:
    return f"({', '.join(names)})"


def needed_rows(fleet: FleetFile, mailboxes: Sequence[Mapping[str, Any]]) -> FleetFile:
    """What the fleet lacks of what complete mailboxes refer to, with the fleet's settings; providers from presets."""
    presets = load_presets()
    accounts = _lacking(fleet.accounts, (Account(box["account"], box["provider"]) for box in mailboxes))
    there = (Domain(domain.name, domain.identity) for domain in fleet.domains)
    domains = _lacking(there, (Domain(box["domain"], box["identity"]) for box in mailboxes))
    identities = _lacking([row.name for row in fleet.identities], (domain.identity for domain in domains))
    providers = _lacking([row.name for row in fleet.providers], (account.provider for account in accounts))
    return FleetFile(
        identities=tuple(Identity(name, "", "", "", "") for name in identities),
        providers=tuple(Provider(name, name if name in presets else GENERIC) for name in providers),
        accounts=tuple(accounts),
        domains=tuple(domains),
        settings=fleet.settings,
    )


def _lacking(there: Iterable[T], wanted: Iterable[T]) -> list[T]:
    """Those wanted that are not there, each once, in their order."""
    known = set(there)
    return [each for each in dict.fromkeys(wanted) if each not in known]
