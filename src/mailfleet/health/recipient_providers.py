"""Who runs the mail servers of a domain that we write to: so blocks and bounces are seen by the receiver who decides
them, not by the thousands of names that it serves.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from mailfleet.health.dns.facts import Answer, State, is_below

_SECOND = frozenset(("ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"))


def provider_of(domain: str, answer: Answer) -> str:
    """By the exchanger asked first (RFC 5321 §5.1); without any, the domain is its own. Empty where nobody takes mail
    (RFC 7505), the domain is missing, or nothing is known."""
    if answer.state is State.EMPTY:
        return name_of_host(domain)
    if answer.state is not State.FOUND:
        return ""
    first = min(_exchangers(answer.values), default=(0, "."))[1]
    return "" if first == "." else name_of_host(first)


def name_of_host(host: str) -> str:
    """The provider by its names, else the domain that the host lies in."""
    for provider, suffixes in _providers().items():
        if any(is_below(host, suffix) for suffix in suffixes):
            return provider
    return _domain_of(host)


def _exchangers(values: Sequence[str]) -> list[tuple[int, str]]:
    pairs = [value.split(" ", 1) for value in values]
    return [(int(preference), host.lower()) for preference, host in pairs]


def _domain_of(host: str) -> str:
    """The last two labels, or three under a country's second level: good enough to tell receivers apart."""
    labels = host.split(".")
    is_deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND
    return ".".join(labels[-3 if is_deep else -2 :])


@cache
def _providers() -> Mapping[str, tuple[str, ...]]:
    text = files(__package__).joinpath("recipient_providers.toml").read_text(encoding="utf-8")
    return {name: tuple(raw["suffixes"]) for name, raw in tomllib.loads(text).items()}
