"""A watcher: holds its share of the fleet's mailboxes, each with an open session, and reads them in turn.

    main     each second: leases, then who is due comes to wait for a turn; now and then errands, who idles, who fails
    readers  a few threads, each with one visit in hand
    idle     one thread in which the sessions of busy mailboxes wait for mail (IDLE)
    tokens   one thread, from the first mailbox on that needs an access token

Dies at any point: its leases run out, and who takes them over reads on from the cursors. While the database is away
nothing moves: sessions stay open, and leases that nobody took over go on.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import psycopg

from mailfleet.base.clock import monotonic
from mailfleet.base.db import Connection
from mailfleet.base.log import get_log
from mailfleet.inbox.errands import due_errands
from mailfleet.inbox.failing import family_to_hold
from mailfleet.inbox.leases import HOST, Leases
from mailfleet.inbox.rhythm import Rhythm
from mailfleet.inbox.store import Connections, WatcherStore
from mailfleet.inbox.tokens import Tokens
from mailfleet.inbox.turns import Held, Place, Turns
from mailfleet.inbox.visiting import Visitor
from mailfleet.outbox.vault import Vault
from mailfleet.providers.imap_idle import IdleEvent, IdlePool

READERS = 12  # chosen: threads; a visit is waiting for the server, and 4 a second read 1,200 mailboxes in 5 minutes
A_HOST = 6  # chosen: readers at one server while others wait, so that one that hangs leaves half of them to those
LATELY = timedelta(days=3)  # chosen: a letter is answered in this time, or seldom
NO_IDLE_FOR = 900.0  # chosen: seconds without IDLE after one that the server ended
STOP_GRACE = 10.0  # chosen: seconds for the batches in hand
LOGOUT_GRACE = 5.0  # chosen: seconds for all logouts; the rest is cut
LOGOUTS = 32  # chosen: logouts at once


@dataclass(frozen=True, slots=True)
class WatcherOptions:
    """What a watcher process is started with. `lease`: its right to a mailbox, renewed every third of it."""

    conninfo: str
    vault: Vault
    lease: timedelta
    rhythm: Rhythm = field(default_factory=Rhythm)


class Watcher:
    """One process's watcher; `run` ends when `stop` was called, its sessions are closed and its leases given back."""

    def __init__(self, options: WatcherOptions) -> None:
        self._options = options
        self._connections = Connections(options.conninfo)
        self._tokens = Tokens(options.conninfo, options.vault.keyring)
        self._turns = Turns(A_HOST)
        self._leases = Leases(options.lease, options.rhythm.apart, self._let_go)
        self._idle: IdlePool[Held] = IdlePool(self._hear)
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_stopping = False
        self._readers: list[threading.Thread] = []
        self._watcher_id = 0
        self._next_at: dict[str, float] = {}

    def stop(self) -> None:
        """Finish the batches in hand, log out, give the leases back, end. May be called by a signal's handler."""
        self._is_stopping = True
        self._bell.put(None)

    def run(self) -> None:
        while not self._is_stopping:
            try:
                with self._connections.one() as connection:
                    self._turn(self._store(connection))
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                get_log().warning("database_away", error=str(error))
            except Exception as error:  # noqa: BLE001 - the watcher's edge: what is held is read on
                get_log().critical("turn_failed", exc_info=error)
            with suppress(queue.Empty):
                self._bell.get(timeout=self._options.rhythm.tick.total_seconds())
        self._end()

    def _store(self, connection: Connection) -> WatcherStore:
        """The first time this watcher makes itself known, and its readers begin."""
        if not self._watcher_id:
            self._watcher_id = WatcherStore.register(connection, HOST)
            self._start_readers()
        return WatcherStore(connection, self._watcher_id)

    def _turn(self, store: WatcherStore) -> None:
        self._leases.tend(store)
        rhythm = self._options.rhythm
        self._now_and_then("errands", rhythm.errands, partial(self._hasten, store))
        self._now_and_then("busy", rhythm.upkeep, partial(self._choose_busy, store))
        self._now_and_then("failing", rhythm.upkeep, partial(self._look_at_failing, store))
        for row in store.due():
            held = self._leases.held.get(row.mailbox_id)
            if held is None or held.fence != row.fence or not held.is_ours:
                continue
            if held.place is Place.IDLING:
                self._idle.remove(held)
            else:
                self._turns.put(held, row.host)

    def _now_and_then(self, name: str, pause: timedelta, act: Callable[[], None]) -> None:
        if monotonic() >= self._next_at.get(name, 0.0):
            act()
            self._next_at[name] = monotonic() + pause.total_seconds()

    def _hasten(self, store: WatcherStore) -> None:
        mailboxes = due_errands(store.connection, list(self._leases.held))
        for mailbox in mailboxes:
            self._leases.held[mailbox].has_errands = True
        if mailboxes:
            store.hasten(mailboxes, apart=self._options.rhythm.errands)

    def _choose_busy(self, store: WatcherStore) -> None:
        """One that becomes busy is read at once and idles from then on; one that is no more, idles until it is due."""
        busy = store.busy(lately=LATELY, most=self._options.rhythm.most_idle)
        for mailbox, held in self._leases.held.items():
            was_busy, held.is_busy = held.is_busy, mailbox in busy
            if held.is_busy and not was_busy and self._may_idle(held):
                self._turns.put(held, held.host)

    def _look_at_failing(self, store: WatcherStore) -> None:
        """One that should be held and is not: its hold was lifted or is over, so it is tried again, and held again."""
        rows = store.failing()
        if not rows:
            return
        asked = {row.mailbox_id: family_to_hold(row.fault_kind, row.failures, row.unread_for) for row in rows}
        over = store.families_over(asked)
        free = [mailbox for mailbox, family in asked.items() if family is not None and (mailbox, family) not in over]
        if free:
            store.try_again(free)

    def _let_go(self, held: Held) -> None:
        if not self._turns.let_go(held):
            self._idle.remove(held)

    # In the readers' threads

    def _start_readers(self) -> None:
        visitor = Visitor(
            self._connections,
            self._options.vault,
            self._tokens,
            self._watcher_id,
            self._options.rhythm,
            lambda: self._is_stopping,
        )
        for number in range(READERS):
            reader = threading.Thread(target=self._read, args=(visitor,), name=f"reader-{number}", daemon=True)
            reader.start()
            self._readers.append(reader)

    def _read(self, visitor: Visitor) -> None:
        while (held := self._turns.take()) is not None:
            try:
                visitor.visit(held)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                get_log().warning("database_away", error=str(error))
            except Exception as error:  # noqa: BLE001 - the watcher's edge: the other mailboxes are read on
                held.drop()
                get_log().critical("visit_failed", mailbox=held.mailbox_id, exc_info=error)
            finally:
                self._turns.done(held, idle=self._add_idle if self._may_idle(held) else None)

    def _may_idle(self, held: Held) -> bool:
        if not held.is_busy or not held.is_at_inbox or self._is_stopping or monotonic() < held.may_idle_at:
            return False
        session = held.session
        can_idle = session is not None and session.is_usable and session.can_idle
        return can_idle and len(self._idle) < self._options.rhythm.most_idle

    def _add_idle(self, held: Held) -> None:
        assert held.session is not None
        self._idle.add(held, held.session)

    # In the idle pool's thread

    def _hear(self, event: IdleEvent[Held]) -> None:
        held = event.key
        if event.fault is not None:
            held.may_idle_at = monotonic() + NO_IDLE_FOR
        held.has_news = event.has_news
        self._turns.came_back(held)

    # The end

    def _end(self) -> None:
        self._turns.end()
        until = monotonic() + STOP_GRACE
        for reader in self._readers:
            reader.join(max(0.0, until - monotonic()))
        self._idle.close()
        self._log_out()
        self._leave()
        self._tokens.close()
        self._connections.close()

    def _log_out(self) -> None:
        """Sessions at rest say goodbye, as many as can in a few seconds."""
        resting = [held for held in self._leases.held.values() if held.place is not Place.READING and held.is_open]
        goodbyes = ThreadPoolExecutor(LOGOUTS)
        wait([goodbyes.submit(held.session.close) for held in resting if held.session], timeout=LOGOUT_GRACE)
        goodbyes.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        """When the database is away the leases run out by themselves."""
        if not self._watcher_id:
            return
        with suppress(psycopg.OperationalError, psycopg.InterfaceError), self._connections.one() as connection:
            store = WatcherStore(connection, self._watcher_id)
            self._leases.release_all(store)
            store.stopped()
