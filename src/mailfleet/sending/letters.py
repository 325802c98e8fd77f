"""Writing a letter: a due row, its mailbox and its wording become the bytes that leave."""

import re
from dataclasses import dataclass
from datetime import datetime

from mailfleet.base.secrets import Keyring
from mailfleet.mail.addresses import Address, parse_address
from mailfleet.mail.compose import compose, needs_smtputf8
from mailfleet.mail.opt_out import make_token
from mailfleet.mail.wording import Recipient, Thread, Wording, author_values, write
from mailfleet.model.words import AuthKind, Security
from mailfleet.outbox.records import Draft, Row
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.smtp import Envelope

_MESSAGE_ID = re.compile(rb"\r\nMessage-ID: <([^@>\r\n]+)@")


@dataclass(frozen=True, slots=True)
class SendingMailbox:
    """What a sender knows of a mailbox it holds. `files_copies`: nobody but us files what it sent."""

    id: int
    address: Address
    display_name: str
    reply_to: Address | None
    endpoint: Endpoint
    login: Login
    pace_seconds: int
    provider_id: int
    dialect: str
    max_connections: int | None
    idle_seconds: int
    opt_out_base_url: str
    files_copies: bool
    values: dict[str, dict[str, str]]


def mailbox_of(row: Row, keyring: Keyring) -> SendingMailbox:
    """From a row of `load_mailboxes`; SetupError when no key opens its credential."""
    return SendingMailbox(
        id=row.id,
        address=parse_address(row.address),
        display_name=row.display_name,
        reply_to=parse_address(row.reply_to) if row.reply_to else None,
        endpoint=Endpoint(row.smtp_host, row.smtp_port, Security(row.smtp_security), row.ca_file or None),
        login=Login(row.login, keyring.open(row.secret, what=row.address), AuthKind(row.auth)),
        pace_seconds=row.pace_seconds,
        provider_id=row.provider_id,
        dialect=row.dialect,
        max_connections=row.max_connections,
        idle_seconds=row.idle_seconds,
        opt_out_base_url=row.opt_out_base_url,
        files_copies=row.sent_copy == "client",
        values=author_values(row),
    )


def write_letter(row: Row, mailbox: SendingMailbox, wording: Wording, *, token_key: bytes, date: datetime) -> Draft:
    """The letter of a `peek_due` row. InputError when it would have a hole, or cannot stand in a header."""
    letter = write(
        wording,
        mailbox,
        Recipient.of_row(row),
        Thread(tuple(row.header_ids), row.thread_subject) if row.header_ids else None,
        header_id=row.header_id,
        date=date,
        opt_out_base_url=mailbox.opt_out_base_url,
        token=make_token(token_key, row.id, row.address_digest),
    )
    return Draft(
        message_id=row.id,
        mailbox_id=mailbox.id,
        contact_id=row.contact_id,
        subject=letter.subject,
        recipient=letter.to_address.wire,
        smtputf8=needs_smtputf8(letter),
        content=compose(letter),
        due_at=row.due_at,
    )


def envelope_of(mailbox: SendingMailbox, draft: Draft) -> Envelope:
    """A bounce that quotes nothing still names its letter: by its Message-ID, left of the @."""
    found = _MESSAGE_ID.search(draft.content)
    envid = found[1].decode(errors="replace") if found else ""
    return Envelope(mailbox.address.wire, draft.recipient, draft.smtputf8, envid)
