"""The new text of a reply: what its writer wrote now, without the quoted thread and the signature.

mail-parser-reply knows how mail programs of many languages introduce a quote; `new_text.toml` adds Russian and what
else it misses. It is asked about short lines that end in a colon only, since its patterns need seconds on hostile
text. Quotes marked ">" (RFC 3676 §4.5) go line by line, so an answer among or below them stays.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files

from mailparser_reply.parser import EmailMessage

MAX_TEXT = 60_000  # chosen: characters; more than anyone writes by hand
# "pl" is left out: the library takes any line that starts with "Do:" or "Data:" for a Polish header.
_LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "sv", "da", "cs", "ja", "ko", "zh")
_LONGEST_INTRODUCTION = 240  # chosen: characters of "On <date>, <name> <address> wrote:" with a long name
_LONGEST_ASKED = 160  # chosen: the library's time grows with the cube of a line's length
_MAX_ASKED = 24  # chosen: lines the library is asked about; the first introduction is nearly always the one
_LONGEST_BLOCK = 12  # chosen: lines of a block of headers with a long list of recipients
_LONGEST_SIGNATURE = 15  # chosen: lines; a longer tail is text, and text is rather kept
_LONGEST_CLOSING = 100  # chosen: characters in a line of a signature


def _any_of(words: Iterable[str]) -> str:
    return "|".join(
        sorted((re.escape(word).replace(r"\*", r"\S*").replace(r"\ ", r"\s+") for word in words), reverse=True)
    )


_WORDS = tomllib.loads(files("mailfleet.mail").joinpath("new_text.toml").read_text(encoding="utf-8"))
_ANY = {name: _any_of(words) for name, words in _WORDS.items()}
_SEPARATOR = re.compile(rf"[-_=*—]{{2,}}[ *]*(?:{_ANY['separators']})|(?:{_ANY['separators']})[ :]*$|_{{20,}}$", re.I)
_FROM = re.compile(rf"[*>\s]{{0,9}}(?:{_ANY['from_labels']})\s?\*?\s?[:：]", re.I)
_LABEL = re.compile(rf"[*>\s]{{0,9}}(?:{_ANY['labels']})\s?\*?\s?[:：]", re.I)
_WROTE = re.compile(rf"(?<![^\W\d])(?:{_ANY['wrote']})(?!\w)", re.I)
_STARTS = re.compile(rf"\A(?:\d|(?:{_ANY['starts']})(?!\w))", re.I)
_MOBILE = re.compile(rf"(?:{_ANY['mobile']})(?!\w)", re.I)
_CLOSING = re.compile(rf"(?:{_ANY['closings']})[\s,.!]*$", re.I)
_POSTSCRIPT = re.compile(rf"(?:{_ANY['postscripts']})(?!\w)", re.I)
_DELIMITER = re.compile(r"(?:--|—|__)\s?$")  # RFC 3676 §4.3, its blank often lost
_WHEN = re.compile(r"\d{1,2}[:.h]\d{2}|(?<!\d)(?:19|20)\d\d(?!\d)")
_IN_FULL = re.compile(r"(?:19|20)\d\d.{1,20}\d{1,2}:\d{2}|\d{1,2}:\d{2}.{1,20}(?:19|20)\d\d")
_ADDRESS = re.compile(r"[^\s<>@]@[^\s<>@]")


def new_text(text: str) -> str:
    """What the writer added to the thread, signature off, lines stripped at their ends; "" when there is nothing new.

    Never raises. Linear in the text but for a bounded part; texts beyond 60,000 characters are cut.
    """
    return _joined(_without_signature(_unquoted(_lines(text))))


def without_quotes(text: str) -> str:
    """The same with the signature kept: for automatic replies, whose signature may be all they say."""
    return _joined(_unquoted(_lines(text)))


def _lines(text: str) -> list[str]:
    plain = text[:MAX_TEXT].replace("\r\n", "\n").replace("\r", "\n")
    return [line.replace("\u00a0", " ").rstrip().lstrip("\ufeff\u200b") for line in plain.split("\n")]


def _joined(lines: Sequence[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _unquoted(lines: list[str]) -> list[str]:
    """Lines of the new text: all that is not marked ">", up to the first introduction of an unmarked quote."""
    last_quote = max((place for place, line in enumerate(lines) if _is_quote(line)), default=-1)
    ends = dict(_introductions(lines))
    kept: list[str] = []
    place = 0
    while place < len(lines):
        end = ends.get(place, place)
        if end > place and not _is_quote(_next_line(lines, end)) and (any(kept) or last_quote < end):
            break
        if end == place and not _is_quote(lines[place]):
            kept.append(lines[place])
        place = max(end, place + 1)
    return kept


def _is_quote(line: str) -> bool:
    return line.lstrip().startswith(">")


def _next_line(lines: Sequence[str], place: int) -> str:
    return next((line for line in lines[place:] if line), "")


def _introductions(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(first line, line after the last) of whatever introduces a quote."""
    asked = 0
    for place, line in enumerate(lines):
        if not line or len(line) > _LONGEST_INTRODUCTION or _is_quote(line):
            continue
        if _SEPARATOR.match(line.lstrip()):
            yield place, place + 1
        elif _FROM.match(line) and (block := _header_block(lines, place)):
            yield block
        elif line.endswith((":", "：")):
            asked += 1
            yield from _wrote_lines(lines, place, asks_library=asked <= _MAX_ASKED)


def _header_block(lines: Sequence[str], place: int) -> tuple[int, int] | None:
    """From:, Sent:, To:, Subject: as Outlook writes them: two labels or more before the next empty line."""
    end = place + 1
    while end < min(len(lines), place + _LONGEST_BLOCK) and lines[end]:
        end += 1
    labels = sum(bool(_LABEL.match(line)) for line in lines[place:end])
    return (place, end) if labels > 1 else None


def _wrote_lines(lines: Sequence[str], place: int, *, asks_library: bool) -> Iterator[tuple[int, int]]:
    """A line that ends in a colon and says who wrote when; a program may have wrapped it into two or three."""
    quote_follows = _is_quote(_next_line(lines, place + 1))
    spans = list(_wrapped(lines, place))
    begun = [span for span in spans if _STARTS.match(span[1])]
    for start, whole in begun + spans:
        if _says_who_wrote(whole, quote_follows=quote_follows) or (asks_library and _is_known_to_library(whole)):
            yield start, place + 1
            return


def _wrapped(lines: Sequence[str], place: int) -> Iterator[tuple[int, str]]:
    """The line alone, then with one and with two lines before it, while these could belong to it."""
    for start in range(place, max(-1, place - 3), -1):
        whole = " ".join(line.strip() for line in lines[start : place + 1])
        if not lines[start] or len(whole) > _LONGEST_INTRODUCTION or (start < place and _is_quote(lines[start])):
            return
        yield start, whole


def _says_who_wrote(line: str, *, quote_follows: bool) -> bool:
    """Two signs beside the time, or "wrote" with the time in full; right before a quote less will do."""
    signs = [bool(sign.search(line)) for sign in (_WROTE, _ADDRESS, _STARTS)]
    if not _WHEN.search(line):
        return quote_follows and signs[0]
    return sum(signs) > 1 or (any(signs) and quote_follows) or (signs[0] and bool(_IN_FULL.search(line)))


@cache
def _library() -> re.Pattern[str]:
    pattern: re.Pattern[str] = EmailMessage(text="", languages=list(_LANGUAGES)).HEADER_REGEX
    return pattern


def _is_known_to_library(line: str) -> bool:
    return len(line) <= _LONGEST_ASKED and bool(_library().match(line))


def _without_signature(lines: list[str]) -> list[str]:
    """The lines before the signature, and a postscript below it; programs' own lines out. Never all of it is cut."""
    lines = [line for line in lines if not (_MOBILE.match(line.strip()) and len(line) <= _LONGEST_CLOSING)]
    first = next((place for place, line in enumerate(lines) if line), len(lines))
    for place in range(max(first + 1, _tail(lines)), len(lines)):
        if _DELIMITER.match(lines[place].strip()) or _CLOSING.match(lines[place].strip()):
            return lines[:place] + _postscript(lines[place + 1 :])
    return lines


def _tail(lines: Sequence[str]) -> int:
    """Where the short lines at the end begin, as many as a signature may have with the line before it."""
    seen = 0
    for place in range(len(lines) - 1, -1, -1):
        seen += bool(lines[place])
        if len(lines[place]) > _LONGEST_CLOSING or seen > _LONGEST_SIGNATURE + 1:
            return place + 1
    return 0


def _postscript(tail: list[str]) -> list[str]:
    start = next((place for place, line in enumerate(tail) if _POSTSCRIPT.match(line.strip())), len(tail))
    return tail[start:]
