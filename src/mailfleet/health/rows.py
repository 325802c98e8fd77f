"""Rows of the database as the facts that health judges, and back."""

from typing import Any

from mailfleet.health.facts import READING, Attempted, StandingHold, Trial
from mailfleet.health.half_open import TrialLimit
from mailfleet.health.incidents import Incident, Severity
from mailfleet.health.scopes import Place, Scope
from mailfleet.health.standing import DomainTrouble
from mailfleet.health.troubles import trouble_of, trouble_of_reading
from mailfleet.model.words import Family, Outcome

Row = Any


def scope_of(kind: str | None, key: str | None) -> Scope | None:
    return Scope(kind, key) if kind is not None and key is not None else None


def place_of(row: Row) -> Place:
    return Place(row.id, row.domain_id, row.account_id, row.provider_id, row.identity_id, row.letters_a_day)


def hold_of(row: Row) -> StandingHold:
    return StandingHold(
        row.id,
        Scope(row.scope_kind, row.scope_key),
        Family(row.family) if row.family else None,
        row.since,
        row.until,
        row.reason,
        scope_of(row.cause_kind, row.cause_key),
        row.has_trial,
        row.set_by,
    )


def trial_of(row: Row) -> Trial:
    """Its letters are counted apart."""
    return Trial(
        row.id,
        Scope(row.scope_kind, row.scope_key),
        Family(row.family),
        row.ended_at,
        row.strikes,
        row.trial_rung,
        row.trial_rung_at,
        is_over=row.is_over,
        cause=scope_of(row.cause_kind, row.cause_key),
        letters_a_day=row.letters_a_day,
    )


def attempt_of(row: Row) -> Attempted:
    trouble = trouble_of(Outcome(row.outcome), row.stage, row.code, row.reply_class, row.reply_scope)
    return Attempted(row.mailbox_id, row.host, row.at, trouble, row.until if trouble is Family.RATE_LIMIT else None)


def reading_of(row: Row) -> Attempted | None:
    """A login that was refused was last tried when it was; with any other fault it is tried all the time. None where
    nothing is known of the server."""
    if row.failing_since is None:
        return Attempted(row.mailbox_id, READING, row.read_at) if row.read_at else None
    trouble = trouble_of_reading(row.fault_kind, row.failures)
    if trouble is None:
        return None
    at = row.failing_since if trouble is Family.AUTHENTICATION else row.now
    return Attempted(row.mailbox_id, READING, at, trouble)


def limit_of(row: Row) -> TrialLimit:
    return TrialLimit(row.id, Scope(row.scope_kind, row.scope_key), row.maximum, row.created_at)


def domain_of(row: Row) -> DomainTrouble:
    """The reason is the hold's, or what the last check found."""
    seen = "; ".join(finding["seen"].rstrip(".") for finding in row.dns_findings if finding["severity"] == "blocks")
    failing = f"its DNS fails since {row.dns_failing_since:%Y-%m-%d %H:%M} UTC" if row.dns_failing_since else ""
    reason = row.reason or ": ".join(part for part in (failing, seen) if part)
    return DomainTrouble(row.id, row.name, row.identity_id, row.is_checked, row.held_since, reason)


def incident_of(row: Row) -> Incident:
    return Incident(
        Family(row.family),
        Scope(row.scope_kind, row.scope_key),
        Severity(row.severity),
        row.opened_at,
        row.letters_a_day,
        row.text,
        None if row.told is None else Severity(row.told),
        row.told_at,
        row.closed_at,
        scope_of(row.part_of_kind, row.part_of_key),
    )
