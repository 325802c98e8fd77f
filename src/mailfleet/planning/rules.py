"""The planner: ready enrollments and the fleet's state in, slots and reasons out.

Pure: now, chance and rows are arguments. The same function over virtual time is the forecast.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailfleet.base.errors import InputError, InvariantError
from mailfleet.model.words import ScopeKind
from mailfleet.planning.chance import draw_variant
from mailfleet.planning.fleet import Fleet, Pool
from mailfleet.planning.lane import Lane, tie_of
from mailfleet.planning.reasons import Explainer, Obstacle, Verdict, first_obstacle, obstacle_of
from mailfleet.planning.room import Room
from mailfleet.planning.rotation import Rotation
from mailfleet.planning.snapshot import Campaign, Enrollment, Plan, Reason, Slot, Snapshot, Unplanned
from mailfleet.planning.windows import LocalWindow, Span


def plan(snapshot: Snapshot, *, now: datetime, until: datetime, seed: int) -> Plan:
    """Slots in [now, until) for as many ready enrollments as the laws allow, and a reason for each of the others.

    1. Follow-ups before openings (each campaign's share of openings kept), then priority, then the longest wait, then
       a seeded order: the order of the input means nothing.
    2. Each goes from the mailbox it is bound to, else from the next of its pool in rotation that has a turn for it.
    3. The turn is the earliest inside the contact's window that keeps the pace to every neighbour and every limit in
       every window with all queued letters counted; then later by up to 0.3 paces, where that breaks nothing.

    At the end no unplanned enrollment could take any moment in any mailbox it may go from: what is blocked once stays
    blocked in a run. A mailbox on hold gets nothing, even if the hold ends before `until`: the next run sees that.

    Raises `InvariantError` when an enrollment comes twice or the horizon is empty.
    """
    if now >= until:
        raise InvariantError(f"a plan from {now} until {until} has no moment in it")
    if len({enrollment.id for enrollment in snapshot.enrollments}) < len(snapshot.enrollments):
        raise InvariantError("an enrollment is twice in one snapshot")
    return _Run(snapshot, now.astimezone(UTC), until.astimezone(UTC), seed).plan()


@dataclass(frozen=True, slots=True, eq=False)
class _Hours:
    """When contacts of one campaign and zone may be written to: the window, and what of it lies in the horizon.

    One object for each campaign and zone, so it is compared by identity.
    """

    window: LocalWindow
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Shortage:
    """No turn was left: in the one mailbox or (None) in the pool; `rooms`: what was full on the recipient's side."""

    campaign_id: int
    hours: _Hours
    mailbox_id: int | None
    rooms: tuple[Room, ...]


class _Run:
    def __init__(self, snapshot: Snapshot, now: datetime, until: datetime, seed: int) -> None:
        self._snapshot, self._now, self._until, self._seed = snapshot, now, until, seed
        self._fleet = Fleet(snapshot, now, seed)
        self._explainer = Explainer(snapshot.names, until)
        self._campaigns = {campaign.id: campaign for campaign in snapshot.campaigns}
        self._hours: dict[tuple[int, str], _Hours | Verdict] = {}
        self._rotations: dict[tuple[Pool, tuple[Span, ...], tuple[Room, ...]], Rotation] = {}
        self._mailbox_of_contact: dict[int, int] = {}
        self._slots: list[Slot] = []
        self._missed: list[tuple[int, Verdict | _Shortage]] = []
        self._planned: Counter[int] = Counter()
        self._openings_planned: Counter[int] = Counter()

    def plan(self) -> Plan:
        ordered = sorted(self._snapshot.enrollments, key=self._rank)
        for enrollment in ordered:
            if enrollment.mailbox_id is not None:
                self._mailbox_of_contact.setdefault(enrollment.contact_id, enrollment.mailbox_id)
        self._go_through(ordered)
        lanes, trials = sorted(self._fleet.lanes.items()), self._fleet.half_open_rooms()
        return Plan(
            slots=tuple(sorted(self._slots, key=lambda slot: (slot.due_at, slot.enrollment_id))),
            reasons=tuple(self._reasons()),
            mailbox_reasons=tuple(self._explainer.mailbox(lane, trials[number]) for number, lane in lanes),
        )

    def _rank(self, enrollment: Enrollment) -> tuple[bool, int, datetime, int]:
        campaign = self._campaigns.get(enrollment.campaign_id)
        tie = tie_of(self._seed, "enrollment", enrollment.id)
        return enrollment.is_opening, -campaign.priority if campaign else 0, enrollment.ready_at, tie

    def _go_through(self, ordered: Sequence[Enrollment]) -> None:
        """Try each once; before a follow-up, as many openings of its campaign as keep up their share."""
        openings: dict[int, deque[Enrollment]] = defaultdict(deque)
        for enrollment in ordered:
            if enrollment.is_opening:
                openings[enrollment.campaign_id].append(enrollment)
        for enrollment in ordered:
            waiting = openings[enrollment.campaign_id]
            if not enrollment.is_opening:
                while waiting and self._owes_opening(enrollment.campaign_id):
                    self._try(waiting.popleft())
                self._try(enrollment)
            elif waiting and waiting[0] is enrollment:
                self._try(waiting.popleft())

    def _owes_opening(self, campaign_id: int) -> bool:
        campaign = self._campaigns.get(campaign_id)
        if campaign is None:
            return False
        return self._openings_planned[campaign_id] < campaign.openings_share * (self._planned[campaign_id] + 1)

    def _try(self, enrollment: Enrollment) -> None:
        missed = self._place(enrollment)
        if missed:
            self._missed.append((enrollment.id, missed))

    def _place(self, enrollment: Enrollment) -> Verdict | _Shortage | None:
        """Plan one letter, or say what is in the way."""
        campaign = self._campaigns.get(enrollment.campaign_id)
        if campaign is None:
            return CAMPAIGN_STOPPED
        hours = self._hours_of(campaign, enrollment.zone)
        if isinstance(hours, Verdict):
            return hours
        if hold := self._fleet.hold_on(_scopes_of_letter(enrollment)):
            return self._explainer.held(hold)
        bound_to = self._mailbox_of(enrollment)
        if bound_to is None:
            return self._place_in_pool(enrollment, campaign, hours)
        return self._place_in_mailbox(enrollment, campaign, hours, bound_to)

    def _hours_of(self, campaign: Campaign, zone: str) -> _Hours | Verdict:
        key = campaign.id, zone if campaign.in_contact_zone else campaign.window.zone
        if key not in self._hours:
            self._hours[key] = self._read_hours(campaign.window.in_zone(key[1]))
        return self._hours[key]

    def _read_hours(self, window: LocalWindow) -> _Hours | Verdict:
        try:
            spans = window.spans(self._now, self._until)
        except InputError:
            return Verdict(
                Reason.UNKNOWN_ZONE, f'The time zone "{window.zone}" is not known: correct it at the contact.'
            )
        return _Hours(window, spans) if spans else self._explainer.closed(window)

    def _mailbox_of(self, enrollment: Enrollment) -> int | None:
        if enrollment.mailbox_id is not None:
            return enrollment.mailbox_id
        return self._mailbox_of_contact.get(enrollment.contact_id)

    def _place_in_mailbox(
        self, enrollment: Enrollment, campaign: Campaign, hours: _Hours, mailbox_id: int
    ) -> Verdict | _Shortage | None:
        lane = self._fleet.lanes.get(mailbox_id)
        if lane is None:
            return MAILBOX_GONE
        if lane.mailbox.identity_id != campaign.identity_id:
            return OTHER_IDENTITY
        if enrollment.is_opening and mailbox_id not in campaign.pool:
            return OUTSIDE_POOL
        rooms = self._full_rooms(enrollment)
        at = None if lane.hold else lane.place(hours.spans, rooms, enrollment.id)
        if at is None:
            return _Shortage(campaign.id, hours, mailbox_id, rooms)
        self._plan_at(enrollment, lane, at)
        return None

    def _place_in_pool(self, enrollment: Enrollment, campaign: Campaign, hours: _Hours) -> Verdict | _Shortage | None:
        pool = self._fleet.pool_of(campaign)
        if not pool.lanes:
            return NO_MAILBOX
        rooms = self._full_rooms(enrollment)
        found = self._find_turn(enrollment, pool, hours.spans, rooms)
        if found is None:
            return _Shortage(campaign.id, hours, None, rooms)
        self._plan_at(enrollment, *found)
        return None

    def _find_turn(
        self, enrollment: Enrollment, pool: Pool, spans: tuple[Span, ...], rooms: tuple[Room, ...]
    ) -> tuple[Lane, datetime] | None:
        """The next lane in rotation with a turn for the letter, and the turn.

        Lanes without one leave the rotation of these spans and full rooms for good, so that a pool is searched once
        and not by every letter. A pool that has no turn for any recipient is not searched for this one.
        """
        found = self._next_turn(enrollment, pool, spans, ())
        if found is None or not rooms:
            return found
        if any(_blocks(room, spans) for room in rooms):
            return None
        return self._next_turn(enrollment, pool, spans, rooms)

    def _next_turn(
        self, enrollment: Enrollment, pool: Pool, spans: tuple[Span, ...], rooms: tuple[Room, ...]
    ) -> tuple[Lane, datetime] | None:
        key = pool, spans, rooms
        rotation = self._rotations.get(key)
        if rotation is None:
            rotation = self._rotations[key] = Rotation(pool.grove)
        while lane := rotation.best():
            at = lane.place(spans, rooms, enrollment.id)
            if at is not None:
                return lane, at
            rotation.drop(lane)
        return None

    def _full_rooms(self, enrollment: Enrollment) -> tuple[Room, ...]:
        rooms = self._fleet.letter_rooms(enrollment)
        return tuple(room for room in rooms if room.is_full) if rooms else ()

    def _plan_at(self, enrollment: Enrollment, lane: Lane, at: datetime) -> None:
        self._planned[enrollment.campaign_id] += 1
        self._openings_planned[enrollment.campaign_id] += enrollment.is_opening
        lane.take(at, len(self._slots) + 1)
        for room in self._fleet.letter_rooms(enrollment):
            room.add(at)
        self._mailbox_of_contact.setdefault(enrollment.contact_id, lane.mailbox.id)
        drawn = draw_variant(f"{enrollment.id}:{enrollment.step_id}", [weight for _, weight in enrollment.variants])
        variant = enrollment.variants[drawn][0]
        self._slots.append(Slot(enrollment.id, enrollment.step_id, lane.mailbox.id, at, variant))

    def _reasons(self) -> Iterator[Unplanned]:
        """By enrollment, from the state at the end of the run; each shortage is explained once."""
        explained: dict[_Shortage, Verdict] = {}
        first_of_pool: dict[tuple[Pool, datetime], tuple[Lane, Obstacle]] = {}
        for enrollment_id, missed in sorted(self._missed, key=lambda pair: pair[0]):
            if isinstance(missed, _Shortage):
                if missed not in explained:
                    explained[missed] = self._explain(missed, first_of_pool)
                missed = explained[missed]
            yield missed.on(enrollment_id)

    def _explain(
        self, shortage: _Shortage, first_of_pool: dict[tuple[Pool, datetime], tuple[Lane, Obstacle]]
    ) -> Verdict:
        start, window = shortage.hours.spans[-1][0], shortage.hours.window
        if shortage.mailbox_id is not None:
            lane = self._fleet.lanes[shortage.mailbox_id]
            return self._explainer.bound(lane, obstacle_of(lane, start, shortage.rooms), window)
        pool = self._fleet.pool_of(self._campaigns[shortage.campaign_id])
        if (pool, start) not in first_of_pool:
            first_of_pool[pool, start] = first_obstacle(pool, start)
        lane, obstacle = first_of_pool[pool, start]
        if obstacle.hold is None and shortage.rooms:
            obstacle = obstacle_of(lane, start, shortage.rooms)
        return self._explainer.pooled(lane, obstacle, window)


def _scopes_of_letter(enrollment: Enrollment) -> tuple[tuple[ScopeKind, str], ...]:
    """Those that are not its mailbox's. No hold and no limit stands on a provider without a name."""
    return (
        (ScopeKind.CAMPAIGN, str(enrollment.campaign_id)),
        (ScopeKind.RECIPIENT_DOMAIN, enrollment.recipient_domain),
        (ScopeKind.RECIPIENT_PROVIDER, enrollment.recipient_provider),
    )


def _blocks(room: Room, spans: Iterable[Span]) -> bool:
    return all(room.free_from(start) >= end for start, end in spans)


CAMPAIGN_STOPPED = Verdict(Reason.CAMPAIGN_STOPPED, "Its campaign is not running.")
NO_MAILBOX = Verdict(Reason.NO_MAILBOX, "The campaign's pool has no mailbox of the campaign's identity.")
MAILBOX_GONE = Verdict(
    Reason.MAILBOX_GONE,
    "The mailbox that writes to this contact is no longer in the fleet: move the contact to another.",
)
OUTSIDE_POOL = Verdict(
    Reason.OUTSIDE_POOL,
    "The mailbox that writes to this contact is not in the campaign's pool, and no other may write.",
)
OTHER_IDENTITY = Verdict(
    Reason.OTHER_IDENTITY, "The mailbox that writes to this contact belongs to another identity than the campaign."
)
