"""Which of the page's languages a reader gets: the one a link names, else the browser's first that we have."""

import re

LANGUAGES = {"en": "English", "ru": "Русский", "de": "Deutsch", "fr": "Français", "es": "Español"}
"""Tag → its own name, in the order of the switch. The first is for whoever reads none of them."""

FALLBACK = "en"
_RANGES = 20  # chosen: no browser sends as many
_QUALITY = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")


def choose_language(named: str, accepted: str) -> str:
    """`named` by the link, or the best of an Accept-Language field (RFC 9110 §12.5.4); whatever else is passed over."""
    if named in LANGUAGES:
        return named
    ranges = [_read_range(part) for part in accepted.split(",", _RANGES)[:_RANGES]]
    wanted = [(quality, tag) for tag, quality in ranges if tag in LANGUAGES and quality > 0]
    return max(wanted, key=lambda it: it[0])[1] if wanted else FALLBACK


def _read_range(part: str) -> tuple[str, float]:
    """The language of one range without its region, and its quality: 1 unless it says another, 0 for nonsense."""
    tag, *parameters = (word.strip().lower() for word in part.split(";"))
    language = tag.partition("-")[0]
    if not parameters:
        return language, 1.0
    found = _QUALITY.fullmatch(parameters[0])
    return language, float(found[1]) if found else 0.0
