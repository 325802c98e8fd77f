"""A process of its own that asks for tokens: `asker.py conninfo key mailbox…`; prints each token, or what was wrong."""

import asyncio
import sys

from mailfleet.base.secrets import Keyring
from mailfleet.providers.oauth.faults import GrantFault, TokenUnavailable
from mailfleet.providers.oauth.source import TokenSource


async def main(conninfo: str, key: str, *mailboxes: str) -> None:
    source = TokenSource(conninfo, Keyring([key]))

    async def ask(mailbox: int) -> None:
        try:
            print(mailbox, await source.token_for(mailbox), flush=True)
        except (GrantFault, TokenUnavailable) as error:
            print(mailbox, type(error).__name__, error, flush=True)

    async with asyncio.TaskGroup() as group:
        for mailbox in mailboxes:
            group.create_task(ask(int(mailbox)))
    await source.close()


asyncio.run(main(*sys.argv[1:]))
