"""Several processes, and one that is killed: one question at a time for each token, and no consent lost where that can
be helped."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

import pytest
from oauth_world import World

from mailfleet.base.db import connect
from mailfleet.providers.oauth.faults import GrantFault, GrantFaultKind
from mailfleet.providers.oauth.source import TokenSource

ASKER = Path(__file__).with_name("asker.py")
Make = Callable[..., TokenSource]


async def start(world: World, mailboxes: list[int]) -> Process:
    words = [sys.executable, str(ASKER), world.conninfo, world.key, *map(str, mailboxes)]
    return await asyncio.create_subprocess_exec(*words, stdout=PIPE)


async def test_never_two_refreshes_at_once(world: World) -> None:
    """Two processes that want the same token at the same time send one question, and both get its answer: with strict
    rotation a second one would have ended the consent."""
    world.lay(3)
    world.connect_consents()
    world.server.known.rotation = "strict"
    world.server.gate.clear()
    processes = [await start(world, world.mailboxes) for _ in range(2)]
    for _ in world.mailboxes:
        await asyncio.to_thread(world.server.came.acquire)
    await asyncio.to_thread(until, world, "query = 'COMMIT'", 2)  # the last word of a try to claim
    world.server.gate.set()
    said = [(await process.communicate())[0] for process in processes]
    assert sorted(said[0].split()) == sorted(said[1].split())
    assert world.server.count() == 3
    assert len(set(world.server.issued)) == 3


def until(world: World, condition: str, processes: int) -> None:
    """Waits until so many connections of token stores are in that condition."""
    query = f"SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'mailfleet tokens' AND {condition}"
    while world.columns(query).n < processes:
        pass


async def killed_before_it_could_store(world: World) -> str:
    """A process gets the server's answer, and dies while its write waits for the row. The refresh token it has used."""
    world.server.gate.clear()
    process = await start(world, world.mailboxes)
    await asyncio.to_thread(world.server.came.acquire)
    with connect(world.conninfo, name="blocker", autocommit=False) as blocker:
        blocker.execute("SELECT FROM oauth_token FOR UPDATE")
        world.server.gate.set()
        await asyncio.to_thread(until, world, "wait_event_type = 'Lock'", 1)
        process.kill()
        await process.wait()
        blocker.rollback()
    return world.server.asked[-1]["refresh_token"]


@pytest.mark.parametrize("rotation", ["none", "lenient"])
async def test_kill_between_answer_and_store(world: World, make_source: Make, rotation: str) -> None:
    """Killed between the server's answer and the store: the next process asks with the old refresh token, once the
    claim is over, and the consent lives on (Google and Microsoft honour the old one)."""
    world.lay(1)
    world.connect_consents()
    world.server.known.rotation = rotation  # type: ignore[assignment]
    used = await killed_before_it_could_store(world)
    assert world.refresh_token(world.mailboxes[0]) == used
    world.let_pass("claim")
    assert await make_source().token_for(world.mailboxes[0]) in world.server.issued
    assert world.server.asked[-1]["refresh_token"] == used


async def test_kill_where_it_cannot_be_helped(world: World, make_source: Make) -> None:
    """A server that takes each refresh token once: then that one mailbox's consent is over, and it is said so."""
    world.lay(1)
    world.connect_consents()
    world.server.known.rotation = "strict"
    await killed_before_it_could_store(world)
    world.let_pass("claim")
    with pytest.raises(GrantFault) as caught:
        await make_source().token_for(world.mailboxes[0])
    assert (caught.value.kind, caught.value.mailbox_id) == (GrantFaultKind.CONSENT_OVER, world.mailboxes[0])


async def test_claim_of_the_dead_is_waited_for(world: World, make_source: Make) -> None:
    """As long as the claim of a killed process lasts nobody asks: its question may still be under way."""
    world.lay(1)
    world.connect_consents()
    world.server.gate.clear()
    process = await start(world, world.mailboxes)
    await asyncio.to_thread(world.server.came.acquire)
    process.kill()
    await process.wait()
    store = make_source()._store
    row = await store.read(world.mailboxes[0])
    assert await store.claim(row) is None
    world.let_pass("claim")
    assert await store.claim(row) is not None
