"""The check of a mailbox's logins: the verdict, the stage, and words that tell a person what to do."""

import asyncio
import base64
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from scripted import Peer, scripted

from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.check import CheckResult, check_imap, check_smtp
from mailfleet.providers.endpoint import Deadlines, Endpoint
from mailfleet.providers.faults import Stage
from servers import Authority, free_port, postfix

LOGIN = Login("anna@one.example", "geheim")
SHORT = timedelta(milliseconds=50)
UNHURRIED = Deadlines()
CHECKS: list[Callable[..., Coroutine[Any, Any, CheckResult]]] = [check_smtp, check_imap]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


async def play_imap(peer: Peer, *capabilities: str, login: str = "OK welcome") -> list[str]:
    """An IMAP server up to the end of the login; the lines it heard, without their tags."""
    await peer.say("* OK ready")
    heard = []
    while True:
        line = (await peer.reader.readline()).decode()
        tag, _, command = line.strip().partition(" ")
        if not line or command.startswith("LOGOUT"):
            return heard
        heard.append(command)
        if command.startswith("CAPABILITY"):
            await peer.say(f"* CAPABILITY IMAP4rev1 {' '.join(capabilities)}", f"{tag} OK done")
            continue
        if command.startswith("AUTHENTICATE"):
            await peer.say("+ ")
            heard.append((await peer.reader.readline()).decode().strip())
        await peer.say(f"{tag} {login}")


@pytest.mark.parametrize("check", CHECKS)
async def test_unknown_host(check: Callable[..., Coroutine[Any, Any, CheckResult]]) -> None:
    """A host that does not exist is said to be misspelt."""
    result = await check(Endpoint("no-such-host.invalid", 587, Security.NONE), LOGIN)
    assert (result.ok, result.stage) == (False, Stage.RESOLVE)
    assert "no-such-host.invalid:587" in result.text


@pytest.mark.parametrize("check", CHECKS)
async def test_refused_connection(check: Callable[..., Coroutine[Any, Any, CheckResult]]) -> None:
    """Nobody listens: the text speaks of host and port."""
    result = await check(Endpoint("127.0.0.1", free_port(), Security.NONE), LOGIN)
    assert (result.ok, result.stage, "port" in result.text) == (False, Stage.CONNECT, True)


@pytest.mark.parametrize("check", CHECKS)
async def test_expired_certificate(
    check: Callable[..., Coroutine[Any, Any, CheckResult]], authority: Authority
) -> None:
    """An expired certificate is said to have expired."""

    async def play(peer: Peer) -> None:
        await peer.rest()

    context = authority.server_context("localhost", expired=True)
    async with scripted(play, Security.TLS, host="localhost", context=context, ca_file=authority.ca_file) as endpoint:
        result = await check(endpoint, LOGIN)
    assert (result.ok, result.stage, "has expired" in result.text) == (False, Stage.TLS, True)


@pytest.mark.parametrize("check", CHECKS)
async def test_ca_file_that_is_missing(check: Callable[..., Coroutine[Any, Any, CheckResult]]) -> None:
    """A CA file that cannot be read is a result like any other, so that one row never stops the rest."""
    result = await check(Endpoint("127.0.0.1", 1, Security.TLS, "/nowhere/ca.pem"), LOGIN)
    assert (result.ok, result.stage, "/nowhere/ca.pem" in result.text) == (False, None, True)


async def test_silent_smtp_server() -> None:
    """A server that says nothing is given up, and the text speaks of the security it may want."""

    async def play(peer: Peer) -> None:
        await peer.rest()

    async with scripted(play) as endpoint:
        result = await check_smtp(endpoint, LOGIN, deadlines=Deadlines(greeting=SHORT))
    assert (result.ok, result.stage, "tls" in result.text) == (False, Stage.GREETING, True)


async def test_silent_imap_server() -> None:
    """The thread that asks a silent IMAP server ends by its own deadline."""

    async def play(peer: Peer) -> None:
        await peer.rest()

    async with scripted(play) as endpoint:
        result = await check_imap(endpoint, LOGIN, patience=SHORT)
    assert not result.ok
    assert result.stage is Stage.GREETING


@pytest.mark.parametrize(
    ("login", "line"),
    [
        (LOGIN, "\0anna@one.example\0geheim"),
        (Login("anna@one.example", "пароль"), "\0anna@one.example\0пароль"),
        (Login("anna@one.example", "tok", AuthKind.XOAUTH2), "user=anna@one.example\x01auth=Bearer tok\x01\x01"),
    ],
)
async def test_imap_login_by_sasl(login: Login, line: str) -> None:
    """PLAIN carries every password, XOAUTH2 the token."""
    heard: list[str] = []

    async def play(peer: Peer) -> None:
        heard.extend(await play_imap(peer, "AUTH=PLAIN", "AUTH=XOAUTH2"))

    async with scripted(play) as endpoint:
        assert await check_imap(endpoint, login) == CheckResult(True, None, f"{endpoint}: IMAP login works.")
    assert base64.b64encode(line.encode()).decode() in heard


async def test_imap_login_without_sasl() -> None:
    """A server without AUTH=PLAIN gets LOGIN, and no password that LOGIN cannot carry."""
    heard: list[str] = []

    async def play(peer: Peer) -> None:
        heard.extend(await play_imap(peer))

    async with scripted(play) as endpoint:
        assert (await check_imap(endpoint, LOGIN)).ok
    assert 'LOGIN anna@one.example "geheim"' in heard
    async with scripted(play) as endpoint:
        result = await check_imap(endpoint, Login("anna@one.example", "пароль"))
    assert (result.ok, result.stage, "ASCII" in result.text) == (False, Stage.AUTH, True)


@pytest.mark.parametrize("capability", ["AUTH=PLAIN", "IDLE"])
async def test_wrong_imap_password(capability: str) -> None:
    """The server's words and advice come back, the password does not."""

    async def play(peer: Peer) -> None:
        await play_imap(peer, capability, login="NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")

    async with scripted(play) as endpoint:
        result = await check_imap(endpoint, LOGIN)
    assert (result.ok, result.stage) == (False, Stage.AUTH)
    assert "[AUTHENTICATIONFAILED] Invalid credentials (Failure)" in result.text
    assert "b'" not in result.text and "app password" in result.text and "geheim" not in result.text


async def test_imap_starttls_is_not_skipped() -> None:
    """Without STARTTLS the IMAP login is never said."""
    heard: list[str] = []

    async def play(peer: Peer) -> None:
        heard.extend(await play_imap(peer, "AUTH=PLAIN"))

    async with scripted(play, Security.STARTTLS) as endpoint:
        result = await check_imap(endpoint, LOGIN)
    assert (result.ok, result.stage, "STARTTLS" in result.text) == (False, Stage.STARTTLS, True)
    assert set(heard) == {"CAPABILITY"}


async def test_imap_starttls_comes_before_the_login(authority: Authority) -> None:
    """With STARTTLS the login goes out inside TLS, to a server whose certificate holds."""
    context = authority.server_context("localhost")
    heard: list[str] = []

    async def play(peer: Peer) -> None:
        await peer.say("* OK ready")
        tag = (await peer.hear()).split()[0]
        await peer.say("* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED", f"{tag} OK done")
        tag = (await peer.hear()).split()[0]
        await peer.say(f"{tag} OK go ahead")
        await peer.writer.start_tls(context)
        tag = (await peer.hear()).split()[0]
        await peer.say("* CAPABILITY IMAP4rev1 AUTH=PLAIN", f"{tag} OK done")
        while line := (await peer.reader.readline()).decode():
            heard.append(line.strip())
            tag = line.split()[0]
            if "CAPABILITY" in line:
                await peer.say("* CAPABILITY IMAP4rev1 AUTH=PLAIN", f"{tag} OK done")
            elif "AUTHENTICATE" in line:
                await peer.say("+ ")
                await peer.reader.readline()
                await peer.say(f"{tag} OK welcome")
            elif "LOGOUT" in line:
                await peer.say("* BYE", f"{tag} OK bye")

    async with scripted(play, Security.STARTTLS, host="localhost", ca_file=authority.ca_file) as endpoint:
        assert (await check_imap(endpoint, LOGIN)).ok
    assert any("AUTHENTICATE PLAIN" in line for line in heard)


async def test_not_an_imap_server() -> None:
    """A server that greets with something else is told to be no IMAP server."""

    async def play(peer: Peer) -> None:
        await peer.say("220 mail.example ESMTP")
        await peer.rest()

    async with scripted(play) as endpoint:
        result = await check_imap(endpoint, LOGIN)
    assert (result.ok, result.stage) == (False, Stage.GREETING)


async def test_fifty_at_a_time_against_postfix() -> None:
    """Fifty checks at once each get their own right answer from a real server."""
    with postfix({"anna@one.example": "geheim"}) as server:
        endpoint = Endpoint(server.host, server.port, Security.STARTTLS, server.ca_file)
        logins = [LOGIN if number % 5 else Login("anna@one.example", "falsch") for number in range(50)]
        results = await asyncio.gather(*(check_smtp(endpoint, login, deadlines=UNHURRIED) for login in logins))
    assert [result.ok for result in results] == [login is LOGIN for login in logins]
    assert {result.stage for result in results if not result.ok} == {Stage.AUTH}
