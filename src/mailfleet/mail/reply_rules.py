"""The rules of `replies.toml`: their words, their index, and the laws none of them may break.

A phrase is words, `a|b` for either word and `..` for up to five words. Each phrase is filed under its rarest word, so a
reply is held against the few rules that share a word with it, not against all.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.resources import files
from itertools import chain
from typing import Any

from mailfleet.base.errors import InvariantError


class ReplyClass(StrEnum):
    """What a reply says."""

    ACCEPTED = "accepted"
    DNS_OR_AUTH_FAILURE = "dns_or_auth_failure"
    GREYLISTED = "greylisted"
    MAILBOX_SUSPENDED_OR_AUTH = "mailbox_suspended_or_auth"
    MESSAGE_TOO_BIG = "message_too_big"
    POLICY_SPAM_BLOCK = "policy_spam_block"
    RATE_LIMITED_ACCOUNT = "rate_limited_account"
    RATE_LIMITED_DOMAIN_OR_IP = "rate_limited_domain_or_ip"
    RECIPIENT_DISABLED = "recipient_disabled"
    RECIPIENT_FULL = "recipient_full"
    RECIPIENT_UNKNOWN = "recipient_unknown"
    RELAY_DENIED = "relay_denied"
    REPUTATION_BLOCK = "reputation_block"
    SYNTAX_OR_PROTOCOL = "syntax_or_protocol"
    TEMPORARY_SYSTEM = "temporary_system"


class Scope(StrEnum):
    """What has to change before the next letter can pass; `provider` is also the addresses it sends from."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    MAILBOX = "mailbox"
    DOMAIN = "domain"
    ACCOUNT = "account"
    PROVIDER = "provider"


class Action(StrEnum):
    """What is done about it."""

    ACCEPT = "accept"
    RETRY = "retry"  # the same letter, not before the wait is over
    HOLD = "hold"  # the scope writes nothing until the wait is over
    REJECT = "reject"  # this letter only
    SUPPRESS = "suppress"  # the address is dead
    STOP = "stop"  # the scope, until a person lifts it


NEVER_PERMANENT = frozenset(
    {
        ReplyClass.ACCEPTED,
        ReplyClass.GREYLISTED,
        ReplyClass.MAILBOX_SUSPENDED_OR_AUTH,
        ReplyClass.RATE_LIMITED_ACCOUNT,
        ReplyClass.RATE_LIMITED_DOMAIN_OR_IP,
        ReplyClass.RECIPIENT_FULL,
        ReplyClass.TEMPORARY_SYSTEM,
    }
)
"""Classes that say nothing against this letter to this recipient, whatever their code."""

DEAD_ADDRESS = frozenset({ReplyClass.RECIPIENT_UNKNOWN, ReplyClass.RECIPIENT_DISABLED})
"""The only classes that may suppress."""

SIDES = ("submission", "mx", "dsn")
_SINGLE = frozenset({Scope.RECIPIENT, Scope.MESSAGE})

Matcher = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows from (class, scope, side) when the reply is not temporary."""

    action: Action
    permanent: bool
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Seen:
    """A reply as rules see it.

    `code` has three digits ("000" for none), `statuses` the enhanced code as said and with "x" for its class, `text`
    lower-case words with one space before and after each, `speakers` groups of `[providers]`.
    """

    code: str
    statuses: tuple[str, ...]
    text: str
    side: str
    speakers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; an empty condition is no condition."""

    id: str
    reply_class: ReplyClass
    scope: Scope
    relay_scope: Scope
    action: Action | None
    wait: timedelta | None
    codes: tuple[str, ...]
    enhanced: frozenset[str]
    sides: frozenset[str]
    providers: frozenset[str]
    text: tuple[str, ...]
    unless: tuple[Matcher, ...]

    @property
    def stage(self) -> int:
        """1 a provider's dialect, 2 text, 3 enhanced code, 4 basic code."""
        if self.providers:
            return 1
        if self.text:
            return 2
        return 3 if self.enhanced else 4

    def fits(self, seen: Seen) -> bool:
        """Whether all conditions but the phrases hold."""
        return (
            (not self.codes or seen.code.startswith(self.codes))
            and (not self.enhanced or not self.enhanced.isdisjoint(seen.statuses))
            and (not self.sides or seen.side in self.sides)
            and (not self.providers or not self.providers.isdisjoint(seen.speakers))
            and not any(found(seen.text) for found in self.unless)
        )


Candidate = tuple[int, Matcher | None, Rule]


@dataclass(frozen=True, slots=True)
class Book:
    """All rules in their order, filed by word or code; the effects; the names of the speakers."""

    rules: tuple[Rule, ...]
    index: Mapping[str, tuple[Candidate, ...]]
    effects: Mapping[tuple[ReplyClass, Scope, str], Effect]
    names: Mapping[str, tuple[str, ...]]

    def first_fit(self, seen: Seen) -> Rule:
        """The first rule that fits; the last one always does."""
        keys = chain(
            set(seen.text.split()), seen.statuses, (seen.code, f"{seen.code[:2]}x", f"{seen.code[0]}xx", "any")
        )
        candidates = [found for key in keys for found in self.index.get(key, ())]
        for _, matches, rule in sorted(candidates, key=_place):
            if (matches is None or matches(seen.text)) and rule.fits(seen):
                return rule
        raise InvariantError("Reading a reply: no rule fits, though the last one must always fit.")

    def speakers(self, name: str) -> frozenset[str]:
        """The groups a preset's slug, a product name or a host name belongs to; empty when it is unknown."""
        words = _as_words(name.lower())
        return frozenset(group for group, names in self.names.items() if any(known in words for known in names))


def _place(candidate: Candidate) -> int:
    return candidate[0]


def load_book() -> Book:
    """Read `replies.toml` (about 0.1 s) and hold it to the laws; a broken rule is our own fault: InvariantError."""
    data = tomllib.loads(files("mailfleet.mail").joinpath("replies.toml").read_text(encoding="utf-8"))
    return make_book(data)


def make_book(data: Mapping[str, Any]) -> Book:
    """Build the book from the tables `rule`, `effect` and `providers`; InvariantError when a law is broken."""
    rules = tuple(sorted(map(_rule, data["rule"]), key=lambda rule: rule.stage))
    names = {group: tuple(map(_as_words, known)) for group, known in data["providers"].items()}
    book = Book(rules, _index(rules), _effects(data["effect"]), names)
    _check_effects(book)
    for rule in rules:
        _check_rule(rule, book)
    return book


def _as_words(name: str) -> str:
    return f" {' '.join(re.split(r'[^0-9a-z]+', name))} "


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        id=row["id"],
        reply_class=ReplyClass(row["class"]),
        scope=Scope(row["scope"]),
        relay_scope=Scope(row.get("relay_scope", row["scope"])),
        action=Action(row["action"]) if "action" in row else None,
        wait=timedelta(minutes=row["wait_minutes"]) if "wait_minutes" in row else None,
        codes=tuple(row.get("codes", ())),
        enhanced=frozenset(chain.from_iterable(map(_span, row.get("enhanced", ())))),
        sides=frozenset(row.get("sides", ())),
        providers=frozenset(row.get("providers", ())),
        text=tuple(row.get("text", ())),
        unless=tuple(map(_matcher, row.get("unless", ()))),
    )


def _span(status: str) -> Iterable[str]:
    """`5.7.501-503` is three statuses."""
    first, _, last = status.partition("-")
    stem, _, start = first.rpartition(".")
    return (f"{stem}.{detail}" for detail in range(int(start), int(last or start) + 1))


def _effects(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[ReplyClass, Scope, str], Effect]:
    """The first row that names a (class, scope, side) decides; no `scopes` or `sides` means all of them."""
    effects: dict[tuple[ReplyClass, Scope, str], Effect] = {}
    for row in rows:
        effect = Effect(Action(row["action"]), row["permanent"], timedelta(minutes=row["wait_minutes"]))
        for scope in row.get("scopes", list(Scope)):
            for side in row.get("sides", SIDES):
                effects.setdefault((ReplyClass(row["class"]), Scope(scope), side), effect)
    return effects


def _index(rules: Sequence[Rule]) -> dict[str, tuple[Candidate, ...]]:
    rarity = Counter(word for rule in rules for phrase in rule.text for part in _parts(phrase) for word in part)
    index: defaultdict[str, list[Candidate]] = defaultdict(list)
    for place, rule in enumerate(rules):
        for phrase in rule.text:
            for word in _rarest(phrase, rarity):
                index[word].append((place, _matcher(phrase), rule))
        for key in () if rule.text else _codes_of(rule):
            index[key].append((place, None, rule))
    return {key: tuple(found) for key, found in index.items()}


def _codes_of(rule: Rule) -> Iterable[str]:
    return rule.enhanced or [code.ljust(3, "x") for code in rule.codes] or ["any"]


def _parts(phrase: str) -> list[tuple[str, ...]]:
    """The words of a phrase in order, each with its alternatives; an empty tuple is a gap."""
    return [() if part == ".." else tuple(part.split("|")) for part in phrase.split()]


def _rarest(phrase: str, rarity: Mapping[str, int]) -> tuple[str, ...]:
    return min(filter(None, _parts(phrase)), key=lambda part: sum(rarity[word] for word in part))


def _matcher(phrase: str) -> Matcher:
    """A predicate on words: a plain phrase is a substring, any other a small regular expression."""
    parts = _parts(phrase)
    if all(len(part) == 1 for part in parts):
        plain = f" {phrase} "
        return lambda text: plain in text
    pattern = "".join(f"(?:{'|'.join(map(re.escape, part))}) " if part else r"(?:\S+ ){0,5}?" for part in parts)
    return re.compile(f" {pattern}").search


def _check_effects(book: Book) -> None:
    for (reply_class, scope, side), effect in book.effects.items():
        where = f"Loading the reply rules: {reply_class} of {scope} by {side}"
        if effect.permanent and reply_class in NEVER_PERMANENT:
            raise InvariantError(f"{where} may never be permanent.")
        if effect.action is Action.SUPPRESS and reply_class not in DEAD_ADDRESS:
            raise InvariantError(f"{where} suppresses without a dead address.")


def _check_rule(rule: Rule, book: Book) -> None:
    where = f"Loading the reply rules: {rule.id}"
    if sum(other.id == rule.id for other in book.rules) > 1:
        raise InvariantError(f"{where} is there twice.")
    if unknown := (rule.sides - set(SIDES)) | (rule.providers - set(book.names)):
        raise InvariantError(f"{where} names {sorted(unknown)}, which is nowhere defined.")
    for side in rule.sides or SIDES:
        for scope in (rule.scope, rule.relay_scope):
            _check_action(where, rule, scope, rule.action or book.effects[rule.reply_class, scope, side].action)


def _check_action(where: str, rule: Rule, scope: Scope, action: Action) -> None:
    if action is Action.SUPPRESS and rule.reply_class not in DEAD_ADDRESS:
        raise InvariantError(f"{where} suppresses without a dead address.")
    if action in (Action.HOLD, Action.STOP) and scope in _SINGLE:
        raise InvariantError(f"{where} holds a {scope}, which has no hold.")
    if action in (Action.REJECT, Action.SUPPRESS) and rule.reply_class in NEVER_PERMANENT:
        raise InvariantError(f"{where} gives a letter up for something that passes.")
