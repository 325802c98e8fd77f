"""What waits for a person, and what is decided: questions, mail without a letter, mailboxes that are not read."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from mailfleet.base.db import Connection, again_on_deadlock, load_queries
from mailfleet.base.errors import InputError
from mailfleet.inbox.rules_orders import Order
from mailfleet.inbox.stopping import Stopped, Target, carry_out, find_colleagues
from mailfleet.mail.addresses import parse_address
from mailfleet.model.words import UNTIL_DECIDED, MailKind
from mailfleet.outbox.stops import between_reservations
from mailfleet.outbox.vault import Vault

QUERIES = load_queries("mailfleet.inbox", "questions.sql")
OLD_READ = timedelta(minutes=15)  # chosen: three times the longest wait between two reads of a mailbox that is well

Row = Any


class Decision(StrEnum):
    """What a person says of a mail."""

    OPT_OUT = "opt-out"
    REPLY = "reply"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision stopped; how many enrollments go on by it."""

    stopped: Stopped = field(default_factory=Stopped)
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """`questions` and `unmatched`: the oldest, of so many; `unread`: mailboxes, the longest unread first."""

    questions: list[Row]
    unmatched: list[Row]
    unread: list[Row]
    question_count: int
    unmatched_count: int
    watchers: int


def read_waiting(connection: Connection, *, most: int) -> Waiting:
    counts = connection.execute(QUERIES["counts"]).fetchone()
    assert counts is not None
    return Waiting(
        connection.execute(QUERIES["questions"], {"most": most}).fetchall(),
        connection.execute(QUERIES["unmatched"], {"most": most}).fetchall(),
        connection.execute(QUERIES["unread"], {"old": OLD_READ}).fetchall(),
        counts.questions,
        counts.unmatched,
        counts.watchers,
    )


def read_one(connection: Connection, mail_id: int) -> Row:
    """The mail with the letter it is about. InputError when there is none of that number."""
    row = connection.execute(QUERIES["mail"], {"mail": mail_id}).fetchone()
    if row is None:
        raise InputError(f"There is no mail {mail_id}.", hint="`mailfleet inbox` lists those that wait.")
    return row


@again_on_deadlock
def decide_mail(
    connection: Connection, vault: Vault, mail_id: int, decision: Decision, *, by: str, contact: str = ""
) -> Decided:
    """Settles a mail on a person's word: a no bans its contact's address, an answer ends what is written to them, and a
    mail to be ignored ends the pause it made. `contact`: whom it is about, of a mail without a letter; else its sender.

    InputError when a person has decided it, and when there is nothing to ignore. What a rule settled a person may
    overrule.
    """
    mail = read_one(connection, mail_id)
    if decision is Decision.IGNORE:
        _check_waits(mail)
    whom = None if decision is Decision.IGNORE and mail.contact_id is None else _whom(connection, vault, mail, contact)
    order = _order(mail, decision, by)
    with between_reservations(connection):
        values = {"mail": mail_id, "decision": decision, "by": by, "kind": order.kind}
        values |= {"contact": whom.contact_id or None if whom else None}
        if connection.execute(QUERIES["settle_mail"], values).fetchone() is None:
            raise _decided_already(read_one(connection, mail_id))
        if decision is Decision.IGNORE:
            resumed = connection.execute(QUERIES["resume"], {"contact": mail.contact_id, "forever": UNTIL_DECIDED})
            return Decided(resumed=resumed.rowcount)
        if mail.kind != MailKind.BOUNCE:
            connection.execute(
                QUERIES["learn_decision"], {"kind": order.kind, "mail": mail_id, "letter": mail.letter_id}
            )
        assert whom is not None
        return Decided(carry_out(connection, order, whom, mail_id, mail.received_at))


def _check_waits(mail: Row) -> None:
    """InputError when no person is asked about the mail: what it means has happened, and ignoring it undoes nothing."""
    if mail.decided_at is None and mail.letter_id is not None and not mail.question:
        raise InputError(
            f"Mail {mail.id} asks nothing, so there is nothing to ignore: what it stopped stays stopped.",
            hint=f"`mailfleet why contact {mail.contact}` tells what that is.",
        )


def _decided_already(mail: Row) -> InputError:
    by = f", by {mail.decided_by}" if mail.decided_by else ""  # an erasure has decided for nobody
    return InputError(f"Mail {mail.id} is decided already: {mail.decision}{by}.")


def _order(mail: Row, decision: Decision, by: str) -> Order:
    if decision is Decision.IGNORE:
        return Order(MailKind(mail.kind))
    kind = MailKind.OPT_OUT if decision is Decision.OPT_OUT else MailKind.REPLY
    kind = MailKind.BOUNCE if mail.kind == MailKind.BOUNCE else kind
    said = f"{'a no' if decision is Decision.OPT_OUT else 'an answer'} by mail {mail.id}, as {by} decided"
    if decision is Decision.OPT_OUT:
        return Order(kind, ban=f"operator {by}", ends="suppressed", reason=said)
    return Order(kind, ends="replied", reason=said)


def _whom(connection: Connection, vault: Vault, mail: Row, contact: str) -> Target:
    if mail.contact_id is not None:
        if contact and parse_address(contact).normalised != mail.address_key:
            raise InputError(f"Mail {mail.id} is about {mail.contact}, and not about {contact}.")
        colleagues = find_colleagues(connection, mail) if mail.letter_id else ()
        return _target(mail, mail.letter_id, mail.mailbox_id or 0, mail.campaign_id or 0, colleagues)
    if not contact and mail.kind in (MailKind.BOUNCE, MailKind.COMPLAINT):
        raise InputError(f"Mail {mail.id} is a machine's report.", hint="Say whom it is about: --contact ADDRESS.")
    address = parse_address(contact or mail.sender_address)
    row = connection.execute(QUERIES["contact"], {"address": address.normalised}).fetchone()
    if row is not None:
        return _target(row)
    return Target(0, address.normalised, vault.digester.address(address.normalised))


def _target(
    row: Row, letter: int | None = None, mailbox: int = 0, campaign: int = 0, colleagues: tuple[int, ...] = ()
) -> Target:
    address = None if row.erased_at else row.address_key
    return Target(row.contact_id, address, bytes(row.digest), mailbox, campaign, letter, colleagues)
