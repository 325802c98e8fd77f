"""What the planner reads and what it gives back: literals only, moments aware."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from mailfleet.model.words import FLEET_KEY, ScopeKind
from mailfleet.outbox.limits import Usage, Window
from mailfleet.planning.windows import LocalWindow


@dataclass(frozen=True, slots=True)
class Hold:
    """A standing hold; `until` None: until a person lifts it."""

    id: int
    scope_kind: ScopeKind
    scope: str
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Queued:
    """A message already in the queue and not yet reserved: it keeps its turn, and counts against every limit."""

    due_at: datetime
    recipient_domain: str
    campaign_id: int
    recipient_provider: str = ""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """`pace` is its smallest gap, `next_at` the earliest moment at which its next submission may begin."""

    id: int
    domain_id: int
    account_id: int
    provider_id: int
    identity_id: int
    pace: timedelta
    next_at: datetime | None = None
    queued: tuple[Queued, ...] = ()

    def scopes(self) -> tuple[tuple[ScopeKind, str], ...]:
        """All that a limit or hold on this mailbox can name, but for what belongs to the single letter."""
        return (
            (ScopeKind.MAILBOX, str(self.id)),
            (ScopeKind.DOMAIN, str(self.domain_id)),
            (ScopeKind.ACCOUNT, str(self.account_id)),
            (ScopeKind.PROVIDER, str(self.provider_id)),
            (ScopeKind.IDENTITY, str(self.identity_id)),
            (ScopeKind.FLEET, FLEET_KEY),
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `maximum` in any window, for `scope` or (None) for each scope of the kind; `usage` by key, absent = none.

    Keys are texts, as in the table: an id, a recipient domain's or provider's name, `FLEET_KEY`. Limits of a sender
    host are not the planner's: which host will send is known at the reservation only. `is_half_open`: the scope is on
    trial after a hold.
    """

    id: int
    scope_kind: ScopeKind
    scope: str | None
    window: Window
    maximum: int
    usage: Mapping[str, Usage] = field(default_factory=dict)
    is_half_open: bool = False


@dataclass(frozen=True, slots=True)
class Campaign:
    """A running campaign. `window` holds in its own zone, or (`in_contact_zone`) in that of each contact.

    `priority`: the higher goes first. `openings_share`, 0 to 1: at least this share of its slots goes to openings as
    long as there are any; 0 means follow-ups first.
    """

    id: int
    identity_id: int
    pool: frozenset[int]
    window: LocalWindow
    in_contact_zone: bool = True
    priority: int = 0
    openings_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One letter that is ready to be planned since `ready_at`.

    `zone`: of the contact, an IANA name. `mailbox_id`: the one mailbox it may go from (it began the thread, or the
    contact is its own for life), None before a contact's first letter. `variants`: (id, weight) of each, in a lasting
    order; a letter that is tried again has the one it was drawn with. `recipient_provider`: empty if it is not known.
    """

    id: int
    campaign_id: int
    contact_id: int
    recipient_domain: str
    zone: str
    step_id: int
    is_opening: bool
    ready_at: datetime
    variants: tuple[tuple[int, int], ...]
    mailbox_id: int | None = None
    recipient_provider: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a plan depends on; the order within each collection means nothing.

    `holds`: all that stand, on any scope. `names`: (scope kind, key) to the name that the sentences use; a key without
    one stands for itself.
    """

    mailboxes: tuple[Mailbox, ...]
    limits: tuple[Limit, ...]
    holds: tuple[Hold, ...]
    campaigns: tuple[Campaign, ...]
    enrollments: tuple[Enrollment, ...]
    names: Mapping[tuple[ScopeKind, str], str] = field(default_factory=dict)


class Reason(StrEnum):
    """Why nothing (more) is planned."""

    LIMIT = "limit"
    HOLD = "hold"
    PACE = "pace"
    WINDOW = "window"
    NO_WORK = "no_work"
    NO_MAILBOX = "no_mailbox"
    MAILBOX_GONE = "mailbox_gone"
    OUTSIDE_POOL = "outside_pool"
    OTHER_IDENTITY = "other_identity"
    CAMPAIGN_STOPPED = "campaign_stopped"
    UNKNOWN_ZONE = "unknown_zone"


@dataclass(frozen=True, slots=True)
class Slot:
    """One letter to be queued."""

    enrollment_id: int
    step_id: int
    mailbox_id: int
    due_at: datetime
    variant: int


@dataclass(frozen=True, slots=True)
class Unplanned:
    """Why an enrollment has no slot. `binding`: the id of the limit (code LIMIT) or hold (code HOLD) that binds.

    `retry_at`: no sooner can it be otherwise; None when only a person's act can change it.
    """

    enrollment_id: int
    code: Reason
    text: str
    binding: int | None
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class MailboxReason:
    """Why a mailbox has no more slots than it has. `used` of `maximum` for code LIMIT, else None.

    `free_at`: when it may take one more letter; None when only a person's act can change it.
    """

    mailbox_id: int
    code: Reason
    text: str
    binding: int | None
    used: int | None
    maximum: int | None
    free_at: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Slots by `due_at`; one `Unplanned` for each enrollment without a slot; one `MailboxReason` for each mailbox."""

    slots: tuple[Slot, ...]
    reasons: tuple[Unplanned, ...]
    mailbox_reasons: tuple[MailboxReason, ...]
