"""Bytes of strangers as text: whatever charset they claim, and RFC 2047 words as they are met, not as they should be.

Nothing here raises: what cannot be read becomes U+FFFD, and a charset that does not exist is guessed.
"""

import binascii
import codecs
import re
from functools import lru_cache

_WORD = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(?==\?[^?\s]{1,80}\?[bBqQ]\?)")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
# Codecs that are none of mail's, or that warn or fail by design.
_UNFIT = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem", "utf-16", "utf-32"}
_WIDER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "ascii": "utf-8",
    "shift_jis": "cp932",
    "iso2022_jp": "iso2022_jp_ext",
}
"""Charset as claimed → the wider one that such mail is really in (WHATWG Encoding, §4.2)."""


def text_of(data: bytes, charset: str = "") -> str:
    """The text of bytes in the charset they claim; without one that exists, UTF-8 if they are, else Windows-1252."""
    known = _codec(charset)
    if known and known != "utf-8":
        return data.decode(known, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8" if known and not _is_mostly_latin(data) else "cp1252", "replace")


@lru_cache(maxsize=256)
def _codec(charset: str) -> str:
    """Python's name of a charset for text, or nothing."""
    try:
        found = codecs.lookup(charset.strip(" \"'").lower())
    except (LookupError, ValueError):
        return ""
    if not getattr(found, "_is_text_encoding", True) or found.name in _UNFIT:
        return ""
    return _WIDER.get(found.name, found.name)


def _is_mostly_latin(data: bytes) -> bool:
    """True when the bytes are no UTF-8 at all: fewer than half of those above ASCII form characters."""
    broken = data.decode("utf-8", "replace").count("\ufffd")
    high = len(data) - len(data.translate(None, bytes(range(128, 256))))
    return broken * 2 > high


def header_text(value: str) -> str:
    """A header's value unfolded, its encoded words decoded; words of one charset are joined before, since broken
    mailers split them inside a character."""
    plain = " ".join(value.split())
    if "=?" not in plain:
        return plain
    return _decoded_words(_BETWEEN_WORDS.sub(r"\1", plain))


def _decoded_words(value: str) -> str:
    text: list[str] = []
    charset, gathered, end = "", b"", 0
    for word in _WORD.finditer(value):
        if word.start() != end or word[1].lower() != charset:
            text += text_of(gathered, charset), value[end : word.start()]
            charset, gathered = word[1].lower(), b""
        gathered += _word_bytes(word[2], word[3])
        end = word.end()
    return " ".join("".join([*text, text_of(gathered, charset), value[end:]]).split())


def _word_bytes(encoding: str, body: str) -> bytes:
    data = body.encode("utf-8", "replace")
    return binascii.a2b_qp(data, header=True) if encoding in "qQ" else base64_bytes(data)


def base64_bytes(data: bytes) -> bytes:
    """Base64 without its rules: foreign bytes and padding are dropped, and a last character that holds no octet."""
    digits = _NOT_BASE64.sub(b"", data)
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
