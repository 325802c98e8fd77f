"""Rules and look-ups joined: what the rules want is looked up, until they want nothing more."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from mailfleet.base.errors import InvariantError
from mailfleet.health.dns.facts import Answer, Facts, Handshake, Question, TlsQuestion
from mailfleet.health.dns.lookup import Lookup
from mailfleet.health.dns.rules import DomainReport, DomainSetup, judge
from mailfleet.health.dns.rules_blocklist import Blocklist

MOST_ROUNDS = 100  # chosen: the deepest chain of includes and redirects the rules follow is shorter by half


async def check_domain(setup: DomainSetup, lookup: Lookup, lists: Sequence[Blocklist]) -> DomainReport:
    """The whole report of one domain, its moment that of this machine's clock. Takes as long as the slowest chain."""
    answers: dict[Question, Answer] = {}
    handshakes: dict[TlsQuestion, Handshake] = {}
    for _ in range(MOST_ROUNDS):
        facts = Facts(answers, handshakes)
        report = judge(setup, lists, facts, datetime.now(UTC))
        if not facts.wanted:
            return report
        await _look_up(facts.wanted, lookup, answers, handshakes)
    raise InvariantError(
        f"The DNS rules still ask after {MOST_ROUNDS} rounds, for {setup.domain}; no verdict is given."
    )


async def _look_up(
    wanted: set[Question | TlsQuestion],
    lookup: Lookup,
    answers: dict[Question, Answer],
    handshakes: dict[TlsQuestion, Handshake],
) -> None:
    async def one(question: Question | TlsQuestion) -> None:
        if isinstance(question, TlsQuestion):
            handshakes[question] = await lookup.handshake(question)
        else:
            answers[question] = await lookup.answer(question)

    async with asyncio.TaskGroup() as group:
        for question in wanted:
            group.create_task(one(question))


async def check_domains(
    setups: Sequence[DomainSetup],
    lookup: Lookup,
    lists: Sequence[Blocklist],
    on_done: Callable[[], object] = lambda: None,
) -> list[DomainReport]:
    """All of them at once, in their order; `on_done` is called after each."""

    async def one(setup: DomainSetup) -> DomainReport:
        report = await check_domain(setup, lookup, lists)
        on_done()
        return report

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(setup)) for setup in setups]
    return [task.result() for task in tasks]
