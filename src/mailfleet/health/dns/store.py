"""The standing of each domain in the database, and the holds that follow from it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from mailfleet.base.db import Connection, again_on_deadlock, load_queries
from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.rules import DomainReport, DomainSetup
from mailfleet.health.dns.rules_dkim import Selector
from mailfleet.health.dns.rules_hold import NOT_CHECKED, Decision, Standing, Step, after_check, decide, needs_check
from mailfleet.model.words import Family, ScopeKind
from mailfleet.outbox.stops import between_reservations, hold, stopping
from mailfleet.providers.presets import GENERIC

QUERIES = load_queries("mailfleet.health.dns")
SET_BY = "dns"


@dataclass(frozen=True, slots=True)
class FleetDomain:
    """A domain of the fleet. `is_exempt`: nobody outside can look it up, so it is neither checked nor held."""

    id: int
    setup: DomainSetup
    standing: Standing
    is_exempt: bool

    def is_due(self, now: datetime) -> bool:
        return not self.is_exempt and decide(self.standing, now).look_at <= now


def load_domains(connection: Connection, names: Sequence[str] | None = None) -> list[FleetDomain]:
    """By name, each once; those of `names` that the fleet has, or all."""
    rows = connection.execute(QUERIES["domains"], {"names": None if names is None else list(names)}).fetchall()
    return [
        FleetDomain(
            id=row.id,
            setup=DomainSetup(
                domain=row.name,
                providers=tuple(preset for preset in row.presets if preset != GENERIC),
                selectors=tuple(map(Selector.parse, row.dkim_selectors)),
                opt_out_url=row.opt_out_base_url,
            ),
            standing=Standing(
                verdict=Severity(row.dns_verdict) if row.dns_verdict else None,
                checked_at=row.dns_checked_at,
                tried_at=row.dns_tried_at,
                failing_since=row.dns_failing_since,
                is_listed=row.dns_listed,
                is_held=row.is_held,
            ),
            is_exempt=not needs_check(row.name, row.smtp_hosts),
        )
        for row in rows
    ]


@again_on_deadlock
def settle_report(connection: Connection, domain: FleetDomain, report: DomainReport, now: datetime) -> Decision:
    """Remembers a report, and holds or frees the domain as it asks, in one transaction: a domain whose standing is good
    is not looked at again for a day, so it must be free by then.

    1. The standing is written, unless a later check was there first. 2. The hold is set, lifted or told anew.
    """
    standing = after_check(domain.standing, report.verdict, is_listed=report.is_listed, now=now)
    may_hold = decide(replace(standing, is_held=False), now).step is Step.HOLD
    with between_reservations(connection) if may_hold else connection.transaction():
        is_held = _write_standing(connection, domain, standing, report)
        if is_held is None:
            decision = decide(standing, now)
            return replace(decision, step=Step.NONE, reason="a later check was there first")
        decision = decide(replace(standing, is_held=is_held), now)
        reason = f"{decision.reason}: {report.summary}" if report.summary else decision.reason
        if decision.step is Step.HOLD:
            hold(connection, ScopeKind.DOMAIN, domain.setup.domain, reason=reason, set_by=SET_BY, family=Family.DNS)
        elif decision.step is Step.LIFT:
            connection.execute(QUERIES["lift_own_hold"], {"domain": domain.id})
        elif is_held:
            connection.execute(QUERIES["retell_own_hold"], {"domain": domain.id, "reason": reason})
    return decision


def _write_standing(
    connection: Connection, domain: FleetDomain, standing: Standing, report: DomainReport
) -> bool | None:
    """Whether a hold of these checks stands; None when a later check was there first, and nothing was written."""
    written = connection.execute(
        QUERIES["write_standing"],
        {
            "domain": domain.id,
            "verdict": standing.verdict or "",
            "checked_at": standing.checked_at,
            "tried_at": standing.tried_at,
            "failing_since": standing.failing_since,
            "is_listed": standing.is_listed,
            "findings": json.dumps([asdict(finding) for finding in report.findings]),
        },
    ).fetchone()
    return None if written is None else bool(written.is_held)


def hold_unchecked(connection: Connection, names: Sequence[str] | None = None) -> int:
    """Holds the domains (of `names`, or all) that no check has come to a conclusion about; how many.

    Called where mailboxes come in, in the same transaction: then no letter leaves before the first check.
    """
    unchecked = [
        domain.id
        for domain in load_domains(connection, names)
        if not domain.is_exempt and domain.standing.verdict is None and not domain.standing.is_held
    ]
    if unchecked:
        with stopping(connection):
            connection.execute(QUERIES["hold_domains"], {"domains": unchecked, "reason": NOT_CHECKED})
    return len(unchecked)
