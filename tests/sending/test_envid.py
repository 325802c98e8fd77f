"""ENVID (RFC 3461): a bounce that comes later names its letter, where the server offers that."""

from email import message_from_bytes
from pathlib import Path

import pytest

from mailfleet.model.words import Security
from mailfleet.outbox.records import Draft
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Deadlines, Endpoint
from mailfleet.providers.smtp import Envelope, SmtpSession
from mailfleet.sending.letters import envelope_of
from providers.scripted import Peer, scripted
from sending.lane_scene import NOW, desk
from servers import Home, free_port, postfix, server_folder, wait_until

LETTER = b"From: a@a.test\r\nMessage-ID: <0a1b-2c@a.test>\r\nSubject: x\r\n\r\nMessage-ID: <other@b.test>\r\n"


async def nothing() -> None:
    """A `before_dot` that lets the dot go."""


async def said_to(*extensions: str, envid: str = "0a1b-2c") -> str:
    """The MAIL command that a server with these extensions hears."""

    async def play(peer: Peer) -> None:
        await peer.greet(*extensions)
        await peer.begin()
        await peer.take()
        heard.extend(peer.heard)
        await peer.rest()

    heard: list[str] = []
    async with scripted(play) as endpoint:
        session = await SmtpSession.open(endpoint, None, helo="client.example", deadlines=Deadlines())
        await session.submit(Envelope("a@a.test", "z@z.test", envid=envid), LETTER, before_dot=nothing)
        session.abort()
    return next(line for line in heard if line.startswith("MAIL"))


@pytest.mark.parametrize("way", ["PIPELINING", "HELP"])
async def test_a_server_that_offers_dsn_is_told_the_letters_name(way: str) -> None:
    """RET and ENVID stand in MAIL, in one write with the rest where the server pipelines."""
    assert await said_to(way, "DSN") == "MAIL FROM:<a@a.test> RET=HDRS ENVID=0a1b-2c"


@pytest.mark.parametrize(("extension", "envid"), [("HELP", "0a1b-2c"), ("DSN", ""), ("DSN", "x" * 101)])
async def test_others_are_not(extension: str, envid: str) -> None:
    """Neither a server that does not offer it, nor with nothing to tell, nor with more than 100 characters."""
    assert await said_to(extension, envid=envid) == "MAIL FROM:<a@a.test>"


async def test_what_could_end_the_word_is_written_in_xtext() -> None:
    """RFC 3461 §4: plus, equals, space and control characters as +XX."""
    assert (await said_to("DSN", envid="a+b=c d\x7f~!")).endswith(" ENVID=a+2Bb+3Dc+20d+7F~!")


async def test_the_name_is_that_of_the_head(tmp_path: Path) -> None:
    """Left of the @ of the letter's own Message-ID, whatever its text says; a letter without one has no name."""
    async with desk(tmp_path) as it:
        mailbox = it.lane(Endpoint("127.0.0.1", 9, Security.NONE)).mailbox
    draft = Draft(1, 1, 1, "x", "z@z.test", False, LETTER, NOW)
    assert envelope_of(mailbox, draft) == Envelope(mailbox.address.wire, "z@z.test", False, "0a1b-2c")
    bare = Draft(1, 1, 1, "x", "z@z.test", False, b"Subject: x\r\n\r\n", NOW)
    assert envelope_of(mailbox, bare).envid == ""


async def test_a_bounce_of_postfix_names_its_letter() -> None:
    """Postfix takes the letter and cannot deliver it: its report has our name for it, and only the letter's head."""
    with server_folder("maildirs") as folder:
        folder.chmod(0o777)
        home = Home(("a.test",), ("ann@a.test",), folder, free_port())
        with postfix({"ann@a.test": "geheim"}, home=home) as server:
            endpoint = Endpoint(server.host, server.port, Security.STARTTLS, server.ca_file)
            login = Login("ann@a.test", "geheim")
            session = await SmtpSession.open(endpoint, login, helo="client.example", deadlines=Deadlines())
            envelope = Envelope("ann@a.test", "nobody@a.test", envid="0a1b-2c")
            assert (await session.submit(envelope, LETTER, before_dot=nothing)).is_accepted
            await session.close()
            new = folder / "ann@a.test" / "new"
            wait_until(lambda: new.is_dir() and list(new.iterdir()), "the bounce")
            [path] = new.iterdir()
            parts = list(message_from_bytes(path.read_bytes()).walk())
    [status] = [part for part in parts if part.get_content_type() == "message/delivery-status"]
    assert status.get_payload(0)["Original-Envelope-Id"] == "0a1b-2c"  # type: ignore[union-attr, index]
    assert "text/rfc822-headers" in [part.get_content_type() for part in parts]
