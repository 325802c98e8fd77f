"""Takes a mail in: finds the letter of ours that it is about, learns from it, and stops what it stops.

One transaction makes the row of the mail, the fact and the stop; a death at any point leaves all of them or none, and a
mail that is taken again changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import psycopg

from mailfleet.base.db import Connection, again_on_deadlock
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.facts import MAX_LINE, ReadMail, clean, incoming_values, read_mail, tell_unreadable, unreadable
from mailfleet.inbox.rules_heads import may_be_about_us
from mailfleet.inbox.rules_matching import RECENT, SentLetter, match
from mailfleet.inbox.rules_orders import Order, Ours, decide
from mailfleet.inbox.stopping import QUERIES, Stopped, Target, carry_out, find_colleagues
from mailfleet.model.words import MailKind, MessageState
from mailfleet.outbox.ambiguous import prove_accepted
from mailfleet.outbox.stops import between_reservations
from mailfleet.outbox.vault import Vault

Row = Any


@dataclass(frozen=True, slots=True)
class Taken:
    """What a mail is, the letter of ours it is about, and what was stopped. `is_new` False: it was taken before."""

    kind: MailKind
    message_id: int | None
    stopped: Stopped = field(default_factory=Stopped)
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class _Case:
    """One mail with all that is known before anything is written."""

    arrived: Arrived
    read: ReadMail
    order: Order
    target: Target | None
    now: datetime
    may_be_proof: bool


def wants_body(head: bytes) -> bool:
    """Whether the rest of a mail with this head is worth reading. Cheap; True when in doubt."""
    return may_be_about_us(head)


def take_mail(connection: Connection, vault: Vault, arrived: Arrived) -> Taken:
    """Once for each mailbox and head, however often it is called. Never raises for a bad mail; raises psycopg.Error."""
    try:
        return _take(connection, arrived, read_mail(arrived, vault.opt_out_key))
    except (psycopg.DataError, UnicodeError) as error:  # what PostgreSQL cannot hold must not keep the others waiting
        return _take(connection, arrived, unreadable(arrived, error))


@again_on_deadlock
def _take(connection: Connection, arrived: Arrived, read: ReadMail) -> Taken:
    rows = _find(connection, read)
    if rows[0].taken_kind is not None:
        return Taken(MailKind(rows[0].taken_kind), rows[0].taken_message, is_new=False)
    case = _case(connection, arrived, read, rows)
    if not case.order.stops and not case.may_be_proof:
        incoming_id = _learn(connection, case)
        return _taken(case, Stopped(), is_new=incoming_id is not None)
    with between_reservations(connection) if case.order.stops else connection.transaction():
        incoming_id = _learn(connection, case)
        if incoming_id is None:
            return _taken(case, Stopped(), is_new=False)
        return _taken(case, _act(connection, case, incoming_id), is_new=True)


def _find(connection: Connection, read: ReadMail) -> list[Row]:
    clues = read.clues
    values = {
        "mailbox": clues.mailbox_id,
        "digest": read.digest,
        "sender": clean(read.mail.sender, MAX_LINE),
        "own_id": read.header_id,
        "named": list(dict.fromkeys([*clues.references, *clues.returned])),
        "envelopes": list(clues.envelope_ids),
        "token_message": clues.token.message_id if clues.token else None,
        "addresses": list(clues.addresses),
        "recent": RECENT,
    }
    return connection.execute(QUERIES["find_letters"], values).fetchall()


def _case(connection: Connection, arrived: Arrived, read: ReadMail, rows: Sequence[Row]) -> _Case:
    letters = {row.id: row for row in rows if row.id is not None}
    read, order = _decided(arrived, read, rows)
    row = letters[order.found.letter.id] if order.found else None
    target = _target(connection, row, order) if row else _unknown(connection, order.digest) if order.digest else None
    may_be_proof = (
        row is not None
        and order.found is not None
        and order.found.is_proven
        and row.state in (MessageState.AMBIGUOUS, MessageState.QUEUED)
    )
    now = min(read.mail.received_at, rows[0].now)
    return _Case(arrived, read, order, target, now, may_be_proof)


def _decided(arrived: Arrived, read: ReadMail, rows: Sequence[Row]) -> tuple[ReadMail, Order]:
    """The order; of a mail that our own code fails at, one that leaves it to a person, with the fault."""
    if read.fault:
        return read, Order(MailKind.OTHER)
    try:
        found = match(read.clues, [_letter(row) for row in rows if row.id is not None])
        return read, decide(read.mail, found, Ours(rows[0].is_from_us, rows[0].bears_our_id))
    except Exception as error:  # noqa: BLE001 - one mail that no rule can bear must not keep the others from being read
        tell_unreadable(arrived, error)
        return replace(read, fault=type(error).__name__), Order(MailKind.OTHER)


def _letter(row: Row) -> SentLetter:
    return SentLetter(
        id=row.id,
        header_id=row.header_id,
        mailbox_id=row.mailbox_id,
        contact_id=row.contact_id,
        address=row.address_key,
        digest=bytes(row.digest),
        subject=row.subject,
        is_recent=row.is_recent,
        zone=row.time_zone,
    )


def _target(connection: Connection, row: Row, order: Order) -> Target:
    return Target(
        contact_id=row.contact_id,
        address=None if row.erased_at else row.address_key,
        digest=bytes(row.digest),
        mailbox_id=row.mailbox_id,
        campaign_id=row.campaign_id,
        message_id=row.id,
        colleagues=find_colleagues(connection, row) if order.ends == "replied" else (),
    )


def _unknown(connection: Connection, digest: bytes) -> Target:
    """Whom a token names whose letter is gone: a contact, or an address that nobody has here any more."""
    row = connection.execute(QUERIES["whose_digest"], {"digest": digest}).fetchone()
    if row is None:
        return Target(0, None, digest)
    return Target(row.id, None if row.erased_at else row.address_key, digest)


def _learn(connection: Connection, case: _Case) -> int | None:
    """The id of the mail; None: it is there already."""
    row = connection.execute(QUERIES["learn"], incoming_values(case.arrived, case.read, case.order)).fetchone()
    return row and int(row.id)


def _act(connection: Connection, case: _Case, incoming_id: int) -> Stopped:
    """1. A letter whose fate was not known is known to have left. 2. The stop, which ends what goes on from there."""
    order, target = case.order, case.target
    if case.may_be_proof and target is not None and target.message_id is not None:
        prove_accepted(connection, target.message_id, by=f"mail {incoming_id} ({order.kind})")
    return carry_out(connection, order, target, incoming_id, case.now) if target and order.stops else Stopped()


def _taken(case: _Case, stopped: Stopped, *, is_new: bool) -> Taken:
    found = case.order.found
    return Taken(case.order.kind, found.letter.id if found else None, stopped, is_new)
