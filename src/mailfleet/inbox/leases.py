"""Which mailboxes this watcher reads: its share of the fleet, leased with a fence, renewed, given back.

A watcher that dies loses its mailboxes when their leases run out; one that comes gets its share from the others.
"""

import math
import socket
from collections.abc import Callable, Iterable
from datetime import timedelta

from mailfleet.base.clock import monotonic
from mailfleet.inbox.store import Census, WatcherStore
from mailfleet.inbox.turns import Held, Place

LEASE_BATCH = 200  # chosen: mailboxes taken or given back in one turn, so that watchers that start together share
LONGEST_APART = timedelta(minutes=4)  # chosen: well inside the five in which each is to be read

HOST = name if "." in (name := socket.getfqdn()) else socket.gethostname()


def fair_share(census: Census) -> int:
    """How many mailboxes one watcher of several holds at most."""
    return math.ceil(census.mailboxes / max(1, census.watchers))


class Leases:
    """`held` by mailbox id. `apart`: between two first readings of new mailboxes. `let_go` ends what is going on in a
    mailbox that is lost or given back.
    """

    def __init__(self, length: timedelta, apart: timedelta, let_go: Callable[[Held], None]) -> None:
        self.held: dict[int, Held] = {}
        self._length = length
        self._apart = apart
        self._let_go = let_go
        self._share = 0
        self._renew_at = 0.0

    def tend(self, store: WatcherStore) -> None:
        """1. renew, every third of a lease, and count anew. 2. take up to our share. 3. give back what is above it."""
        if monotonic() >= self._renew_at:
            self._renew(store)
        missing = self._share - len(self.held)
        if missing > 0:
            for mailbox, fence in store.lease(min(LEASE_BATCH, missing), self._length):
                self._forget(self.held.get(mailbox))  # a lease that ran out and that we took anew
                self.held[mailbox] = Held(mailbox, fence)
        elif missing < 0:
            self._release(store, self._least_missed(-missing))

    def release_all(self, store: WatcherStore) -> None:
        store.release(held.lease for held in self.held.values())
        self.held = {}

    def _renew(self, store: WatcherStore) -> None:
        store.seen()
        store.make_readings(apart=self._apart, longest=LONGEST_APART)
        ours = store.renew((held.lease for held in self.held.values()), self._length)
        self._release(store, [held for held in self.held.values() if held.mailbox_id not in ours or not held.is_ours])
        self._share = fair_share(store.census(self._length))
        self._renew_at = monotonic() + self._length.total_seconds() / 3

    def _release(self, store: WatcherStore, released: Iterable[Held]) -> None:
        """Those that were lost are somebody else's already; those that are read no more become free."""
        gone = list(released)
        for held in gone:
            self._forget(held)
        if gone:
            store.release(held.lease for held in gone)

    def _forget(self, held: Held | None) -> None:
        if held is not None:
            del self.held[held.mailbox_id]
            self._let_go(held)

    def _least_missed(self, count: int) -> list[Held]:
        """Those at rest first; none that is being read."""
        ranks = {Place.RESTING: 0, Place.IDLING: 1, Place.WAITING: 2}
        movable = [held for held in self.held.values() if held.place in ranks]
        return sorted(movable, key=lambda held: ranks[held.place])[: min(count, LEASE_BATCH)]
