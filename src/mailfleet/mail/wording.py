"""One wording of a step: its templates, compiled, and the one way in which they become a letter's texts."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mailfleet.base.errors import InputError
from mailfleet.mail.markup import text_from_html
from mailfleet.mail.templates import Template, compile_template


@dataclass(frozen=True, slots=True)
class Wording:
    """One variant, compiled. An empty subject continues the thread of the first letter."""

    subject: Template | None
    text: Template | None
    html: Template | None


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


def render(wording: Wording, values: dict[str, Any], *, thread_subject: str | None) -> tuple[str, str, str | None]:
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
