"""A lane whose mailbox logs in by OAuth: its token comes before the letter is begun, and no login is tried in vain."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from oauth_world import World
from token_server import answers

from mailfleet.model.words import AuthKind, Security
from mailfleet.outbox.rules import HoldOrder
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.oauth.source import TokenSource
from providers.scripted import Peer
from sending.lane_scene import DEADLINE, Desk, Play, desk, farewell, server, take

Make = Callable[..., TokenSource]
NOWHERE = Endpoint("127.0.0.1", 9, Security.NONE)
SAYS = b64encode(b'{"status":"401"}').decode()


class Logins:
    """What a mail server does with the bearer tokens that come; `tokens` in their order."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def _hear(self, peer: Peer) -> None:
        await peer.greet("AUTH XOAUTH2")
        words = b64decode((await peer.hear("AUTH XOAUTH2 ")).split()[2]).decode()
        self.tokens.append(words.split("\x01")[1].removeprefix("auth=Bearer "))

    def accepts(self, letters: int = 1) -> Play:
        async def play(peer: Peer) -> None:
            await self._hear(peer)
            await peer.say("235 2.7.0 in")
            for _ in range(letters):
                await take(peer)
            await farewell(peer)

        return play

    def refuses(self, reply: str = "535 5.7.8 no such token") -> Play:
        async def play(peer: Peer) -> None:
            await self._hear(peer)
            await peer.say(f"334 {SAYS}")
            await peer.hear("")
            await peer.say(reply)
            await peer.rest()

        return play


async def run(
    it: Desk, source: TokenSource, world: World, endpoint: Endpoint, *, own: str = "", letters: int = 1
) -> None:
    """So many letters of the world's first mailbox."""
    it.tokens = source
    lane = it.lane(endpoint, number=world.mailboxes[0], idle=0, login=Login("box-0@a.example", own, AuthKind.XOAUTH2))
    for _ in range(letters):
        it.work(lane)
    async with asyncio.timeout(DEADLINE):
        await lane.run()


def hold_of(it: Desk) -> HoldOrder:
    """The one hold of all results."""
    [hold] = [result.hold for result in it.results if result.hold is not None]
    return hold


@pytest.fixture
def connected(world: World) -> World:
    world.lay(2)
    world.connect_service_account()
    return world


async def test_a_letter_leaves_by_a_token_of_the_account(connected: World, make_source: Make, tmp_path: Path) -> None:
    """The login carries the mailbox's token, fetched once for both letters."""
    logins = Logins()
    async with desk(tmp_path) as it, server(logins.accepts(2)) as endpoint:
        await run(it, make_source(), connected, endpoint, letters=2)
        assert it.said == [(1, "accepted", ""), (2, "accepted", "")]
    assert [connected.server.issued[token] for token in logins.tokens] == ["box-0@a.example"]
    assert connected.server.count() == 1


async def test_an_old_token_that_is_refused_is_renewed_once(
    connected: World, make_source: Make, tmp_path: Path
) -> None:
    """A token that the server no longer takes costs one login more, with a new one, and the letter nothing."""
    logins = Logins()
    old = await make_source().token_for(connected.mailboxes[0])
    connected.let_pass("age")
    async with desk(tmp_path) as it, server(logins.refuses(), logins.accepts()) as endpoint:
        await run(it, make_source(), connected, endpoint)
        assert it.said == [(1, "accepted", "")]
    assert logins.tokens[0] == old != logins.tokens[1]


async def test_there_is_no_third_login(connected: World, make_source: Make, tmp_path: Path) -> None:
    """Refused with a new token too: the mailbox is held until a person looks, whatever waits goes back unbegun."""
    logins = Logins()
    await make_source().token_for(connected.mailboxes[0])
    connected.let_pass("age")
    async with desk(tmp_path) as it, server(logins.refuses(), logins.refuses()) as endpoint:
        await run(it, make_source(), connected, endpoint, letters=3)
        assert [outcome for _, outcome, _ in it.said] == ["unreached"] * 3
        hold = hold_of(it)
        assert (hold.scope_kind, hold.seconds, hold.family) == ("mailbox", None, "authentication")
        assert it.journal.entries() == {}
    assert len(set(logins.tokens)) == 2


async def test_a_fresh_token_is_not_tried_twice(connected: World, make_source: Make, tmp_path: Path) -> None:
    """A token just fetched is not what the server minds: one login."""
    logins = Logins()
    async with desk(tmp_path) as it, server(logins.refuses()) as endpoint:
        await run(it, make_source(), connected, endpoint)
        assert hold_of(it).family == "authentication"
    assert connected.server.count() == 1


async def test_later_is_no_word_about_the_token(connected: World, make_source: Make, tmp_path: Path) -> None:
    """A server that takes no login now gets no second one, and the token stays."""
    logins = Logins()
    await make_source().token_for(connected.mailboxes[0])
    connected.let_pass("age")
    async with desk(tmp_path) as it, server(logins.refuses("432 4.3.2 concurrent connections exceeded")) as endpoint:
        await run(it, make_source(), connected, endpoint)
        assert hold_of(it).seconds is not None
    assert connected.server.count() == 1


async def test_a_token_of_the_mailboxs_own_is_tried_once(world: World, make_source: Make, tmp_path: Path) -> None:
    """An account that is not connected has no other token to offer."""
    world.lay(1)
    logins = Logins()
    async with desk(tmp_path) as it, server(logins.refuses()) as endpoint:
        await run(it, make_source(), world, endpoint, own="pasted")
        hold = hold_of(it)
        assert (hold.scope_kind, hold.seconds, hold.family) == ("mailbox", None, "authentication")
    assert logins.tokens == ["pasted"]


async def test_a_revoked_grant_holds_the_account_without_a_login(
    connected: World, make_source: Make, tmp_path: Path
) -> None:
    """The token server's no: nobody knocks at the mail server, nothing is journalled, every letter goes back, and the
    account rests as long as the question does."""
    connected.server.known.delegated.clear()
    async with desk(tmp_path) as it:
        await run(it, make_source(), connected, NOWHERE, letters=3)
        assert it.said[0] == (1, "unreached", "no_token")
        assert [outcome for _, outcome, _ in it.said] == ["unreached"] * 3
        hold = hold_of(it)
        assert (hold.scope_kind, hold.seconds, hold.family) == ("account", 900.0, "authentication")
        assert it.journal.entries() == {}


async def test_an_unknown_mailbox_is_held_alone(connected: World, make_source: Make, tmp_path: Path) -> None:
    """A no that concerns one mailbox leaves the account's others at work."""
    source = make_source()
    await source.token_for(connected.mailboxes[1])
    connected.server.known.users.remove("box-0@a.example")
    async with desk(tmp_path) as it:
        await run(it, source, connected, NOWHERE)
        hold = hold_of(it)
        assert (hold.scope_kind, hold.seconds, hold.family) == ("mailbox", 900.0, "authentication")


async def test_a_token_server_that_is_away_holds_the_mailbox_for_its_rest(
    connected: World, make_source: Make, tmp_path: Path
) -> None:
    """ "Later" is no fault: the letter goes back, and the mailbox comes again when the server may be asked again."""
    connected.server.known.scripts = [answers(503, {}, Retry_After="120")]
    async with desk(tmp_path) as it:
        await run(it, make_source(), connected, NOWHERE)
        assert it.said == [(1, "unreached", "no_token")]
        hold = hold_of(it)
        assert (hold.scope_kind, hold.family) == ("mailbox", "unreachable")
        assert hold.seconds is not None and 90 < hold.seconds < 150


async def test_without_a_database_the_mailbox_comes_again_in_a_minute(connected: World, tmp_path: Path) -> None:
    """Where nobody can say when, it is a minute."""
    source = TokenSource("host=127.0.0.1 port=9 connect_timeout=2", connected.keyring)
    async with desk(tmp_path) as it:
        await run(it, source, connected, NOWHERE)
        assert (it.said, hold_of(it).seconds) == ([(1, "unreached", "no_token")], 60.0)
    await source.close()
