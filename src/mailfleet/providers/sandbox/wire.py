"""What both faces share: a connection that reads lines in order, answers in batches, and can turn to TLS."""

import asyncio
import ssl
from typing import cast

from mailfleet.providers.sandbox.config import Face, Security, User
from mailfleet.providers.sandbox.provider import PretendProvider

MAX_LINE = 12_288  # RFC 4954 section 4: the longest line that AUTH needs


class Wire(asyncio.Protocol):
    """One connection. A subclass takes one unit at a time off `_buffer` in `_take`; all replies to what came in one
    packet leave in one write, which is what makes pipelining worth while (RFC 2920 section 3.2)."""

    face: Face

    def __init__(self, provider: PretendProvider, security: Security, context: ssl.SSLContext | None) -> None:
        self.provider = provider
        self.user: User | None = None
        self.is_secure = security == "tls"
        self._security = security
        self._context = context
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.provider.is_full(self.face):
            self._turn_away()
            self._close()
            return
        self.provider.join(self)
        self._greet()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self.provider.part(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def abort(self) -> None:
        """Cuts the connection, as a stop of the sandbox or a fault does."""
        self._flush()
        self._transport.abort()

    def _work(self) -> None:
        while self._buffer and not self._waiting and self._take():
            pass
        self._flush()

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _line(self) -> bytes | None:
        """The next whole line without its CRLF; None: it is not there yet, or was too long: then we close."""
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MAX_LINE:
                self._refuse_line()
                self._close()
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _close(self) -> None:
        """Says what is still to be said, takes nothing more."""
        self._waiting = True
        self._flush()
        self._transport.close()

    def _enter(self, user: User) -> None:
        self.user = user
        self.provider.enter(user.mailbox, self)

    def _leave(self) -> None:
        if self.user is not None:
            self.provider.leave(self.user.mailbox, self)
            self.user = None

    def _start_tls(self, go_ahead: bytes) -> None:
        """Answers and shakes hands. What was pipelined behind the command is thrown away: it came in the clear, and
        whoever sent it may not be the client (CVE-2011-0411)."""
        self._waiting = True
        self._out.append(go_ahead)
        self._flush()
        self._buffer.clear()
        task = asyncio.get_running_loop().create_task(self._shake_hands())
        self.provider.tasks.add(task)
        task.add_done_callback(self.provider.tasks.discard)

    async def _shake_hands(self) -> None:
        assert self._context is not None
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(self._transport, self, self._context, server_side=True)
        except (OSError, asyncio.CancelledError):
            self._transport.abort()
            self.connection_lost(None)  # the loop does not say so of a handshake that failed
            return
        if transport is None:  # the connection was lost meanwhile
            return
        self._transport = transport
        self.is_secure = True
        self._waiting = False
        self._work()

    @property
    def _offers_starttls(self) -> bool:
        return self._security == "starttls" and not self.is_secure

    def _greet(self) -> None:
        raise NotImplementedError

    def _turn_away(self) -> None:
        raise NotImplementedError

    def _refuse_line(self) -> None:
        raise NotImplementedError

    def _take(self) -> bool:
        raise NotImplementedError
