"""What a reader sees: five pages in five languages, without script, cookie or anything from elsewhere.

A page is one answer: its style stands in it, and the Content-Security-Policy allows that style alone by its hash.
"""

import tomllib
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Literal

from mailfleet.panel.opt_out.languages import LANGUAGES

Kind = Literal["ask", "done", "unknown", "busy", "later"]
"""Asks; says that it is done; knows no such link; a client opened too many of those; it could not be kept."""

_FOLDER = files(__package__)
_PAGE = Template(_FOLDER.joinpath("page.html").read_text(encoding="utf-8"))
_STYLE = _FOLDER.joinpath("style.css").read_text(encoding="utf-8")
_TEXTS: dict[str, dict[str, str]] = tomllib.loads(_FOLDER.joinpath("texts.toml").read_text(encoding="utf-8"))
_MARK = (
    '<svg class="mark" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.5"'
    ' stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M4 12.5l5.5 5.5L20 7"/></svg>\n'
)
_WITH_BUTTON = ("ask", "later")

POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; img-src data:;"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """Of a letter, what its recipient may see: who wrote it, and to whom; whether that address has said no."""

    legal_name: str
    postal_address: str
    recipient: str
    is_suppressed: bool


def masked(address: str) -> str:
    """Enough for its owner to know it, too little for whoever a letter was forwarded to: a***@example.com."""
    local, _, domain = address.rpartition("@")
    return f"{local[0] if len(local) > 1 else ''}***@{domain}"


def show(kind: Kind, language: str, facts: LetterFacts | None = None) -> bytes:
    """A whole page; without facts it names nobody."""
    return _bare(kind, language) if facts is None else _written(kind, language, facts)


@cache
def _bare(kind: Kind, language: str) -> bytes:
    return _written(kind, language, None)


def _written(kind: Kind, language: str, facts: LetterFacts | None) -> bytes:
    texts = _TEXTS[language]
    page = _PAGE.substitute(
        language=language,
        style=_STYLE,
        title=escape(texts[f"{kind}_title"]),
        mark=_MARK if kind == "done" else "",
        lead=_lead(kind, texts, facts),
        form=_form(texts["button"], language) if kind in _WITH_BUTTON else "",
        note=_note(texts.get(f"{kind}_note", "")),
        sender=_sender(texts["from"], facts) if facts else "",
        language_label=escape(texts["language"]),
        switch="".join(_link(tag, is_current=tag == language) for tag in LANGUAGES),
    )
    return page.encode()


def _lead(kind: Kind, texts: dict[str, str], facts: LetterFacts | None) -> str:
    if facts is None or kind not in ("ask", "done"):
        return escape(texts.get(f"{kind}_bare") or texts[f"{kind}_lead"])
    recipient = f"<strong>{escape(masked(facts.recipient))}</strong>"
    return Template(escape(texts[f"{kind}_lead"])).substitute(recipient=recipient)


def _form(button: str, language: str) -> str:
    return f'<form method="post" action="?lang={language}">\n<button>{escape(button)}</button>\n</form>\n'


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>\n' if text else ""


def _sender(words: str, facts: LetterFacts) -> str:
    return (
        f'<div class="sender">{escape(words)}\n<strong>{escape(facts.legal_name)}</strong>\n'
        f"<address>{escape(facts.postal_address)}</address></div>\n"
    )


def _link(tag: str, *, is_current: bool) -> str:
    name = LANGUAGES[tag]
    if is_current:
        return f'<span lang="{tag}" aria-current="true">{name}</span>\n'
    return f'<a href="?lang={tag}" lang="{tag}" hreflang="{tag}" rel="nofollow">{name}</a>\n'
