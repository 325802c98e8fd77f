"""A mail as it was read, and the row of `incoming` that is made of it. Bounded and clean, whatever the bytes."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailfleet.base.clock import utc_now
from mailfleet.base.log import get_log
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.rules_heads import digest_of
from mailfleet.inbox.rules_matching import Clues, Way
from mailfleet.inbox.rules_orders import Mail, Order, address_key
from mailfleet.mail.incoming import Incoming, read_incoming
from mailfleet.mail.kinds import Classified, classify
from mailfleet.mail.opt_out import read_token
from mailfleet.model.words import MailKind

MAX_LINE = 998  # RFC 5322 §2.1.1
MAX_TEXT = 20_000  # chosen: characters of new text that are kept; ten pages
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # chosen: no mailbox of a fleet is older
_MAX_IDS = 100  # chosen: of each kind of clue; a thread of as many letters has seen none of ours for long
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # PostgreSQL's text holds neither NUL nor half a character

_FLEET_WAYS = {
    MailKind.BOUNCE: frozenset[Way](),
    MailKind.COMPLAINT: frozenset({Way.RETURNED}),  # feedback loops report to one mailbox for many
}
_OF_PEOPLE = frozenset({Way.REFERENCE, Way.ADDRESS})  # who has two letters of ours may answer either mailbox


@dataclass(frozen=True, slots=True)
class ReadMail:
    """Everything that the mail itself says. `fault`: why it could not be read; then it is `other`, and nothing else."""

    digest: bytes
    mail: Mail
    clues: Clues
    header_id: str = ""
    sender_name: str = ""
    sender_address: str = ""
    subject: str = ""
    fault: str = ""


def read_mail(arrived: Arrived, token_key: bytes) -> ReadMail:
    """Never raises for a mail. `token_key`: the key of our opt-out tokens."""
    try:
        return _read(arrived, token_key)
    except Exception as error:  # noqa: BLE001 - a mail that our own code fails at must not keep the others from being read
        return unreadable(arrived, error)


def unreadable(arrived: Arrived, error: Exception) -> ReadMail:
    """What is kept of a mail that cannot be borne: a person looks at it."""
    tell_unreadable(arrived, error)
    mail = Mail(Classified(MailKind.OTHER, ""), "", True, arrived.folder, _moment(arrived))
    return ReadMail(digest_of(arrived.raw), mail, Clues(arrived.mailbox_id), fault=type(error).__name__)


def tell_unreadable(arrived: Arrived, error: Exception) -> None:
    """Once for each mail: afterwards it is in the table."""
    place = {"mailbox": arrived.mailbox_id, "uid": arrived.uid}
    get_log().critical("mail_unreadable", **place, exc_info=error, next="it is kept, and shown by `mailfleet inbox`")


def _moment(arrived: Arrived) -> datetime:
    """When it came, as far as the server can be believed: it hands on whatever year a mail was moved with."""
    return min(max(arrived.received_at, _EARLIEST), utc_now())


def _read(arrived: Arrived, token_key: bytes) -> ReadMail:
    incoming = read_incoming(arrived.raw)
    received_at = _moment(arrived)
    what = classify(incoming, received_at)
    token = read_token([token_key], what.opt_out_token) if what.opt_out_token else None
    mail = Mail(what, address_key(incoming.sender), incoming.is_bulk, arrived.folder, received_at, token)
    return ReadMail(
        digest=digest_of(arrived.raw),
        mail=mail,
        clues=_clues(arrived.mailbox_id, incoming, mail),
        header_id=clean(incoming.message_id, MAX_LINE),
        sender_name=clean(_name(incoming), MAX_LINE),
        sender_address=clean(incoming.sender, MAX_LINE),
        subject=clean(incoming.subject, MAX_LINE),
    )


def _clues(mailbox_id: int, incoming: Incoming, mail: Mail) -> Clues:
    what = mail.what
    told = what.report or what.complaint
    subject = incoming.subject
    addresses = [mail.sender] if mail.sender else []
    if told is not None:
        subject = told.returned.subject if told.returned else ""
        named = [one.address for one in what.report.recipients] if what.report else []
        addresses = [address_key(one) for one in (*named, *(what.complaint.recipients if what.complaint else ()))]
    return Clues(
        mailbox_id,
        token=mail.token,
        references=_ids(incoming.in_reply_to),
        returned=_ids(told.message_ids) if told else [],
        envelope_ids=_ids([*(told.envelope_ids if told else ()), *_tags(incoming.delivered_to)]),
        addresses=_ids(addresses),
        subject=clean(subject, MAX_LINE),
        fleet_ways=_FLEET_WAYS.get(what.kind, _OF_PEOPLE),
    )


def _tags(addresses: tuple[str, ...]) -> Iterator[str]:
    """What stands behind a plus in the addresses that a mail came to (RFC 5233): an envelope's id may."""
    for address in addresses:
        _, plus, tag = address.rpartition("@")[0].partition("+")
        if plus and tag:
            yield tag


def _ids(values: Any) -> list[str]:
    return [clean(value, MAX_LINE) for value in values][:_MAX_IDS]


def _name(incoming: Incoming) -> str:
    """The display name of From."""
    return incoming.get("From").partition("<")[0].strip(' "')


def clean(text: str, most: int) -> str:
    """As the database can hold it."""
    return _UNSTORABLE.sub("\ufffd", text)[:most]


def incoming_values(arrived: Arrived, read: ReadMail, order: Order) -> dict[str, Any]:
    """The columns of `incoming`, and those of `event` if something is learned."""
    fact, found = order.fact, order.found
    return {
        "mailbox": arrived.mailbox_id,
        "folder": arrived.folder,
        "uid_validity": arrived.uid_validity,
        "uid": arrived.uid,
        "digest": read.digest,
        "header_id": read.header_id,
        "sender_address": read.sender_address,
        "sender_name": read.sender_name,
        "subject": read.subject,
        "received_at": read.mail.received_at,
        "kind": order.kind,
        "message": found.letter.id if found else None,
        "contact": found.letter.contact_id if found else None,
        "matched_by": found.way if found else "",
        "text": _text(read, order),
        "details": json.dumps(_details(read, order)),
        "question": order.question,
        "decision": order.settled,
        "event": fact.kind if fact else None,
        "is_hard": fact.is_hard if fact else False,
        "reply_class": fact.reply_class if fact else "",
        "reply_scope": fact.reply_scope if fact else "",
        "enhanced": fact.enhanced if fact else "",
        "event_text": clean(fact.text, MAX_LINE) if fact else "",
    }


def _text(read: ReadMail, order: Order) -> str:
    """Of mail that is not about our letters nothing is kept: it is nobody's business."""
    return "" if order.kind is MailKind.OTHER and order.found is None else clean(read.mail.what.text, MAX_TEXT)


def _details(read: ReadMail, order: Order) -> Mapping[str, Any]:
    what = read.mail.what
    pieces: dict[str, Any] = {"fault": read.fault} if read.fault else {}
    if what.report and order.kind is MailKind.BOUNCE:
        pieces["recipients"] = [
            {
                "address": clean(one.address, MAX_LINE),
                "severity": one.severity,
                "status": one.status,
                "rule": one.verdict.rule,
            }
            for one in what.report.recipients[:10]
        ]
    if what.complaint:
        pieces["feedback_type"] = clean(what.complaint.feedback_type, 100)
    if what.auto_reply:
        pieces |= {"says": what.auto_reply.kind, "mark": what.auto_reply.mark}
        pieces |= {"until": order.pause.isoformat()} if order.pause and not order.question else {}
    if what.refusal:
        pieces["refusal"] = what.refusal.rule
    return pieces
