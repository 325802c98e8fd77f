"""One mailbox's SMTP connection: letters go out one after the other, and each comes back with what became of it.

`submit` returns when the server gave its last word, and raises what it could not learn:

    NotOffered, TooLarge   this server cannot carry this letter; nothing was written
    Unreached              MAIL was not written
    Interrupted            MAIL was written, the final dot was not
    Ambiguous              the final dot was written, and no complete answer was read

After anything raised from MAIL on, a cancellation and an error of `before_dot` included, the connection is gone.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from mailfleet.base.errors import InvariantError
from mailfleet.mail.replies import Reply
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Deadlines, Endpoint
from mailfleet.providers.faults import (
    Ambiguous,
    Interrupted,
    NotOffered,
    Stage,
    TooLarge,
    Unreached,
    read_reply,
    refused,
)
from mailfleet.providers.opening import Opened, open_connection
from mailfleet.providers.wire import LostError, RawReply, Wire

DOT = b".\r\n"
_BEGINNING = ((Stage.MAIL, 2), (Stage.RCPT, 2), (Stage.DATA, 3))  # first digit of the reply that lets us go on
_UNSAFE = re.compile(r"[\x00-\x20<>\x7f]")  # would end the address or the command (RFC 5321 §4.1.2)
_ENVID_LIMIT = 100  # RFC 3461 §4.4
_NOT_XTEXT = re.compile(rb"[^!-*,-<>-~]")  # RFC 3461 §4


@dataclass(frozen=True, slots=True)
class Envelope:
    """`smtputf8`: an address or a header is not ASCII (RFC 6531). `envid` names the letter in a report of its fate,
    where the server offers that (RFC 3461 §4.4)."""

    sender: str
    recipient: str
    smtputf8: bool = False
    envid: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """The server's last word on one letter, and the stage at which it came."""

    stage: Stage
    reply: Reply

    @property
    def is_accepted(self) -> bool:
        return self.stage is Stage.DOT and self.reply.code is not None and 200 <= self.reply.code < 300


class SmtpSession:
    """A kept connection. One `submit` at a time; a session that is not `usable` is to be opened anew."""

    def __init__(self, endpoint: Endpoint, opened: Opened, deadlines: Deadlines) -> None:
        self._endpoint = endpoint
        self._extensions = opened.extensions
        self._deadlines = deadlines
        self._beginning_deadlines = (deadlines.mail, deadlines.rcpt, deadlines.data)
        self._wire = Wire(opened.transport)
        self._in_transaction = False
        self._loop = asyncio.get_running_loop()
        self._idle_from = self._loop.time()

    @classmethod
    async def open(cls, endpoint: Endpoint, login: Login | None, *, helo: str, deadlines: Deadlines) -> "SmtpSession":
        """Connected, secured, logged in; Unreached with the stage that failed, SetupError for an unusable CA file."""
        return cls(endpoint, await open_connection(endpoint, login, helo=helo, deadlines=deadlines), deadlines)

    @property
    def usable(self) -> bool:
        return self._wire.is_usable

    @property
    def idle_for(self) -> timedelta:
        """Since the last letter's end, or since opening."""
        return timedelta(seconds=self._loop.time() - self._idle_from)

    async def submit(
        self, envelope: Envelope, content: bytes, *, before_dot: Callable[[], Awaitable[None]]
    ) -> Submission:
        """`content` has CRLF line ends throughout. `before_dot` runs when all of it is written and the dot is not.

        1. What this server cannot take is refused. 2. RSET, where a refused letter left its transaction open. 3. MAIL,
        RCPT, DATA, in one write where the server pipelines. 4. The content. 5. `before_dot`. 6. The final dot.
        """
        commands = self._commands(envelope, content)
        text = _stuff(content)
        try:
            await self._reset()
            submission = await self._transact(commands, text, before_dot)
        except BaseException:
            self.abort()
            raise
        if submission.reply.code == 421:
            self.abort()
        self._idle_from = self._loop.time()
        return submission

    async def close(self) -> None:
        """QUIT, if the connection is still good; never raises, and does not wait long."""
        try:
            self._wire.send(b"QUIT\r\n", replies=1)
            await self._wire.read(self._deadlines.quit)
        except LostError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops the connection with whatever is not yet written."""
        self._wire.abort()

    def _commands(self, envelope: Envelope, content: bytes) -> tuple[bytes, bytes, bytes]:
        parameters = " ".join(("", *self._parameters(envelope, content)))
        sender, recipient = (_encode(address, envelope) for address in (envelope.sender, envelope.recipient))
        mail = b"MAIL FROM:<%b>%b\r\n" % (sender, parameters.encode())
        return mail, b"RCPT TO:<%b>\r\n" % recipient, b"DATA\r\n"

    def _parameters(self, envelope: Envelope, content: bytes) -> Iterator[str]:
        """Of MAIL: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531 §3.4), RET and ENVID (RFC 3461), each where
        offered and of use."""
        if (announced := self._extensions.get("size")) is not None:
            if announced.isdecimal() and 0 < int(announced) < len(content):
                raise TooLarge(len(content), int(announced))
            yield f"SIZE={len(content)}"
        if not content.isascii():
            self._require("8BITMIME", "8-bit content")
            yield "BODY=8BITMIME"
        if envelope.smtputf8:
            self._require("SMTPUTF8", "an address or header beyond ASCII")
            yield "SMTPUTF8"
        if envelope.envid and "dsn" in self._extensions and len(envid := _xtext(envelope.envid)) <= _ENVID_LIMIT:
            yield f"RET=HDRS ENVID={envid}"

    def _require(self, extension: str, needed_for: str) -> None:
        if extension.lower() not in self._extensions:
            raise NotOffered(extension, needed_for=needed_for)

    async def _reset(self) -> None:
        try:
            if self._in_transaction:
                self._wire.send(b"RSET\r\n", replies=1)
                reply = await self._wire.read(self._deadlines.command)
                if reply.code // 100 != 2:
                    raise refused(Stage.MAIL, self._endpoint, _reply(reply))
            if not self.usable:
                raise LostError("the connection was already closed")
        except LostError as lost:
            raise Unreached(Stage.MAIL, f"{self._endpoint}: {lost}; the letter was not begun.") from lost

    async def _transact(
        self, commands: tuple[bytes, bytes, bytes], text: bytes, before_dot: Callable[[], Awaitable[None]]
    ) -> Submission:
        answers = await self._begin(commands)
        for (stage, wanted), answer in zip(_BEGINNING, answers, strict=False):
            if answer.code >= 400:
                self._in_transaction = answers[0].code < 400
                await self._take_back(answers)
                return Submission(stage, _reply(answer))
            if answer.code // 100 != wanted:
                raise Interrupted(stage, f"{self._endpoint}: the answer {answer.code} does not belong here")
        return await self._deliver(text, before_dot)

    async def _begin(self, commands: tuple[bytes, bytes, bytes]) -> list[RawReply]:
        """The answers to MAIL, RCPT and DATA: to all three where the server pipelines, else up to the first refusal."""
        answers: list[RawReply] = []
        is_pipelining = "pipelining" in self._extensions
        if is_pipelining:
            self._wire.send(b"".join(commands), replies=3)
        for (stage, wanted), command, within in zip(_BEGINNING, commands, self._beginning_deadlines, strict=True):
            try:
                if not is_pipelining:
                    self._wire.send(command, replies=1)
                answers.append(await self._wire.read(within))
            except LostError as lost:
                if any(answer.code >= 400 for answer in answers):
                    break
                raise Interrupted(stage, f"{self._endpoint}: {lost}") from lost
            if answers[-1].code == 421:  # the server hangs up, and owes no more replies
                self.abort()
                break
            if not is_pipelining and answers[-1].code // 100 != wanted:
                break
        return answers

    async def _take_back(self, answers: list[RawReply]) -> None:
        """A server may take DATA though it refused the recipient; a lone dot then ends it (RFC 2920 §3.1).

        Where the recipient was accepted without a sender, even a dot could bring them an empty letter: we hang up.
        """
        if len(answers) < 3 or answers[2].code != 354:
            return None
        if answers[1].code < 400:
            return self.abort()
        try:
            self._wire.send(DOT, replies=1)
            await self._wire.read(self._deadlines.data)
            self._in_transaction = False
        except LostError:
            pass

    async def _deliver(self, text: bytes, before_dot: Callable[[], Awaitable[None]]) -> Submission:
        try:
            await self._wire.send_content(text, self._deadlines.content)
            if not self._wire.has_reply:
                await before_dot()
            if self._wire.has_reply:
                return self._answered_early(await self._wire.read(self._deadlines.content))
            self._wire.send(DOT, replies=0)
        except LostError as lost:
            raise Interrupted(Stage.CONTENT, f"{self._endpoint}: {lost}") from lost
        return await self._finish()

    def _answered_early(self, answer: RawReply) -> Submission:
        """The dot is not sent: after a refusal it is of no use, and no other answer can be about the whole letter."""
        self.abort()
        if answer.code < 400:
            raise Interrupted(Stage.CONTENT, f"{self._endpoint}: the answer {answer.code} came before the letter's end")
        return Submission(Stage.CONTENT, _reply(answer))

    async def _finish(self) -> Submission:
        try:
            answer = await self._wire.read(self._deadlines.dot)
        except LostError as lost:
            raise Ambiguous(f"{self._endpoint}: {lost}") from lost
        if 300 <= answer.code < 400:
            raise Ambiguous(f"{self._endpoint}: the final dot was answered with {answer.code}")
        self._in_transaction = False
        return Submission(Stage.DOT, _reply(answer))


def _encode(address: str, envelope: Envelope) -> bytes:
    if _UNSAFE.search(address) or not (envelope.smtputf8 or address.isascii()):
        raise InvariantError("An address that cannot stand in an SMTP command came as far as the connection.")
    return address.encode()


def _xtext(text: str) -> str:
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % found[0][0], text.encode()).decode()


def _stuff(content: bytes) -> bytes:
    """Dots doubled at line starts (RFC 5321 §4.5.2). A bare CR or LF could end the letter early at a lenient server
    and let its text give commands (SMTP smuggling), so none is let through.
    """
    ends = content.count(b"\r\n")
    if not content.endswith(b"\r\n") or content.count(b"\n") != ends or content.count(b"\r") != ends:
        raise InvariantError("A letter with line ends other than CRLF came as far as the connection.")
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def _reply(raw: RawReply) -> Reply:
    return read_reply(raw.code, (line.decode(errors="replace") for line in raw.lines))
