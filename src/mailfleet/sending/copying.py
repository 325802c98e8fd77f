"""Letters whose Sent copy is ours to file: in memory from reservation on, kept in the database once they are facts."""

import asyncio
from collections.abc import Iterable

import psycopg

from mailfleet.base.db import AsyncConnection, connect_async
from mailfleet.model.words import Outcome
from mailfleet.outbox.rules import Result
from mailfleet.outbox.sent_copies import keep


class Copies:
    """`came` says that something is to be kept. A letter that ends otherwise than accepted is forgotten."""

    def __init__(self, conninfo: str) -> None:
        self.came = asyncio.Event()
        self._conninfo = conninfo
        self._open: AsyncConnection | None = None
        self._in_hand: dict[int, bytes] = {}  # by attempt, as long as its outcome is not settled
        self._settled: dict[int, bytes] = {}

    def reserved(self, attempt_id: int, content: bytes) -> None:
        self._in_hand[attempt_id] = content

    def settled(self, batch: Iterable[Result]) -> None:
        """Called after each batch that became facts."""
        if not self._in_hand:
            return
        for result in batch:
            content = self._in_hand.pop(result.attempt_id, None)
            if content is not None and result.outcome is Outcome.ACCEPTED:
                self._settled[result.attempt_id] = content
        if self._settled:
            self.came.set()

    async def keep(self) -> bool:
        """Writes what is settled; False: nothing is left for now. psycopg.Error: all of it waits here still."""
        if not (batch := dict(self._settled)):
            return False
        try:
            if self._open is None or self._open.closed:
                self._open = await connect_async(self._conninfo, name="mailfleet sender")
            await keep(self._open, batch)
        except psycopg.OperationalError:
            await self.close()
            raise
        for attempt_id in batch:
            self._settled.pop(attempt_id, None)  # at a stop two keep at once
        return False

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()
            self._open = None
