"""The fleet in the course of a planning run: lanes for mailboxes, rooms for limits in scopes, holds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from mailfleet.model.words import ScopeKind
from mailfleet.planning.lane import Lane, Scope, queue_order, tie_of
from mailfleet.planning.room import NEVER, Room
from mailfleet.planning.rotation import Grove
from mailfleet.planning.snapshot import Campaign, Enrollment, Hold, Limit, Mailbox, Queued, Snapshot

ScopeKey = tuple[ScopeKind, str]


class Pool:
    """The mailboxes of a campaign's pool that belong to its identity; those without a hold form the grove."""

    __slots__ = ("grove", "lanes")

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self.lanes = sorted(lanes, key=lambda lane: lane.own.tie)
        self.grove = Grove.of(lane for lane in self.lanes if lane.hold is None)


class Fleet:
    """All that a run counts. Messages already queued are counted at the start."""

    def __init__(self, snapshot: Snapshot, now: datetime, seed: int) -> None:
        self._now, self._seed = now, seed
        self._limits: dict[ScopeKind, list[Limit]] = defaultdict(list)
        self._own_limits: dict[ScopeKey, list[Limit]] = defaultdict(list)
        for limit in sorted(snapshot.limits, key=lambda limit: limit.id):
            if limit.scope is None:
                self._limits[limit.scope_kind].append(limit)
            else:
                self._own_limits[limit.scope_kind, limit.scope].append(limit)
        self._rooms: dict[ScopeKey, tuple[Room, ...]] = {}
        self._scopes: dict[tuple[int, ...], Scope] = {}
        self._holds = _longest_holds(snapshot.holds, now)
        self._pools: dict[tuple[frozenset[int], int], Pool] = {}
        self._pool_of_campaign: dict[int, Pool] = {}
        self.lanes = {mailbox.id: self._lane(mailbox) for mailbox in snapshot.mailboxes}
        for lane in self.lanes.values():
            self._count_queued(lane)

    def hold_on(self, scopes: Iterable[ScopeKey]) -> Hold | None:
        """The hold that ends last of those on any of the scopes."""
        found = [hold for scope in scopes if (hold := self._holds.get(scope))]
        return max(found, key=_hold_rank, default=None)

    def rooms_of(self, kind: ScopeKind, key: str) -> tuple[Room, ...]:
        """A room for each limit on the scope, in the order of the limits' ids."""
        rooms = self._rooms.get((kind, key))
        if rooms is None:
            limits = [*self._limits.get(kind, ()), *self._own_limits.get((kind, key), ())]
            rooms = self._rooms[kind, key] = tuple(Room(limit, key, self._now) for limit in limits)
        return rooms

    def letter_rooms(self, letter: Queued | Enrollment) -> tuple[Room, ...]:
        """Of the limits that a letter meets besides those of its mailbox."""
        rooms = self.rooms_of(ScopeKind.RECIPIENT_DOMAIN, letter.recipient_domain)
        if letter.recipient_provider:
            rooms += self.rooms_of(ScopeKind.RECIPIENT_PROVIDER, letter.recipient_provider)
        return rooms + self.rooms_of(ScopeKind.CAMPAIGN, str(letter.campaign_id))

    def half_open_rooms(self) -> dict[int, tuple[Room, ...]]:
        """Of each mailbox the limits of its trials: those of its own scopes, then of the campaigns it may write for."""
        found = {
            mailbox_id: tuple(room for room in lane.rooms if room.limit.is_half_open)
            for mailbox_id, lane in self.lanes.items()
        }
        for campaign_id, pool in sorted(self._pool_of_campaign.items()):
            rooms = self.rooms_of(ScopeKind.CAMPAIGN, str(campaign_id))
            if half_open := tuple(room for room in rooms if room.limit.is_half_open):
                for lane in pool.lanes:
                    found[lane.mailbox.id] += half_open
        return found

    def pool_of(self, campaign: Campaign) -> Pool:
        """Campaigns with equal pools share one, and with it the rotation."""
        if campaign.id not in self._pool_of_campaign:
            self._pool_of_campaign[campaign.id] = self._find_pool(campaign)
        return self._pool_of_campaign[campaign.id]

    def _find_pool(self, campaign: Campaign) -> Pool:
        key = campaign.pool, campaign.identity_id
        if key not in self._pools:
            lanes = (self.lanes[mailbox_id] for mailbox_id in campaign.pool if mailbox_id in self.lanes)
            self._pools[key] = Pool(lane for lane in lanes if lane.mailbox.identity_id == campaign.identity_id)
        return self._pools[key]

    def _lane(self, mailbox: Mailbox) -> Lane:
        scopes = mailbox.scopes()
        rooms = {kind: self.rooms_of(kind, key) for kind, key in scopes}
        path = (mailbox.identity_id, mailbox.provider_id, mailbox.account_id, mailbox.domain_id)
        parents = (
            self._scope(path[:2], rooms[ScopeKind.PROVIDER] + rooms[ScopeKind.IDENTITY]),
            self._scope(path[:3], rooms[ScopeKind.ACCOUNT]),
            self._scope(path, rooms[ScopeKind.DOMAIN]),
        )
        own = Scope(rooms[ScopeKind.MAILBOX], tie_of(self._seed, "mailbox", mailbox.id))
        every = [room for kind, _ in scopes for room in rooms[kind]]
        return Lane(mailbox, self.hold_on(scopes), own, parents, every, self._seed)

    def _scope(self, path: tuple[int, ...], rooms: Sequence[Room]) -> Scope:
        if path not in self._scopes:
            self._scopes[path] = Scope(rooms, tie_of(self._seed, "scope", *path))
        return self._scopes[path]

    def _count_queued(self, lane: Lane) -> None:
        turns = lane.begin(self._now)
        for message, at in zip(queue_order(lane.mailbox), turns, strict=True):
            for room in (*lane.rooms, *self.letter_rooms(message)):
                room.add(at)


def _longest_holds(holds: Iterable[Hold], now: datetime) -> dict[ScopeKey, Hold]:
    found: dict[ScopeKey, Hold] = {}
    for hold in sorted(holds, key=_hold_rank):
        if hold.until is None or hold.until > now:
            found[hold.scope_kind, hold.scope] = hold
    return found


def _hold_rank(hold: Hold) -> tuple[datetime, int]:
    return hold.until or NEVER, hold.id
