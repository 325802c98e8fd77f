"""Many logins at once, and not too many."""

import asyncio
from contextlib import suppress
from typing import Any

from mailfleet.intake.mailbox_check import AT_ONCE, check_mailboxes

MAILBOXES = 3 * AT_ONCE
GRACE = 0.5  # seconds in which one too many would come
BASE = {"provider": "h", "smtp_security": "none", "imap_host": "", "ca_file": "", "auth": "password", "login": "u"}


async def test_fifty_at_a_time() -> None:
    """As many connections stand at once as are allowed, never more, and every mailbox is heard of."""
    open_now = peak = 0
    is_full, is_over = asyncio.Event(), asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, peak
        open_now += 1
        peak = max(peak, open_now)
        if peak > AT_ONCE:
            is_over.set()
        if open_now == AT_ONCE and not is_full.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), GRACE)
            is_full.set()
        await is_full.wait()
        open_now -= 1
        writer.close()

    faults: dict[str, str] = {}

    def hear(mailbox: Any, fault: str) -> None:
        faults[mailbox["address"]] = fault

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, backlog=MAILBOXES)
    async with server:
        where = {"smtp_host": "127.0.0.1", "smtp_port": server.sockets[0].getsockname()[1], "password": "x"}
        boxes = [{**BASE, **where, "address": f"m{number}@n.example"} for number in range(MAILBOXES)]
        await check_mailboxes(boxes, {}, on_result=hear)
    assert (peak, len(faults), all(faults.values())) == (AT_ONCE, MAILBOXES, True)
