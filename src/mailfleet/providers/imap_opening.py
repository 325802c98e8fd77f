"""From a host name to a logged-in IMAP connection.

TLS sessions are not resumed: reading `SSLSocket.session` leaks 7 kB each time (CPython 3.11), to spare 0.2 of 2.8 ms.
"""

import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint, tls_context
from mailfleet.providers.imap_faults import FaultKind, ImapFault, ImapStage, mapped
from mailfleet.providers.imap_wire import Client, Wire

GREETING_OCTETS = 65536  # chosen: greeting, capabilities and login answers are a few hundred
_ATOM_SPECIALS = set('(){ %*"\\]')  # RFC 3501 §9


@dataclass(frozen=True, slots=True)
class ImapDeadlines:
    """How long each phase may take in all, however the octets drip. RFC 3501 names none.

    Resolving a name is bounded by the system's resolver, which tries its servers for about 20 s. `login` counts from
    the connection to the end of the login, `command` each command, `fetch` each batch or body, `append` a copy.
    """

    connect: timedelta = timedelta(seconds=30)  # chosen: at the next round it is tried again
    login: timedelta = timedelta(seconds=60)  # chosen: some servers delay a wrong login by up to 30 s
    command: timedelta = timedelta(seconds=60)  # chosen: a SEARCH in a large folder without an index
    fetch: timedelta = timedelta(seconds=120)  # chosen: 1.6 MB, the largest batch, over a line of 128 kbit/s
    append: timedelta = timedelta(seconds=120)
    logout: timedelta = timedelta(seconds=5)  # chosen: nothing hangs on the answer


def open_client(endpoint: Endpoint, login: Login, deadlines: ImapDeadlines) -> Client:
    """ImapFault with the stage at which it failed, the connection then gone; SetupError for an unusable CA file.

    1. resolve and connect, 2. TLS at once if the endpoint asks for it, and the greeting, 3. STARTTLS if asked for,
    never without it, 4. log in, 5. what the server offers to whoever is logged in.
    """
    context = None if endpoint.security is Security.NONE else tls_context(endpoint.ca_file)
    wire = Wire(_connect(endpoint, deadlines.connect))
    try:
        wire.allow(deadlines.login, GREETING_OCTETS)
        if context is not None and endpoint.security is Security.TLS:
            _shake_hands(wire, context, endpoint)
        client = _greet(wire, endpoint)
        if context is not None and endpoint.security is Security.STARTTLS:
            _secure(client, context, endpoint)
        _log_in(client, endpoint, login)
        return client
    except BaseException:
        wire.close()
        raise


def _connect(endpoint: Endpoint, within: timedelta) -> socket.socket:
    """The first of the host's addresses that answers; they share the deadline."""
    with mapped(ImapStage.RESOLVE, endpoint):
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    failure: ImapFault | None = None
    for family, kind, protocol, _, address in found:
        try:
            with mapped(ImapStage.CONNECT, endpoint):
                return _dial(socket.socket(family, kind, protocol), address, within / len(found))
        except ImapFault as error:
            failure = error
    assert failure is not None, "getaddrinfo returns an address or raises"
    raise failure


def _dial(sock: socket.socket, address: object, within: timedelta) -> socket.socket:
    try:
        sock.settimeout(within.total_seconds())
        sock.connect(address)  # type: ignore[arg-type]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _shake_hands(wire: Wire, context: ssl.SSLContext, endpoint: Endpoint) -> None:
    with mapped(ImapStage.TLS, endpoint, wire):
        wire.secure(context, endpoint.host)


def _greet(wire: Wire, endpoint: Endpoint) -> Client:
    with mapped(ImapStage.GREETING, endpoint, wire):
        return Client(wire)


def _secure(client: Client, context: ssl.SSLContext, endpoint: Endpoint) -> None:
    """No downgrade: without STARTTLS nothing more is said."""
    if "STARTTLS" not in client.imap.capabilities:
        raise ImapFault(
            FaultKind.UNTRUSTED,
            ImapStage.STARTTLS,
            f"{endpoint}: the IMAP server does not offer STARTTLS, and no password was sent",
            hint="Check the port, or use port 993 with security tls.",
        )
    with mapped(ImapStage.STARTTLS, endpoint, client.imap.wire):
        client.imap.secure(context, endpoint.host)


def _log_in(client: Client, endpoint: Endpoint, login: Login) -> None:
    """Then asks what is offered to whoever is logged in, where the server did not say so by itself."""
    method = _choose_method(login, client.imap.capabilities)
    if method is None:
        wanted = "XOAUTH2" if login.kind is AuthKind.XOAUTH2 else "this password over this connection"
        raise ImapFault(
            FaultKind.LOGIN,
            ImapStage.AUTH,
            f"{endpoint}: the server offers no login by {wanted}",
            hint="Check port and security, and whether the mailbox wants a password (in ASCII, for some) or XOAUTH2.",
        )
    with mapped(ImapStage.AUTH, endpoint, client.imap.wire):
        method(client)
        client.capabilities()


def _choose_method(login: Login, offered: Collection[str]) -> Callable[[Client], object] | None:
    """SASL PLAIN (RFC 4616) carries every character, LOGIN only ASCII. None: nothing offered carries this login."""
    if login.kind is AuthKind.XOAUTH2:
        words = f"user={login.username}\x01auth=Bearer {login.secret}\x01\x01"
        return _sasl("XOAUTH2", words) if "AUTH=XOAUTH2" in offered else None
    if "AUTH=PLAIN" in offered:
        return _sasl("PLAIN", f"\0{login.username}\0{login.secret}")
    if "LOGINDISABLED" in offered or not (login.username + login.secret).isascii():
        return None
    return lambda client: client.login(_quoted(login.username), login.secret)


def _sasl(mechanism: str, words: str) -> Callable[[Client], object]:
    """A second challenge is the text of a refusal in XOAUTH2, and wants an empty line."""
    answers = iter([words])
    return lambda client: client.sasl_login(mechanism, lambda _challenge: next(answers, ""))


def _quoted(username: str) -> str:
    """imaplib quotes the password and sends the name as it is."""
    if username and not set(username) & _ATOM_SPECIALS:
        return username
    escaped = username.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
