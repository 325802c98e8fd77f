"""Whose turn it is: mailboxes that wait to be read, taken by a few threads, one thread at a time for each mailbox."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from mailfleet.inbox.reading import Doubt
from mailfleet.inbox.store import Lease
from mailfleet.model.words import Folder
from mailfleet.providers.imap import ImapSession


class Place(Enum):
    """Who may touch the session: nobody while it rests or waits, one thread, or the idle pool."""

    RESTING = "resting"
    WAITING = "waiting"
    READING = "reading"
    IDLING = "idling"


@dataclass(slots=True, eq=False)
class Held:
    """A mailbox that we hold. `host` is its server; `key` what its session was opened with.

    `is_ours` ends with the lease, `has_news`: the idle pool heard of mail, `has_errands`: some were due when
    it was last looked, `is_busy`: it should idle, not before
    `may_idle_at` by the monotonic clock, and while `is_at_inbox`: INBOX is its open folder.
    """

    mailbox_id: int
    fence: int
    host: str = ""
    is_ours: bool = True
    place: Place = Place.RESTING
    has_news: bool = False
    has_errands: bool = False
    is_busy: bool = False
    may_idle_at: float = 0.0
    is_at_inbox: bool = False
    session: ImapSession | None = None
    key: object = None
    junk: str | None = None
    doubts: dict[Folder, Doubt] = field(default_factory=dict)

    @property
    def lease(self) -> Lease:
        return self.mailbox_id, self.fence

    @property
    def is_open(self) -> bool:
        return self.session is not None and self.session.is_usable

    def drop(self) -> None:
        """The end of its session, without a word."""
        if self.session is not None:
            self.session.drop()
            self.session = None


class Turns:
    """Mailboxes in the order in which they are read. While those of another server wait, at most `a_host` of one are
    read at once, so that a server that hangs does not keep the others waiting.
    """

    def __init__(self, a_host: int) -> None:
        self._a_host = a_host
        self._waiting: OrderedDict[Held, None] = OrderedDict()
        self._reading: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._is_over = False

    def put(self, held: Held, host: str, *, first: bool = False) -> None:
        """From rest it comes to wait for its turn; anywhere else it is left alone."""
        with self._changed:
            if held.place is not Place.RESTING:
                return
            held.place, held.host = Place.WAITING, host
            self._waiting[held] = None
            if first:
                self._waiting.move_to_end(held, last=False)
            self._changed.notify()

    def take(self) -> Held | None:
        """The next one, when there is one; None: it is over."""
        with self._changed:
            while not self._waiting and not self._is_over:
                self._changed.wait()
            if self._is_over:
                return None
            held = next(
                (held for held in self._waiting if self._reading[held.host] < self._a_host), next(iter(self._waiting))
            )
            del self._waiting[held]
            self._reading[held.host] += 1
            held.place = Place.READING
            return held

    def done(self, held: Held, *, idle: Callable[[Held], None] | None) -> None:
        """It was read; it rests, or goes to `idle`. One that is not ours any more is let go of."""
        with self._changed:
            self._reading[held.host] -= 1
            held.place = Place.RESTING
            if not held.is_ours:
                held.drop()
            elif idle is not None and held.is_open:
                held.place = Place.IDLING
                idle(held)

    def came_back(self, held: Held) -> None:
        """From the idle pool: it is read before all others."""
        with self._changed:
            held.place = Place.RESTING
            if not held.is_ours:
                held.drop()
                return
        self.put(held, held.host, first=True)

    def let_go(self, held: Held) -> bool:
        """It is not ours any more: at once when it rests, else when whoever has it is done. False: it idles."""
        with self._changed:
            held.is_ours = False
            self._waiting.pop(held, None)
            if held.place in (Place.RESTING, Place.WAITING):
                held.place = Place.RESTING
                held.drop()
            return held.place is not Place.IDLING

    def end(self) -> None:
        """Nobody takes anything more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
