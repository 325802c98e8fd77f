"""Suppressions in bulk: files of them in, all of them out, and a look at them.

Every good row of a file counts, whatever is wrong with others; none is ever taken away. Rows are read here while the
server writes the chunk before. Nothing is undone when an import breaks off: what was read by then is banned, and the
same file, taken in again, goes on.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mailfleet.base.db import Connection, again_on_deadlock, load_queries
from mailfleet.base.errors import InputError
from mailfleet.base.secrets import Digester
from mailfleet.intake.suppression_rows import (
    COLUMNS,
    Ban,
    Source,
    map_ban_columns,
    read_ban,
    written_digest,
    written_text,
)
from mailfleet.intake.tables import RowProblem
from mailfleet.mail.addresses import parse_address
from mailfleet.mail.companies import company_key
from mailfleet.model.words import SuppressionKind
from mailfleet.outbox.stops import CompanyBan, Stopped, end_suppressed, stopping, suppress_companies

QUERIES = load_queries("mailfleet.intake", "suppressions.sql")
CHUNK = 10_000  # chosen: the statements of a chunk cost little beside its rows; a few MB
_STREAMED = 5_000
_CELL_END = "\x02"  # what `fill` names in its COPY

Note = Callable[[int, str], None]
"""Takes a line of the file and what is wrong with it, which holds no text of a cell."""


@dataclass(frozen=True, slots=True)
class SuppressionCounts:
    """What became of a file: `rows` is the sum of refused, new and known; of the good ones, how many of each kind."""

    rows: int
    refused: int
    new: int
    known: int
    addresses: int
    domains: int
    companies: int
    enrollments: int
    """Active ones that ended."""
    messages: int
    """Queued ones that were cancelled."""


def import_suppressions(
    connection: Connection,
    digester: Digester,
    source: Source,
    *,
    by: str,
    note: Note,
    on_progress: Callable[[int, int], None],
) -> SuppressionCounts:
    """Takes in a file:

    1. chunk by chunk, each committed: addresses and domains are banned, and the gate knows it
    2. companies, with all their contacts
    3. one stop: what senders had reserved comes back; whatever a ban forbids ends

    `on_progress` takes bytes read and bytes in all. Raises InputError for a file that cannot be read to its end: what
    stands before that place is banned, and nothing of it has to be done again.
    """
    reader = _Reader(source, digester, by, note)
    connection.execute(QUERIES["prepare"])
    run = connection.execute(QUERIES["open_run"], {"file_name": source.path.name}).fetchone()
    assert run is not None
    try:
        new = _take_in_all(connection, reader, on_progress)
    except InputError as error:
        error.hint = "The rows before it are banned. Mend the file and import it again: nothing is done twice."
        raise
    finally:
        stopped = _stop(connection, digester, reader.companies)
    counts = reader.counts(new, stopped)
    connection.execute(QUERIES["close_run"], {"run": run.id, "counts": json.dumps(asdict(counts))})
    return counts


def _stop(connection: Connection, digester: Digester, companies: Sequence[CompanyBan]) -> Stopped:
    stopped = suppress_companies(connection, digester, companies) if companies else Stopped(0, 0)
    with stopping(connection):
        pass  # waits for reservations under way, and tells the senders to look again
    return stopped + end_suppressed(connection)


def _take_in_all(connection: Connection, reader: "_Reader", on_progress: Callable[[int, int], None]) -> int:
    """Reads a chunk while the server writes the one before; how many bans are new."""
    new = 0
    writing: Future[int] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="writing") as beside:
        try:
            for chunk in reader.chunks():
                new += writing.result() if writing else 0
                writing = beside.submit(_take_in, connection, chunk)
                on_progress(*reader.progress())
        except InputError:
            if writing:
                writing.result()  # its failure outweighs the file's: what was read is not banned then
            raise
        return new + (writing.result() if writing else 0)


@again_on_deadlock
def _take_in(connection: Connection, chunk: Sequence[str]) -> int:
    with connection.transaction():
        with connection.cursor().copy(QUERIES["fill"]) as copy:
            copy.write("\n".join(chunk) + "\n")
        return connection.execute(QUERIES["take_in"]).rowcount


class _Reader:
    """The file's rows as lines of COPY, counted; companies are kept for the end."""

    def __init__(self, source: Source, digester: Digester, by: str, note: Note) -> None:
        self._source = source
        self._columns = map_ban_columns(source)
        self._digester = digester
        self._defaults = {"reason": f"imported from {source.path.name}", "source": f"import by {by}"}
        self._note = note
        self._kinds: Counter[SuppressionKind] = Counter()
        self._refused = 0
        self.companies: list[CompanyBan] = []

    def progress(self) -> tuple[int, int]:
        return self._source.progress()

    def counts(self, new: int, stopped: Stopped) -> SuppressionCounts:
        good = self._kinds.total()
        return SuppressionCounts(
            rows=good + self._refused,
            refused=self._refused,
            new=new + stopped.bans,
            known=good - new - stopped.bans,
            addresses=self._kinds[SuppressionKind.ADDRESS],
            domains=self._kinds[SuppressionKind.DOMAIN],
            companies=self._kinds[SuppressionKind.COMPANY],
            enrollments=stopped.enrollments,
            messages=stopped.messages,
        )

    def chunks(self) -> Iterator[list[str]]:
        """Up to CHUNK lines; none is empty. Where the file breaks off, what was read by then comes before the error."""
        lines: list[str] = []
        try:
            for ban in self._bans():
                lines.append(_line(ban))
                if len(lines) == CHUNK:
                    yield lines
                    lines = []
        except InputError:
            if lines:
                yield lines
            raise
        if lines:
            yield lines

    def _bans(self) -> Iterator[Ban]:
        """Those of addresses and domains."""
        for row in self._source:
            ban = row if isinstance(row, RowProblem) else read_ban(row, self._columns, self._digester, **self._defaults)
            if isinstance(ban, RowProblem):
                self._refused += 1
                self._note(ban.line, "; ".join(map(str, ban.problems)))
                continue
            if ban.doubt:
                self._note(ban.line, ban.doubt)
            self._kinds[ban.kind] += 1
            if ban.kind is SuppressionKind.COMPANY:
                self.companies.append(CompanyBan(ban.value, ban.reason, ban.source, ban.at))
            else:
                yield ban


def _line(ban: Ban) -> str:
    at = ban.at.isoformat() if ban.at else ""
    return _CELL_END.join((f"\\x{ban.digest.hex()}", ban.kind, ban.value, ban.reason, ban.source, at))


def write_suppressions(connection: Connection, digester: Digester, path: Path) -> int:
    """Writes every ban to a CSV file, which `import_suppressions` reads back; how many.

    One whose value was erased stands there by its digest, which this installation and one restored from its backup
    understand. No text stands there as a formula that a spreadsheet would run. InputError when the file cannot
    be written.
    """
    count = 0
    try:
        with path.open("w", encoding="utf-8", newline="") as file, connection.transaction():
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in _streamed(connection, "all"):
                digest = written_digest(row.digest, digester)
                at = row.created_at.isoformat()
                value, reason, cause = map(written_text, (row.value or "", row.reason, row.source))
                writer.writerow((row.kind, value, digest, reason, cause, at))
                count += 1
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error
    return count


def _streamed(connection: Connection, query: str) -> Iterator[Any]:
    with connection.cursor(query) as cursor:
        cursor.itersize = _STREAMED
        yield from cursor.execute(QUERIES[query])


def find_suppressions(connection: Connection, digester: Digester, text: str, most: int) -> list[Any]:
    """The newest bans (kind, value, reason, source, created_at): all, or those that bear on `text`.

    An address finds every ban that meets it, an erased one included; a company's name that of the company.
    """
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%" if text else None
    values = {"pattern": pattern, "digests": _digests(digester, text), "most": most}
    return connection.execute(QUERIES["find"], values).fetchall()


def count_suppressions(connection: Connection) -> tuple[int, int]:
    """(bans, those of them whose value was erased)."""
    row = connection.execute(QUERIES["count"]).fetchone()
    assert row is not None
    return row.bans, row.erased


def _digests(digester: Digester, text: str) -> list[bytes]:
    try:
        address = parse_address(text)
    except InputError:
        return [digester.company(key)] if (key := company_key(text)) else []
    return digester.all_of(address.normalised, address.domain_ascii)
