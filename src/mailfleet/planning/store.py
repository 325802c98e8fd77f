"""What a planning run reads and writes, over one connection."""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.mail.compose import new_message_id
from mailfleet.model.pools import MailboxNames, is_in_pool
from mailfleet.model.words import ScopeKind
from mailfleet.outbox.limit_rows import HALF_OPEN
from mailfleet.outbox.limits import Usage, Window
from mailfleet.planning.ramp import Ramp, after_sending, daily_maximum
from mailfleet.planning.snapshot import (
    Campaign,
    Enrollment,
    Hold,
    Limit,
    Mailbox,
    MailboxReason,
    Queued,
    Slot,
    Snapshot,
    Unplanned,
)
from mailfleet.planning.windows import LocalWindow

QUERIES = load_queries("mailfleet.planning")
READY_BATCH = 20_000  # chosen: of each step; more than a fleet of 1,200 can take in an hour
ZONE_OF_CONTACT = "contact"

Row = Any


class PlanStore:
    """One planner's view of the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tidy(self, *, late_after: timedelta) -> None:
        """Gives back what needs a new plan, ends what is over."""
        self._run("tidy", {"late_after": late_after})
        self._run("finish_campaigns", {})

    def now(self) -> datetime:
        row = self._connection.execute("SELECT clock_timestamp() AS now").fetchone()
        now: datetime = row.now  # type: ignore[union-attr]
        return now

    def write_ramps(self, *, start: int, today: date) -> None:
        """Today's maximum of each mailbox, and what tomorrow's first letter makes of its ramp."""
        rows = self._rows("mailboxes")
        ramps = [Ramp(row.daily_limit, row.sending_days, row.last_on, row.halvings, start) for row in rows]
        self._run(
            "write_ramps",
            {
                "mailboxes": [row.id for row in rows],
                "maxima": [daily_maximum(ramp, today) for ramp in ramps],
                "next_days": [after_sending(ramp, _next_day(ramp, today)).sending_days for ramp in ramps],
            },
        )

    def load_snapshot(self) -> Snapshot:
        """Everything a plan depends on, as it stands."""
        mailboxes = self._rows("mailboxes")
        campaigns = {row.id: row for row in self._rows("campaigns")}
        return Snapshot(
            mailboxes=_mailboxes(mailboxes, self._rows("queued")),
            limits=_limits(self._rows("limits"), self._rows("usages")),
            holds=tuple(
                Hold(row.id, ScopeKind(row.scope_kind), row.scope_key, row.reason, row.until)
                for row in self._rows("holds")
            ),
            campaigns=tuple(_campaign(row, mailboxes) for row in campaigns.values()),
            enrollments=self._enrollments(campaigns),
            names=_names(mailboxes, campaigns.values()),
        )

    def _enrollments(self, campaigns: Mapping[int, Row]) -> tuple[Enrollment, ...]:
        steps = {(row.campaign_id, row.number): row for row in self._rows("variants")}
        found = []
        for row in self._rows("ready", {"batch": READY_BATCH}):
            if (step := steps.get((row.campaign_id, row.next_step))) is None:
                continue  # its campaign was started a moment ago: the next run sees it whole
            drawn = ((row.variant_id, 1),) if row.variant_id else tuple(zip(step.ids, step.weights, strict=True))
            found.append(
                Enrollment(
                    id=row.id,
                    campaign_id=row.campaign_id,
                    contact_id=row.contact_id,
                    recipient_domain=row.recipient_domain,
                    recipient_provider=row.recipient_provider,
                    zone=row.time_zone or campaigns[row.campaign_id].fallback_zone,
                    step_id=step.step_id,
                    is_opening=row.next_step == 1 and row.mailbox_id is None,
                    ready_at=row.next_at,
                    variants=drawn,
                    mailbox_id=row.mailbox_id,
                )
            )
        return tuple(found)

    def write_slots(self, slots: Sequence[Slot], domains: Mapping[int, str]) -> None:
        """`domains`: of each mailbox, for the Message-ID."""
        self._run(
            "write_slots",
            {
                "enrollments": [slot.enrollment_id for slot in slots],
                "steps": [slot.step_id for slot in slots],
                "mailboxes": [slot.mailbox_id for slot in slots],
                "variants": [slot.variant for slot in slots],
                "header_ids": [new_message_id(domains[slot.mailbox_id], token=secrets.token_hex(16)) for slot in slots],
                "due_ats": [slot.due_at for slot in slots],
            },
        )

    def write_reasons(self, reasons: Sequence[Unplanned], *, look_again: timedelta) -> None:
        self._run(
            "write_reasons",
            {
                "enrollments": [reason.enrollment_id for reason in reasons],
                "codes": [reason.code for reason in reasons],
                "texts": [reason.text for reason in reasons],
                "retry_ats": [reason.retry_at for reason in reasons],
                "look_again": look_again,
            },
        )

    def write_mailbox_reasons(self, reasons: Sequence[MailboxReason]) -> None:
        self._run(
            "write_mailbox_reasons",
            {
                "mailboxes": [reason.mailbox_id for reason in reasons],
                "codes": [reason.code for reason in reasons],
                "texts": [reason.text for reason in reasons],
                "bindings": [reason.binding for reason in reasons],
                "used": [reason.used for reason in reasons],
                "maxima": [reason.maximum for reason in reasons],
                "free_ats": [reason.free_at for reason in reasons],
            },
        )

    def domains(self) -> dict[int, str]:
        return {row.id: row.domain for row in self._rows("mailboxes")}

    def _rows(self, name: str, values: Mapping[str, Any] | None = None) -> list[Row]:
        return self._connection.execute(QUERIES[name], values or {}).fetchall()

    def _run(self, name: str, values: Mapping[str, Any]) -> None:
        self._connection.execute(QUERIES[name], values)


def _next_day(ramp: Ramp, today: date) -> date:
    return today if ramp.last_on is None or ramp.last_on < today else today + timedelta(days=1)


def _mailboxes(rows: Sequence[Row], queued: Iterable[Row]) -> tuple[Mailbox, ...]:
    waiting: dict[int, list[Queued]] = defaultdict(list)
    for row in queued:
        waiting[row.mailbox_id].append(
            Queued(row.due_at, row.recipient_domain, row.campaign_id, row.recipient_provider)
        )
    return tuple(
        Mailbox(
            id=row.id,
            domain_id=row.domain_id,
            account_id=row.account_id,
            provider_id=row.provider_id,
            identity_id=row.identity_id,
            pace=timedelta(seconds=row.pace_seconds),
            next_at=row.next_at,
            queued=tuple(waiting[row.id]),
        )
        for row in rows
    )


def _limits(rows: Sequence[Row], usages: Iterable[Row]) -> tuple[Limit, ...]:
    used: dict[int, dict[str, Usage]] = defaultdict(dict)
    for row in usages:
        used[row.limit_id][row.scope_key] = Usage.stored(row.head, row.counts)
    return tuple(
        Limit(
            id=row.id,
            scope_kind=ScopeKind(row.scope_kind),
            scope=row.scope_key,
            window=Window(row.window_kind, timedelta(seconds=row.window_seconds), row.window_zone),
            maximum=row.maximum,
            usage=used[row.id],
            is_half_open=row.source == HALF_OPEN,
        )
        for row in rows
    )


def _campaign(row: Row, mailboxes: Iterable[Row]) -> Campaign:
    pool = frozenset(
        box.id
        for box in mailboxes
        if box.identity_id == row.identity_id
        and row.pool is not None
        and is_in_pool(row.pool, MailboxNames(box.address, box.domain, box.provider, box.account, tuple(box.tags)))
    )
    in_contact_zone = row.zone == ZONE_OF_CONTACT
    return Campaign(
        id=row.id,
        identity_id=row.identity_id,
        pool=pool,
        window=LocalWindow.parse(
            row.window["weekdays"], row.window["hours"], row.fallback_zone if in_contact_zone else row.zone
        ),
        in_contact_zone=in_contact_zone,
        priority=row.priority,
        openings_share=row.openings_share,
    )


def _names(mailboxes: Iterable[Row], campaigns: Iterable[Row]) -> dict[tuple[ScopeKind, str], str]:
    names: dict[tuple[ScopeKind, str], str] = {
        (ScopeKind.CAMPAIGN, str(campaign.id)): campaign.name for campaign in campaigns
    }
    for box in mailboxes:
        names[ScopeKind.MAILBOX, str(box.id)] = box.address
        names[ScopeKind.DOMAIN, str(box.domain_id)] = box.domain
        names[ScopeKind.ACCOUNT, str(box.account_id)] = f"{box.provider}/{box.account}"
        names[ScopeKind.PROVIDER, str(box.provider_id)] = box.provider
        names[ScopeKind.IDENTITY, str(box.identity_id)] = box.identity
    return names
