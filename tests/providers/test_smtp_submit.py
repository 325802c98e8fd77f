"""What becomes of a letter on a logged-in connection, against servers that do what servers should not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from scripted import BEGUN, Peer, Play, scripted

from mailfleet.base.errors import InvariantError
from mailfleet.providers.endpoint import Deadlines
from mailfleet.providers.faults import Ambiguous, Interrupted, NotOffered, Stage, TooLarge, Unreached
from mailfleet.providers.smtp import Envelope, SmtpSession, Submission

SHORT = timedelta(milliseconds=50)
LONG = timedelta(seconds=10)
PATIENT = Deadlines(*(LONG,) * 10)
ENVELOPE = Envelope("anna@one.example", "bob@two.example")
CONTENT = b"Subject: hello\r\n\r\n.one dot\r\n..two dots\r\nend.\r\n"
STUFFED = b"Subject: hello\r\n\r\n..one dot\r\n...two dots\r\nend.\r\n"
WAYS = pytest.mark.parametrize("way", ["PIPELINING", "HELP"])  # HELP: an extension that changes nothing


async def nothing() -> None:
    """A `before_dot` that lets the dot go."""


async def never() -> None:
    raise AssertionError("the dot was near")


@asynccontextmanager
async def session(play: Play, *extensions: str, deadlines: Deadlines = PATIENT) -> AsyncIterator[SmtpSession]:
    async def whole(peer: Peer) -> None:
        await peer.greet(*extensions)
        await play(peer)

    async with scripted(whole) as endpoint:
        opened = await SmtpSession.open(endpoint, None, helo="client.example", deadlines=deadlines)
        yield opened
        opened.abort()


@WAYS
async def test_letter_is_accepted_after_the_dot(way: str) -> None:
    """A 2yz after the final dot is an acceptance, with all lines and the enhanced code, and dots arrive doubled."""
    texts = []

    async def play(peer: Peer) -> None:
        await peer.begin()
        texts.append(await peer.take("250-2.0.0 queued\r\n250 2.0.0 as 17"))
        await peer.rest()

    async with session(play, way) as smtp:
        submission = await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)
        assert submission.is_accepted
        assert (submission.stage, submission.reply.code, submission.reply.enhanced) == (Stage.DOT, 250, "2.0.0")
        assert submission.reply.lines == ("2.0.0 queued", "2.0.0 as 17")
        assert smtp.usable
    assert texts == [STUFFED]


async def test_a_first_line_that_begins_with_a_dot_is_stuffed() -> None:
    """RFC 5321 §4.5.2 holds for the first line too."""
    texts = []

    async def play(peer: Peer) -> None:
        await peer.begin()
        texts.append(await peer.take())
        await peer.rest()

    async with session(play, "HELP") as smtp:
        await smtp.submit(ENVELOPE, b".\r\n", before_dot=nothing)
    assert texts == [b"..\r\n"]


async def test_before_dot_runs_between_the_last_content_and_the_dot() -> None:
    """When `before_dot` runs the server has all of the content and nothing of the dot."""
    arrived, looked = asyncio.Event(), asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.begin()
        assert await peer.reader.readexactly(len(STUFFED)) == STUFFED
        arrived.set()
        await looked.wait()
        assert not peer.reader._buffer  # type: ignore[attr-defined]
        assert await peer.hear() == "."
        await peer.say("250 ok")
        await peer.rest()

    async def before_dot() -> None:
        await arrived.wait()
        looked.set()
        await asyncio.sleep(0)

    async with session(play, "PIPELINING") as smtp:
        assert (await smtp.submit(ENVELOPE, CONTENT, before_dot=before_dot)).is_accepted


@pytest.mark.parametrize("error", [RuntimeError("lease over"), asyncio.CancelledError()])
async def test_before_dot_can_stop_the_letter(error: BaseException) -> None:
    """What `before_dot` raises passes through, the dot never leaves, and the connection is gone."""
    rests = []

    async def play(peer: Peer) -> None:
        await peer.begin()
        rests.append(await peer.rest())

    async def before_dot() -> None:
        raise error

    async with session(play, "PIPELINING") as smtp:
        with pytest.raises(type(error)):
            await smtp.submit(ENVELOPE, CONTENT, before_dot=before_dot)
        assert not smtp.usable
    assert rests in ([STUFFED], [b""])  # what was on its way may be lost with the connection, but no dot follows


REFUSALS = [
    (Stage.MAIL, ("550 5.1.8 no such sender", "503 5.5.1 no sender", "503 5.5.1 no sender")),
    (Stage.RCPT, ("250 ok", "550 5.1.1 no such user", "554 5.5.1 no valid recipients")),
    (Stage.DATA, ("250 ok", "250 ok", "452 4.3.1 no room")),
]


@WAYS
@pytest.mark.parametrize(("stage", "replies"), REFUSALS)
async def test_refusal_names_its_stage_and_the_session_goes_on(
    way: str, stage: Stage, replies: tuple[str, ...]
) -> None:
    """A refusal is the first refused command's reply; RSET follows only where MAIL had been accepted."""
    index = [Stage.MAIL, Stage.RCPT, Stage.DATA].index(stage)
    heard: list[str] = []

    async def play(peer: Peer) -> None:
        await peer.begin(*(replies if way == "PIPELINING" else replies[: index + 1]))
        if stage is not Stage.MAIL:
            await peer.hear("RSET")
            await peer.say("250 reset")
        await peer.begin()
        await peer.take()
        heard.extend(peer.heard)
        await peer.rest()

    async with session(play, way) as smtp:
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert (refused.stage, refused.reply.code) == (stage, int(replies[index][:3]))
        assert not refused.is_accepted
        assert (await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)).is_accepted


@WAYS
async def test_refusal_after_the_dot_is_not_an_acceptance(way: str) -> None:
    """A 5yz after the dot is the server's last word on the letter, and the next letter needs no RSET."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.take("554 5.7.1 spam")
        await peer.begin()
        await peer.take()
        await peer.rest()

    async with session(play, way) as smtp:
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)
        assert (refused.stage, refused.reply.code, refused.is_accepted) == (Stage.DOT, 554, False)
        assert (await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)).is_accepted


async def test_354_after_a_refused_recipient_gets_a_lone_dot() -> None:
    """RFC 2920 §3.1: where DATA is taken though the recipient was refused, no content leaves, only the dot."""
    texts = []

    async def play(peer: Peer) -> None:
        await peer.begin("250 ok", "550 5.1.1 no such user", "354 go ahead")
        assert await peer.hear() == "."
        await peer.say("554 5.5.1 no valid recipients")
        await peer.begin()
        texts.append(await peer.take())
        await peer.rest()

    async with session(play, "PIPELINING") as smtp:
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert (refused.stage, refused.reply.code) == (Stage.RCPT, 550)
        assert (await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)).is_accepted
    assert texts == [STUFFED]


async def test_354_with_a_recipient_but_no_sender_ends_the_connection() -> None:
    """Where even a lone dot could deliver an empty letter, nothing more is sent."""
    rests = []

    async def play(peer: Peer) -> None:
        await peer.begin("550 5.1.8 no such sender", "250 ok", "354 go ahead")
        rests.append(await peer.rest())

    async with session(play, "PIPELINING") as smtp:
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert refused.stage is Stage.MAIL
        assert not smtp.usable
    assert rests == [b""]


async def test_pipelined_refusal_counts_though_the_connection_breaks_after_it() -> None:
    """A refusal that was read is known, whatever becomes of the replies behind it."""

    async def play(peer: Peer) -> None:
        await peer.begin("550 5.7.1 go away")

    async with session(play, "PIPELINING") as smtp:
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert (refused.stage, refused.reply.code) == (Stage.MAIL, 550)
        assert not smtp.usable


@WAYS
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_421_closes(way: str, count: int) -> None:
    """After a 421 to any command of the envelope the connection is not used again (RFC 5321 §3.8)."""

    async def play(peer: Peer) -> None:
        await peer.begin(*BEGUN[: count - 1], "421 4.3.2 shutting down")
        await peer.rest()

    async with session(play, way) as smtp:
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert refused.reply.code == 421
        assert not smtp.usable


async def test_421_behind_a_refusal_closes() -> None:
    """In a pipelined envelope a 421 leaves replies unsaid, so the connection is gone; the refusal before it counts."""

    async def play(peer: Peer) -> None:
        await peer.begin("550 5.1.8 no such sender", "421 4.7.0 too many errors")
        await peer.rest()

    async with session(play, "PIPELINING") as smtp, asyncio.timeout(LONG.total_seconds() / 2):
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert (refused.stage, refused.reply.code, smtp.usable) == (Stage.MAIL, 550, False)


async def test_421_after_the_dot_closes() -> None:
    """A 421 after the dot refuses the letter for now, and the connection is not used again."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.take("421 4.3.2 shutting down")
        await peer.rest()

    async with session(play, "PIPELINING") as smtp:
        refused = await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)
        assert (refused.stage, refused.is_accepted, smtp.usable) == (Stage.DOT, False, False)


async def fate(smtp: SmtpSession) -> Interrupted | Ambiguous:
    with pytest.raises((Interrupted, Ambiguous)) as caught:
        await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)
    assert not smtp.usable
    return caught.value  # type: ignore[return-value]


@WAYS
@pytest.mark.parametrize("count", [0, 1, 2])
async def test_connection_lost_in_the_envelope_interrupts(way: str, count: int) -> None:
    """Lost between MAIL and 354, the letter is not accepted, and the error names the command without a reply."""

    async def play(peer: Peer) -> None:
        for reply in BEGUN[:count]:
            await peer.hear()
            await peer.say(reply)
        await peer.hear()

    async with session(play, way) as smtp:
        error = await fate(smtp)
    assert isinstance(error, Interrupted)
    assert error.stage is (Stage.MAIL, Stage.RCPT, Stage.DATA)[count]


@WAYS
async def test_connection_lost_after_the_dot_is_ambiguous(way: str) -> None:
    """Once the dot is written and no complete reply was read, nobody knows (RFC 1047); half a reply is none."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.reader.readuntil(b"\r\n.\r\n")
        peer.writer.write(b"250-2.0.0 almost\r\n250")
        await peer.writer.drain()
        peer.writer.close()

    async with session(play, way) as smtp:
        assert isinstance(await fate(smtp), Ambiguous)


async def test_connection_lost_during_before_dot_interrupts() -> None:
    """The dot is not written into a connection that is known to be dead."""
    gone = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.reader.readexactly(len(STUFFED))
        gone.set()

    async with session(play, "PIPELINING") as smtp:

        async def before_dot() -> None:
            await gone.wait()
            while smtp.usable:  # noqa: ASYNC110  the test looks on, nothing would set an event
                await asyncio.sleep(0)

        with pytest.raises(Interrupted) as caught:
            await smtp.submit(ENVELOPE, CONTENT, before_dot=before_dot)
        assert caught.value.stage is Stage.CONTENT


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
@WAYS
async def test_deadline_in_the_envelope_interrupts(way: str, stage: Stage) -> None:
    """A server that falls silent after MAIL costs the connection, not the letter."""
    count = [Stage.MAIL, Stage.RCPT, Stage.DATA].index(stage)

    async def play(peer: Peer) -> None:
        if count:
            await peer.begin(*BEGUN[:count])
        await peer.rest()

    async with session(play, way, deadlines=replace(PATIENT, **{stage.value: SHORT})) as smtp:
        error = await fate(smtp)
    assert isinstance(error, Interrupted)
    assert error.stage is stage


async def test_deadline_in_the_content_interrupts() -> None:
    """A server that stops reading holds a letter no longer than its deadline, and the dot is not written."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await closed.wait()

    closed = asyncio.Event()
    async with session(play, "PIPELINING", deadlines=replace(PATIENT, content=SHORT)) as smtp:
        with pytest.raises(Interrupted) as caught:
            await smtp.submit(ENVELOPE, b"x" * 70 + b"\r\n" * 20_000_000, before_dot=never)
        assert caught.value.stage is Stage.CONTENT
        assert not smtp.usable
        closed.set()


async def test_deadline_after_the_dot_is_ambiguous_even_when_a_reply_trickles() -> None:
    """The deadline is for the whole reply: a server that sends a byte now and then does not stretch it."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.reader.readuntil(b"\r\n.\r\n")
        while not peer.writer.transport.is_closing():
            peer.writer.write(b"250-and\r\n")
            await asyncio.sleep(0.005)

    async with session(play, "PIPELINING", deadlines=replace(PATIENT, dot=SHORT)) as smtp:
        assert isinstance(await fate(smtp), Ambiguous)


async def test_cancelled_after_the_dot_drops_the_connection() -> None:
    """A cancellation passes through as it is, and the connection is not used again."""
    dotted = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.reader.readuntil(b"\r\n.\r\n")
        dotted.set()
        await peer.rest()

    async with session(play, "PIPELINING") as smtp:
        task = asyncio.create_task(smtp.submit(ENVELOPE, CONTENT, before_dot=nothing))
        await dotted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not smtp.usable


NONSENSE = [
    "hello\r\n250 ok",  # what follows nonsense is no answer
    "250-one\r\n550 two",
    "250-one\r\n550-two",
    "199 too small",
    "600 too large",
    "250ok",
    "\r\n250 ok",
    "250-" + "x" * 40_000,
]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_after_the_dot_is_ambiguous(nonsense: str) -> None:
    """An answer that is not one well-formed reply says nothing about the letter."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.take(nonsense)
        await peer.rest()

    async with session(play, "PIPELINING") as smtp:
        error = await fate(smtp)
    assert isinstance(error, Ambiguous)
    assert "answer" in error.detail  # seen at once, not at the deadline


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_in_the_envelope_interrupts(nonsense: str) -> None:
    """An answer to MAIL that is not SMTP ends the connection."""

    async def play(peer: Peer) -> None:
        await peer.begin(nonsense)
        await peer.rest()

    async with session(play, "HELP") as smtp:
        error = await fate(smtp)
    assert isinstance(error, Interrupted)
    assert "answer" in error.detail  # seen at once, not at the deadline


@WAYS
@pytest.mark.parametrize("replies", [("354 go",), ("250 ok", "354 go"), ("250 ok", "250 ok", "250 ok")])
async def test_positive_reply_that_does_not_belong_interrupts(way: str, replies: tuple[str, ...]) -> None:
    """Neither content nor dot follows a reply of the wrong kind."""

    async def play(peer: Peer) -> None:
        await peer.begin(*replies, *BEGUN[len(replies) :] if way == "PIPELINING" else ())
        await peer.rest()

    async with session(play, way) as smtp:
        error = await fate(smtp)
    assert isinstance(error, Interrupted)
    assert error.stage is (Stage.MAIL, Stage.RCPT, Stage.DATA)[len(replies) - 1]


async def test_354_after_the_dot_is_ambiguous() -> None:
    """A 3yz after the dot is no verdict."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.take("354 more")
        await peer.rest()

    async with session(play, "PIPELINING") as smtp:
        assert isinstance(await fate(smtp), Ambiguous)


async def early(reply: str) -> Submission:
    """Submits to a server that answers before the content's end; the dot must not come."""
    rests = []

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.reader.readexactly(10)
        await peer.say(reply)
        rests.append(await peer.rest())

    async def before_dot() -> None:
        while not smtp._wire.has_reply:  # noqa: ASYNC110  the test looks on, nothing would set an event
            await asyncio.sleep(0)

    async with session(play, "PIPELINING") as smtp:
        try:
            return await smtp.submit(ENVELOPE, CONTENT, before_dot=before_dot)
        finally:
            assert not smtp.usable
            smtp.abort()
            await asyncio.sleep(0)


async def test_refusal_before_the_dot_is_the_answer() -> None:
    """A server may refuse in the middle of the content; the dot is then not sent."""
    refused = await early("552 5.3.4 too much")
    assert (refused.stage, refused.reply.code) == (Stage.CONTENT, 552)


async def test_refusal_while_content_waits_ends_the_letter() -> None:
    """A server that refuses and stops reading is heard at once: no more is written, and `before_dot` does not run."""

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.reader.readexactly(10)
        await peer.say("552 5.3.4 too much")
        await closed.wait()

    closed = asyncio.Event()
    async with session(play, "PIPELINING") as smtp:
        refused = await smtp.submit(ENVELOPE, b"x" * 70 + b"\r\n" * 20_000_000, before_dot=never)
        assert (refused.stage, refused.reply.code, smtp.usable) == (Stage.CONTENT, 552, False)
        closed.set()


async def test_acceptance_before_the_dot_is_none() -> None:
    """No server can have accepted a letter whose end it has not seen."""
    with pytest.raises(Interrupted):
        await early("250 2.0.0 already")


@pytest.mark.parametrize("unasked", ["421 4.4.2 idle too long", "250 ok", "boo"])
async def test_what_comes_unasked_between_letters_ends_the_connection(unasked: str) -> None:
    """Bytes nobody asked for could be taken for the answer to the next letter, which therefore is not begun."""
    rests = []

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.take(f"250 2.0.0 taken\r\n{unasked}")
        rests.append(await peer.rest())

    async with session(play, "PIPELINING") as smtp:
        assert (await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)).is_accepted
        assert not smtp.usable
        with pytest.raises(Unreached) as caught:
            await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert caught.value.stage is Stage.MAIL
    assert rests == [b""]


@pytest.mark.parametrize("answer", ["421 4.3.2 bye", "502 5.5.1 no RSET"])
async def test_refused_rset_leaves_the_letter_unbegun(answer: str) -> None:
    """Without a clean state the next letter is not begun: Unreached, and nothing of it was written."""
    rests = []

    async def play(peer: Peer) -> None:
        await peer.begin("250 ok", "550 no such user")
        await peer.hear("RSET")
        await peer.say(answer)
        rests.append(await peer.rest())

    async with session(play, "HELP") as smtp:
        await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        with pytest.raises(Unreached):
            await smtp.submit(ENVELOPE, CONTENT, before_dot=never)
        assert not smtp.usable
    assert rests == [b""]


async def parameters(*extensions: str, envelope: Envelope = ENVELOPE, content: bytes = CONTENT) -> str:
    """MAIL as the server hears it."""
    heard = []

    async def play(peer: Peer) -> None:
        heard.append(await peer.hear("MAIL"))
        await peer.say("550 enough")
        await peer.rest()

    async with session(play, *extensions) as smtp:
        await smtp.submit(envelope, content, before_dot=never)
    return heard[0].removeprefix(f"MAIL FROM:<{envelope.sender}>").strip()


async def test_parameters_are_used_where_offered() -> None:
    """SIZE counts the octets without stuffing; BODY and SMTPUTF8 come only where content or address need them."""
    utf8 = Envelope("анна@one.example", "боб@two.example", smtputf8=True)
    assert await parameters("HELP") == ""
    assert await parameters("SIZE", "8BITMIME", "SMTPUTF8") == f"SIZE={len(CONTENT)}"
    assert await parameters("8BITMIME", content="привет\r\n".encode()) == "BODY=8BITMIME"
    assert await parameters("8BITMIME", "SMTPUTF8", envelope=utf8) == "SMTPUTF8"


async def refused_unwritten(kind: type[Exception], *extensions: str, envelope: Envelope, content: bytes) -> Exception:
    """The error of a letter that this server cannot carry; the session must stay as it was."""
    rests = []

    async def play(peer: Peer) -> None:
        rests.append(await peer.rest())

    async with session(play, *extensions) as smtp:
        with pytest.raises(kind) as caught:
            await smtp.submit(envelope, content, before_dot=never)
        assert smtp.usable
    assert rests == [b""]
    return caught.value


async def test_missing_extension_is_said_before_mail() -> None:
    """SMTPUTF8 or 8BITMIME needed and not offered: an error that names it, and nothing is written."""
    utf8 = Envelope("anna@one.example", "боб@two.example", smtputf8=True)
    error = await refused_unwritten(NotOffered, "8BITMIME", envelope=utf8, content=CONTENT)
    assert isinstance(error, NotOffered) and error.extension == "SMTPUTF8"
    error = await refused_unwritten(NotOffered, "SMTPUTF8", envelope=ENVELOPE, content="привет\r\n".encode())
    assert isinstance(error, NotOffered) and error.extension == "8BITMIME"


async def test_letter_over_the_announced_size_is_said_before_mail() -> None:
    """RFC 1870: over the announced maximum nothing is written; SIZE without a number or with 0 announces none."""
    error = await refused_unwritten(TooLarge, "SIZE 20", envelope=ENVELOPE, content=CONTENT)
    assert isinstance(error, TooLarge) and (error.size, error.maximum) == (len(CONTENT), 20)
    assert await parameters("SIZE 0") == await parameters("SIZE") == f"SIZE={len(CONTENT)}"


@pytest.mark.parametrize("content", [b"no end", b"bare\n.\nlf\r\n", b"bare\r.\rcr\r\n", b"\n.\r\n", b""])
async def test_bare_line_ends_do_not_leave(content: bytes) -> None:
    """A bare CR or LF around a dot could end the letter at a lenient server and smuggle in commands."""
    await refused_unwritten(InvariantError, "HELP", envelope=ENVELOPE, content=content)


@pytest.mark.parametrize("address", ["a@b> SIZE=1", "a@b\r\nRSET", "a b@c", "<a@b", "боб@two.example"])
async def test_address_cannot_carry_a_command(address: str) -> None:
    """Neither sender nor recipient can end its command or add a parameter, and beyond ASCII only with SMTPUTF8."""
    for envelope in (replace(ENVELOPE, sender=address), replace(ENVELOPE, recipient=address)):
        await refused_unwritten(InvariantError, "HELP", envelope=envelope, content=CONTENT)


async def test_close_says_quit_and_does_not_wait_for_a_silent_server() -> None:
    """QUIT is a courtesy: a server that does not answer it costs the short deadline and no error."""

    async def play(peer: Peer) -> None:
        await peer.hear("QUIT")
        await peer.rest()

    async with session(play, "HELP", deadlines=replace(PATIENT, quit=SHORT)) as smtp:
        await smtp.close()
        assert not smtp.usable
        await smtp.close()


async def test_idle_time_counts_from_the_last_letter() -> None:
    """`idle_for` starts anew with each letter's end."""
    asked = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.begin()
        await peer.take()
        await asked.wait()

    async with session(play, "HELP") as smtp:
        opened = smtp._idle_from
        await smtp.submit(ENVELOPE, CONTENT, before_dot=nothing)
        assert smtp._idle_from > opened
        assert timedelta(0) <= smtp.idle_for < LONG
        asked.set()
