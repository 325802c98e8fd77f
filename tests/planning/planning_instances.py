"""Small instances of planning, full of conflicts: few mailboxes, tight limits, nights when the clock changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from mailfleet.model.words import FLEET_KEY, ScopeKind
from mailfleet.outbox.limits import Usage, Window
from mailfleet.planning.snapshot import Campaign, Enrollment, Hold, Limit, Mailbox, Queued, Snapshot
from mailfleet.planning.windows import Interval, LocalWindow

MINUTE = timedelta(minutes=1)
ANY_MOMENT = st.integers(0, 365 * 86_400_000_000).map(
    lambda count: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=count)
)
MOMENTS = (
    datetime(2026, 11, 24, 8, 30, tzinfo=UTC),
    datetime(2026, 11, 27, 22, 40, 12, 345678, tzinfo=UTC),  # a weekend begins
    datetime(2026, 3, 29, 0, 10, tzinfo=UTC),  # Berlin skips 02:00 to 03:00 at 01:00 UTC
    datetime(2026, 10, 25, 0, 5, tzinfo=UTC),  # Berlin shows 02:00 to 03:00 twice
    datetime(2026, 11, 1, 4, 50, tzinfo=UTC),  # New York shows 01:00 to 02:00 twice
    datetime(2026, 10, 3, 15, 0, tzinfo=UTC),  # Lord Howe skips half an hour at 15:30 UTC
)
WEEK = frozenset(range(1, 8))
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
PROVIDER_OF = {"a.example": "google", "b.example": "google", "c.example": ""}
DOMAINS = tuple(PROVIDER_OF)
WINDOWS = (
    Window("rolling"),
    Window("rolling", timedelta(hours=1)),
    Window("rolling", timedelta(seconds=700)),  # its buckets begin between two microseconds
    Window("calendar", zone="Europe/Berlin"),
    Window("calendar", zone="UTC"),
)
LIMIT_KINDS = (
    ScopeKind.MAILBOX,
    ScopeKind.DOMAIN,
    ScopeKind.ACCOUNT,
    ScopeKind.PROVIDER,
    ScopeKind.IDENTITY,
    ScopeKind.CAMPAIGN,
    ScopeKind.RECIPIENT_DOMAIN,
    ScopeKind.RECIPIENT_PROVIDER,
    ScopeKind.FLEET,
)


def keys_of(kind: ScopeKind) -> tuple[str, ...]:
    if kind is ScopeKind.FLEET:
        return (FLEET_KEY,)
    if kind is ScopeKind.RECIPIENT_PROVIDER:
        return ("google", "other")
    return DOMAINS if kind is ScopeKind.RECIPIENT_DOMAIN else ("1", "2")


@st.composite
def local_windows(draw: st.DrawFn, near: datetime | None = None) -> LocalWindow:
    """Hours that begin and end on quarters: at any time of the day, or around a moment."""
    zone = draw(st.sampled_from(ZONES))
    quarters = range(97)
    if near:
        wall = near.astimezone(ZoneInfo(zone))
        quarter = 4 * wall.hour + wall.minute // 15
        quarters = range(max(0, quarter - 2), min(96, quarter + 9) + 1)
    edges = sorted(draw(st.lists(st.sampled_from(quarters), min_size=2, max_size=6, unique=True)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    intervals = tuple(Interval(15 * start, 15 * end) for start, end in pairs)
    return LocalWindow(draw(st.just(WEEK) | st.frozensets(st.integers(1, 7), min_size=1)), intervals, zone)


ALWAYS = LocalWindow(WEEK, (Interval(0, 1440),), "UTC")


def seconds(low: int, high: int) -> st.SearchStrategy[timedelta]:
    return st.integers(low, high).map(lambda count: timedelta(seconds=count))


@st.composite
def mailboxes(draw: st.DrawFn, number: int, now: datetime) -> Mailbox:
    queued = draw(
        st.lists(
            st.builds(
                lambda due_at, domain, campaign: Queued(due_at, domain, campaign, PROVIDER_OF[domain]),
                seconds(-1_800, 3 * 3_600).map(now.__add__),
                st.sampled_from(DOMAINS),
                st.integers(1, 2),
            ),
            max_size=3,
        )
    )
    next_at = draw(st.none() | seconds(-600, 5_400).map(now.__add__))
    one_or_two = st.integers(1, 2)
    pace = draw(st.sampled_from((timedelta(0), MINUTE, 7 * MINUTE, 25 * MINUTE)))
    scopes = [draw(one_or_two) for _ in range(3)]
    return Mailbox(number, *scopes, draw(st.sampled_from((1, 1, 1, 2))), pace, next_at, tuple(queued))


@st.composite
def limits(draw: st.DrawFn, number: int, now: datetime) -> Limit:
    kind = draw(st.sampled_from(LIMIT_KINDS))
    window = draw(st.sampled_from(WINDOWS))
    usage = {}
    for key in draw(st.sets(st.sampled_from(keys_of(kind)))):
        counts = [0] * window.span
        for age in draw(st.lists(st.integers(0, window.span - 1), max_size=3)):
            counts[age] += 1
        usage[key] = Usage(window.bucket(now) + draw(st.integers(-5, 2)), tuple(counts))
    scope = draw(st.none() | st.sampled_from(keys_of(kind)))
    return Limit(number, kind, scope, window, draw(st.integers(0, 6)), usage)


@st.composite
def snapshots(draw: st.DrawFn, now: datetime) -> Snapshot:
    count = draw(st.integers(1, 4))
    fleet = tuple(draw(mailboxes(number, now)) for number in range(1, count + 1))
    campaigns = tuple(
        Campaign(
            id=number,
            identity_id=draw(st.sampled_from((1, 1, 2))),
            pool=draw(st.frozensets(st.integers(1, count + 1))),
            window=draw(st.just(ALWAYS) | local_windows(now)),
            in_contact_zone=draw(st.sampled_from((False, False, True))),
            priority=draw(st.integers(0, 1)),
            openings_share=draw(st.sampled_from((0.0, 0.3, 1.0))),
        )
        for number in range(1, draw(st.integers(1, 2)) + 1)
    )
    scopes = st.sampled_from(LIMIT_KINDS).flatmap(lambda kind: st.tuples(st.just(kind), st.sampled_from(keys_of(kind))))
    holds = tuple(
        Hold(number, *draw(scopes), "bounces", draw(st.none() | seconds(-600, 7_200).map(now.__add__)))
        for number in range(1, draw(st.sampled_from((0, 0, 1, 2))) + 1)
    )
    bound_to = {contact: draw(st.none() | st.integers(1, count + 1)) for contact in range(1, 9)}
    return Snapshot(
        mailboxes=fleet,
        limits=tuple(draw(limits(number, now)) for number in range(1, draw(st.integers(0, 4)) + 1)),
        holds=holds,
        campaigns=campaigns,
        enrollments=tuple(
            draw(enrollments(number, bound_to, now)) for number in range(1, draw(st.integers(0, 14)) + 1)
        ),
    )


@st.composite
def enrollments(draw: st.DrawFn, number: int, bound_to: dict[int, int | None], now: datetime) -> Enrollment:
    contact = draw(st.integers(1, 8))
    mailbox_id = bound_to[contact]
    return Enrollment(
        id=number,
        campaign_id=draw(st.sampled_from((1, 1, 1, 2, 3))),
        contact_id=contact,
        recipient_domain=DOMAINS[contact % 3],
        recipient_provider=PROVIDER_OF[DOMAINS[contact % 3]],
        zone=draw(st.sampled_from(ZONES)),
        step_id=draw(st.integers(1, 2)),
        is_opening=mailbox_id is None or draw(st.booleans()),
        ready_at=now - timedelta(minutes=draw(st.integers(0, 3))),
        variants=draw(st.sampled_from((((1, 1),), ((1, 1), (2, 3))))),
        mailbox_id=mailbox_id,
    )
