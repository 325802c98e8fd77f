"""The sandbox in one event loop: every port of every provider, one ledger."""

import asyncio
import ssl
from types import TracebackType
from typing import Self

from mailfleet.base.errors import SetupError
from mailfleet.providers.sandbox.config import Face, SandboxConfig, Security
from mailfleet.providers.sandbox.imap import ImapConnection
from mailfleet.providers.sandbox.ledger import Ledger, LedgerWriter, read_ledger
from mailfleet.providers.sandbox.personas import World
from mailfleet.providers.sandbox.provider import PretendProvider
from mailfleet.providers.sandbox.smtp import SmtpConnection

HOST = "127.0.0.1"
BACKLOG = 2048  # chosen: more than the 1,200 mailboxes of a fleet that connect at once

Ports = dict[str, dict[Face, dict[Security, int]]]

_FACES = {"smtp": SmtpConnection, "imap": ImapConnection}


class Sandbox:
    """`async with Sandbox(config) as sandbox` listens and accepts; at its end every connection is cut.

    `ports`: provider, face and security to the port taken. `providers`: by name, with their mailboxes.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.ports: Ports = {}
        self.providers: dict[str, PretendProvider] = {}
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        """SetupError: the ledger, the certificate or a port cannot be used."""
        context = self._tls_context()
        self._writer = LedgerWriter(self.config.ledger)
        self.world = World(self.config.personas, self.config.seed, self._writer)
        try:
            for provider in self._make_providers():
                self.providers[provider.config.name] = provider
                self.world.stores.append(provider.mailboxes)
                self.ports[provider.config.name] = await self._listen(provider, context)
        except SetupError:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def deliver(self, address: str, content: bytes, folder: str = "INBOX") -> int:
        """Puts a mail into a mailbox ("INBOX", "junk", "sent", or a folder's own name), as if it came from outside; its
        UID. InputError: there is no such mailbox or folder.
        """
        return self.world.deliver(address, content, folder)

    def renumber(self, address: str, folder: str = "INBOX") -> int:
        """Gives every mail of a folder another UID, and the folder another UIDVALIDITY, which is returned."""
        return self.world.renumber(address, folder)

    def read(self) -> Ledger:
        """The ledger so far."""
        return read_ledger(self.config.ledger)

    def _tls_context(self) -> ssl.SSLContext | None:
        if self.config.certificate is None or self.config.private_key is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.config.certificate, self.config.private_key)
        except OSError as error:
            raise SetupError(
                f"cannot use the certificate {self.config.certificate}: {error}; the sandbox does not start"
            ) from error
        return context

    def _make_providers(self) -> list[PretendProvider]:
        users = self.config.users
        return [
            PretendProvider(
                provider,
                [user for user in users if user.provider == provider.name],
                self.config.seed,
                self._writer,
                self.world,
            )
            for provider in self.config.providers
        ]

    async def _listen(
        self, provider: PretendProvider, context: ssl.SSLContext | None
    ) -> dict[Face, dict[Security, int]]:
        return {
            face: {
                security: await self._listen_on(provider, face, security, port, context)
                for security, port in ports.items()
            }
            for face, ports in provider.config.ports.items()
        }

    async def _listen_on(
        self, provider: PretendProvider, face: Face, security: Security, port: int, context: ssl.SSLContext | None
    ) -> int:
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: _FACES[face](provider, security, context),
                HOST,
                port,
                ssl=context if security == "tls" else None,
                backlog=BACKLOG,
            )
        except OSError as error:
            raise SetupError(
                f"cannot listen on {HOST}:{port} for {provider.config.name}: {error}; the sandbox does not start"
            ) from error
        self._servers.append(server)
        taken: int = server.sockets[0].getsockname()[1]
        return taken

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        await self.world.close()
        for provider in self.providers.values():
            await provider.close()
        self._writer.close()
