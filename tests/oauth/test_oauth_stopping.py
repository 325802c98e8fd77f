"""A sender that stops while a token is on its way."""

import asyncio
from dataclasses import replace
from pathlib import Path

from oauth_world import World

from laid import settings_of
from mailfleet.base.children import STOP_SECONDS
from mailfleet.base.db import connect
from mailfleet.outbox.tunables import Tunables
from mailfleet.outbox.vault import open_vault
from mailfleet.providers.oauth import source
from mailfleet.sending import sender as sending
from mailfleet.sending.journal import Journal
from mailfleet.sending.sender import Sender, SenderOptions

WAITS = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OPEN = (
    "SELECT count(*) AS n FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'mailfleet tokens'"
)


async def until(world: World, query: str, *, is_any: bool) -> None:
    """The query counts something, or nothing any more."""
    while bool(world.columns(query).n) is not is_any:  # noqa: ASYNC110 - another process's state has no event
        await asyncio.sleep(0.01)


async def test_tokens_and_letters_end_beside_each_other(world: World, home: Path) -> None:
    """The answer under way is kept and the tokens are closed while the database still holds up the last settlement; so
    the longest end, lanes and then both, is shorter than the time until the parent kills."""
    world.lay(1)
    world.connect_service_account()
    vault = open_vault(world.connection, replace(settings_of(home, world.conninfo), keys=world.key))
    journal = Journal.open_free(home / "journals")
    it = Sender(SenderOptions(world.conninfo, home / "journals", vault, Tunables()), journal)
    running = asyncio.create_task(it.run())
    async with asyncio.timeout(30):
        await until(world, "SELECT count(*) AS n FROM sender", is_any=True)
        world.server.gate.clear()
        asking = asyncio.create_task(it._token_source().token_for(world.mailboxes[0]))
        await asyncio.to_thread(world.server.came.acquire)
        with connect(world.conninfo, name="holds up") as other, other.transaction():
            other.execute("SELECT FROM sender FOR UPDATE")
            it.stop()
            await until(world, WAITS, is_any=True)
            world.server.gate.set()
            assert await asking in world.server.issued
            await until(world, OPEN, is_any=False)
            assert not running.done()
        await running
    journal.close()
    assert sending.STOP_GRACE + max(sending.STOP_GRACE, source.CLOSE_WITHIN) < STOP_SECONDS
