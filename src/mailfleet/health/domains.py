"""The DNS's turn: our domains' checks that are due, and who serves the domains that we write to. Bounded in number and
time, and never with a transaction open.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import MailfleetError
from mailfleet.base.log import get_log
from mailfleet.base.settings import Settings
from mailfleet.health.dns.checking import check_domain
from mailfleet.health.dns.facts import Answer, Kind, Question
from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.lookup import Lookup, ResolverAddress
from mailfleet.health.dns.rules import DomainReport
from mailfleet.health.dns.rules_blocklist import Blocklist, load_blocklists
from mailfleet.health.dns.store import FleetDomain, load_domains, settle_report
from mailfleet.health.recipient_providers import provider_of

QUERIES = load_queries("mailfleet.health", "domains.sql")
CHECKS = 20  # chosen: domains a turn; a fleet of 400 is through in minutes, and a resolver is not flooded
LOOK_UPS = 20  # chosen: recipients' domains a turn
TURN = timedelta(seconds=60)  # chosen: a resolver that hangs costs a turn, and the next begins
KNOWN_FOR = timedelta(days=30)  # chosen: who moves to another provider does so once in years
UNKNOWN_FOR = timedelta(days=1)  # chosen: a name server that was down is up again on the next day
LATELY = timedelta(hours=1)  # chosen: what was written before is looked up when it is written to again

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class DnsMeans:
    """Who is asked, and which blocklists. SetupError when the resolver is none."""

    resolver: ResolverAddress | None
    lists: tuple[Blocklist, ...]

    @classmethod
    def of(cls, settings: Settings) -> "DnsMeans":
        key = settings.spamhaus_key
        lists = tuple(one.with_key(key) if key else one for one in load_blocklists().values())
        return cls(ResolverAddress.parse(settings.resolver) if settings.resolver else None, lists)


class Domains:
    """One connection's turns at the DNS."""

    def __init__(self, connection: Connection, means: DnsMeans, *, turn: timedelta = TURN) -> None:
        self._connection = connection
        self._means = means
        self._turn = turn

    def take(self) -> None:
        self.check()
        self.look_up()

    def check(self) -> None:
        """1. what is due, the longest-waiting first; 2. looked up; 3. each settled, so that what is done is done.

        A check that did not end in time found nothing, and is tried again as any other without an answer.
        """
        now = self._now()
        due = [domain for domain in load_domains(self._connection) if domain.is_due(now)]
        due = sorted(due, key=_waiting_since)[:CHECKS]
        if not due:
            return
        lookup = Lookup(self._means.resolver)
        reports = self._asked(due, lambda domain: check_domain(domain.setup, lookup, self._means.lists))
        for number, domain in enumerate(due):
            report = reports.get(number) or _nothing_found(domain, now)
            settle_report(self._connection, domain, report, self._now())

    def look_up(self) -> None:
        """What is not answered in time is left for another day."""
        names = [row.domain for row in self._rows()]
        if not names:
            return
        lookup = Lookup(self._means.resolver)
        answers: Mapping[int, Answer] = self._asked(names, lambda name: lookup.answer(Question(Kind.MX, name)))
        found = [provider_of(name, answers[at]) if at in answers else "" for at, name in enumerate(names)]
        since = self._now() - UNKNOWN_FOR - LATELY
        self._connection.execute(QUERIES["keep_providers"], {"names": names, "providers": found, "since": since})

    def _rows(self) -> list[Any]:
        values = {
            "lately": self._now() - LATELY,
            "unknown_for": UNKNOWN_FOR,
            "known_for": KNOWN_FOR,
            "most": LOOK_UPS,
        }
        return self._connection.execute(QUERIES["unknown_domains"], values).fetchall()

    def _now(self) -> datetime:
        row = self._connection.execute("SELECT clock_timestamp() AS now").fetchone()
        assert row is not None
        now: datetime = row.now
        return now

    def _asked(self, asked: Sequence[Asked], ask: Callable[[Asked], Awaitable[Answered]]) -> dict[int, Answered]:
        return asyncio.run(_all_in_time(asked, ask, self._turn))


async def _all_in_time(
    asked: Sequence[Asked], ask: Callable[[Asked], Awaitable[Answered]], within: timedelta
) -> dict[int, Answered]:
    """The answers that came in time, each by the place of its question."""
    found: dict[int, Answered] = {}

    async def one(at: int, question: Asked) -> None:
        try:
            found[at] = await ask(question)
        except MailfleetError as error:  # one domain that our rules cannot read keeps no other from its check
            get_log().critical("dns_check_failed", error=str(error))

    try:
        async with asyncio.timeout(within.total_seconds()), asyncio.TaskGroup() as group:
            for at, question in enumerate(asked):
                group.create_task(one(at, question))
    except TimeoutError:
        pass  # what is missing is what was not answered
    return found


def _waiting_since(domain: FleetDomain) -> tuple[datetime, int]:
    return domain.standing.tried_at or datetime.min.replace(tzinfo=UTC), domain.id


def _nothing_found(domain: FleetDomain, now: datetime) -> DomainReport:
    return DomainReport(domain.setup, domain.setup.providers, now, Severity.UNKNOWN, (), ())
