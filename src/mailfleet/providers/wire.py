"""The bytes of a logged-in SMTP connection: what goes out, and the replies in the order of the commands.

aiosmtplib writes a letter and its final dot in one call and reads one reply a command. A letter of ours needs a moment
between the two (the journal and the lease are looked at there) and three replies at once (RFC 2920), so the transport
gets this protocol, by asyncio's own `set_protocol`, once the library has opened it.
"""

import asyncio
import re
from collections import deque
from datetime import timedelta
from typing import NamedTuple

REPLY_LIMIT = 32768  # chosen: octets of one reply; 64 lines of RFC 5321's 512, and no server can fill our memory
# RFC 5321 §4.2.1: the same code on every line, a hyphen after it on all but the last.
_REPLY = re.compile(rb"([2-5]\d\d)(?:-[^\n]*\n\1)*(?:[ \r][^\n]*)?\n")
_CONTINUED = re.compile(rb"[2-5]\d\d-")

BLOCK = 65536  # chosen: octets of content between two looks at the deadline; most letters are one block


class RawReply(NamedTuple):
    """`lines` have neither code nor line end."""

    code: int
    lines: tuple[bytes, ...]


class LostError(Exception):
    """The connection is of no more use; the text says why."""


class Wire(asyncio.Protocol):
    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._replies: deque[RawReply] = deque()
        self._expected = 0
        self._partial = b""
        self._lost = ""
        self._full = False
        self._waiter: asyncio.Future[None] | None = None
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=1, low=0)  # so that resume_writing means: all of it was written

    @property
    def is_usable(self) -> bool:
        return not self._lost and not self._transport.is_closing()

    @property
    def has_reply(self) -> bool:
        return bool(self._replies)

    def send(self, data: bytes, *, replies: int) -> None:
        """Hands `data` to the connection; `replies` more replies may then come. LostError: nothing was handed over."""
        if not self.is_usable:
            raise LostError(self._lost or "the connection is closing")
        self._expected += replies
        self._transport.write(data)

    async def send_content(self, data: bytes, within: timedelta) -> None:
        """Returns once all of it is written, or when the answer to its end is there already. One deadline a block."""
        self._expected += 1
        for start in range(0, len(data), BLOCK):
            if self._replies:
                return
            self.send(data[start : start + BLOCK], replies=0)
            until = self._loop.time() + within.total_seconds() if self._full else 0
            while self._full and not self._replies:
                await self._wait(until)

    async def read(self, within: timedelta) -> RawReply:
        """The next complete reply. After LostError the connection is gone, at a deadline too."""
        if not self._replies:
            until = self._loop.time() + within.total_seconds()
            while not self._replies:
                await self._wait(until)
        return self._replies.popleft()

    def abort(self) -> None:
        self._lose("the connection was dropped")

    async def _wait(self, until: float) -> None:
        """Until something happened; a timer costs less than a timeout context, and this is the hot path."""
        if self._lost:
            raise LostError(self._lost)
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(until, self._lose, "the deadline passed")
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _lose(self, why: str) -> None:
        if not self._lost:
            self._lost = why
            self._transport.abort()
            self._wake()

    def data_received(self, data: bytes) -> None:
        self._partial += data
        start = 0
        while found := _REPLY.match(self._partial, start):
            start = found.end()
            self._complete(RawReply(int(found[1]), tuple([line[4:].rstrip(b"\r") for line in found[0].splitlines()])))
        self._partial = self._partial[start:]
        self._check_partial()

    def _check_partial(self) -> None:
        """What is no reply yet must still be able to become one; what never will ends the connection."""
        if not self._partial:
            return
        *lines, _ = self._partial.split(b"\n")
        if any(line[:4] != lines[0][:4] or not _CONTINUED.match(line) for line in lines):
            self._lose("the server's answer is not SMTP")
        elif len(self._partial) > REPLY_LIMIT:
            self._lose("the server's answer has no end")

    def _complete(self, reply: RawReply) -> None:
        if self._expected == 0:
            self._lose(f"the server spoke unasked ({reply.code})")
        else:
            self._expected -= 1
            self._replies.append(reply)
            self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def eof_received(self) -> None:
        self._lose("the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection broke: {exc}" if exc else "the server closed the connection")
