"""An SMTP server that plays what a test writes, line by line: for all that a well-behaved server never does."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mailfleet.model.words import Security
from mailfleet.providers.endpoint import Endpoint
from servers import free_port

PATIENCE = 10.0  # chosen: seconds after which a dialogue is taken for stuck and the test fails


@dataclass
class Peer:
    """The server's side of one connection; `heard` is every line so far, without line ends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[str] = field(default_factory=list)

    async def hear(self, start: str = "") -> str:
        line = (await self.reader.readline()).decode()
        assert line.endswith("\r\n"), f"the client hung up, after {self.heard}"
        assert line.startswith(start), f"expected {start}, got {line!r}"
        self.heard.append(line.removesuffix("\r\n"))
        return self.heard[-1]

    async def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self.writer.drain()

    async def greet(self, *extensions: str) -> None:
        await self.say("220 peer.example ESMTP")
        await self.meet(*extensions)

    async def meet(self, *extensions: str) -> None:
        await self.hear("EHLO")
        lines = ["peer.example", *extensions]
        await self.say(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    async def begin(self, *replies: str) -> None:
        """Answers to MAIL, RCPT and DATA, one by one; fewer than three leave the rest unheard."""
        for command, reply in zip(("MAIL FROM:", "RCPT TO:", "DATA"), replies or BEGUN, strict=False):
            await self.hear(command)
            await self.say(reply)

    async def take(self, reply: str = "250 2.0.0 taken") -> bytes:
        """The text up to the dot, as it came over the wire."""
        text = await self.reader.readuntil(b"\r\n.\r\n")
        await self.say(reply)
        return text.removesuffix(b".\r\n")

    async def rest(self) -> bytes:
        """All that comes until the client hangs up."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


BEGUN = ("250 2.1.0 sender ok", "250 2.1.5 recipient ok", "354 go ahead")
Play = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def scripted(
    play: Play,
    security: Security = Security.NONE,
    *,
    host: str = "127.0.0.1",
    context: ssl.SSLContext | None = None,
    ca_file: str | None = None,
) -> AsyncIterator[Endpoint]:
    """The endpoint of a server that plays `play` on its first connection; leaving waits for the play's end and raises
    what it raised. With a TLS `context` the handshake may fail, and then there is no play.
    """
    is_played = context is None
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal is_played
        is_played = True
        try:
            await play(Peer(reader, writer))
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001  raised again below, in the test
            done.set_exception(error)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", free_port(), ssl=context)
    async with server:
        yield Endpoint(host, server.sockets[0].getsockname()[1], security, ca_file)
        if is_played:
            await asyncio.wait_for(done, PATIENCE)
