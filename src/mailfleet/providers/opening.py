"""From a host name to a logged-in SMTP connection, with aiosmtplib."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from mailfleet.mail.replies import Reply
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Exchange, Login, choose_exchange
from mailfleet.providers.endpoint import Deadlines, Endpoint, tls_context
from mailfleet.providers.faults import Stage, Unreached, reaching, read_reply, refused, unreached


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection ready for MAIL, and what EHLO offered: lower-case keyword → parameters."""

    transport: asyncio.Transport
    extensions: Mapping[str, str]


async def open_connection(endpoint: Endpoint, login: Login | None, *, helo: str, deadlines: Deadlines) -> Opened:
    """Unreached with the stage at which it failed; the connection is then gone.

    1. resolve and connect, 2. TLS at once if the endpoint asks for it, and the greeting, 3. EHLO, 4. STARTTLS if
    asked for, never without it, and EHLO anew (RFC 3207 §4.2), 5. AUTH if there is a login.
    """
    client = SMTP(
        hostname=endpoint.host,
        local_hostname=helo,
        timeout=deadlines.command.total_seconds(),
        use_tls=endpoint.security is Security.TLS,
        start_tls=False,
        tls_context=None if endpoint.security is Security.NONE else tls_context(endpoint.ca_file),
    )
    connection = await _connect(endpoint, deadlines)
    try:
        await _greet(client, connection, endpoint, deadlines)
        if endpoint.security is Security.STARTTLS:
            await _secure(client, endpoint)
        if login is not None:
            await _log_in(client, endpoint, login)
        return _hand_over(client, endpoint)
    except BaseException:
        if client.transport is not None:
            cast(asyncio.Transport, client.transport).abort()
        raise


def _hand_over(client: SMTP, endpoint: Endpoint) -> Opened:
    with reaching(Stage.AUTH, endpoint):
        if not client.is_connected:
            raise ConnectionResetError
    return Opened(cast(asyncio.Transport, client.transport), client.esmtp_extensions)


async def _connect(endpoint: Endpoint, deadlines: Deadlines) -> socket.socket:
    """The first of the host's addresses that answers; they share the deadline, so a dead IPv6 way leaves time."""
    loop = asyncio.get_running_loop()
    with reaching(Stage.RESOLVE, endpoint):
        async with asyncio.timeout(deadlines.resolve.total_seconds()):
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    failure: Unreached | None = None
    for family, kind, protocol, _, address in found:
        try:
            with reaching(Stage.CONNECT, endpoint):
                return await _dial(socket.socket(family, kind, protocol), address, deadlines.connect / len(found))
        except Unreached as error:
            failure = error
    raise failure or unreached(Stage.RESOLVE, endpoint, socket.gaierror(socket.EAI_NONAME, ""))


async def _dial(connection: socket.socket, address: object, within: timedelta) -> socket.socket:
    connection.setblocking(False)
    try:
        async with asyncio.timeout(within.total_seconds()):
            await asyncio.get_running_loop().sock_connect(connection, address)  # type: ignore[arg-type]
    except BaseException:
        connection.close()
        raise
    return connection


async def _greet(client: SMTP, connection: socket.socket, endpoint: Endpoint, deadlines: Deadlines) -> None:
    try:
        await client.connect(sock=connection, timeout=deadlines.greeting.total_seconds())
    except (SMTPException, OSError) as error:
        raise unreached(_greeting_stage(error), endpoint, error) from error
    with reaching(Stage.EHLO, endpoint):
        await client.ehlo()


def _greeting_stage(error: Exception) -> Stage:
    """aiosmtplib makes one step of the handshake and the greeting: under a failed handshake lies no SMTP error."""
    cause = error.__cause__
    return Stage.TLS if cause is not None and not isinstance(cause, SMTPException) else Stage.GREETING


async def _secure(client: SMTP, endpoint: Endpoint) -> None:
    """No downgrade: without STARTTLS nothing more is said. aiosmtplib drops what was sent before the handshake."""
    if not client.supports_extension("starttls"):
        raise Unreached(
            Stage.STARTTLS,
            f"{endpoint}: the server does not offer STARTTLS, and no password was sent",
            hint="Check the port, or use port 465 with security tls.",
        )
    try:
        await client.starttls()
    except SMTPResponseException as error:
        raise unreached(Stage.STARTTLS, endpoint, error) from error
    except (SMTPException, OSError) as error:
        raise unreached(Stage.TLS, endpoint, error) from error
    with reaching(Stage.EHLO, endpoint):
        await client.ehlo()


async def _log_in(client: SMTP, endpoint: Endpoint, login: Login) -> None:
    exchange = choose_exchange(login, client.server_auth_methods)
    if exchange is None:
        raise _no_mechanism(endpoint, login, client.server_auth_methods)
    with reaching(Stage.AUTH, endpoint):
        reply = await _exchange(client, exchange)
    if reply.code is None or reply.code // 100 != 2:  # RFC 4954 says 235; RFC 5321 §4.2 has us read the first digit
        raise refused(Stage.AUTH, endpoint, reply)


async def _exchange(client: SMTP, exchange: Exchange) -> Reply:
    response = await client.execute_command(*exchange.command)
    for answer in exchange.answers:
        if response.code == 334:
            response = await client.execute_command(answer)
    return read_reply(response.code, response.message.split("\n"))


def _no_mechanism(endpoint: Endpoint, login: Login, offered: Sequence[str]) -> Unreached:
    wanted = "XOAUTH2" if login.kind is AuthKind.XOAUTH2 else "PLAIN or LOGIN"
    return Unreached(
        Stage.AUTH,
        f"{endpoint}: the server offers no login by {wanted}, but {' '.join(offered) or 'none at all'}",
        hint="Check the port (587 or 465, not 25), and whether the mailbox wants a password or XOAUTH2.",
    )
