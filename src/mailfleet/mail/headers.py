"""Header values on the wire: one line, encoded where it must be, folded, never more than one field.

RFC 5322 §2.1.1 (78 and 998), §2.2.3 (folding), §3.2.3-3.2.5 (atom, quoted-string, phrase); RFC 2047 (encoded words).
"""

import re
from binascii import b2a_base64

from mailfleet.base.errors import InputError

LINE = 78  # RFC 5322 §2.1.1
ENCODED_LINE = 76  # RFC 2047 §2: a line that holds an encoded word
ENCODED_WORD = 75  # RFC 2047 §2
_FRAME = len("=?utf-8?b??=")

# What may not stand in a header value: controls, line and paragraph separators, lone surrogates.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Chosen: words of at most 60, so that the longest name of a field and one word fit in a line of 78.
_PLAIN_TEXT = re.compile(r"(?!.*=\?)[!-~]{1,60}(?: [!-~]{1,60})*")
_ATOMS = re.compile(r"(?!.*=\?)[\w!#$%&'*+/=?^`{|}~-]{1,60}(?: [\w!#$%&'*+/=?^`{|}~-]{1,60})*", re.ASCII)
# RFC 2047 §5 (3): the only characters that stand for themselves in an encoded word within a phrase.
_Q_LITERAL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/ "
_Q = [chr(byte) if byte in _Q_LITERAL else f"={byte:02X}" for byte in range(256)]
_Q[ord(" ")] = "_"


def check_line(field: str, value: str) -> None:
    """Refuses a value that is not one line of text; `field` is named in the error, the value is not."""
    if found := _FORBIDDEN.search(value):
        raise InputError(f"{field} holds the character U+{ord(found[0]):04X}; a header is one line without controls")


def unstructured(field: str, value: str) -> str:
    """The whole field, such as Subject, folded; decoding gives back exactly `value` (RFC 5322 §2.2.1)."""
    if _PLAIN_TEXT.fullmatch(value):
        return _fold(f"{field}: {value}")
    check_line(field, value)
    return f"{field}: {encoded_words(value, used=len(field) + 2)}"


def phrase(field: str, text: str, *, used: int) -> str:
    """A display name: atoms, a quoted string or encoded words, folded; `used` is what stands before it in the line."""
    if _ATOMS.fullmatch(text):
        return _fold(text, used)
    if _PLAIN_TEXT.fullmatch(text):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        return _fold(f'"{quoted}"', used)
    check_line(field, text)
    return encoded_words(text, used=used)


def encoded_words(text: str, *, used: int) -> str:
    """Text as encoded words of at most 75, split between characters, each on its line; Q or B, whichever is shorter."""
    data = text.encode()
    escaped = len(data.translate(None, _Q_LITERAL))
    room = ENCODED_LINE - used - _FRAME
    if len(data) + 2 * escaped <= (len(data) + 2) // 3 * 4:
        return "\r\n ".join(f"=?utf-8?q?{part}?=" for part in _q_parts(text, room))
    return "\r\n ".join(f"=?utf-8?b?{part}?=" for part in _b_parts(data, room))


def _q_parts(text: str, room: int) -> list[str]:
    parts, part = [], ""
    for char in text:
        piece = "".join(_Q[byte] for byte in char.encode())
        if len(part) + len(piece) > room:
            parts.append(part)
            part, room = "", ENCODED_WORD - _FRAME
        part += piece
    return [*parts, part]


def _b_parts(data: bytes, room: int) -> list[str]:
    parts, start = [], 0
    while start < len(data):
        end = start + room // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:  # RFC 2047 §5: no character is split
            end -= 1
        parts.append(b2a_base64(data[start:end], newline=False).decode())
        start, room = end, ENCODED_WORD - _FRAME
    return parts


def _fold(value: str, used: int = 0) -> str:
    """Breaks at single spaces so that no line is longer than 78; every word must fit."""
    lines, room = [], LINE - used
    while len(value) > room:
        cut = value.rfind(" ", 1, room + 1)
        if cut < 0:
            break
        lines.append(value[:cut])
        value, room = value[cut:], LINE
    return "\r\n".join([*lines, value])
