"""A lane in hand against a server that plays one script a connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from mailfleet.base.clock import DatabaseClock, monotonic
from mailfleet.base.secrets import Keyring, new_key
from mailfleet.mail.addresses import parse_address
from mailfleet.model.words import Security
from mailfleet.outbox.records import Draft, LeaseGrant, Reservation
from mailfleet.outbox.rules import Result, RetryPolicy
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Deadlines, Endpoint
from mailfleet.providers.oauth.source import TokenSource
from mailfleet.sending.caps import ConnectionCaps
from mailfleet.sending.journal import Journal
from mailfleet.sending.lane import Lane, Means, Work
from mailfleet.sending.letters import SendingMailbox
from providers.scripted import Peer
from servers import free_port

DEADLINE = 20.0
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)  # what the database's clock shows when a scene begins
PASSWORD = Login("m", "secret")
Play = Callable[[Peer], Awaitable[None]]


async def welcome(peer: Peer, reply: str = "235 2.7.0 in") -> None:
    """Greeting and login."""
    await peer.greet("AUTH PLAIN")
    await peer.hear("AUTH PLAIN")
    await peer.say(reply)


async def take(peer: Peer, reply: str = "250 2.0.0 taken") -> None:
    """One letter, whole."""
    await peer.begin()
    await peer.take(reply)


async def farewell(peer: Peer) -> None:
    """The client's QUIT, answered."""
    await peer.hear("QUIT")
    await peer.say("221 2.0.0 bye")


@asynccontextmanager
async def server(*plays: Play) -> AsyncIterator[Endpoint]:
    """Plays each script on a connection of its own, in the order in which they come; leaving waits for all of them."""
    left = list(plays)
    done: list[asyncio.Future[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        play = left.pop(0)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.append(ended)
        try:
            await play(Peer(reader, writer))
            ended.set_result(None)
        except BaseException as error:  # noqa: BLE001  raised again below, in the test
            ended.set_exception(error)
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", free_port())
    async with listener:
        yield Endpoint("127.0.0.1", listener.sockets[0].getsockname()[1], Security.NONE)
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*done)
        assert left == [], "a connection never came"


async def until(is_so: Callable[[], bool]) -> None:
    """Lets everyone else go on until it is so."""
    async with asyncio.timeout(DEADLINE):
        for _ in count():
            if is_so():
                return
            await asyncio.sleep(0)


@dataclass
class Desk:
    """What a sender lends its lanes; `results` in the order in which they were reported."""

    journal: Journal
    clock: DatabaseClock = field(default_factory=DatabaseClock)
    caps: ConnectionCaps = field(default_factory=ConnectionCaps)
    tokens: TokenSource = field(default_factory=lambda: TokenSource("", Keyring([new_key()])))
    results: list[Result] = field(default_factory=list)
    letters: int = 0

    def lane(
        self,
        endpoint: Endpoint,
        *,
        number: int = 1,
        pace: int = 0,
        idle: int = 1,
        cap: int | None = None,
        lease: timedelta = timedelta(minutes=1),
        login: Login = PASSWORD,
    ) -> Lane:
        """The lane of mailbox `number`, whose lease runs for `lease` from the scene's beginning."""
        address = parse_address(f"m{number}@a.test")
        mailbox = SendingMailbox(
            id=number,
            address=address,
            display_name="Ann",
            reply_to=None,
            endpoint=endpoint,
            login=login,
            pace_seconds=pace,
            provider_id=1,
            dialect="",
            max_connections=cap,
            idle_seconds=idle,
            opt_out_base_url="https://stop.example.com",
            files_copies=False,
            values={},
        )
        means = Means(
            journal=self.journal,
            clock=self.clock,
            deadlines=Deadlines(),
            retry=RetryPolicy(),
            helo="host.example",
            caps=self.caps,
            tokens=lambda: self.tokens,
            report=self.results.append,
        )
        return Lane(mailbox, LeaseGrant(number, 1, NOW + lease), means)

    def work(
        self,
        lane: Lane,
        *,
        due_in: float = 0.0,
        reserved_ago: float = 0.0,
        content: bytes = b"Subject: x\r\n\r\nHi\r\n",
    ) -> Work:
        """Puts one more letter into a lane; its attempt has the letter's number."""
        self.letters += 1
        draft = Draft(self.letters, lane.mailbox.id, 1, "Hello", "zed@z.test", False, content, NOW)
        at = NOW + timedelta(seconds=due_in)
        work = Work(
            draft, Reservation(self.letters, self.letters, 1, lane.mailbox.id, 1, at), monotonic() - reserved_ago
        )
        lane.put(work)
        return work

    @property
    def said(self) -> list[tuple[int, str, str]]:
        return [(result.attempt_id, str(result.outcome), result.reason_code) for result in self.results]


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    journal = Journal.open_free(folder)
    found = Desk(journal)
    found.clock.set(NOW, asked_at=monotonic(), answered_at=monotonic())
    try:
        yield found
    finally:
        journal.close()
