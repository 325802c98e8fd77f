"""In which encoding a text file is written. Decided by rule, never by letter statistics: same file, same answer.

1. A byte order mark decides.
2. A file whose first 64 kB are NUL to a twentieth, nearly all on the same side of each pair of bytes, and hold a line
   end of two bytes, is UTF-16.
3. A file that is UTF-8 to its end is UTF-8.
4. Else the words of the first line that is not UTF-8, and of the 64 kB after it, decide: words that mix ASCII with
   accented letters are western (cp1252), words of two and more high bytes alone are Cyrillic (cp1251); more wins, a
   tie is western. A file that was UTF-8 for some letters before it broke is damaged, and refused.

A detection library would weigh letter frequencies instead: slower, and its answer changes with its version.
"""

import codecs
import re
from itertools import count
from pathlib import Path
from typing import NamedTuple

from mailfleet.base.errors import InputError

SAVE_AS_CSV = "Open it where it was made and save it as CSV, in UTF-8."
_HEAD = 64 * 1024
_CHUNK = 1024 * 1024  # chosen: also the longest line, so that memory stays a few times this
_DAMAGED_AFTER = 4  # chosen: cp1251 text is never UTF-8 by accident for so long
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NOT_TEXT = (
    (b"PK\x03\x04", "a spreadsheet or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"{\\rtf", "an RTF document"),
)
# Letters outside ASCII: where cp1251 keeps its alphabet and the western sets their accents.
_WORD = re.compile(rb"[A-Za-z\xa8\xb8\xc0-\xff]{2,}")


class _Fault(NamedTuple):
    """The first bytes that are not text: `wide` counts the bytes beyond ASCII that were, before them."""

    wide: int
    around: bytes


def find_encoding(path: Path) -> str:
    """The name of a Python codec in which all of `path` decodes, without a NUL. Raises InputError naming the line."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    _refuse_other_files(head, path)
    if told := _marked(head) or _utf16_by_zeros(head):
        return _proved(path, told)
    fault = _first_fault(path, "utf-8")
    if fault is None:
        return "utf-8"
    if fault.wide >= _DAMAGED_AFTER:
        raise _no_text(path, "utf-8")
    return _proved(path, _one_byte_encoding(fault.around))


def _refuse_other_files(head: bytes, path: Path) -> None:
    for magic, kind in _NOT_TEXT:
        if head.startswith(magic):
            raise InputError(f"this is {kind}, not CSV", where=str(path), hint=SAVE_AS_CSV)


def _marked(head: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _utf16_by_zeros(head: bytes) -> str | None:
    first, second = head[0::2].count(0), head[1::2].count(0)
    if (first + second) * 20 < len(head) or not head:
        return None
    encoding = "utf-16-be" if first > second else "utf-16-le"
    is_lopsided = max(first, second) >= 0.9 * (first + second)
    has_lines = not {"\r", "\n"}.isdisjoint(head.decode(encoding, "ignore"))
    return encoding if is_lopsided and has_lines else None


def _one_byte_encoding(sample: bytes) -> str:
    words = [word for word in _WORD.findall(sample) if not word.isascii()]
    cyrillic = sum(min(word) > 0x7F for word in words)
    return "cp1251" if cyrillic * 2 > len(words) else "cp1252"


def _proved(path: Path, encoding: str) -> str:
    if _first_fault(path, encoding):
        raise _no_text(path, encoding)
    return encoding


def _first_fault(path: Path, encoding: str) -> _Fault | None:
    """Looks the file through. Raises InputError at a NUL and at a line without end, which no encoding mends."""
    decoder = codecs.getincrementaldecoder(encoding)()
    wide = 0
    with path.open("rb") as file:
        for number in count():
            chunk = file.read(_CHUNK)
            if len(chunk) == _CHUNK and b"\n" not in chunk and b"\r" not in chunk:
                reason = f"a line is longer than {_CHUNK:,} bytes, near byte {number * _CHUNK:,}"
                raise InputError(reason, where=str(path), hint=SAVE_AS_CSV)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return _fault(error, wide)
            if "\0" in text:
                line = _line_with("\0", path, encoding)
                raise InputError("a NUL byte: this is no text file, or it is damaged", where=line, hint=SAVE_AS_CSV)
            if not chunk:
                return None
            wide += len(chunk) - len(text)
    return None


def _fault(error: UnicodeDecodeError, wide: int) -> _Fault:
    good = error.object[: error.start]
    line_start = max(good.rfind(b"\n"), good.rfind(b"\r")) + 1
    letters = good.decode(error.encoding, "ignore")
    return _Fault(wide + len(good) - len(letters), error.object[line_start : error.start + _HEAD])


def _no_text(path: Path, encoding: str) -> InputError:
    line = _line_with("�", path, encoding)
    return InputError(f"the file is {encoding}, but this line holds bytes that are not", where=line, hint=SAVE_AS_CSV)


def _line_with(sign: str, path: Path, encoding: str) -> str:
    """`file:line` of the first line that holds `sign`, bytes that do not decode being read as U+FFFD."""
    with path.open(encoding=encoding, errors="replace") as lines:
        number = next((number for number, line in enumerate(lines, 1) if sign in line), 1)
    return f"{path}:{number}"
