"""Words of refusal in a person's answer: a certain no is an opt-out, a doubtful one is shown to a person.

What counts as a no is data (`refusals.toml`, each rule with its samples); this module looks the phrases up and weighs
what stands around them. A missed certain no is the worst error (the fourth law: never after no), so whatever might be
one is doubtful at least. GDPR Art. 21(2)-(3), CAN-SPAM 15 U.S.C. §7704(a)(3): the wish counts in any clear words.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product
from typing import Any

from mailfleet.base.errors import InvariantError
from mailfleet.mail.phrases import Clause, Found, PhraseBook, clauses, clean, spell

MAX_TEXT = 12_000  # chosen: characters; four pages of new text, a no stands in the first or not at all
_MAX_SUBJECT = 500  # chosen: characters

_ANSWER = re.compile(
    r"\s*(?:(?:re|aw|sv|antw|odp|rif|vs|fw|fwd|wg|tr|rv|res|enc|ответ|отв|на)\s*(?:\[\d+\])?\s*:\s*)+", re.I
)
_QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_IN_QUOTES = re.compile(r"[\"“”„«]([^\"“”„«»\n]{2,200})[\"“”»]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no that was found: whether it is certain, the words that said it (of the letter), and the rule's id."""

    is_certain: bool
    words: str
    rule: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of `refusals.toml`. `weighs` is False where a negation before the phrase belongs to the no itself."""

    id: str
    is_certain: bool
    weighs: bool
    unless: PhraseBook[bool]
    softer: PhraseBook[bool]


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, filed: by phrase, by a whole clause or line, and the words that turn a meaning."""

    phrases: PhraseBook[Rule]
    alone: Mapping[str, Rule]
    polite: frozenset[str]
    negations: frozenset[str]
    doubts: frozenset[str]
    breaks: frozenset[str]
    supposing: PhraseBook[bool]
    known: frozenset[str]
    misspelt: Mapping[str, list[str]]


@cache
def rules() -> Rules:
    """The rules, read once (about 50 ms)."""
    return make_rules(tomllib.loads(files("mailfleet.mail").joinpath("refusals.toml").read_text(encoding="utf-8")))


def make_rules(data: Mapping[str, Any]) -> Rules:
    """The rules from their tables; InvariantError where an id is there twice or a phrase cannot be read."""
    rows = [(_rule(row), row) for row in data["rule"]]
    if len({rule.id for rule, _ in rows}) < len(rows):
        raise InvariantError("Loading the rules of refusal: an id is there twice.")
    words = data["words"]
    correct = _folded(words["often_misspelt"])
    return Rules(
        phrases=PhraseBook([(phrase, rule) for rule, row in rows for phrase in row.get("phrases", ())]),
        alone={
            said: rule for rule, row in reversed(rows) for phrase in row.get("alone", ()) for said in _spoken(phrase)
        },
        polite=_folded(words["polite"]),
        negations=_folded(words["negations"]),
        doubts=_folded(words["doubts"]),
        breaks=_folded(words["breaks"]) | {","},
        supposing=_book(words["supposing"]),
        known=correct | _folded(words["not_misspelt"]),
        misspelt={sign: sorted(word for word in correct if word[0] == sign) for sign in {word[0] for word in correct}},
    )


def _rule(row: Mapping[str, Any]) -> Rule:
    unless, softer = _book(row.get("unless", ())), _book(row.get("softer", ()))
    return Rule(row["id"], row["certain"], row.get("weighs", True), unless, softer)


def _book(phrases: Any) -> PhraseBook[bool]:
    return PhraseBook([(phrase, True) for phrase in phrases])


def _folded(words: Any) -> frozenset[str]:
    return frozenset(said for word in words for said in _spoken(word))


def _spoken(phrase: str) -> Iterator[str]:
    """What a phrase without gaps and stems says, in each spelling."""
    return map(" ".join, product(*spell(phrase)))


def find_refusal(subject: str, text: str) -> Refusal | None:
    """The first certain refusal in the new text or the subject, else the first doubtful one, else None.

    `text` is the new text of a reply; quoted lines in it are passed over. A subject that answers ours ("Re:") counts
    only if all of it is a no. Never raises.
    """
    doubtful = None
    for said, source in _said(subject, text):
        refusal = _judge(said, source)
        if refusal and refusal.is_certain:
            return refusal
        doubtful = doubtful or refusal
    return doubtful


def _said(subject: str, text: str) -> Iterator[tuple[str, bool]]:
    """The cleaned texts to judge, each with whether all of it must be a no."""
    yield _QUOTED_LINE.sub("", clean(text, MAX_TEXT)), False
    title = clean(subject, _MAX_SUBJECT)
    yield _ANSWER.sub("", title, count=1), bool(_ANSWER.match(title))


def _judge(text: str, only_alone: bool) -> Refusal | None:
    doubtful = None
    quotes = [match.span(1) for match in _IN_QUOTES.finditer(text)]
    for refusal in _candidates(text, only_alone, quotes):
        if refusal.is_certain:
            return refusal
        doubtful = doubtful or refusal
    return doubtful


def _candidates(text: str, only_alone: bool, quotes: list[tuple[int, int]]) -> Iterator[Refusal]:
    for line in clauses(text, by_line=True):
        yield from _alone(text, line)
    for clause in () if only_alone else clauses(text):
        yield from _alone(text, clause)
        yield from _inside(text, _mended(clause), quotes)


def _alone(text: str, clause: Clause) -> Iterator[Refusal]:
    """A clause that is a no and nothing else, but for polite words."""
    known = rules()
    words = [word for word in _mended(clause).words.split() if word not in known.polite]
    if rule := known.alone.get(" ".join(words)):
        yield Refusal(rule.is_certain, text[clause.places[0][0] : clause.places[-1][1]], rule.id)


def _inside(text: str, clause: Clause, quotes: list[tuple[int, int]]) -> Iterator[Refusal]:
    for found in rules().phrases.find(clause):
        if next(found.meaning.unless.find(clause), None):
            continue
        start, end = clause.place(found.start, found.end)
        if certain := _weigh(found, clause):
            quoted = any(first <= start and end <= last for first, last in quotes)
            is_certain = certain == "certain" and not quoted
            yield Refusal(is_certain, text[start:end], found.meaning.id)


def _weigh(found: Found[Rule], clause: Clause) -> str:
    """`certain`, `doubtful`, or nothing where the phrase is turned into its opposite."""
    rule = found.meaning
    before = _before(clause.words[: found.start].split()) if rule.weighs else []
    if rules().negations.intersection(before[-2:]):
        return ""
    if not rule.is_certain or rules().doubts.intersection(before) or next(rule.softer.find(clause), None):
        return "doubtful"
    return "doubtful" if rule.weighs and next(rules().supposing.find(clause), None) else "certain"


def _before(words: list[str]) -> list[str]:
    """The words since the last comma or conjunction: what a negation there would negate."""
    for place in range(len(words) - 1, -1, -1):
        if words[place] in rules().breaks:
            return words[place + 1 :]
    return words


def _mended(clause: Clause) -> Clause:
    """The clause with often misspelt words spelt right."""
    words = " ".join(_spelt(word) for word in clause.words.split())
    return Clause(f" {words} ", clause.places, clause.mark)


@lru_cache(maxsize=8192)
def _spelt(word: str) -> str:
    near = rules().misspelt.get(word[0])
    if not near or len(word) < 7 or word in rules().known:  # chosen: shorter words are too like one another
        return word
    found = get_close_matches(word, near, n=1, cutoff=0.82)  # chosen: two slips in eleven letters, one in eight
    return found[0] if found else word
