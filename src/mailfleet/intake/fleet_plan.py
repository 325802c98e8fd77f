"""What applying a fleet file does, given the fleet as it stands. Pure.

The file is the truth for everything it can hold, with two exceptions, which are said and do not stop the rest: a row
that is in use stays when the file leaves it out, and a limit on something that is not there waits for a later apply.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from mailfleet.base.errors import InputError
from mailfleet.intake.fleet_diff import Change, diff_fleet
from mailfleet.intake.fleet_file import ALL, FleetFile, Limit, Provider, Row
from mailfleet.model.words import ScopeKind
from mailfleet.providers.presets import load_presets

R = TypeVar("R", bound=Row)
_SHOWN = 3  # chosen: names in a line that may stand for hundreds


@dataclass(frozen=True, slots=True)
class Uses:
    """What refers to rows of the fleet, by their keys: mailboxes of accounts and domains, campaigns of identities and
    pools. `mailboxes`: those that the file's limits name, and that are there."""

    accounts: Mapping[str, int]
    domains: Mapping[str, int]
    identities: Mapping[str, int]
    pools: Mapping[str, int]
    mailboxes: frozenset[str]


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """`before` becomes `target` by `changes`; `notes` say what of the file is not done, and why."""

    before: FleetFile
    target: FleetFile
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def make_plan(before: FleetFile, file: FleetFile, uses: Uses) -> FleetPlan:
    """InputError when the file asks for what is not allowed."""
    notes: list[str] = []

    def keep(kind: str, old: tuple[R, ...], new: tuple[R, ...], is_used: Callable[[R], object]) -> tuple[R, ...]:
        named = {row.key for row in new}
        kept = tuple(row for row in old if row.key not in named and is_used(row))
        if kept:
            notes.append(f"{kind} that the file leaves out stay, for they are in use: {listed(kept)}")
        return new + kept

    accounts = keep("accounts", before.accounts, file.accounts, lambda row: uses.accounts.get(row.key))
    domains = keep("domains", before.domains, file.domains, lambda row: uses.domains.get(row.name))
    contracted = {account.provider for account in accounts}
    writing = {domain.identity for domain in domains}
    target = replace(
        file,
        accounts=accounts,
        domains=domains,
        providers=keep("providers", before.providers, file.providers, lambda row: row.name in contracted),
        identities=keep(
            "identities",
            before.identities,
            file.identities,
            lambda row: row.name in writing or uses.identities.get(row.name),
        ),
        pools=keep("pools", before.pools, file.pools, lambda row: uses.pools.get(row.name)),
    )
    _check_policies(target, uses)
    _check_sources(file.limits)
    waiting = [limit for limit in file.limits if not _has_scope(limit, target, uses)]
    notes += [f"limit {limit.key} waits: there is no such {limit.scope}" for limit in waiting]
    target = replace(target, limits=tuple(limit for limit in file.limits if limit not in waiting))
    return FleetPlan(before, target, diff_fleet(before, target), tuple(notes))


def needs_acknowledgement(provider: Provider) -> bool:
    """Whether its mailboxes may not be used until a person answers for it."""
    preset = load_presets().get(provider.preset)
    return preset is not None and preset.outreach_policy.value == "forbidden" and not provider.acknowledge_policy


def listed(rows: Sequence[Row]) -> str:
    """The keys of rows in one line, the first few of many."""
    names = ", ".join(row.key for row in rows[:_SHOWN])
    return f"{names} and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else names


def _check_policies(fleet: FleetFile, uses: Uses) -> None:
    for provider in filter(needs_acknowledgement, fleet.providers):
        if any(uses.accounts.get(row.key) for row in fleet.accounts if row.provider == provider.name):
            raise InputError(
                f'The provider "{provider.name}" forbids outreach and has mailboxes; nothing was applied.',
                hint='Give it acknowledge_policy = "who decided it, when and why".',
            )


def _check_sources(limits: Sequence[Limit]) -> None:
    for limit in limits:
        if limit.source == "default" or limit.source.startswith("preset "):
            raise InputError(
                f'The source "{limit.source}" marks limits that Mailfleet writes itself; nothing was applied.',
                hint="Give the limit another source; on one named scope it stands in the place of the preset's.",
            )


def _has_scope(limit: Limit, fleet: FleetFile, uses: Uses) -> bool:
    return limit.name == ALL or limit.name in _known(limit.scope, fleet, uses, limit)


def _known(scope: str, fleet: FleetFile, uses: Uses, limit: Limit) -> set[str] | frozenset[str]:
    rows: Mapping[str, Sequence[Row]] = {
        ScopeKind.DOMAIN: fleet.domains,
        ScopeKind.ACCOUNT: fleet.accounts,
        ScopeKind.PROVIDER: fleet.providers,
        ScopeKind.IDENTITY: fleet.identities,
    }
    if scope == ScopeKind.MAILBOX:
        return uses.mailboxes
    return {row.key for row in rows[scope]} if scope in rows else {limit.name}
