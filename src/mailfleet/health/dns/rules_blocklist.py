"""Lists of domains: RFC 5782. What a list answers is data, `blocklists.toml`; an answer that is about the query (the
resolver is refused, too many queries) is never taken for a listing.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any

from mailfleet.health.dns.facts import Facts, Kind, State
from mailfleet.health.dns.findings import Check, Finding, Severity, fine, unknown

LISTED = IPv4Network("127.0.0.0/8")  # RFC 5782 §2.1: every true answer lies in here
ABOUT_THE_QUERY = IPv4Network("127.255.255.0/24")  # spamhaus.org/news/article/788, taken over by others


@dataclass(frozen=True, slots=True)
class Meaning:
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class Blocklist:
    """One list; `codes` are whole answers, `bits` those of the last octet."""

    name: str
    title: str
    zone: str
    keyed_zone: str
    test: str
    removal: str
    source: str
    codes: Mapping[str, Meaning]
    bits: Mapping[int, Meaning]
    errors: Mapping[str, str]

    def with_key(self, key: str) -> "Blocklist":
        """The same, asked for by a holder of `key`, if it has a zone for them."""
        return replace(self, zone=self.keyed_zone.replace("{key}", key)) if self.keyed_zone else self

    def error_of(self, answer: str) -> str:
        """What an answer says about the query; empty when it is about the domain."""
        try:
            address = IPv4Address(answer)
        except AddressValueError:
            return "the answer is no address"
        if answer in self.errors:
            return self.errors[answer]
        if address in ABOUT_THE_QUERY:
            return f"it answers {answer}: it refuses this resolver, or it was asked too often"
        return "" if address in LISTED else f"it answers {answer}, which no list does: the resolver makes answers up"

    def meanings(self, answer: str) -> list[Meaning]:
        """What a listing says. One that the data do not know is a listing all the same, and warned of."""
        if answer in self.codes:
            return [self.codes[answer]]
        last = int(IPv4Address(answer)) & 0xFF
        found = [meaning for bit, meaning in self.bits.items() if last & bit]
        return found or [Meaning(Severity.WARNS, f"listed, by the code {answer}")]


@cache
def load_blocklists() -> Mapping[str, Blocklist]:
    """Every list by name; the same mapping at every call."""
    data = tomllib.loads(files(__package__).joinpath("blocklists.toml").read_text(encoding="utf-8"))
    return {name: _blocklist(name, raw) for name, raw in data["lists"].items()}


def _blocklist(name: str, raw: Mapping[str, Any]) -> Blocklist:
    return Blocklist(
        name=name,
        title=raw["title"],
        zone=raw["zone"],
        keyed_zone=raw.get("keyed_zone", ""),
        test=raw["test"],
        removal=raw["removal"],
        source=raw["source"],
        codes={row["answer"]: _meaning(row) for row in raw.get("codes", ())},
        bits={row["bit"]: _meaning(row) for row in raw.get("bits", ())},
        errors={row["answer"]: row["meaning"] for row in raw.get("errors", ())},
    )


def _meaning(row: Mapping[str, Any]) -> Meaning:
    return Meaning(Severity(row["severity"]), row["meaning"])


def judge_blocklists(names: Sequence[str], lists: Sequence[Blocklist], facts: Facts) -> list[Finding]:
    """`names`: every domain of ours that a letter shows, without repeats."""
    return [finding for listed in lists for finding in _judge(names, listed, facts)]


def _judge(names: Sequence[str], blocklist: Blocklist, facts: Facts) -> Iterator[Finding]:
    problem = _test_point(blocklist, facts)
    clean: list[str] = []
    for name in names:
        answer = facts.ask(Kind.A, f"{name}.{blocklist.zone}")
        if answer.is_open:
            problem = problem or f"{name}: {answer.why}"
        elif answer.is_void:
            clean.append(name)
        else:
            errors = [error for error in map(blocklist.error_of, answer.values) if error]
            problem = problem or next(iter(errors), "")
            yield from () if errors else _listings(name, answer.values, blocklist)
    if problem:
        found = unknown(Check.BLOCKLIST, "blocklist_unknown", blocklist.title, problem)
        todo = "Ask through a resolver of your own (--resolver), or get a key; public resolvers are refused."
        yield replace(found, todo=todo)
    elif clean:
        yield fine(Check.BLOCKLIST, "blocklist_clean", f"{blocklist.title} does not list {', '.join(clean)}.")


def _test_point(blocklist: Blocklist, facts: Facts) -> str:
    """Why the list cannot be believed; empty when it lists what it always lists."""
    answer = facts.ask(Kind.A, f"{blocklist.test}.{blocklist.zone}")
    if answer.is_open:
        return answer.why
    if answer.state is not State.FOUND:
        return f"it does not list its own test point {blocklist.test}: it does not answer this resolver"
    return next((error for error in map(blocklist.error_of, answer.values) if error), "")


def _listings(name: str, answers: Sequence[str], blocklist: Blocklist) -> Iterator[Finding]:
    for meaning in dict.fromkeys(meaning for answer in answers for meaning in blocklist.meanings(answer)):
        seen = f"{blocklist.title} lists {name}: {meaning.text}."
        todo = f"Stop, find out why, then ask for removal: {blocklist.removal}."
        yield Finding(Check.BLOCKLIST, "blocklist_listed", meaning.severity, seen, todo)
