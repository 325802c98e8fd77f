"""Writing a letter: a due row, its mailbox and its wording become the bytes that leave."""

from dataclasses import dataclass
from datetime import datetime

from mailfleet.base.secrets import Keyring
from mailfleet.mail.addresses import Address, parse_address
from mailfleet.mail.compose import Letter, compose, needs_smtputf8
from mailfleet.mail.opt_out import make_token, opt_out_mailto, opt_out_url
from mailfleet.mail.wording import Wording, contact_values, render
from mailfleet.model.words import AuthKind, Security
from mailfleet.outbox.records import Draft, Row
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class SendingMailbox:
    """What a sender knows of a mailbox it holds."""

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
        values={
            "mailbox": {"name": row.display_name, "address": row.address, "signature": row.signature},
            "identity": {
                "name": row.identity_name,
                "legal_name": row.legal_name,
                "postal_address": row.postal_address,
                "contact_email": row.contact_email,
                "website": row.website,
            },
        },
    )


def write_letter(row: Row, mailbox: SendingMailbox, wording: Wording, *, token_key: bytes, date: datetime) -> Draft:
    """The letter of a `peek_due` row. InputError when it would have a hole, or cannot stand in a header."""
    token = make_token(token_key, row.id)
    url = opt_out_url(mailbox.opt_out_base_url, token)
    values = {**mailbox.values, "contact": contact_values(row), "opt_out_url": url}
    subject, text, html = render(wording, values, thread_subject=row.thread_subject)
    thread = tuple(row.header_ids or ())
    letter = Letter(
        from_name=mailbox.display_name,
        from_address=mailbox.address,
        to_name=f"{row.first_name} {row.last_name}".strip(),
        to_address=parse_address(row.address),
        reply_to=mailbox.reply_to,
        subject=subject,
        text=text,
        html=html,
        message_id=row.header_id,
        date=date,
        in_reply_to=thread[-1] if thread else None,
        references=thread,
        opt_out_url=url,
        opt_out_mailto=opt_out_mailto(mailbox.address, token),
    )
    return Draft(
        message_id=row.id,
        mailbox_id=mailbox.id,
        contact_id=row.contact_id,
        subject=subject,
        recipient=letter.to_address.wire,
        smtputf8=needs_smtputf8(letter),
        content=compose(letter),
        due_at=row.due_at,
    )
