"""IDLE (RFC 2177) for many mailboxes in one thread: sessions wait here, and come back when mail arrived.

A session that is added must have its folder open. It idles, is kept alive by a new IDLE now and then, and is handed
back, out of IDLE and usable, at its first sign of mail; or closed, with the fault that ended it.
"""

import imaplib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Generic, TypeVar

from mailfleet.base.errors import InvariantError
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import ImapFault, ImapStage, explain
from mailfleet.providers.imap_wire import OverrunError, read_answer

K = TypeVar("K")

RENEW_AFTER = timedelta(minutes=9)  # chosen: RFC 2177 asks for less than 29 min; many NATs forget a flow after 10
ANSWER_WITHIN = timedelta(seconds=60)  # chosen: as for any command


class _State(Enum):
    ASKED = "asked"  # IDLE is sent, its "+" is awaited
    IDLE = "idle"
    ENDING = "ending"  # DONE is sent, the end of IDLE is awaited; then comes IDLE again, or the way out


class _EndedError(imaplib.IMAP4.error):
    """The server refused IDLE, or ended it unasked."""

    def __init__(self, line: bytes) -> None:
        super().__init__("IDLE ended")
        self.answer = read_answer(line)


@dataclass(frozen=True, slots=True)
class IdleEvent(Generic[K]):
    """`session` is out of IDLE, its folder still open; or closed, and then `fault` says why. `has_news`: mail arrived;
    otherwise `remove` took it out.
    """

    key: K
    session: ImapSession
    has_news: bool
    fault: ImapFault | None = None


@dataclass(slots=True, eq=False)
class _Idler(Generic[K]):
    """`messages` are how many the folder holds, so that a server that tells it unasked does not wake us."""

    key: K
    session: ImapSession
    messages: int
    has_news: bool
    state: _State = _State.ASKED
    due_at: float = 0.0
    number: int = 0
    is_leaving: bool = False

    @property
    def tag(self) -> bytes:
        return b"IDLE%d" % self.number


class IdlePool(Generic[K]):
    """`on_event` is called in the pool's thread, once for each session added; it must hand on and return at once."""

    def __init__(
        self,
        on_event: Callable[[IdleEvent[K]], None],
        *,
        renew_after: timedelta = RENEW_AFTER,
        answer_within: timedelta = ANSWER_WITHIN,
    ) -> None:
        self._on_event = on_event
        self._renew_after = renew_after.total_seconds()
        self._answer_within = answer_within.total_seconds()
        self._idlers: dict[K, _Idler[K]] = {}
        self._taken: set[K] = set()
        self._calls: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="imap-idle", daemon=True)
        self._thread.start()

    def add(self, key: K, session: ImapSession) -> None:
        """The session is the pool's until its event comes; until then a key must not come again."""
        if key in self._taken:
            raise InvariantError(f"The mailbox {key} was given to the idle pool twice.")
        self._taken.add(key)
        self._call(lambda: self._enter(key, session))

    def remove(self, key: K) -> None:
        """Takes a session out; its event follows. Nothing happens when it is out already."""
        self._call(lambda: self._take_back(key))

    def close(self) -> None:
        """Drops every session without an event, and ends the thread."""
        self._is_closing = True
        self._call(lambda: None)
        self._thread.join()

    def __len__(self) -> int:
        """How many sessions are with the pool."""
        return len(self._taken)

    def _call(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        with suppress(BlockingIOError):  # full: the thread wakes as it is
            self._wake_in.send(b"\0")

    # In the pool's thread

    def _run(self) -> None:
        try:
            while not self._is_closing:
                ready: list[_Idler[K]] = [key.data for key, _ in self._selector.select(self._wait()) if key.data]
                self._hear_calls()
                for idler in ready:
                    if self._idlers.get(idler.key) is idler:
                        self._guard(idler, self._hear)
                self._look_at_clock()
        finally:
            self._shut()

    def _shut(self) -> None:
        for idler in self._idlers.values():
            idler.session.drop()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _wait(self) -> float | None:
        if not self._idlers:
            return None
        return max(0.0, min(idler.due_at for idler in self._idlers.values()) - time.monotonic())

    def _hear_calls(self) -> None:
        with suppress(BlockingIOError):
            while self._wake_out.recv(4096):
                pass
        while self._calls:
            self._calls.popleft()()

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        for idler in [idler for idler in self._idlers.values() if idler.due_at <= now]:
            self._guard(idler, self._pass_time)

    def _pass_time(self, idler: _Idler[K]) -> None:
        """In IDLE it is time for a new one; in any other state the server did not answer."""
        if idler.state is not _State.IDLE:
            raise TimeoutError("the deadline passed")
        self._finish(idler)

    def _enter(self, key: K, session: ImapSession) -> None:
        idler = _Idler(key, session, session.messages, session.has_grown)
        self._idlers[key] = idler
        self._guard(idler, self._begin)

    def _begin(self, idler: _Idler[K]) -> None:
        """What arrived while the session was at work is news at once."""
        wire = idler.session.wire
        if wire.is_closed:
            raise ConnectionError("the connection was closed")
        if idler.has_news:
            self._hand_back(idler, None)
            return
        if idler.number == 0:
            self._selector.register(wire.sock, selectors.EVENT_READ, idler)
        idler.number += 1
        self._await(idler, _State.ASKED, self._answer_within)
        wire.send_now(idler.tag + b" IDLE\r\n")

    def _take_back(self, key: K) -> None:
        if idler := self._idlers.get(key):
            self._guard(idler, self._leave)

    def _leave(self, idler: _Idler[K]) -> None:
        """At once from IDLE; from the other states when the answer comes that is awaited there."""
        idler.is_leaving = True
        if idler.state is _State.IDLE:
            self._finish(idler)

    def _finish(self, idler: _Idler[K]) -> None:
        self._await(idler, _State.ENDING, self._answer_within)
        idler.session.wire.send_now(b"DONE\r\n")

    def _await(self, idler: _Idler[K], state: _State, seconds: float) -> None:
        idler.state = state
        idler.due_at = time.monotonic() + seconds

    def _hear(self, idler: _Idler[K]) -> None:
        """What comes behind the end of IDLE belongs to whoever has the session then; they look for themselves."""
        for line in idler.session.wire.take_lines():
            if self._idlers.get(idler.key) is idler:
                self._hear_line(idler, line)

    def _hear_line(self, idler: _Idler[K], line: bytes) -> None:
        words = line.split(None, 3)
        if line.startswith(b"+") and idler.state is _State.ASKED:
            self._await(idler, _State.IDLE, self._renew_after)
            if idler.is_leaving:
                self._finish(idler)
        elif words[:1] == [idler.tag]:
            self._hear_end(idler, line, words)
        elif words[:2] == [b"*", b"BYE"]:
            raise _EndedError(line)
        elif words[1:2] and words[1].isdigit():
            self._hear_number(idler, int(words[1][:10]), b"".join(words[2:3]).upper())

    def _hear_number(self, idler: _Idler[K], number: int, what: bytes) -> None:
        if what == b"EXPUNGE":
            idler.messages -= 1
        elif what == b"EXISTS":
            if number > idler.messages:
                idler.has_news = True
                self._leave(idler)
            idler.messages = number

    def _hear_end(self, idler: _Idler[K], line: bytes, words: list[bytes]) -> None:
        if words[1:2] != [b"OK"] or idler.state is not _State.ENDING:
            raise _EndedError(line)
        if idler.is_leaving:
            self._hand_back(idler, None)
        else:
            self._begin(idler)

    def _guard(self, idler: _Idler[K], step: Callable[[_Idler[K]], None]) -> None:
        try:
            step(idler)
        except (OSError, OverrunError, _EndedError) as error:
            answer = error.answer if isinstance(error, _EndedError) else None
            self._hand_back(idler, explain(error, ImapStage.IDLE, idler.session.endpoint, answer))

    def _hand_back(self, idler: _Idler[K], fault: ImapFault | None) -> None:
        del self._idlers[idler.key]
        if idler.number:
            self._selector.unregister(idler.session.wire.sock)
        if fault is not None:
            idler.session.drop()
        self._taken.discard(idler.key)
        self._on_event(IdleEvent(idler.key, idler.session, idler.has_news, fault))
