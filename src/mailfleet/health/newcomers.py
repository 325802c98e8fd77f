"""New domains of an identity that is stopped for complaints: who asks for them says why, and that is kept."""

from collections.abc import Mapping
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.health.burnt_domains import acknowledgement_needed
from mailfleet.health.facts import Facts, StandingHold, Trial
from mailfleet.health.scopes import Place, Scope
from mailfleet.model.words import Family, ScopeKind

QUERIES = load_queries("mailfleet.health", "newcomers.sql")


def domains_to_acknowledge(connection: Connection, wanted: Mapping[str, str]) -> dict[str, str]:
    """Of `wanted` (domain → its identity's name) those that ask for an acknowledgement, each with the sentence why.

    A domain is new as long as it has no mailbox, however it came into the fleet; so `mailfleet apply` is no way round.
    """
    rows = connection.execute(QUERIES["identities"], {"identities": list(set(wanted.values()))}).fetchall()
    if not rows:
        return {}
    facts, names = _facts(connection, rows), _names(rows)
    whys = {row.name: acknowledgement_needed(Scope(ScopeKind.IDENTITY, str(row.id)), facts, names) for row in rows}
    there = connection.execute(QUERIES["domains_at_work"], {"domains": list(wanted)}).fetchall()
    known = {row.name for row in there}
    return {domain: why for domain, identity in wanted.items() if domain not in known and (why := whys.get(identity))}


def record_acknowledgements(connection: Connection, asked: Mapping[str, str], *, why: str, by: str) -> None:
    """Keeps for good who added these domains, when and why, beside the sentence that they were shown.

    It lies in table setting, as the list `domain_acknowledgements`: it is about no row that could go away.
    """
    values = {"domains": list(asked), "stopped": list(asked.values()), "why": why, "by": by}
    connection.execute(QUERIES["record_acknowledgements"], values)


def _facts(connection: Connection, rows: list[Any]) -> Facts:
    """One place stands for each domain, whether it has mailboxes or not."""
    holds = connection.execute(QUERIES["complaint_holds"]).fetchall()
    return Facts(
        places=tuple(Place(row.domain_id, row.domain_id, 0, 0, row.id) for row in rows if row.domain_id),
        holds=tuple(
            StandingHold(hold.id, _scope(hold), Family.COMPLAINTS, hold.since, hold.until)
            for hold in holds
            if hold.is_standing
        ),
        trials=tuple(
            Trial(hold.id, _scope(hold), Family.COMPLAINTS, hold.ended_at, is_over=hold.is_over)
            for hold in holds
            if not hold.is_standing
        ),
    )


def _scope(hold: Any) -> Scope:
    return Scope(hold.scope_kind, hold.scope_key)


def _names(rows: list[Any]) -> dict[Scope, str]:
    domains = {Scope(ScopeKind.DOMAIN, str(row.domain_id)): str(row.domain) for row in rows if row.domain_id}
    return domains | {Scope(ScopeKind.IDENTITY, str(row.id)): str(row.name) for row in rows}
