"""Fleets of any size, for the planner's speed: a working day, half-used limits, big receivers that are nearly full."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mailfleet.model.words import ScopeKind
from mailfleet.outbox.limits import Usage, Window
from mailfleet.planning.snapshot import Campaign, Enrollment, Limit, Mailbox, Queued, Snapshot
from mailfleet.planning.windows import LocalWindow

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY_WINDOW, HOUR_WINDOW = Window("rolling"), Window("rolling", HOUR)
WEEK_WINDOW = Window("rolling", timedelta(days=7))
CALENDAR = Window("calendar", zone="Europe/Berlin")
ZONES = ("Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo", "Europe/Moscow", "Asia/Kolkata")
CAMPAIGNS = 6


@dataclass(frozen=True, slots=True)
class Size:
    mailboxes: int
    domains: int
    accounts: int
    providers: int
    identities: int
    ready: int


ISSUE = Size(1_200, 400, 12, 3, 2, 50_000)
HUGE = Size(100_000, 33_000, 1_000, 5, 4, 100_000)


def build_snapshot(size: Size, *, pace: timedelta = timedelta(minutes=5), seed: int = 1) -> Snapshot:
    """A fleet at 10:00 UTC on a Tuesday; four letters in ten are follow-ups, four in ten go to two big receivers."""
    chance = random.Random(seed)
    mailboxes = tuple(_mailbox(i, size, pace, chance) for i in range(size.mailboxes))
    campaigns = tuple(_campaign(i, i % size.identities, mailboxes) for i in range(CAMPAIGNS))
    enrollments = tuple(_enrollments(size, mailboxes, chance))
    return Snapshot(mailboxes, tuple(_limits(size, chance)), (), campaigns, enrollments)


def _mailbox(number: int, size: Size, pace: timedelta, chance: random.Random) -> Mailbox:
    domain = number % size.domains
    account = domain % size.accounts
    queued = tuple(
        Queued(NOW + timedelta(seconds=chance.randint(0, 600) + 900 * k), "gmail.com", 1)
        for k in range(chance.randint(0, 2))
    )
    next_at = NOW + timedelta(seconds=chance.randint(-600, 300))
    identity = domain % size.identities
    return Mailbox(number, domain, account, account % size.providers, identity, pace, next_at, queued)


def _campaign(number: int, identity: int, mailboxes: tuple[Mailbox, ...]) -> Campaign:
    pool = frozenset(mailbox.id for mailbox in mailboxes if mailbox.identity_id == identity)
    window = LocalWindow.parse(range(1, 6), ["09:00-12:00", "13:00-17:30"], "Europe/Berlin")
    share = 0.2 if number == 1 else 0.0
    return Campaign(number, identity, pool, window, priority=number % 3, openings_share=share)


def _limits(size: Size, chance: random.Random) -> Iterator[Limit]:
    def used(window: Window, keys: int, low: int, high: int) -> dict[str, Usage]:
        return {str(key): _usage(window, chance.randint(low, high), chance) for key in range(keys)}

    kind, day, hour = ScopeKind, DAY_WINDOW, HOUR_WINDOW
    hourly = size.mailboxes // size.providers
    yield Limit(1, kind.MAILBOX, None, day, 30, used(day, size.mailboxes, 0, 28))
    yield Limit(2, kind.DOMAIN, None, day, 100, used(day, size.domains, 30, 80))
    yield Limit(3, kind.ACCOUNT, None, CALENDAR, 30 * size.mailboxes // size.accounts)
    yield Limit(4, kind.PROVIDER, None, hour, 6 * hourly, used(hour, size.providers, 4 * hourly, 4 * hourly))
    yield Limit(5, kind.RECIPIENT_DOMAIN, "gmail.com", day, 5_000, {"gmail.com": _usage(day, 4_500, chance)})
    yield Limit(6, kind.RECIPIENT_DOMAIN, "outlook.com", hour, 800, {"outlook.com": _usage(hour, 800, chance)})
    yield Limit(7, kind.RECIPIENT_DOMAIN, None, WEEK_WINDOW, 900)


def _usage(window: Window, total: int, chance: random.Random) -> Usage:
    counts = [0] * window.span
    for _ in range(total):
        counts[chance.randrange(window.span)] += 1
    return Usage(window.bucket(NOW), tuple(counts))


def _enrollments(size: Size, mailboxes: tuple[Mailbox, ...], chance: random.Random) -> Iterator[Enrollment]:
    by_identity = [[m.id for m in mailboxes if m.identity_id == identity] for identity in range(size.identities)]
    for number in range(size.ready):
        campaign = chance.randrange(CAMPAIGNS)
        is_opening = chance.random() < 0.6
        yield Enrollment(
            id=number,
            campaign_id=campaign,
            contact_id=number,
            recipient_domain=chance.choice(
                ("gmail.com", "outlook.com", *[f"firm{chance.randrange(4000)}.example"] * 3)
            ),
            zone=chance.choice(ZONES),
            step_id=2 * campaign + is_opening,
            is_opening=is_opening,
            ready_at=NOW - timedelta(minutes=chance.randrange(5_000)),
            variants=((1, 1), (2, 1)),
            mailbox_id=None if is_opening else chance.choice(by_identity[campaign % size.identities]),
        )
