"""Phrases of people: a text as clauses of folded words, and many phrases looked up in it at once.

A phrase is words in plain spelling; `a|b` is either word, `word*` any word that begins so, `..` up to five words.
Case, accents, ё, soft hyphens, zero-width characters, curly quotes, full width and the two spellings of ä ö ü make no
difference; a comma may stand between any two words. A character of Chinese, Japanese or Korean is a word of its own.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from mailfleet.base.errors import InvariantError

T = TypeVar("T")

_STEM = 3  # chosen: a stem is filed under its first three letters
_CLAUSE = 60  # chosen: words; nobody needs more to say no, and a text without a full stop stays bounded
_LONGEST_WORD = 40  # chosen: longer is no word of any phrase
_WRAP = 60  # chosen: a line this long was broken by a program (RFC 3676 §4.2 asks for 66-78), not by the writer

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_APOSTROPHES = str.maketrans("’‘ʼ´`′", "''''''")
_TOKEN = re.compile(
    rf"[{_CJK}]"
    rf"|[^\W_{_CJK}]+(?:'[^\W_{_CJK}]+)*"
    r"|[!?。！？]+|\.+(?=\s+\D|\s*$)"  # "Art. 21" goes on
    r"|[,;:()\[\]{}<>|•·–—]|(?<=\s)-(?=\s)"
    r"|\n\s*"
)
_VERBS = ("do", "does", "did", "would", "could", "should", "is", "are", "was", "were", "have", "has")
_NOT = {"cannot": "can not", "can't": "can not", "cant": "can not", "won't": "will not", "wont": "will not"}
_NOT |= {f"{verb}nt": f"{verb} not" for verb in _VERBS}
_UMLAUTS = {ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue"}
_JOINED = {
    ("e", "mail"): "email", ("e", "mails"): "emails", ("e", "mailing"): "emailing", ("un", "subscribe"): "unsubscribe",
    ("any", "more"): "anymore", ("can", "spam"): "canspam",
}  # fmt: skip


class Token(NamedTuple):
    """A folded word, or a mark: `.` `!` `?` `,` or a line break."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Clause:
    """Words between two sentence marks: `words` with one space around each, where each stands in the cleaned text, and
    the mark that ended it (`.`, `!`, `?` or nothing)."""

    words: str
    places: tuple[tuple[int, int], ...]
    mark: str

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The part of the cleaned text for a part of `words`."""
        first = self.words.count(" ", 0, start + 1) - 1
        last = max(first, self.words.count(" ", 0, end) - 2)
        return self.places[first][0], self.places[last][1]


class Found(NamedTuple, Generic[T]):
    """A phrase found: what it was filed for, and where in `Clause.words`."""

    meaning: T
    start: int
    end: int


def clean(text: str, limit: int) -> str:
    """The first `limit` characters, composed (NFKC), without invisible ones, apostrophes and line ends made plain."""
    whole = unicodedata.normalize("NFKC", text[:limit].translate(_APOSTROPHES))[:limit]
    return _INVISIBLE.sub("", whole).replace("\r\n", "\n").replace("\r", "\n")


@lru_cache(maxsize=8192)
def fold(word: str) -> tuple[str, ...]:
    """A word as phrases know it: usually one, two where an apostrophe joined them (`don't`, `m'écrire`)."""
    low = word[:_LONGEST_WORD].casefold()
    if low in _NOT:
        return tuple(_NOT[low].split())
    if low.endswith("n't"):
        return low[:-3], "not"
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", low) if not unicodedata.combining(sign))
    return tuple(part for part in bare.split("'") if part)


def tokens(cleaned: str) -> list[Token]:
    """Words and marks in their order."""
    found: list[Token] = []
    for match in _TOKEN.finditer(cleaned):
        text, start, end = match[0], match.start(), match.end()
        if text[0].isalnum():
            for word in fold(text):
                _append(found, Token(word, start, end))
        else:
            found.append(Token(_mark(text), start, end))
    return found


def _append(found: list[Token], token: Token) -> None:
    """Add a word, joined with the one before where both are one word in two spellings (`e-mail`)."""
    joined = _JOINED.get((found[-1].word, token.word)) if found else None
    if joined:
        token = Token(joined, found.pop().start, token.end)
    found.append(token)


def _mark(text: str) -> str:
    if text[0] == "\n":
        return "\n\n" if text.count("\n") > 1 else "\n"
    if text[0] in ".!?。":
        return "?" if "?" in text else text[0].replace("。", ".")
    return ","


def clauses(cleaned: str, *, by_line: bool = False) -> Iterator[Clause]:
    """The clauses of a cleaned text in their order, none empty; a line that a program wrapped is joined with the next.

    `by_line` ends a clause at every line break.
    """
    held: list[Token] = []
    line_start = 0
    for token in tokens(cleaned):
        if token.word[0] == "\n":
            if token.word == "\n" and not by_line and _goes_on(cleaned, line_start, token):
                line_start = token.end
                continue
            line_start = token.end
        elif token.word not in ".!?" and len(held) < _CLAUSE:
            held.append(token)
            continue
        yield from _clause(held, token.word.strip())
        held = [] if token.word[0] == "\n" or token.word in ".!?" else [token]
    yield from _clause(held, "")


def _goes_on(cleaned: str, line_start: int, line_break: Token) -> bool:
    return line_break.start - line_start >= _WRAP or cleaned[line_break.end : line_break.end + 1].islower()


def _clause(held: list[Token], mark: str) -> Iterator[Clause]:
    if any(token.word != "," for token in held):
        words = f" {' '.join(token.word for token in held)} "
        yield Clause(words, tuple((token.start, token.end) for token in held), mark if mark in (*".!?",) else "")


def spell(phrase: str) -> list[tuple[str, ...]]:
    """The parts of a phrase, each with its folded alternatives (a stem keeps its `*`); an empty tuple is a gap."""
    return [() if part == ".." else tuple(_alternatives(part)) for part in _words_of(phrase)]


def _words_of(phrase: str) -> Iterator[str]:
    """Split at spaces, and a Chinese or Japanese word into its characters."""
    for part in phrase.split():
        yield from re.findall(rf"[{_CJK}]|[^{_CJK}]+", part)


def _alternatives(part: str) -> Iterator[str]:
    for word in part.split("|"):
        stem = word.rstrip("*")
        end = word[len(stem) :]
        folded = fold(stem)
        if len(folded) != 1 or (end and len(folded[0]) < _STEM):
            raise InvariantError(f"Reading phrases: {word!r} is not one word, or a stem below {_STEM} letters.")
        yield folded[0] + end
        if any(sign in stem.casefold() for sign in "äöü"):
            yield fold(stem.casefold().translate(_UMLAUTS))[0] + end


def _pattern(parts: Iterable[tuple[str, ...]]) -> re.Pattern[str]:
    return re.compile(
        " " + "".join(f"(?:{'|'.join(map(_one, part))}) (?:, )?" if part else r"(?:\S+ ){0,5}?" for part in parts)
    )


def _one(word: str) -> str:
    return re.escape(word[:-1]) + r"\S*" if word.endswith("*") else re.escape(word)


class PhraseBook(Generic[T]):
    """Many phrases and what each means; a clause is held against the few that share a rare word with it."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        spelt = [(spell(phrase), meaning) for phrase, meaning in entries]
        rarity = Counter(word for parts, _ in spelt for part in parts for word in part)
        self._filed: defaultdict[str, list[tuple[int, re.Pattern[str], T]]] = defaultdict(list)
        for number, (parts, meaning) in enumerate(spelt):
            if sum(not part for part in parts) > 2 or not parts[0] or not parts[-1]:
                raise InvariantError(f"Reading phrases: {parts} has more than two gaps, or a gap at an end.")
            for word in min(filter(None, parts), key=lambda part: sum(rarity[word] for word in part)):
                key = word[:_STEM] + "*" if word.endswith("*") else word
                self._filed[key].append((number, _pattern(parts), meaning))

    def find(self, clause: Clause) -> Iterator[Found[T]]:
        """Every phrase in the clause, in the book's order, at each place it stands."""
        candidates = {
            number: (pattern, meaning)
            for word in set(clause.words.split())
            for key in (word, word[:_STEM] + "*")
            for number, pattern, meaning in self._filed.get(key, ())
        }
        for number in sorted(candidates):
            pattern, meaning = candidates[number]
            match = pattern.search(clause.words)
            while match:
                yield Found(meaning, match.start(), match.end())
                match = pattern.search(clause.words, match.start() + 1)
