"""How many connections this sender holds to each provider."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailfleet.sending.letters import SendingMailbox


class ConnectionCaps:
    """A provider's cap is shared by every living sender; each keeps to its part, at least one.

    While a mailbox waits for room, those of its provider that have nothing to do now make some.
    """

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()
        self._waiting: Counter[int] = Counter()
        self._freed = asyncio.Condition()
        self._wanted: dict[int, asyncio.Event] = {}
        self.senders = 1

    def wanted(self, mailbox: SendingMailbox) -> asyncio.Event:
        """Set while another mailbox of the provider waits for room."""
        return self._wanted.setdefault(mailbox.provider_id, asyncio.Event())

    @asynccontextmanager
    async def slot(self, mailbox: SendingMailbox) -> AsyncIterator[None]:
        """Room for one connection; waits for it."""
        provider = mailbox.provider_id
        if mailbox.max_connections is not None:
            await self._wait_for_room(mailbox, mailbox.max_connections)
        self._open[provider] += 1
        try:
            yield
        finally:
            self._open[provider] -= 1
            async with self._freed:
                self._freed.notify_all()

    async def _wait_for_room(self, mailbox: SendingMailbox, cap: int) -> None:
        provider, wanted = mailbox.provider_id, self.wanted(mailbox)
        if self._open[provider] < max(1, cap // self.senders):
            return
        self._waiting[provider] += 1
        wanted.set()
        try:
            async with self._freed:
                await self._freed.wait_for(lambda: self._open[provider] < max(1, cap // self.senders))
        finally:
            self._waiting[provider] -= 1
            if not self._waiting[provider]:
                wanted.clear()
