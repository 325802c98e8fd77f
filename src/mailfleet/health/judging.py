"""The judge's turn: counts what is new, and judges at most once a minute (`judge_after`), at least every five."""

from dataclasses import replace
from datetime import datetime, timedelta

from mailfleet.base.db import Connection
from mailfleet.health.counting import Counting
from mailfleet.health.dns.store import hold_unchecked
from mailfleet.health.facts import Facts
from mailfleet.health.half_open import change_limits, wanted_limits
from mailfleet.health.incidents import Incident, View, next_incidents
from mailfleet.health.look import Look, Looking, load_names
from mailfleet.health.rules import Judgement, judge
from mailfleet.health.scopes import Scope
from mailfleet.health.standing import dns_findings, oauth_findings
from mailfleet.health.store import Signs, Verdict, load_health_tunables, read_signs, write_verdict
from mailfleet.health.tunables import HealthTunables

LATEST = timedelta(minutes=5)  # chosen: trials and windows move on by time alone


class Judging:
    """One connection's turns as the judge. What it remembers saves work, and decides nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counting = Counting(connection)
        self._looking = Looking(connection)
        self._signs: Signs | None = None
        self._is_new = True
        self._soonest = HealthTunables().judge_after
        self.judged_at: datetime | None = None

    def take(self) -> None:
        """1. new domains wait for their first check; 2. what is new is counted; 3. judged, if it is time."""
        hold_unchecked(self._connection)
        signs = read_signs(self._connection)
        if self._signs is None or signs.marks != self._signs.marks:
            self._counting.count(signs.now)
            self._signs, self._is_new = signs, True
        if self._is_time(signs.now):
            self.judge()
            self.judged_at, self._is_new = signs.now, False

    def _is_time(self, now: datetime) -> bool:
        if self.judged_at is None:
            return True
        return now - self.judged_at >= (self._soonest if self._is_new else LATEST)

    def judge(self) -> None:
        write_verdict(self._connection, self.prepare())

    def prepare(self) -> Verdict:
        """The facts of one moment, and what follows from them, with no transaction open; nothing is written."""
        tunables = load_health_tunables(self._connection)
        self._soonest = tunables.judge_after
        look = self._looking.look(tunables)
        judgement = judge(look.facts, tunables, now=look.now)
        limits = change_limits(look.limits, wanted_limits(look.facts, judgement, tunables, look.now))
        return Verdict(look, judgement, limits, self._incidents(look, judgement, tunables))

    def _incidents(self, look: Look, judgement: Judgement, tunables: HealthTunables) -> tuple[Incident, ...]:
        """What the checks of domains and grants found is told as what the rules found is."""
        findings = (
            *oauth_findings(look.faults, look.ending, look.facts, look.now.date()),
            *judgement.findings,
            *dns_findings(look.domains, look.facts, look.now),
        )
        told = replace(judgement, findings=findings)
        names = load_names(self._connection, _scopes(told, look.facts))
        view = View(told, look.facts, names, tunables, look.now)
        return next_incidents(list(look.incidents.values()), view).written


def _scopes(judgement: Judgement, facts: Facts) -> set[Scope]:
    """Those that sentences name."""
    found = {scope for finding in judgement.findings for scope in (finding.scope, *finding.targets)}
    return found | {hold.cause or hold.scope for hold in facts.holds}
