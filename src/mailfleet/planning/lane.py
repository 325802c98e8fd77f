"""One mailbox in the course of a planning run: its turns, its rooms, its next free moment."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import UTC, datetime

from mailfleet.planning.chance import draw_fraction, draw_number
from mailfleet.planning.room import BEGINNING, Room
from mailfleet.planning.snapshot import Hold, Mailbox, Queued
from mailfleet.planning.windows import Span

JITTER = 0.3  # chosen: gaps of 1 to 1.3 paces look like no machine's rhythm and cost at most a quarter of the rate


class Scope:
    """A provider (with identity), account or domain: its rooms, and which turn it had last."""

    __slots__ = ("last_turn", "rooms", "tie")

    def __init__(self, rooms: Sequence[Room], tie: int) -> None:
        self.rooms, self.tie = rooms, tie
        self.last_turn = 0

    @property
    def fill(self) -> float:
        return max([room.fill for room in self.rooms], default=0.0)


class Lane:
    """A mailbox's turns are sorted moments, each at least a pace from the next: those queued, then those planned.

    `floor`: no turn before it. A queued message that is late, or crowds the one before it, is counted at the moment at
    which it can leave.
    """

    __slots__ = ("_cursor", "_turns", "floor", "hold", "mailbox", "own", "parents", "rooms", "seed")

    def __init__(
        self,
        mailbox: Mailbox,
        hold: Hold | None,
        own: Scope,
        parents: tuple[Scope, ...],
        rooms: Sequence[Room],
        seed: int,
    ) -> None:
        self.mailbox, self.hold, self.seed = mailbox, hold, seed
        self.own, self.parents, self.rooms = own, parents, rooms
        self._turns: list[datetime] = []
        self._cursor = self.floor = BEGINNING

    def begin(self, now: datetime) -> list[datetime]:
        """Give the queued messages their turns; return these, in the order of `queue_order(mailbox)`."""
        next_at = self.mailbox.next_at
        self._cursor = self.floor = at = now if next_at is None else max(now, next_at.astimezone(UTC))
        for message in queue_order(self.mailbox):
            at = max(at, message.due_at.astimezone(UTC))
            self._turns.append(at)
            at += self.mailbox.pace
        return self._turns

    def next_free(self) -> datetime:
        """The first moment at which the mailbox may take one more letter, whatever the letter. It never goes back."""
        self._cursor = self.free_from(self._cursor, self.rooms)
        return self._cursor

    def place(self, spans: Sequence[Span], rooms: Sequence[Room], enrollment_id: int) -> datetime | None:
        """The turn for a letter inside the spans and within `rooms` besides its own: the earliest, plus jitter."""
        at = self.next_free()
        every = (*self.rooms, *rooms)
        for start, end in spans:
            at = self.free_from(max(at, start), every)
            if at < end:
                return self._shift(at, end, every, enrollment_id)
        return None

    def take(self, at: datetime, turn: int) -> None:
        """Count a letter planned at `at`, the `turn`-th of the run."""
        insort(self._turns, at)
        for room in self.rooms:
            room.add(at)
        for scope in (self.own, *self.parents):
            scope.last_turn = turn

    def free_from(self, at: datetime, rooms: Sequence[Room]) -> datetime:
        """The first moment at or after `at` that keeps the pace and leaves every room within its maximum."""
        while True:
            moved = self.clear_of_turns(at)
            for room in rooms:
                if room.counted >= room.maximum:  # is_full, without the call: the planner spends most of its time here
                    moved = room.free_from(moved)
            if moved == at:
                return at
            at = moved

    def clear_of_turns(self, at: datetime) -> datetime:
        """The first moment at or after `at` that is a pace away from every turn, before and after."""
        turns, pace = self._turns, self.mailbox.pace
        index = bisect_left(turns, at)
        if index and at - turns[index - 1] < pace:
            at = turns[index - 1] + pace
        while index < len(turns) and turns[index] - at < pace:
            at = max(at, turns[index] + pace)
            index += 1
        return at

    def _shift(self, at: datetime, end: datetime, rooms: Sequence[Room], enrollment_id: int) -> datetime:
        """Later by a part of the pace, so that mailboxes freed at one moment do not write at one moment."""
        jitter = JITTER * draw_fraction(f"{self.seed}:{self.mailbox.id}:{enrollment_id}") * self.mailbox.pace
        later = at + jitter
        return later if later < end and self.free_from(later, rooms) == later else at


def queue_order(mailbox: Mailbox) -> list[Queued]:
    """The queued messages as they will leave; those due at one moment in an order that the input's does not change."""
    return sorted(mailbox.queued, key=lambda message: (message.due_at, message.recipient_domain, message.campaign_id))


def tie_of(seed: int, *key: object) -> int:
    """A number that puts equals into a lasting order that favours none."""
    return draw_number(f"{seed}:{key}")
