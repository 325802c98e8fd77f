"""The day until which somebody is away, as an automatic reply says it in a dozen languages.

Names of months and weekdays are CLDR's (Babel); the words around a date ("until", "back on", "from") are data in
`auto_replies.toml`. dateparser was tried: 0.9 s to import, 20 ms a text, and it takes a telephone number for a date.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files

from babel import Locale

from mailfleet.mail.phrases import clean

MAX_TEXT = 4_000  # chosen: characters; a notice says it in the first lines
_LOCALES = ("en", "ru", "de", "fr", "es", "it", "pt", "nl", "pl", "uk", "sv", "da")
_NO_MONTH = {"out", "set", "ago"}  # abbreviations in Portuguese, Italian, Spanish: too common as words of English
_LONGEST_AWAY = timedelta(days=200)  # chosen: farther off without a year, the date is an old one
_LONGEST_NAMED_AWAY = timedelta(days=3 * 366)  # chosen: parental leave, with the year written out
_LIKELY_AWAY = timedelta(days=60)  # chosen: most absences are shorter; tells 12/05 from 05/12
_NEAR = 60  # chosen: characters between a cue and its date

_ENGLISH = re.compile(r"\b(?:the|will|be|am|out of|back|until|returning|from|on|and|is)\b")
_SENTENCE_END = re.compile(r"[.!?;](?=\s)|\n\s*\n|[。！]")


@dataclass(frozen=True, slots=True)
class _Words:
    """Everything compiled: dates, days of the week, and the words around them."""

    date: re.Pattern[str]
    weekday: re.Pattern[str]
    months: dict[str, int]
    days: dict[str, int]
    until: re.Pattern[str]
    between: re.Pattern[str]
    begins: re.Pattern[str]
    back: re.Pattern[str]
    away: re.Pattern[str]
    tomorrow: re.Pattern[str]
    next_week: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Mention:
    """A date in the text: where, the day it means, and whether it closes a span of days by itself."""

    start: int
    end: int
    day: date
    closes: bool


def find_return_date(text: str, received_on: date) -> date | None:
    """The last day the text names for an absence, never before `received_on`; None when it names none.

    "Back on the 3rd" and "until the 3rd" both give the 3rd: who waits for the day after is right in either case. Of two
    readings of 12/05 the only future or the only likely one is taken, else the later. `text` is subject and new text.
    """
    plain = _fold(clean(text, MAX_TEXT))
    mentions = list(_mentions(plain, received_on))
    masked = _masked(plain, mentions)
    cued = [mention.day for mention in mentions if _is_end(masked, mention)]
    if cued:
        return max(cued)
    alone = [mention.day for mention in mentions if _is_only_day(masked, mention)]
    return max(alone) if alone else _relative(plain, received_on)


def _fold(text: str) -> str:
    low = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[ \t]+", " ", "".join(sign for sign in low if not unicodedata.combining(sign)))


@cache
def _words() -> _Words:
    cues = tomllib.loads(files("mailfleet.mail").joinpath("auto_replies.toml").read_text(encoding="utf-8"))["dates"]
    months, days = _months(), _days()
    any_of = {
        name: "|".join(re.escape(_fold(word)) for word in sorted(words, key=len, reverse=True))
        for name, words in cues.items()
    }
    cjk = r"[\u3040-\u9fff]"
    return _Words(
        date=re.compile(_date_pattern(_any_of(months))),
        weekday=re.compile(rf"(?<!\w)({_any_of(days)})\w{{0,2}}(?!\w)"),
        months=months,
        days=days,
        until=re.compile(rf"(?<![^\W\d])(?:{any_of['until']})\W{{0,3}}(?:[^\W\d]+\W{{1,3}}){{0,3}}\Z"),
        between=re.compile(rf"(?:\d|\x01)(?:st|nd|rd|th|er|\.)?,?\s?(?:{any_of['between']})\s?(?:[^\W\d]+\s){{0,2}}\Z"),
        begins=re.compile(rf"(?<![^\W\d])(?:{any_of['from']})\W{{0,3}}(?:[^\W\d]+\W{{1,3}}){{0,2}}\Z"),
        back=re.compile(rf"(?<!\w)(?:{any_of['back']})(?!\w)|{cjk}(?:{any_of['back']})"),
        away=re.compile(rf"(?<!\w)(?:{any_of['away']})(?!\w)|休|不在|出差|出張"),
        tomorrow=re.compile(rf"(?<!\w)(?:{any_of['tomorrow']})(?!\w)"),
        next_week=re.compile(rf"(?<!\w)(?:{any_of['next_week']})(?!\w)"),
    )


def _any_of(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _months() -> dict[str, int]:
    names = {
        _fold(name).strip("."): number
        for locale in map(Locale, reversed(_LOCALES))
        for context in ("stand-alone", "format")
        for width in ("abbreviated", "wide")
        for number, name in locale.months[context][width].items()
    }
    return {name: number for name, number in names.items() if name.isalpha() and name not in _NO_MONTH}


def _days() -> dict[str, int]:
    """Weekdays (Monday is 0) without their last letter, so that an ending may follow: "среду", "Mondays"."""
    return {
        _fold(name)[:-1]: number
        for locale in map(Locale, reversed(_LOCALES))
        for number, name in locale.days["format"]["wide"].items()
    }


def _date_pattern(month: str) -> str:
    return (
        r"(?<![\d.,/-])(?P<iso_y>20\d\d)[-/.](?P<iso_m>\d{1,2})[-/.](?P<iso_d>\d{1,2})(?!\d)"
        r"|(?:(?P<han_y>20\d\d)\s?年\s?)?(?P<han_m>\d{1,2})\s?月\s?(?P<han_d>\d{1,2})\s?日"
        rf"|(?<![\d/])(?P<d>\d{{1,2}})\s?(?:st|nd|rd|th|er|ro|e|º|°|ª|-?го|-?е)?\.?\s{{0,2}}(?:of |de |di |den )?"
        rf"(?P<month>{month})(?!\w)(?:\.?,?\s{{0,2}}(?:de |del |do )?(?P<y>20\d\d)(?!\d))?"
        rf"|(?<!\w)(?P<month2>{month})\.?\s{{1,2}}(?:the )?(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?(?!\d)"
        r"(?:\s?(?:-|–|to|through|until)\s?(?P<d3>\d{1,2})(?:st|nd|rd|th)?(?![\d:]))?"
        rf"(?!\s{{0,2}}(?:de |of )?(?:{month})(?!\w))(?:,?\s{{1,2}}(?P<y2>20\d\d)(?!\d))?"
        r"|(?<![\d.,/+:])(?!24/7)(?P<a>\d{1,2})(?P<sep>[./-])(?P<b>\d{1,2})"
        r"(?:(?P=sep)(?P<y3>20\d\d|\d\d)|(?<=[./]\d)\.?|(?<=[./]\d\d)\.?)(?![\d:/])"
    )


def _mentions(plain: str, received_on: date) -> Iterator[_Mention]:
    is_english = len(_ENGLISH.findall(plain)) > 1
    for match in _words().date.finditer(plain):
        if days := list(_readings(match, received_on)):
            day = _likeliest(days, received_on, is_english)
            yield _Mention(match.start(), match.end(), day, closes=bool(match["d3"]))


def _readings(match: re.Match[str], received_on: date) -> Iterator[date]:
    """Every day a match may mean, day before month first."""
    if match["a"]:
        first, second, year = int(match["a"]), int(match["b"]), match["y3"]
        yield from _day(year, second, first, received_on)
        if match["sep"] != "." and first != second:
            yield from _day(year, first, second, received_on)
        return
    year = match["iso_y"] or match["han_y"] or match["y"] or match["y2"]
    name = match["month"] or match["month2"]
    month = _words().months[name] if name else int(match["iso_m"] or match["han_m"])
    yield from _day(
        year, month, int(match["iso_d"] or match["han_d"] or match["d"] or match["d3"] or match["d2"]), received_on
    )


def _day(year: str | None, month: int, day: int, received_on: date) -> Iterator[date]:
    """The day, if there is one and it is near enough; without a year, this year's or next year's."""
    named = int(year) + (2000 if len(year) == 2 else 0) if year else None
    for candidate in [named] if named else [received_on.year, received_on.year + 1]:
        try:
            found = date(candidate, month, day)
        except ValueError:
            continue
        if found >= received_on and found - received_on <= (_LONGEST_NAMED_AWAY if named else _LONGEST_AWAY):
            yield found


def _likeliest(days: list[date], received_on: date, is_english: bool) -> date:
    """Of two readings: day before month outside English; in English the only likely one, else the later."""
    if len(days) == 1 or not is_english:
        return days[0]
    likely = [day for day in days if day - received_on <= _LIKELY_AWAY]
    return likely[0] if len(likely) == 1 else max(days)


def _masked(plain: str, mentions: Iterable[_Mention]) -> str:
    """The text with each date blotted out, so that its dots end no sentence."""
    signs = list(plain)
    for mention in mentions:
        signs[mention.start : mention.end] = "\x01" * (mention.end - mention.start)
    return "".join(signs)


def _around(masked: str, start: int, end: int) -> tuple[str, str]:
    """What stands before and after, within the sentence."""
    before = masked[max(0, start - 2 * _NEAR) : start]
    ends = [match.end() for match in _SENTENCE_END.finditer(before)]
    after = masked[end : end + 2 * _NEAR]
    stop = _SENTENCE_END.search(after)
    return before[ends[-1] if ends else 0 :], after[: stop.start() if stop else None]


def _is_end(masked: str, mention: _Mention) -> bool:
    words = _words()
    before, after = _around(masked, mention.start, mention.end)
    if mention.closes or words.until.search(before[-_NEAR:]) or words.between.search(before[-_NEAR:]):
        return True
    if after.lstrip().startswith(("まで", "inclusive", "включительно")):
        return True
    return bool(words.back.search(before) or words.back.search(after))


def _is_only_day(masked: str, mention: _Mention) -> bool:
    before, after = _around(masked, mention.start, mention.end)
    return not _words().begins.search(before[-_NEAR:]) and bool(
        _words().away.search(before) or _words().away.search(after)
    )


def _relative(plain: str, received_on: date) -> date | None:
    """The latest weekday, tomorrow or next week that is said to be the return, counted from the day after."""
    words = _words()
    found = [
        received_on + timedelta(days=(words.days[match[1]] - received_on.weekday() - 1) % 7 + 1)
        for match in words.weekday.finditer(plain)
        if _is_said_of_absence(plain, match)
    ]
    found += [received_on + timedelta(days=1) for match in words.tomorrow.finditer(plain) if _is_return(plain, match)]
    found += [
        received_on + timedelta(days=7 - received_on.weekday())
        for match in words.next_week.finditer(plain)
        if _is_return(plain, match)
    ]
    return max(found, default=None)


def _is_return(plain: str, match: re.Match[str]) -> bool:
    before, after = _around(plain, match.start(), match.end())
    return bool(_words().until.search(before[-_NEAR:]) or _words().back.search(before) or _words().back.search(after))


def _is_said_of_absence(plain: str, match: re.Match[str]) -> bool:
    before, after = _around(plain, match.start(), match.end())
    return _is_return(plain, match) or bool(_words().away.search(before) or _words().away.search(after))
