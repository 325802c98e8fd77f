"""A mail in its parts, within bounds: no mail is too long, too deep, too broken or too wicked to be walked.

RFC 5322 §2.2 (fields), RFC 2046 §5.1 (multipart), RFC 2045 §6 (transfer encodings), read for what is sent, not for what
is allowed: a boundary that is missing is guessed, a field that is none belongs to the field before.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from mailfleet.mail.charsets import base64_bytes, text_of

MAX_BYTES = 2_000_000  # chosen: reports come first, and the letter that is returned behind them is at most 1 MB of ours
MAX_PARTS = 100  # chosen: a report has three, a rich letter ten
MAX_DEPTH = 10  # chosen: a report within a forward within a list's frame is four
MAX_FIELDS = 500  # chosen: long ways through Exchange make some 150
MAX_FIELD_BYTES = 200_000  # chosen: all fields of a part; ARC sets of ten hops take 40 kB
MAX_FIELD = 20_000  # chosen: one field, unfolded; References of 200 letters

_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)
_END_OF_FIELDS = re.compile(rb"\A\n|\n[ \t]*\n")
_NEWLINES = re.compile(rb"\r\n?")
_GUESSED_BOUNDARY = re.compile(rb"^--([!-~][ -~]{0,200}?)[ \t]*$", re.MULTILINE)
_PARAMETER = {
    name: re.compile(rf";\s*{name}\*?(?:0\*?)?\s*=\s*(?:\"([^\"]*)\"?|([^\s;]+))", re.IGNORECASE)
    for name in ("boundary", "charset", "report-type")
}


@dataclass(frozen=True, slots=True)
class Part:
    """A mail or a part of one: its fields as they stand (raw, in order), and its body, not yet decoded."""

    headers: Message
    body: bytes
    depth: int = 0

    @property
    def kind(self) -> str:
        """The media type in lower case; text/plain when there is none."""
        kind = str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        return kind if "/" in kind else "text/plain"

    def parameter(self, name: str) -> str:
        """A parameter of the Content-Type: boundary, charset or report-type."""
        found = _PARAMETER[name].search(str(self.headers.get("Content-Type", "")))
        return (found[1] if found[1] is not None else found[2]).strip() if found else ""

    @property
    def is_attachment(self) -> bool:
        """Whether it asks to be kept apart from the text."""
        return str(self.headers.get("Content-Disposition", "")).strip().lower().startswith("attachment")

    def data(self) -> bytes:
        """The body without its transfer encoding."""
        match str(self.headers.get("Content-Transfer-Encoding", "")).strip().lower():
            case "base64":
                return base64_bytes(self.body)
            case "quoted-printable":
                return binascii.a2b_qp(self.body)
            case _:
                return self.body

    def text(self) -> str:
        """The body as text, with plain line ends."""
        return text_of(self.data(), self.parameter("charset")).replace("\r\n", "\n").replace("\r", "\n")


def read_part(raw: bytes, depth: int = 0) -> Part:
    """Fields and body. Never raises."""
    data = _NEWLINES.sub(b"\n", raw[:MAX_BYTES]) if b"\r" in raw[:MAX_BYTES] else raw[:MAX_BYTES]
    if not depth:
        data = data.lstrip(b"\n")
    end = _END_OF_FIELDS.search(data)
    fields, body = (data[: end.start()], data[end.end() :]) if end else (data, b"")
    headers = read_fields(text_of(fields[:MAX_FIELD_BYTES]))
    return Part(headers, body, depth) if headers or not fields else Part(headers, data, depth)


def read_fields(text: str) -> Message:
    """The fields of a block of lines, in their order, none twice removed; empty when the first line is no field."""
    headers = Message()
    for name, value in fields_of(text):
        headers[name] = value
    return headers


def fields_of(text: str) -> list[tuple[str, str]]:
    """Name and folded value. A line that is no field belongs to the one before; mbox's "From " line is passed over."""
    fields: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        found = None if line[:1] in (" ", "\t") else _FIELD.fullmatch(line)
        if found and len(fields) < MAX_FIELDS:
            fields.append((found[1], [found[2].strip()]))
        elif fields and not found:
            fields[-1][1].append(line)
        elif line and not line.startswith(("From ", ">From ")):
            break
    return [(name, "\n".join(lines).rstrip()[:MAX_FIELD]) for name, lines in fields]


def walk(raw: bytes) -> Iterator[Part]:
    """The mail itself, then its parts, in their order, at most MAX_PARTS and MAX_DEPTH deep.

    An attached mail is one part. A multipart whose parts cannot be found is a text.
    """
    waiting = [read_part(raw)]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        yield part
        if part.kind.startswith("multipart/") and part.depth < MAX_DEPTH:
            inner = [read_part(piece, part.depth + 1) for piece in split(part.body, part.parameter("boundary"))]
            waiting += reversed(inner or [Part(Message(), part.body, part.depth + 1)])


def split(body: bytes, boundary: str) -> list[bytes]:
    """What stands between the boundary lines; the last piece may lack its end. Empty when there are no such lines."""
    pieces = _split(body, boundary.encode("utf-8", "replace")) if boundary else []
    if not pieces and (guess := _GUESSED_BOUNDARY.search(body)):
        pieces = _split(body, guess[1])
    return pieces


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    start = None
    for line in re.finditer(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*$\n?", body, re.MULTILINE):
        if start is not None:
            pieces.append(body[start : line.start()])
        start = None if line[1] else line.end()
        if line[1] or len(pieces) >= MAX_PARTS:
            return pieces
    return pieces if start is None else [*pieces, body[start:]]
