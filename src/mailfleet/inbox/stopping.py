"""Carries an order out, inside a transaction that no reservation overlaps.

What is committed here before a letter's reservation stops that letter; one in a sender's hand is recalled by it, when
it hears that something was stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.inbox.facts import MAX_LINE, clean
from mailfleet.inbox.rules_company import Employer, longest_word
from mailfleet.inbox.rules_orders import HoldWanted, Order
from mailfleet.model.words import UNTIL_DECIDED, ReplyStops, SuppressionKind
from mailfleet.outbox.service import QUERIES as OUTBOX
from mailfleet.outbox.service import STOP_CHANNEL

QUERIES = load_queries("mailfleet.inbox", "taking.sql")

Row = Any


@dataclass(frozen=True, slots=True)
class Target:
    """Whom an order is about. `digest`: of the address; `address` is None of a person who was erased or never known.

    `mailbox_id`, `campaign_id`: the letter's, 0 without one. `colleagues`: who else of the company is in that campaign.
    """

    contact_id: int
    address: str | None
    digest: bytes
    mailbox_id: int = 0
    campaign_id: int = 0
    message_id: int | None = None
    colleagues: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was stopped: enrollments that ended with queued letters of theirs, enrollments paused, an address banned,
    the kind of scope that is held (empty: none)."""

    ended: int = 0
    letters: int = 0
    paused: int = 0
    is_banned: bool = False
    held: str = ""

    def __bool__(self) -> bool:
        return bool(self.ended or self.paused or self.is_banned or self.held)


def carry_out(connection: Connection, order: Order, target: Target, incoming_id: int, now: datetime) -> Stopped:
    """Inside `between_reservations`. Who has letters in hand hears of it with the commit, if anything was stopped."""
    stopped = Stopped()
    if order.ban:
        stopped = _ban(connection, order, target, incoming_id, now)
    elif order.ends:
        stopped = _end(connection, order, target)
    elif order.pause:
        stopped = _pause(connection, order, target)
    elif order.hold:
        stopped = _hold(connection, order.hold, target, incoming_id)
    if stopped:
        connection.execute(f"NOTIFY {STOP_CHANNEL}")
    return stopped


def find_colleagues(connection: Connection, letter: Row) -> tuple[int, ...]:
    """Who else of the company the letter's campaign writes to, if an answer stops them too. `letter`: its campaign_id,
    reply_stops, contact_id, company and domain.

    Before the stop: who is enrolled in between is as one who is enrolled after the answer.
    """
    if letter.reply_stops != ReplyStops.COMPANY:
        return ()
    employer, word = Employer(letter.company, letter.domain), longest_word(letter.company)
    values = {
        "campaign": letter.campaign_id,
        "contact": letter.contact_id,
        "domain": letter.domain,
        "word": word,
        "like": f"%{_like(word)}%",
    }
    rows = connection.execute(QUERIES["colleagues"], values).fetchall()
    return tuple(row.id for row in rows if employer.is_same(Employer(row.company, row.domain)))


def _ban(connection: Connection, order: Order, target: Target, incoming_id: int, now: datetime) -> Stopped:
    evidence: dict[str, Any] = {"incoming": incoming_id, "letter": target.message_id}
    if order.found:
        evidence["matched_by"] = order.found.way
    values = {
        "digests": [target.digest],
        "kinds": [SuppressionKind.ADDRESS],
        "values": [target.address],
        "reasons": [order.reason],
        "sources": [order.ban],
        "evidence": json.dumps(evidence),
        "at": now,
    }
    is_new = bool(target.digest) and connection.execute(OUTBOX["suppress"], values).rowcount > 0
    ended = _end(connection, order, target)
    return Stopped(ended.ended, ended.letters, is_banned=is_new)


def _end(connection: Connection, order: Order, target: Target) -> Stopped:
    values = {
        "code": order.ends,
        "reason": f"suppressed: {order.reason}" if order.ban else order.reason,
        "contact": target.contact_id,
        "campaign": target.campaign_id,
        "colleagues": list(target.colleagues) if order.ends == "replied" else [],
    }
    row = connection.execute(QUERIES["end_enrollments"], values).fetchone()
    assert row is not None
    return Stopped(row.enrollments, row.letters)


def _pause(connection: Connection, order: Order, target: Target) -> Stopped:
    values = {
        "until": order.pause,
        "code": "question" if order.pause == UNTIL_DECIDED else "away",
        "reason": order.reason,
        "contact": target.contact_id,
    }
    return Stopped(paused=len(connection.execute(QUERIES["pause_enrollments"], values).fetchall()))


def _hold(connection: Connection, hold: HoldWanted, target: Target, incoming_id: int) -> Stopped:
    scopes = connection.execute(OUTBOX["scopes_of_mailbox"], {"mailbox": target.mailbox_id}).fetchone()
    values = {
        "scope_kind": hold.scope_kind,
        "scope_key": str(getattr(scopes, hold.scope_kind)),
        "reason": clean(hold.reason, MAX_LINE),
        "evidence": json.dumps({"incoming": incoming_id, "letter": target.message_id, "rule": hold.rule}),
        "set_by": f"bounce rule {hold.rule}",
        "family": hold.family,
        "length": hold.length,
    }
    placed: Sequence[Row] = connection.execute(OUTBOX["place_hold"], values).fetchall()
    return Stopped(held=hold.scope_kind if placed else "")


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
