"""Looks a letter up for its page, if the database answers soon: a page without names is better than none.

A connection for each look: people open few pages, nothing is kept that could go stale, and the database's absence is
noticed at once.
"""

import asyncio
from datetime import timedelta

import psycopg

from mailfleet.base.db import connect_async, load_queries
from mailfleet.mail.opt_out import TokenFacts
from mailfleet.panel.opt_out.pages import LetterFacts

QUERIES = load_queries("mailfleet.panel.opt_out")
PATIENCE = timedelta(milliseconds=300)  # chosen: a look takes 10 ms; who waits longer than this notices
AT_ONCE = 4  # chosen: connections that pages may open, whatever crowd comes


class LetterReader:
    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._looks: set[asyncio.Task[LetterFacts | None]] = set()

    async def facts(self, token: TokenFacts) -> LetterFacts | None:
        """None when the letter is gone, the database is away, or too many look at once."""
        if len(self._looks) >= AT_ONCE:
            return None
        look = asyncio.create_task(self._look(token))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)
        await asyncio.wait({look}, timeout=PATIENCE.total_seconds())
        if look.done():
            return look.result()
        look.cancel()  # not awaited: psycopg may take seconds to part from a server that is frozen
        return None

    async def _look(self, token: TokenFacts) -> LetterFacts | None:
        try:
            connection = await connect_async(self._conninfo, name="mailfleet opt-out page")
            async with connection:
                wanted = {"message": token.message_id, "digest": token.address_digest}
                found = await connection.execute(QUERIES["letter_facts"], wanted)
                row = await found.fetchone()
        except psycopg.Error:
            return None
        return row and LetterFacts(row.legal_name, row.postal_address, row.address, row.is_suppressed)
