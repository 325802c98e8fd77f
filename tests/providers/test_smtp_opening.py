"""How a connection comes about, and every way in which it does not."""

import asyncio
import base64
import socket
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiosmtplib
import pytest
from scripted import Peer, scripted

from mailfleet.base.errors import SetupError
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login, choose_exchange
from mailfleet.providers.endpoint import Deadlines, Endpoint, tls_context
from mailfleet.providers.faults import Stage, Unreached, unreached
from mailfleet.providers.smtp import SmtpSession
from servers import Authority, free_port

SHORT = timedelta(milliseconds=50)
PATIENT = Deadlines(*(timedelta(seconds=10),) * 10)
LOGIN = Login("anna@one.example", "geheim")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


async def open_session(endpoint: Endpoint, login: Login | None = None, deadlines: Deadlines = PATIENT) -> SmtpSession:
    return await SmtpSession.open(endpoint, login, helo="client.example", deadlines=deadlines)


async def failure(endpoint: Endpoint, login: Login | None = None, deadlines: Deadlines = PATIENT) -> Unreached:
    with pytest.raises(Unreached) as caught:
        await open_session(endpoint, login, deadlines)
    return caught.value


async def start_tls(peer: Peer, context: ssl.SSLContext, answer: bytes = b"220 go ahead\r\n") -> None:
    await peer.hear("STARTTLS")
    peer.writer.write(answer)
    await peer.writer.start_tls(context)


def bits(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_host_that_does_not_exist() -> None:
    """A name that no resolver knows fails at resolve, and the text speaks of the spelling."""
    error = await failure(Endpoint("no-such-host.invalid", 587, Security.NONE))
    assert error.stage is Stage.RESOLVE
    assert "no-such-host.invalid" in str(error)
    assert error.hint


async def test_host_name_that_is_none() -> None:
    """A name that cannot be one is told as an unknown host."""
    error = await failure(Endpoint("a..b" + "x" * 80, 587, Security.NONE))
    assert error.stage is Stage.RESOLVE


async def test_port_that_refuses() -> None:
    """Nobody listens: connect, with words and not with an error number."""
    error = await failure(Endpoint("127.0.0.1", free_port(), Security.NONE))
    assert (error.stage, "refused" in str(error), bool(error.hint)) == (Stage.CONNECT, True, True)


async def test_greeting_that_does_not_come() -> None:
    """A server that takes the connection and says nothing is given up after the deadline."""

    async def play(peer: Peer) -> None:
        assert await peer.rest() == b""

    async with scripted(play) as endpoint:
        error = await failure(endpoint, deadlines=replace(PATIENT, greeting=SHORT))
    assert error.stage is Stage.GREETING


@pytest.mark.parametrize("greeting", ["554 5.7.1 not you", "421 too many connections", "SSH-2.0-OpenSSH_9.2"])
async def test_greeting_that_refuses(greeting: str) -> None:
    """A refusing greeting comes back as the reply; what is no SMTP has none."""

    async def play(peer: Peer) -> None:
        await peer.say(greeting)
        await peer.rest()

    async with scripted(play) as endpoint:
        error = await failure(endpoint)
    assert error.stage is Stage.GREETING
    assert (error.reply and error.reply.code) == (int(greeting[:3]) if greeting[0] != "S" else None)


@pytest.mark.parametrize("stage", [Stage.GREETING, Stage.EHLO, Stage.AUTH])
async def test_server_that_hangs_up(stage: Stage) -> None:
    """A connection lost while it is opened names the stage."""

    async def play(peer: Peer) -> None:
        if stage is Stage.EHLO:
            await peer.say("220 hello")
            await peer.hear("EHLO")
        if stage is Stage.AUTH:
            await peer.greet("AUTH PLAIN")
            await peer.hear("AUTH")

    async with scripted(play) as endpoint:
        assert (await failure(endpoint, LOGIN)).stage is stage


@pytest.mark.parametrize("stage", [Stage.EHLO, Stage.AUTH])
async def test_server_that_falls_silent(stage: Stage) -> None:
    """A deadline while opening names the stage."""

    async def play(peer: Peer) -> None:
        await peer.say("220 hello")
        if stage is Stage.AUTH:
            await peer.meet("AUTH PLAIN")
        await peer.rest()

    async with scripted(play) as endpoint:
        assert (await failure(endpoint, LOGIN, replace(PATIENT, command=SHORT))).stage is stage


async def test_refused_ehlo() -> None:
    """A server that refuses EHLO is not talked into HELO: without extensions there is no login."""

    async def play(peer: Peer) -> None:
        await peer.say("220 hello")
        await peer.hear("EHLO")
        await peer.say("550 5.7.1 your name is bad")
        assert await peer.rest() == b""

    async with scripted(play) as endpoint:
        error = await failure(endpoint)
    assert (error.stage, error.reply and error.reply.code) == (Stage.EHLO, 550)


async def test_starttls_that_is_not_offered() -> None:
    """No downgrade: without STARTTLS the login is never said."""

    async def play(peer: Peer) -> None:
        await peer.greet("AUTH PLAIN LOGIN")
        assert await peer.rest() == b""

    async with scripted(play, Security.STARTTLS) as endpoint:
        error = await failure(endpoint, LOGIN)
    assert (error.stage, error.reply) == (Stage.STARTTLS, None)


async def test_starttls_that_is_refused() -> None:
    """No downgrade either when STARTTLS is offered and then refused."""

    async def play(peer: Peer) -> None:
        await peer.greet("STARTTLS", "AUTH PLAIN LOGIN")
        await peer.hear("STARTTLS")
        await peer.say("454 4.7.0 not now")
        assert await peer.rest() == b""

    async with scripted(play, Security.STARTTLS) as endpoint:
        error = await failure(endpoint, LOGIN)
    assert (error.stage, error.reply and error.reply.code) == (Stage.STARTTLS, 454)


async def test_bytes_injected_before_the_handshake_are_no_answers(authority: Authority) -> None:
    """RFC 3207 §4.2: what a man in the middle adds in the clear, behind the 220, is not read as said inside TLS."""
    context = authority.server_context("localhost")

    async def play(peer: Peer) -> None:
        await peer.greet("STARTTLS", "SIZE 1")
        await start_tls(peer, context, b"220 go ahead\r\n250-evil\r\n250-SIZE 7\r\n250 AUTH XOAUTH2\r\n")
        await peer.meet("SIZE 5000", "AUTH PLAIN")
        await peer.hear("AUTH PLAIN")
        await peer.say("235 2.7.0 welcome")
        await peer.rest()

    async with scripted(play, Security.STARTTLS, host="localhost", ca_file=authority.ca_file) as endpoint:
        session = await open_session(endpoint, LOGIN)
        assert session._extensions["size"] == "5000"
        assert session.usable
        session.abort()


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize(
    ("trouble", "words"),
    [("expired", "has expired"), ("other name", "another host name"), ("unknown", "not trusted")],
)
async def test_bad_certificate(
    authority: Authority, tmp_path: Path, security: Security, trouble: str, words: str
) -> None:
    """An expired, foreign or unknown certificate ends it at tls, says which, and no login is sent."""
    name = "elsewhere.example" if trouble == "other name" else "localhost"
    context = authority.server_context(name, expired=trouble == "expired")
    (tmp_path / "other").mkdir()
    trusted = Authority.create(tmp_path / "other") if trouble == "unknown" else authority

    async def play(peer: Peer) -> None:
        if security is Security.STARTTLS:
            await peer.greet("STARTTLS")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await start_tls(peer, context)

    async with scripted_tls(play, security, context, trusted.ca_file) as endpoint:
        error = await failure(endpoint, LOGIN)
    assert (error.stage, words in str(error), bool(error.hint)) == (Stage.TLS, True, True)


def scripted_tls(play, security: Security, context: ssl.SSLContext, ca_file: str):
    implicit = context if security is Security.TLS else None
    return scripted(play, security, host="localhost", context=implicit, ca_file=ca_file)


async def test_tls_towards_a_server_that_speaks_plainly(authority: Authority) -> None:
    """security = tls on a STARTTLS port: the text says to look at port and security."""

    async def play(peer: Peer) -> None:
        await peer.say("220 plain.example ESMTP")
        await peer.rest()

    async with scripted(play, Security.TLS, host="localhost", ca_file=authority.ca_file) as endpoint:
        error = await failure(endpoint)
    assert (error.stage, "starttls" in error.hint) == (Stage.TLS, True)


async def test_handshake_that_does_not_end(authority: Authority) -> None:
    """A handshake has a deadline too, and counts as tls."""

    async def play(peer: Peer) -> None:
        await peer.rest()

    async with scripted(play, Security.TLS, host="localhost", ca_file=authority.ca_file) as endpoint:
        error = await failure(endpoint, deadlines=replace(PATIENT, greeting=SHORT))
    assert error.stage is Stage.TLS


def test_tls_is_verified_and_modern(authority: Authority) -> None:
    """Certificates and names are checked, nothing below TLS 1.2 is spoken, and a context is built once per CA file."""
    context = tls_context(authority.ca_file)
    assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls_context(authority.ca_file) is context
    assert tls_context(None) is not context


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_ca_file_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    """A missing or broken CA file is the installation's fault and is named."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SetupError, match=r"ca\.pem"):
        await open_session(Endpoint("127.0.0.1", 1, Security.TLS, str(file)))


DIALOGUES = {
    "PLAIN LOGIN": [("AUTH PLAIN " + bits("\0anna@one.example\0geheim"), "235 2.7.0 welcome")],
    "LOGIN": [
        ("AUTH LOGIN", "334 " + bits("Username:")),
        (bits("anna@one.example"), "334 " + bits("Password:")),
        (bits("geheim"), "235 2.7.0 welcome"),
    ],
}


@pytest.mark.parametrize("offered", DIALOGUES)
async def test_password_login(offered: str) -> None:
    """PLAIN where offered, else LOGIN, each in the words of its own standard."""

    async def play(peer: Peer) -> None:
        await peer.greet(f"AUTH CRAM-MD5 {offered}")
        for line, answer in DIALOGUES[offered]:
            assert await peer.hear() == line
            await peer.say(answer)
        await peer.rest()

    async with scripted(play) as endpoint:
        (await open_session(endpoint, LOGIN)).abort()


async def test_xoauth2_login() -> None:
    """The token goes out in the form that Google and Microsoft document."""

    async def play(peer: Peer) -> None:
        await peer.greet("AUTH PLAIN XOAUTH2")
        assert await peer.hear() == "AUTH XOAUTH2 " + bits("user=anna@one.example\x01auth=Bearer ya29.t\x01\x01")
        await peer.say("235 2.7.0 Accepted")
        await peer.rest()

    async with scripted(play) as endpoint:
        (await open_session(endpoint, Login("anna@one.example", "ya29.t", AuthKind.XOAUTH2))).abort()


async def test_xoauth2_refusal_is_read_to_its_end() -> None:
    """The 334 with the error in JSON is answered by an empty line, and the reply behind it is the answer."""

    async def play(peer: Peer) -> None:
        await peer.greet("AUTH XOAUTH2")
        await peer.hear("AUTH XOAUTH2")
        await peer.say("334 " + bits('{"status":"401"}'))
        assert await peer.hear() == ""
        await peer.say("535-5.7.8 Username and Password not accepted.", "535 5.7.8 see our help")
        await peer.rest()

    async with scripted(play) as endpoint:
        error = await failure(endpoint, Login("anna@one.example", "ya29.t", AuthKind.XOAUTH2))
    assert error.stage is Stage.AUTH
    assert error.reply is not None
    assert (error.reply.code, error.reply.enhanced, len(error.reply.lines)) == (535, "5.7.8", 2)


async def test_wrong_password() -> None:
    """A refused login is told as such, once, with the server's words and never with the password."""

    async def play(peer: Peer) -> None:
        await peer.greet("AUTH PLAIN LOGIN")
        await peer.hear("AUTH PLAIN")
        await peer.say("535 5.7.8 bad credentials")
        assert await peer.rest() == b""

    async with scripted(play) as endpoint:
        error = await failure(endpoint, LOGIN)
    assert error.stage is Stage.AUTH
    assert "5.7.8 bad credentials" in str(error) and "password" in error.hint
    told = f"{error} {error.hint} {error!r} {LOGIN!r}"
    assert "geheim" not in told and bits("geheim") not in told


async def test_no_mechanism_of_ours() -> None:
    """A server that offers no login we know is told so, with what it offers."""

    async def play(peer: Peer) -> None:
        await peer.greet("AUTH CRAM-MD5 GSSAPI")
        assert await peer.rest() == b""

    async with scripted(play) as endpoint:
        error = await failure(endpoint, LOGIN)
    assert (error.stage, "cram-md5" in str(error)) == (Stage.AUTH, True)


def test_token_is_never_sent_as_a_password() -> None:
    """An XOAUTH2 login has no exchange by PLAIN or LOGIN."""
    assert choose_exchange(Login("a", "t", AuthKind.XOAUTH2), ["plain", "login"]) is None


async def test_cancelled_opening_leaves_no_connection() -> None:
    """A cancellation passes through and hangs up."""
    greeted = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.greet("AUTH PLAIN")
        await peer.hear("AUTH")
        greeted.set()
        assert await peer.rest() == b""

    async with scripted(play) as endpoint:
        task = asyncio.create_task(open_session(endpoint, LOGIN))
        await greeted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_second_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose first address is dead is reached at its second."""

    async def play(peer: Peer) -> None:
        await peer.greet("HELP")
        await peer.rest()

    async with scripted(play, host="two.example") as endpoint:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", free_port())),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", endpoint.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        (await open_session(endpoint)).abort()


def foreign_errors() -> list[Exception]:
    """One of each error that aiosmtplib, sockets and TLS can raise."""
    kinds: list[type[Exception]] = [aiosmtplib.SMTPException]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    smtp = [
        kind(*((550, "5.7.1 no", "x")[:3] if "Refused" in kind.__name__ else (550, "5.7.1 no")))
        if issubclass(kind, aiosmtplib.SMTPResponseException)
        else kind("text")  # type: ignore[arg-type]
        for kind in kinds
    ]
    system = [ConnectionResetError(), BrokenPipeError(), TimeoutError(), OSError(113, "No route to host")]
    return [*smtp, *system, socket.gaierror(socket.EAI_AGAIN, "again"), ssl.SSLError(1, "x"), UnicodeError("x")]


@pytest.mark.parametrize("error", foreign_errors(), ids=lambda error: type(error).__name__)
def test_every_foreign_error_has_words(error: Exception) -> None:
    """Whatever the library or the system raises becomes one of ours, with a text for a person."""
    endpoint = Endpoint("mail.example", 587, Security.STARTTLS)
    for stage in Stage:
        ours = unreached(stage, endpoint, error)
        assert ours.stage is stage
        assert str(ours).startswith("mail.example:587: ") and len(str(ours)) > len("mail.example:587: ")
