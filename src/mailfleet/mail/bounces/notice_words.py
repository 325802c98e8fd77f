"""The words of reports: `notices.toml`, as predicates over lines and texts."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

_RULE = re.compile(r"[\s=\-*_|>#~]+")


@lru_cache(maxsize=16)  # chosen: a text is asked for several uses in a row
def folded(text: str) -> str:
    """Lower case, one blank for each run of blanks, dashes and other marks that lines are drawn with."""
    return _RULE.sub(" ", text.lower().replace("’", "'")).strip()


@cache
def _book() -> Mapping[str, Any]:
    return tomllib.loads(files("mailfleet.mail.bounces").joinpath("notices.toml").read_text(encoding="utf-8"))


@cache
def _pattern(use: str) -> re.Pattern[str]:
    found = [folded(text) for rule in _book()["phrases"] if rule["use"] == use for text in rule["text"]]
    return re.compile("|".join(map(re.escape, found)))


def says(use: str, text: str) -> bool:
    """Whether a phrase of that use stands in the text."""
    return _pattern(use).search(folded(text)) is not None


@cache
def _meanings() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (re.compile("|".join(re.escape(folded(text)) for text in rule["text"])), rule["means"])
        for rule in _book()["meanings"]
    )


def meaning(text: str) -> str:
    """The SMTP reply that says the same as a notice's own words; empty when they are not known."""
    words = folded(text)
    return next((means for pattern, means in _meanings() if pattern.search(words)), "")


@cache
def _senders() -> tuple[frozenset[str], re.Pattern[str]]:
    senders = _book()["senders"]
    return frozenset(senders["local_parts"]), re.compile("|".join(map(re.escape, senders["names"])))


def is_daemon(field: str, address: str) -> bool:
    """Whether a mail system writes under that From: by its local part, or by its name."""
    local_parts, names = _senders()
    local = address.rpartition("@")[0].lower()
    is_system = local.startswith(("mailer-daemon", "postmaster", "microsoftexchange", "owner-")) or local.endswith(
        ("-admin", "-owner")
    )
    return is_system or local in local_parts or _is_named(names, field)


def _is_named(names: re.Pattern[str], field: str) -> bool:
    return names.search(field.partition("<")[0].lower()) is not None
