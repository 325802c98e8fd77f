"""Why a letter or a mailbox has no slot: a plain sentence that names the limit or hold that binds, and when it ends."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailfleet.model.words import ScopeKind
from mailfleet.planning.fleet import Pool
from mailfleet.planning.lane import Lane
from mailfleet.planning.room import NEVER, Room
from mailfleet.planning.snapshot import Hold, MailboxReason, Reason, Unplanned
from mailfleet.planning.windows import LocalWindow

Names = Mapping[tuple[ScopeKind, str], str]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What is in the way: a hold, a room, or (neither) turns already taken; `ends_at` NEVER: only a person ends it."""

    ends_at: datetime
    hold: Hold | None = None
    room: Room | None = None

    @property
    def code(self) -> Reason:
        if self.hold:
            return Reason.HOLD
        return Reason.LIMIT if self.room else Reason.PACE

    @property
    def binding(self) -> int | None:
        if self.hold:
            return self.hold.id
        return self.room.limit.id if self.room else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An `Unplanned` without its enrollment: many share one."""

    code: Reason
    text: str
    binding: int | None = None
    retry_at: datetime | None = None

    def on(self, enrollment_id: int) -> Unplanned:
        return Unplanned(enrollment_id, self.code, self.text, self.binding, self.retry_at)


def obstacle_of(lane: Lane, start: datetime, rooms: Sequence[Room] = ()) -> Obstacle:
    """What keeps the lane from one more letter from `start` on: that which ends last, if they follow one another."""
    if lane.hold:
        return Obstacle(lane.hold.until or NEVER, hold=lane.hold)
    at, binding = max(start, lane.floor), None
    while True:
        moved = lane.clear_of_turns(at)
        if moved > at:
            binding = None
        for room in (*lane.rooms, *rooms):
            free = room.free_from(moved) if room.is_full else moved
            if free > moved:
                moved, binding = free, room
        if moved == at:
            return Obstacle(at, room=binding)
        at = moved


def first_obstacle(pool: Pool, start: datetime) -> tuple[Lane, Obstacle]:
    """The lane of the pool, which has one at least, that is free first from `start` on, and its obstacle."""
    found = [(lane, obstacle_of(lane, start)) for lane in pool.lanes]
    return min(found, key=lambda pair: (pair[1].ends_at, pair[0].own.tie))


class Explainer:
    """Turns obstacles into sentences."""

    def __init__(self, names: Names, until: datetime) -> None:
        self._names, self._until = names, until

    def closed(self, window: LocalWindow) -> Verdict:
        opens_at = window.next_open(self._until)[0]
        text = f"The contact's window (time zone {window.zone}) is closed until {_moment(opens_at)}."
        return Verdict(Reason.WINDOW, text, retry_at=opens_at)

    def held(self, hold: Hold) -> Verdict:
        return Verdict(Reason.HOLD, f"Not written: {self._hold(hold)}.", hold.id, hold.until)

    def bound(self, lane: Lane, obstacle: Obstacle, window: LocalWindow) -> Verdict:
        """For a letter that may go from one mailbox only."""
        return self._verdict(f"Only {self._mailbox(lane)} may write this letter", obstacle, window)

    def pooled(self, lane: Lane, obstacle: Obstacle, window: LocalWindow) -> Verdict:
        """For a letter that may go from any mailbox of a pool, of which `lane` is free first."""
        until = _moment(self._until)
        lead = f"No mailbox of the pool can write it before {until}; the first to be free is {self._mailbox(lane)}"
        return self._verdict(lead, obstacle, window)

    def mailbox(self, lane: Lane, half_open: Sequence[Room] = ()) -> MailboxReason:
        """Why the mailbox has no more slots, and of which trials it is part."""
        free_at = lane.next_free()
        if lane.hold is None and free_at < self._until:
            text = f"It may write from {_moment(free_at)} on, and no ready letter can use that."
            text += self._trials(half_open)
            return MailboxReason(lane.mailbox.id, Reason.NO_WORK, text, None, None, None, free_at)
        obstacle = obstacle_of(lane, lane.floor)
        text = _sentence(self._cause(obstacle)) + self._trials(room for room in half_open if room is not obstacle.room)
        used, maximum = (obstacle.room.used, obstacle.room.maximum) if obstacle.room else (None, None)
        ends_at = None if obstacle.ends_at == NEVER else obstacle.ends_at
        return MailboxReason(lane.mailbox.id, obstacle.code, text, obstacle.binding, used, maximum, ends_at)

    def _verdict(self, lead: str, obstacle: Obstacle, window: LocalWindow) -> Verdict:
        retry_at = None if obstacle.ends_at == NEVER else window.next_open(obstacle.ends_at)[0]
        return Verdict(obstacle.code, f"{lead}: {self._cause(obstacle)}.", obstacle.binding, retry_at)

    def _mailbox(self, lane: Lane) -> str:
        return self._name(ScopeKind.MAILBOX, str(lane.mailbox.id))

    def _cause(self, obstacle: Obstacle) -> str:
        if obstacle.hold:
            return self._hold(obstacle.hold)
        if obstacle.room:
            return self._limit(obstacle.room, obstacle.ends_at)
        return f"its turns are taken, a pace apart, until {_moment(obstacle.ends_at)}"

    def _limit(self, room: Room, ends_at: datetime) -> str:
        limit = room.limit
        what = f"the limit of {limit.maximum} in {limit.window} for {self._name(limit.scope_kind, room.key)}"
        if limit.is_half_open:
            what += ", half open after a hold,"
        if limit.maximum <= 0:
            return f"{what} lets nothing through"
        return f"{what} is reached ({room.used} of {limit.maximum} used) until {_moment(ends_at)}"

    def _trials(self, rooms: Iterable[Room]) -> str:
        """A sentence for each, after others."""
        return "".join(
            f" Half open after a hold: {self._name(room.limit.scope_kind, room.key)}, at most {room.maximum} letters in"
            f" {room.limit.window}."
            for room in rooms
        )

    def _hold(self, hold: Hold) -> str:
        end = _moment(hold.until) if hold.until else "it is lifted"
        return f"{self._name(hold.scope_kind, hold.scope)} is held until {end} ({hold.reason})"

    def _name(self, kind: ScopeKind, key: str) -> str:
        if kind is ScopeKind.FLEET:
            return "the fleet"
        return f"{kind.value.replace('_', ' ')} {self._names.get((kind, key), key)}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
