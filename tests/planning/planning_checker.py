"""The laws of a plan, checked the slow and plain way: shares no code with the planner but the buckets of a window."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from mailfleet.planning.snapshot import Campaign, Enrollment, Hold, Limit, Mailbox, Plan, Queued, Snapshot


def scopes_of(letter: Queued | Enrollment) -> list[tuple[str, str]]:
    """Those besides its mailbox's; a provider that is not known is none."""
    found = [("campaign", str(letter.campaign_id)), ("recipient_domain", letter.recipient_domain)]
    return [*found, ("recipient_provider", letter.recipient_provider)] if letter.recipient_provider else found


@dataclass
class Checker:
    """Everything a plan leads to: turns by mailbox, and counts by limit and key and bucket."""

    snapshot: Snapshot
    plan: Plan
    now: datetime
    until: datetime
    turns: dict[int, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[tuple[int, str], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.mailboxes = {mailbox.id: mailbox for mailbox in self.snapshot.mailboxes}
        self.campaigns = {campaign.id: campaign for campaign in self.snapshot.campaigns}
        self.enrollments = {enrollment.id: enrollment for enrollment in self.snapshot.enrollments}
        for limit in self.snapshot.limits:
            for key, usage in limit.usage.items():
                self.counts[limit.id, key].update(
                    {usage.head - age: count for age, count in enumerate(usage.counts) if count}
                )
        for mailbox in self.snapshot.mailboxes:
            self._count_queued(mailbox)
        self.queued_turns = {mailbox_id: list(turns) for mailbox_id, turns in self.turns.items()}
        for slot in self.plan.slots:
            enrollment = self.enrollments[slot.enrollment_id]
            self.turns[slot.mailbox_id].append(slot.due_at)
            self._count(slot.mailbox_id, enrollment, slot.due_at)

    def _count_queued(self, mailbox: Mailbox) -> None:
        free_at = max(self.now, mailbox.next_at or self.now)
        for queued in sorted(mailbox.queued, key=lambda q: (q.due_at, q.recipient_domain, q.campaign_id)):
            leaves_at = max(free_at, queued.due_at)
            self.turns[mailbox.id].append(leaves_at)
            self._count(mailbox.id, queued, leaves_at)
            free_at = leaves_at + mailbox.pace

    def _count(self, mailbox_id: int, letter: Queued | Enrollment, at: datetime) -> None:
        for limit, key in self.limits_met(mailbox_id, letter):
            self.counts[limit.id, key][self.bucket(limit, key, at)] += 1

    def limits_met(self, mailbox_id: int, letter: Queued | Enrollment) -> Iterator[tuple[Limit, str]]:
        for kind, key in [*self.mailboxes[mailbox_id].scopes(), *scopes_of(letter)]:
            for limit in self.snapshot.limits:
                if limit.scope_kind == kind and limit.scope in (None, key):
                    yield limit, key

    def bucket(self, limit: Limit, key: str, at: datetime) -> int:
        """A clock that went back counts in the newest bucket."""
        newest = limit.usage[key].head if key in limit.usage else 0
        return max(limit.window.bucket(at), newest)

    def most_in_a_window_with(self, limit: Limit, key: str, bucket: int) -> int:
        """The greatest total of the windows that hold the bucket; totals grow only where something is counted."""
        counts, span = self.counts[limit.id, key], limit.window.span
        lasts = [bucket, *(b for b, count in counts.items() if count and bucket < b < bucket + span)]
        return max(sum(count for b, count in counts.items() if last - span < b <= last) for last in lasts)

    def is_open(self, enrollment: Enrollment, at: datetime) -> bool:
        """By the wall clock of the zone."""
        campaign = self.campaigns[enrollment.campaign_id]
        zone = ZoneInfo(enrollment.zone if campaign.in_contact_zone else campaign.window.zone)
        wall = at.astimezone(zone)
        since_midnight = timedelta(
            hours=wall.hour, minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond
        )
        return wall.isoweekday() in campaign.window.weekdays and any(
            timedelta(minutes=i.start) <= since_midnight < timedelta(minutes=i.end) for i in campaign.window.intervals
        )

    def holds_on(self, mailbox: Mailbox, enrollment: Enrollment | None = None) -> list[Hold]:
        scopes: list[tuple[str, str]] = list(mailbox.scopes())
        if enrollment:
            scopes += scopes_of(enrollment)
        return [
            hold
            for hold in self.snapshot.holds
            if (hold.scope_kind, hold.scope) in scopes and (hold.until is None or hold.until > self.now)
        ]

    def mailboxes_for(self, enrollment: Enrollment) -> list[Mailbox]:
        """Where the letter may go from by law 5, holds aside; empty when its campaign is not running."""
        campaign: Campaign | None = self.campaigns.get(enrollment.campaign_id)
        if campaign is None:
            return []
        bound = {e.mailbox_id for e in self.snapshot.enrollments if e.contact_id == enrollment.contact_id}
        bound |= {
            slot.mailbox_id
            for slot in self.plan.slots
            if self.enrollments[slot.enrollment_id].contact_id == enrollment.contact_id
        }
        bound.discard(None)
        allowed = campaign.pool if enrollment.is_opening else frozenset(self.mailboxes)
        allowed = allowed & bound if bound else campaign.pool
        return [m for m in self.snapshot.mailboxes if m.id in allowed and m.identity_id == campaign.identity_id]

    def could_take(self, mailbox: Mailbox, enrollment: Enrollment, at: datetime) -> bool:
        """Whether one more letter at `at` would break nothing."""
        return (
            self.now <= at < self.until
            and not self.holds_on(mailbox, enrollment)
            and (mailbox.next_at is None or at >= mailbox.next_at)
            and self.is_open(enrollment, at)
            and all(abs(at - turn) >= mailbox.pace for turn in self.turns[mailbox.id])
            and all(
                self.most_in_a_window_with(limit, key, self.bucket(limit, key, at)) < limit.maximum
                for limit, key in self.limits_met(mailbox.id, enrollment)
            )
        )

    def moments(self, mailbox: Mailbox) -> list[datetime]:
        """Every moment of the horizon at which something may begin to be allowed: no allowed moment is missed."""
        found = {max(self.now, mailbox.next_at or self.now)}
        found |= {turn + mailbox.pace for turn in self.turns[mailbox.id]}
        found |= set(self._quarter_hours())
        for limit in self.snapshot.limits:
            first, last = limit.window.bucket(self.now), limit.window.bucket(self.until)
            starts = {limit.window.bucket_start(bucket) for bucket in range(first, last + 1)}
            found |= starts | {at + timedelta(microseconds=1) for at in starts}
        return sorted(at for at in found if self.now <= at < self.until)

    def _quarter_hours(self) -> Iterator[datetime]:
        """When windows open: their hours and every change of a clock lie on quarters."""
        at = self.now.replace(minute=0, second=0, microsecond=0)
        while at < self.until:
            yield at
            at += timedelta(minutes=15)
