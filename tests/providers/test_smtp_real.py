"""The transport against Postfix and its smtp-sink, on both event loops."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import uvloop

from mailfleet.model.words import Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Deadlines, Endpoint
from mailfleet.providers.faults import Ambiguous, Interrupted, Stage, Unreached
from mailfleet.providers.smtp import Envelope, SmtpSession, Submission
from servers import Postfix, postfix, smtp_sink

USERS = {"anna@one.example": "geheim", "boris@one.example": "пароль с пробелом"}
ENVELOPE = Envelope("anna@one.example", "bob@two.example")
DEADLINES = Deadlines(quit=timedelta(seconds=1))

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    with postfix(USERS) as started:
        yield started


async def nothing() -> None:
    """A `before_dot` that lets the dot go."""


def letter(name: str, body: str = "Good day.\r\n.\r\n..\r\n") -> bytes:
    return f"From: anna@one.example\r\nMessage-ID: <{name}@one.example>\r\n\r\n{body}".encode()


def at_sink(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, Security.NONE)


def at_postfix(server: Postfix, security: Security = Security.STARTTLS) -> Endpoint:
    port = server.tls_port if security is Security.TLS else server.port
    return Endpoint(server.host, port, security, server.ca_file)


def as_user(server: Postfix, username: str = "anna@one.example") -> Login:
    return Login(username, server.users[username])


async def submit(
    endpoint: Endpoint, *contents: bytes, login: Login | None = None, envelope: Envelope = ENVELOPE
) -> list[Submission]:
    """All on one connection, one after the other."""
    session = await SmtpSession.open(endpoint, login, helo="client.example", deadlines=DEADLINES)
    try:
        return [await session.submit(envelope, content, before_dot=nothing) for content in contents]
    finally:
        await session.close()


@pytest.mark.parametrize("options", [(), ("-p",)], ids=["pipelining", "one by one"])
def test_sink_gets_what_was_submitted(run: Run, options: tuple[str, ...]) -> None:
    """Twenty letters on one connection arrive once each, octet for octet, at the right recipient."""
    contents = {f"<{number}@one.example>": letter(str(number)) for number in range(20)}
    with smtp_sink(*options) as sink:
        submissions = run(submit(at_sink(sink.port), *contents.values()))
        assert all(submission.is_accepted for submission in submissions)
        arrived = sink.letters()
    assert {found.message_id: found.content.replace(b"\n", b"\r\n") for found in arrived} == contents
    assert len(arrived) == 20
    assert {(found.sender, found.recipient) for found in arrived} == {(ENVELOPE.sender, ENVELOPE.recipient)}


def test_large_letter_arrives_whole(run: Run) -> None:
    """A letter far over one block and over the socket's buffer is written in full before the dot."""
    content = letter("large", ("0123456789" * 7 + "\r\n.dot\r\n") * 100_000)
    with smtp_sink() as sink:
        assert run(submit(at_sink(sink.port), content))[0].is_accepted
        assert sink.letters()[0].content.replace(b"\n", b"\r\n") == content


@pytest.mark.parametrize(
    ("options", "stage", "code"),
    [
        (("-f", "MAIL"), Stage.MAIL, 500),
        (("-r", "RCPT"), Stage.RCPT, 450),
        (("-f", "DATA"), Stage.DATA, 500),
        (("-f", "."), Stage.DOT, 500),
        (("-Q", "RCPT"), Stage.RCPT, 421),
        (("-Q", "."), Stage.DOT, 421),
    ],
)
def test_sink_refuses(run: Run, options: tuple[str, ...], stage: Stage, code: int) -> None:
    """Refusals come back with stage and code, and nothing is filed as accepted."""
    with smtp_sink(*options) as sink:
        (refused,) = run(submit(at_sink(sink.port), letter("1")))
        assert (refused.stage, refused.reply.code, refused.is_accepted) == (stage, code, False)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_sink_hangs_up_before_the_dot(run: Run, command: str) -> None:
    """A connection lost in the envelope is Interrupted, and the sink took no letter."""
    with smtp_sink("-q", command) as sink:
        with pytest.raises(Interrupted):
            run(submit(at_sink(sink.port), letter("1")))
        assert sink.letters() == []


def test_sink_hangs_up_after_the_dot(run: Run) -> None:
    """A connection lost after the dot is Ambiguous."""
    with smtp_sink("-q", ".") as sink, pytest.raises(Ambiguous):
        run(submit(at_sink(sink.port), letter("1")))


def test_slow_sink_meets_the_deadline(run: Run) -> None:
    """A server slower than the deadline after the dot leaves the letter ambiguous and the session unusable."""

    async def hasty(endpoint: Endpoint) -> bool:
        deadlines = replace(DEADLINES, dot=timedelta(milliseconds=50))
        session = await SmtpSession.open(endpoint, None, helo="client.example", deadlines=deadlines)
        with pytest.raises(Ambiguous):
            await session.submit(ENVELOPE, letter("1"), before_dot=nothing)
        return session.usable

    with smtp_sink("-W", ".:3") as sink:
        assert run(hasty(at_sink(sink.port))) is False


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_postfix_takes_letters_after_login(run: Run, server: Postfix, security: Security) -> None:
    """Over TLS and after AUTH, two letters on one connection are accepted and come out at the other end once."""
    names = [str(uuid4()) for _ in range(2)]
    submissions = run(submit(at_postfix(server, security), *map(letter, names), login=as_user(server)))
    assert [submission.reply.enhanced for submission in submissions] == ["2.0.0", "2.0.0"]
    assert all(submission.is_accepted for submission in submissions)
    arrived = [found.message_id for found in server.delivered(2)]
    assert [arrived.count(f"<{name}@one.example>") for name in names] == [1, 1]


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_large_letter_passes_tls(run: Run, server: Postfix, security: Security) -> None:
    """The wait for all content to be written ends over TLS as well."""
    content = letter(str(uuid4()), ("0123456789" * 7 + "\r\n") * 60_000)
    assert run(submit(at_postfix(server, security), content, login=as_user(server)))[0].is_accepted


def test_postfix_knows_a_password_beyond_ascii(run: Run, server: Postfix) -> None:
    """User names and passwords are UTF-8 on the wire."""
    login = as_user(server, "boris@one.example")
    assert run(submit(at_postfix(server), letter("utf8-password"), login=login))[0].is_accepted


def test_postfix_refuses_a_wrong_password(run: Run, server: Postfix) -> None:
    """A wrong password is Unreached at auth, with the reply."""
    with pytest.raises(Unreached) as caught:
        run(submit(at_postfix(server), letter("1"), login=Login("anna@one.example", "falsch")))
    assert caught.value.stage is Stage.AUTH
    assert caught.value.reply is not None and caught.value.reply.code == 535


def test_postfix_refuses_a_recipient_and_takes_the_next(run: Run, server: Postfix) -> None:
    """After a refused recipient the same connection carries the next letter."""

    async def both() -> tuple[Submission, Submission]:
        session = await SmtpSession.open(at_postfix(server), as_user(server), helo="me.example", deadlines=DEADLINES)
        unknown = replace(ENVELOPE, recipient="nobody@refused.example")
        first = await session.submit(unknown, letter("refused"), before_dot=nothing)
        second = await session.submit(ENVELOPE, letter("after"), before_dot=nothing)
        await session.close()
        return first, second

    refused, accepted = run(both())
    assert (refused.stage, refused.reply.code, refused.reply.enhanced) == (Stage.RCPT, 550, "5.1.1")
    assert accepted.is_accepted


def test_postfix_takes_smtputf8(run: Run, server: Postfix) -> None:
    """Addresses and headers beyond ASCII are accepted where SMTPUTF8 is offered."""
    envelope = Envelope("anna@one.example", "боб@two.example", smtputf8=True)
    content = letter("utf8").replace(b"\r\n\r\n", "\r\nSubject: привет\r\n\r\n".encode(), 1)
    (submission,) = run(submit(at_postfix(server), content, login=as_user(server), envelope=envelope))
    assert submission.is_accepted


def test_postfix_wants_a_login(run: Run, server: Postfix) -> None:
    """Without a login the recipient is refused, and nothing is accepted."""
    (refused,) = run(submit(at_postfix(server), letter("1")))
    assert (refused.stage, refused.is_accepted) == (Stage.RCPT, False)
