"""One wording of a step: its templates, compiled, and the one way in which they become a letter's texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from mailfleet.base.errors import InputError
from mailfleet.mail.addresses import Address, parse_address
from mailfleet.mail.compose import Letter
from mailfleet.mail.markup import text_from_html
from mailfleet.mail.opt_out import opt_out_mailto, opt_out_url
from mailfleet.mail.templates import Template, compile_template


@dataclass(frozen=True, slots=True)
class Wording:
    """One variant, compiled. An empty subject continues the thread of the first letter."""

    subject: Template | None
    text: Template | None
    html: Template | None


class Author(Protocol):
    """Who writes: a mailbox, and in `values` the variables that it and its identity give."""

    @property
    def address(self) -> Address: ...
    @property
    def display_name(self) -> str: ...
    @property
    def reply_to(self) -> Address | None: ...
    @property
    def values(self) -> Mapping[str, Mapping[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Recipient:
    """`values`: what templates read of the contact."""

    address: Address
    name: str
    values: Mapping[str, Any]

    @classmethod
    def of_row(cls, row: Any) -> "Recipient":
        return cls(parse_address(row.address), f"{row.first_name} {row.last_name}".strip(), contact_values(row))


@dataclass(frozen=True, slots=True)
class Thread:
    """What a follow-up continues: the message ids before it, oldest first, and the first letter's subject."""

    header_ids: tuple[str, ...]
    subject: str


def write(
    wording: Wording,
    author: Author,
    recipient: Recipient,
    thread: Thread | None,
    *,
    header_id: str,
    date: datetime,
    opt_out_base_url: str,
    token: str,
) -> Letter:
    """The letter; `token` is its opt-out's. InputError when it would have a hole, or cannot stand in a header."""
    url = opt_out_url(opt_out_base_url, token)
    values = {**author.values, "contact": recipient.values, "opt_out_url": url}
    subject, text, html = render(wording, values, thread_subject=thread.subject if thread else None)
    header_ids = thread.header_ids if thread else ()
    return Letter(
        from_name=author.display_name,
        from_address=author.address,
        to_name=recipient.name,
        to_address=recipient.address,
        reply_to=author.reply_to,
        subject=subject,
        text=text,
        html=html,
        message_id=header_id,
        date=date,
        in_reply_to=header_ids[-1] if header_ids else None,
        references=header_ids,
        opt_out_url=url,
        opt_out_mailto=opt_out_mailto(author.address, token),
    )


def author_values(row: Any) -> dict[str, dict[str, str]]:
    """A mailbox's and its identity's variables."""
    return {
        "mailbox": {"name": row.display_name, "address": row.address, "signature": row.signature},
        "identity": {
            "name": row.identity_name,
            "legal_name": row.legal_name,
            "postal_address": row.postal_address,
            "contact_email": row.contact_email,
            "website": row.website,
        },
    }


@lru_cache(maxsize=512)
def compile_wording(name: str, subject: str, text: str, html: str) -> Wording:
    """Compiles a variant once, whoever uses it; InputError names template and line."""
    return Wording(
        compile_template(subject, name=f"{name}, subject", kind="subject") if subject.strip() else None,
        compile_template(text, name=f"{name}, text") if text.strip() else None,
        compile_template(html, name=f"{name}, html", kind="html") if html.strip() else None,
    )


def contact_values(row: Any) -> dict[str, Any]:
    """A contact's variables: its attributes, and over them what every contact has."""
    return {
        **row.attributes,
        "email": row.address,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "company": row.company,
        "title": row.title,
        "country": row.country,
    }


def render(wording: Wording, values: Mapping[str, Any], *, thread_subject: str | None) -> tuple[str, str, str | None]:
    """Subject, text and HTML of one letter; the text is derived when only HTML was written."""
    if wording.subject is not None:
        subject = wording.subject.render(values)
    elif thread_subject:
        subject = thread_subject if thread_subject.lower().startswith("re:") else f"Re: {thread_subject}"
    else:
        raise InputError("the letter has no subject, and no earlier letter to continue")
    html = wording.html.render(values) if wording.html else None
    if wording.text is not None:
        return subject, wording.text.render(values), html
    if html is None:
        raise InputError("the letter has neither text nor HTML")
    return subject, text_from_html(html), html
