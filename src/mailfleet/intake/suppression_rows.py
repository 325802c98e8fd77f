"""A row of a file of suppressions: whom it bans, why, and since when.

Three kinds of file are read. A list: one address or domain a line, nothing above it. A table: its first column of
addresses counts, which may hold domains too; where it is empty or missing, that of domains; without both columns, that
of companies: the company that stands beside an address bans nobody. Our own export, whose columns `kind`, `value` and
`digest` say everything.
No message holds the text of a cell.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import lru_cache
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from mailfleet.base.errors import InputError
from mailfleet.base.secrets import DIGEST_BYTES, Digester
from mailfleet.intake.contacts import SYNONYMS as OF_CONTACTS
from mailfleet.intake.contacts import find_date, one_line
from mailfleet.intake.decoding import find_encoding
from mailfleet.intake.tables import Problem, ReadFile, Row, RowProblem, Table, map_columns, open_table
from mailfleet.mail.companies import company_key
from mailfleet.mail.public_domains import is_public
from mailfleet.model.words import SuppressionKind
from mailfleet.outbox.stops import read_target

COLUMNS = ("kind", "value", "digest", "reason", "source", "created_at")
"""Of an export."""
SYNONYMS: Mapping[str, Sequence[str]] = {
    "address": ("email", *OF_CONTACTS["email"], "recipient"),
    "domain": ("domain_name", "домен"),
    "company": OF_CONTACTS["company"],
    "kind": (),
    "value": (),
    "digest": (),
    "reason": ("причина", "grund"),
    "source": OF_CONTACTS["source"],
    "date": ("created_at", "created", "added_at", "date_added", "suppressed_at", "unsubscribed_at", "дата", "datum"),
}
LONGEST = 500  # chosen: a company's name, a reason; both are shown in a line
_COMMENT = "#"
_DIGEST = re.compile(rf"([0-9a-f]{{8}})-([0-9a-f]{{{2 * DIGEST_BYTES}}})")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""What begins so is run by a spreadsheet, or was kept from it; https://owasp.org/www-community/attacks/CSV_Injection."""
_NO_DATE = "is no date, so the suppression counts from now: write 2026-01-31"


class Ban(NamedTuple):
    """A row that can be taken in. `value` is empty where only the digest is left; `at` is None for now."""

    line: int
    kind: SuppressionKind
    digest: bytes
    value: str
    reason: str
    source: str
    at: datetime | None
    doubt: str
    """What was left out because it could not be understood; mostly empty."""


@dataclass(frozen=True, slots=True)
class BanColumns:
    """Where a file has what. Either `target` holds what is banned, as `kind` says, or, in our own, `value` does."""

    target: str
    kind: SuppressionKind | None
    known: Mapping[str, str]


class Lines(ReadFile):
    """A file of one address or domain a line; looked through like a table. Lines that begin with # are passed over."""

    columns = ("address",)

    def __init__(self, path: Path, encoding: str) -> None:
        super().__init__(path)
        self._encoding = encoding

    def __iter__(self) -> Iterator[Row | RowProblem]:
        with self.path.open("rb") as self._file, TextIOWrapper(self._file, encoding=self._encoding) as lines:
            for number, line in enumerate(lines, 1):
                if (text := line.strip()) and not text.startswith(_COMMENT):
                    yield Row(number, {"address": text})
            self._done = self._total


Source = Table | Lines


def open_suppressions(path: Path) -> Source:
    """A list when its first line is an address or a domain itself, else a table. InputError as from `open_table`."""
    if path.is_file():
        try:
            encoding = find_encoding(path)
            with path.open(encoding=encoding) as lines:
                first = next((line for line in map(str.strip, lines) if line and not line.startswith(_COMMENT)), "")
        except OSError as error:
            raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
        if _is_target(first):
            return Lines(path, encoding)
    return open_table(path)


def map_ban_columns(source: Source) -> BanColumns:
    """InputError when no column says whom to ban."""
    known = map_columns(source.columns, SYNONYMS).known
    if "kind" in known and "value" in known:
        return BanColumns("", None, known)
    for field in ("address", "domain", "company"):
        if field in known:
            return BanColumns(known[field], SuppressionKind(field), known)
    raise InputError(
        "no column holds addresses, domains or companies",
        where=str(source.path),
        hint="Name that column address, domain or company.",
    )


def read_ban(row: Row, columns: BanColumns, digester: Digester, *, reason: str, source: str) -> Ban | RowProblem:
    """The ban of a row, or what is wrong with it. `reason` and `source` hold where the row says nothing itself."""
    if columns.kind is None:
        row = Row(row.line, {column: _read_text(text) for column, text in row.values.items()})
    target = _exported(row, columns, digester) if columns.kind is None else _written(row, columns, digester)
    if isinstance(target, Problem):
        return RowProblem(row.line, (target,))
    kind, value, digest = target
    date = row.values.get(columns.known.get("date", ""), "")
    at = _moment(date) if date else None
    return Ban(
        row.line,
        kind,
        digest,
        value,
        _cell(row, columns, "reason") or reason,
        _cell(row, columns, "source") or source,
        at,
        f"{columns.known['date']}: {_NO_DATE}" if date and at is None else "",
    )


_Target = tuple[SuppressionKind, str, bytes]


def _written(row: Row, columns: BanColumns, digester: Digester) -> _Target | Problem:
    """What a person or another program wrote."""
    column = columns.target if row.values[columns.target] else columns.known.get("domain", columns.target)
    text = row.values[column]
    if not text:
        return Problem(columns.target, "is missing")
    if columns.kind is SuppressionKind.COMPANY:
        return _company(text, column, digester)
    found = _target(text, column, digester)
    if not isinstance(found, Problem) and found[0] is SuppressionKind.DOMAIN and is_public(found[1]):
        reason = "a public mail provider's domain: everybody there would be banned; `mailfleet suppress` takes it"
        return Problem(column, reason)
    return found


def _exported(row: Row, columns: BanColumns, digester: Digester) -> _Target | Problem:
    """What `write_suppressions` wrote: by its value, or, where that was erased, by its digest."""
    column = columns.known["kind"]
    word, text = row.values[column], row.values[columns.known["value"]]
    if word not in map(str, SuppressionKind):
        return Problem(column, f"is none of {', '.join(SuppressionKind)}")
    kind = SuppressionKind(word)
    if not text:
        return _erased(row, kind, columns, digester)
    if kind is SuppressionKind.COMPANY:
        return _company(text, columns.known["value"], digester)
    found = _target(text, columns.known["value"], digester)
    if not isinstance(found, Problem) and found[0] is not kind:
        return Problem(columns.known["value"], f"is no {kind}")
    return found


def _erased(row: Row, kind: SuppressionKind, columns: BanColumns, digester: Digester) -> _Target | Problem:
    column = columns.known.get("digest", "digest")
    found = _DIGEST.fullmatch(row.values.get(column, ""))
    if found is None or kind is SuppressionKind.COMPANY:
        return Problem(columns.known["value"], "is missing")
    if found[1] != digester.key_mark:
        return Problem(column, "was made with the key of another installation, and says nothing here")
    return kind, "", bytes.fromhex(found[2])


def written_digest(digest: bytes, digester: Digester) -> str:
    """A digest as it stands in an export: with the mark of the key that alone understands it."""
    return f"{digester.key_mark}-{digest.hex()}"


def written_text(text: str) -> str:
    """A text as it stands in an export: a spreadsheet would run some, so they have a ' before them, or one more."""
    return f"'{text}" if _FORMULA.match(text) else text


def _read_text(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _target(text: str, column: str, digester: Digester) -> _Target | Problem:
    try:
        kind, value = read_target(text)
    except InputError:
        return Problem(column, "is no e-mail address and no domain")
    if kind is SuppressionKind.ADDRESS:
        return kind, value, digester.address(value)
    return kind, value, digester.domain(value)


def _company(text: str, column: str, digester: Digester) -> _Target | Problem:
    name = one_line(text)
    if len(name) > LONGEST:
        return Problem(column, f"is longer than {LONGEST} characters")
    if key := company_key(name):
        return SuppressionKind.COMPANY, name, digester.company(key)
    return Problem(column, "names no company")


def _cell(row: Row, columns: BanColumns, field: str) -> str:
    return one_line(row.values.get(columns.known.get(field, ""), ""))[:LONGEST]


@lru_cache(maxsize=4096)
def _moment(text: str) -> datetime | None:
    """A moment, or the first of a day; UTC where no zone is given. None for what is neither, and for the future."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        day = find_date(text)
        if day is None:
            return None
        at = datetime.combine(day, time())
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return at if at <= datetime.now(UTC) else None


def _is_target(text: str) -> bool:
    try:
        read_target(text)
    except InputError:
        return False
    return True
