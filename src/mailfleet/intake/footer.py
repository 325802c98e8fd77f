"""The footer every letter ends with, unless its author shows the same: who writes, from where, and the way out.

A letter must show the postal address and the opt-out to every reader (CAN-SPAM, 15 U.S.C. 7704(a)(3) and (5); Directive
2002/58/EC, article 13(4)). What stands inside a condition, a comment or a hidden element is not shown to every reader.
"""

import re

from mailfleet.mail.markup import text_from_html

_OPT_OUT_LINES = {
    "en": ("If you would rather not hear from us again:", "Do not write to me again"),
    "ru": ("Если вы не хотите больше получать наши письма:", "Больше не писать мне"),
    "de": ("Wenn Sie keine weiteren Nachrichten von uns wünschen:", "Schreiben Sie mir nicht mehr"),
    "fr": ("Si vous ne souhaitez plus recevoir nos messages :", "Ne plus m’écrire"),
    "es": ("Si no desea recibir más mensajes nuestros:", "No me escriban más"),
}
LANGUAGES = tuple(_OPT_OUT_LINES)

_PLACED = re.compile(r"\{\{-?\s*footer\s*-?\}\}")
_MARKUP = re.compile(
    r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|(?P<output>\{\{.*?\}\})|\{%-?\s*(?P<end>end)?(?P<tag>\w*).*?%\}",
    re.DOTALL,
)
_CONDITIONS = ("if", "unless", "case")
_OPT_OUT = re.compile(r"\{\{-?\s*opt_out_url\s*-?\}\}")
_POSTAL = re.compile(r"\{\{-?\s*identity\.postal_address\s*(?:\|\s*newline_to_br\s*)?-?\}\}")
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_WORDLESS_LINK = re.compile(r"\[\s*\]\([^)]*\)")


def with_footer(source: str, language: str, *, html: bool) -> str:
    """The template with its footer: in place of `{{ footer }}`, else at the end unless the letter needs none."""
    footer = html_footer(language) if html else text_footer(language)
    placed = _PLACED.sub(lambda _: footer, source)
    if is_complete(placed, html=html):
        return placed
    if not html:
        return f"{placed.rstrip()}\n\n{footer}\n"
    ends = list(_BODY_END.finditer(placed))
    at = ends[-1].start() if ends else len(placed)
    return f"{placed[:at]}\n{footer}\n{placed[at:]}"


def is_complete(source: str, *, html: bool) -> bool:
    """Whether every reader of the letter sees the opt-out link and the postal address."""
    shown = always_rendered(source)
    if html:
        shown = _WORDLESS_LINK.sub("", text_from_html(shown))
    return bool(_OPT_OUT.search(shown) and _POSTAL.search(shown))


def is_misplaced(source: str) -> bool:
    """Whether a `{{ footer }}` of the template stands where only some readers would see it."""
    return len(_PLACED.findall(source)) != len(_PLACED.findall(always_rendered(source)))


def always_rendered(source: str) -> str:
    """The template without its tags, and without what conditions and raw blocks hold."""
    parts, depth, at = [], 0, 0
    for markup in _MARKUP.finditer(source):
        if not depth:
            parts += [source[at : markup.start()], markup["output"] or ""]
        if markup["tag"] in _CONDITIONS:
            depth += -1 if markup["end"] else 1
        at = markup.end()
    return "".join([*parts, "" if depth else source[at:]])


def text_footer(language: str) -> str:
    line, _ = _OPT_OUT_LINES[language]
    return f"--\n{{{{ identity.legal_name }}}}\n{{{{ identity.postal_address }}}}\n\n{line}\n{{{{ opt_out_url }}}}"


def html_footer(language: str) -> str:
    _, link = _OPT_OUT_LINES[language]
    return (
        "<hr>\n<p>{{ identity.legal_name }}<br>\n{{ identity.postal_address | newline_to_br }}</p>\n"
        f'<p><a href="{{{{ opt_out_url }}}}">{link}</a></p>'
    )
