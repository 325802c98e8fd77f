"""A sandbox with one provider and three users, and a client that speaks raw lines."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailfleet.providers.sandbox import ProviderConfig, Sandbox, SandboxConfig, User

USERS = (
    User("ann@a.test", "ann@a.test", "secret-ann", "alpha", "alpha-1", token="token-ann"),
    User("bob@a.test", "u2", "secret-bob", "alpha", "alpha-1"),
    User("cat@c.test", "cat@c.test", "secret-cat", "alpha", "alpha-2"),
)
LETTER = (
    b"From: Ann <ann@a.test>\r\nTo: Zed <zed@z.test>\r\nSubject: Hello\r\n there\r\nMessage-ID: <1@a.test>\r\n"
    b"In-Reply-To: <0@a.test>\r\nList-Unsubscribe: <https://a.test/u>\r\n\r\nOne.\r\n..Two dots.\r\n"
)

OpenSandbox = Callable[..., AbstractAsyncContextManager[Sandbox]]


@dataclass(frozen=True)
class Certificate:
    chain: Path
    key: Path
    trust: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificate]:
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(folder / "chain.pem"), append=number > 0)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    yield Certificate(folder / "chain.pem", folder / "key.pem", trust)


@pytest.fixture
def open_sandbox(tmp_path: Path, certificate: Certificate) -> OpenSandbox:
    """`async with open_sandbox(limits=…)`: fields of the one provider, `alpha`."""

    @asynccontextmanager
    async def open_it(**provider: Any) -> AsyncIterator[Sandbox]:
        ports = {face: {"none": 0, "starttls": 0, "tls": 0} for face in ("smtp", "imap")}
        config = SandboxConfig(
            tmp_path / "ledger.jsonl",
            (ProviderConfig("alpha", ports, **provider),),  # type: ignore[arg-type]
            USERS,
            certificate=certificate.chain,
            private_key=certificate.key,
        )
        async with Sandbox(config) as sandbox:
            yield sandbox

    return open_it


class Talk:
    """One raw connection; `say` returns the code and the whole text of one reply."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> tuple[int, str]:
        lines = [await self.reader.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(await self.reader.readline())
        if not lines[-1]:
            raise ConnectionResetError("closed")
        return int(lines[-1][:3]), "\n".join(line[4:].rstrip(b"\r\n").decode() for line in lines)

    async def say(self, line: bytes) -> tuple[int, str]:
        self.writer.write(line + b"\r\n")
        return await self.reply()

    async def send(self, rcpt: str = "zed@z.test", letter: bytes = LETTER) -> tuple[int, str]:
        """One transaction up to its first refusal, or the reply after the final dot."""
        for line in (b"MAIL FROM:<ann@a.test>", b"RCPT TO:<%b>" % rcpt.encode(), b"DATA"):
            code, text = await self.say(line)
            if code >= 400:
                return code, text
        return await self.say(letter + b".")


@asynccontextmanager
async def talk(sandbox: Sandbox, user: User | None = USERS[0]) -> AsyncIterator[Talk]:
    """A connection past greeting and EHLO, logged in unless `user` is None."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.ports["alpha"]["smtp"]["none"])
    client = Talk(reader, writer)
    try:
        await client.reply()
        await client.say(b"EHLO host-1")
        if user is not None:
            claim = b64encode(f"\0{user.login}\0{user.password}".encode())
            assert (await client.say(b"AUTH PLAIN " + claim))[0] == 235
        yield client
    finally:
        writer.close()
