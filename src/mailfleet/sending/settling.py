"""What came of letters becomes facts: in batches, while the journal keeps what the database has not taken."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import psycopg

from mailfleet.base.log import get_log
from mailfleet.outbox.rules import Result
from mailfleet.outbox.service import Outbox
from mailfleet.sending.journal import Journal

SETTLE_BATCH = 500
GATHER = 0.2  # chosen: seconds in which outcomes gather into one transaction
RECONNECT = 1.0  # chosen: seconds between two tries to reach the database
T = TypeVar("T")


class Settler:
    """Takes results from the lanes; `settled` is told of each batch that became facts."""

    def __init__(self, facts: Outbox, journal: Journal, settled: Callable[[Sequence[Result]], None]) -> None:
        self._facts = facts
        self._journal = journal
        self._settled = settled
        self._results: dict[int, Result] = {}
        self._has_results = asyncio.Event()

    def __len__(self) -> int:
        return len(self._results)

    def report(self, result: Result) -> None:
        self._results[result.attempt_id] = result
        self._has_results.set()

    async def run(self) -> None:
        """Until cancelled; while the database is away results wait here and in the journal."""
        while True:
            await self._has_results.wait()
            await asyncio.sleep(GATHER)
            self._has_results.clear()
            await self.settle_all()

    async def settle_all(self) -> None:
        while batch := list(self._results.values())[:SETTLE_BATCH]:
            await self._settle(batch)
            for result in batch:
                self._results.pop(result.attempt_id, None)  # at a stop two settle at once
            self._journal.forget(result.attempt_id for result in batch)
            self._settled(batch)

    async def _settle(self, batch: list[Result]) -> None:
        """One transaction; what the database refuses for itself is settled one by one, and told if it cannot be."""
        try:
            await until_done(partial(self._facts.settle, batch))
        except psycopg.Error:
            for result in batch:
                try:
                    await until_done(partial(self._facts.settle, [result]))
                except psycopg.Error as error:
                    get_log().critical("letter_unsettled", attempt=result.attempt_id, exc_info=error)


async def until_done(errand: Callable[[], Awaitable[T]]) -> T:
    """The same errand until the database took it: each may be repeated."""
    while True:
        try:
            return await errand()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            get_log().warning("database_away", error=str(error))
            await asyncio.sleep(RECONNECT)
