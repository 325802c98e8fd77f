"""Can a mailbox log in? Asked before it is trusted with letters, of its SMTP and its IMAP server, many at a time."""

import asyncio
import imaplib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import LoginError

from mailfleet.base.errors import MailfleetError, SetupError
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Deadlines, Endpoint, tls_context
from mailfleet.providers.faults import WRONG_LOGIN, Stage, Unreached, shorten, unreached
from mailfleet.providers.smtp import SmtpSession

PATIENCE = timedelta(seconds=20)  # chosen: a server that needs longer for a login will not carry letters either
DEADLINES = Deadlines(resolve=PATIENCE, connect=PATIENCE, greeting=PATIENCE, command=PATIENCE)
_THREADS = ThreadPoolExecutor(max_workers=50, thread_name_prefix="check-imap")  # chosen: the import checks 50 at a time


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`stage` is where it failed, None when all went well; `text` says what is wrong and what to do."""

    ok: bool
    stage: Stage | None
    text: str


async def check_smtp(
    endpoint: Endpoint, login: Login, *, helo: str = "localhost", deadlines: Deadlines = DEADLINES
) -> CheckResult:
    try:
        session = await SmtpSession.open(endpoint, login, helo=helo, deadlines=deadlines)
    except (Unreached, SetupError) as error:
        return _failed(error)
    await session.close()
    return CheckResult(True, None, f"{endpoint}: SMTP login works.")


async def check_imap(endpoint: Endpoint, login: Login, *, patience: timedelta = PATIENCE) -> CheckResult:
    """IMAPClient blocks, so it runs in a thread, which ends by its own socket deadlines even when we stop waiting."""
    visit = asyncio.get_running_loop().run_in_executor(_THREADS, _visit_imap, endpoint, login, patience)
    try:
        await asyncio.wait_for(visit, 2 * patience.total_seconds())  # connecting, then talking
    except (Unreached, SetupError) as error:
        return _failed(error)
    except TimeoutError as error:
        return _failed(unreached(Stage.AUTH, endpoint, error))
    return CheckResult(True, None, f"{endpoint}: IMAP login works.")


def _failed(error: MailfleetError) -> CheckResult:
    return CheckResult(False, getattr(error, "stage", None), f"{error} {error.hint}".strip())


def _visit_imap(endpoint: Endpoint, login: Login, patience: timedelta) -> None:
    """1. Connect, with TLS at once if asked for. 2. STARTTLS if asked for, never without it. 3. Log in, and out."""
    seconds = patience.total_seconds()
    context = None if endpoint.security is Security.NONE else tls_context(endpoint.ca_file)
    with _reaching_imap(Stage.CONNECT, endpoint):
        client = IMAPClient(
            endpoint.host,
            endpoint.port,
            ssl=endpoint.security is Security.TLS,
            ssl_context=context,
            timeout=SocketTimeout(seconds, seconds),
        )
    try:
        if endpoint.security is Security.STARTTLS:
            with _reaching_imap(Stage.STARTTLS, endpoint):
                client.starttls(context)
        with _reaching_imap(Stage.AUTH, endpoint):
            _log_in_imap(client, login)
        with suppress(imaplib.IMAP4.error, OSError):
            client.logout()
    finally:
        with suppress(OSError):
            client.shutdown()


def _log_in_imap(client: IMAPClient, login: Login) -> None:
    """SASL PLAIN (RFC 4616) carries every character; LOGIN only ASCII, and imaplib does not quote the user name."""
    if login.kind is AuthKind.XOAUTH2:
        client.oauth2_login(login.username, login.secret)
    elif client.has_capability("AUTH=PLAIN"):
        client.plain_login(login.username, login.secret)
    elif (login.username + login.secret).isascii():
        client.login(login.username, login.secret)
    else:
        raise LoginError("the server takes only ASCII in user name and password")


@contextmanager
def _reaching_imap(stage: Stage, endpoint: Endpoint) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise unreached(_socket_stage(stage, error), endpoint, error) from error
    except imaplib.IMAP4.error as error:
        raise _refused_imap(stage, endpoint, error) from error


def _socket_stage(stage: Stage, error: OSError | UnicodeError) -> Stage:
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return Stage.RESOLVE
    return Stage.TLS if isinstance(error, ssl.SSLError) else stage


def _refused_imap(stage: Stage, endpoint: Endpoint, error: imaplib.IMAP4.error) -> Unreached:
    """imaplib shows the server's words as the repr of bytes."""
    said = shorten(str(error).removeprefix("b'").removesuffix("'"))
    if stage is Stage.STARTTLS:
        return Unreached(
            stage,
            f"{endpoint}: the IMAP server does not offer STARTTLS, and no password was sent: {said}",
            hint="Check the port, or use port 993 with security tls.",
        )
    if stage is Stage.AUTH:
        return Unreached(stage, f"{endpoint}: the IMAP login was refused: {said}", hint=WRONG_LOGIN)
    return Unreached(Stage.GREETING, f"{endpoint}: no IMAP greeting: {said}", hint="Check host and port.")
