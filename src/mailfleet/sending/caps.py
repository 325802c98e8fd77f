"""How many connections this sender holds to each provider."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailfleet.sending.letters import SendingMailbox


class ConnectionCaps:
    """A provider's cap is shared by every living sender; each keeps to its part, at least one."""

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()
        self._freed = asyncio.Condition()
        self.senders = 1

    @asynccontextmanager
    async def slot(self, mailbox: SendingMailbox) -> AsyncIterator[None]:
        """Room for one connection; waits for it."""
        provider, cap = mailbox.provider_id, mailbox.max_connections
        if cap is not None:
            async with self._freed:
                await self._freed.wait_for(lambda: self._open[provider] < max(1, cap // self.senders))
        self._open[provider] += 1
        try:
            yield
        finally:
            self._open[provider] -= 1
            if cap is not None:
                async with self._freed:
                    self._freed.notify_all()
