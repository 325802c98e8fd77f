"""Contacts by the million: a file's rows become contacts and members of a list, in one transaction.

Rows are read here while the server merges the chunk before, so that both processors work; memory holds two chunks. What
a row brings to a contact that is known:

- a field that is not empty wins over what is known, attributes one by one; the address keeps its first spelling
- the lawful basis is never lowered: consent > existing customer > legitimate interest > none
- provenance goes with the basis: it is replaced by that of a basis at least as strong, source, link and day together
- whoever was banned with a company stays so, whatever company a later row names

Rows of one file count in its order, whatever chunk they fall into. A suppressed address is never taken in, be it known
or new, and none that was erased: only its digest tells.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import psycopg

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError, SetupError
from mailfleet.base.secrets import Digester
from mailfleet.intake.contacts import ContactDefaults, ContactRow, map_contact_columns, read_contact_row
from mailfleet.intake.tables import Row, RowProblem, Table
from mailfleet.mail.addresses import Address
from mailfleet.mail.companies import company_key
from mailfleet.model.words import LawfulBasis
from mailfleet.outbox.stops import stopping

QUERIES = load_queries("mailfleet.intake", "contacts.sql")
IMPORT_LOCK = 0x6D666369  # chosen: any number no other part of the database's users takes
CHUNK = 5_000  # chosen: the statements of a chunk cost little beside its rows
CHUNK_SIZE = 2_000_000  # chosen: characters; CHUNK usual rows, so that large ones take no more memory
LONGEST_NAME = 100  # chosen: fits a line of a terminal beside its numbers
_KEPT = 20_000  # chosen: domains and companies; the great ones soon are there again after a clearing; 5 MB each
_STREAMED = 5_000
_CELL_END = "\x02"  # what `fill` names in its COPY
_BY_STRENGTH = (
    LawfulBasis.NONE,
    LawfulBasis.LEGITIMATE_INTEREST,
    LawfulBasis.EXISTING_CUSTOMER,
    LawfulBasis.CONSENT,
)
_REPEATED = "its address stands in an earlier row; the two are one contact"
_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Remark(StrEnum):
    """What is reported of a row: the first three did not become a contact of their own."""

    REFUSED = "refused"
    SUPPRESSED = "suppressed"
    DUPLICATE = "duplicate"
    LEFT_OUT = "left out"


Note = Callable[[int, Remark, str], None]
"""Takes a line of the file, a remark and its reason; neither holds the text of a cell."""


@dataclass(frozen=True, slots=True)
class ContactCounts:
    """What became of the rows: `rows` is the sum of refused, suppressed, duplicate, new, changed and unchanged."""

    rows: int = 0
    refused: int = 0
    suppressed: int = 0
    duplicate: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    joined: int = 0
    """Contacts that became members of the list."""
    left_out: int = 0
    """Cells that could not be understood and cost no contact."""
    not_sendable: int = 0
    """Members of the list, this file's or not, to whom no letter may go: they have no lawful basis."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import is. `stage`: waiting, reading, merging."""

    stage: str
    rows: int
    read: int
    """Bytes of the file."""
    total: int


def parse_list_name(text: str) -> str:
    """What a list is called: one line. Raises InputError."""
    name = text.strip()
    if name and name.isprintable() and len(name) <= LONGEST_NAME:
        return name
    raise InputError(f"{text!r} is no name for a list: write one line of up to {LONGEST_NAME} characters.")


def import_contacts(
    connection: Connection,
    digester: Digester,
    table: Table,
    *,
    list_name: str,
    defaults: ContactDefaults,
    dry_run: bool,
    note: Note,
    on_progress: Callable[[ImportProgress], None],
) -> ContactCounts:
    """Takes in a file, in one transaction; a dry run does the same and undoes it:

    1. waits for an import that is under way
    2. chunk by chunk: refuses bad rows, takes out suppressed ones, adds new contacts to contacts and list
    3. merges the rows that met a known contact, or one of an earlier row
    4. writes the import run with its counts

    Raises InputError for a file that cannot be read to its end and SetupError when the database fails; nothing is kept.
    """
    reader = _Reader(table, digester, defaults, note)
    with _failures_named(), connection.transaction(force_rollback=dry_run):
        _wait_for_turn(connection, lambda: on_progress(reader.progress("waiting")))
        merger = _Merger(connection, table.path.name, list_name)
        suppressed = _read_and_merge(reader, merger, note, on_progress)
        on_progress(reader.progress("merging"))
        return merger.finish(reader, suppressed, note)


def _read_and_merge(
    reader: "_Reader", merger: "_Merger", note: Note, on_progress: Callable[[ImportProgress], None]
) -> int:
    """Reads a chunk while the server merges the one before; how many rows are suppressed."""
    suppressed = 0
    merging: Future[Sequence[Any]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="merging") as beside:
        for chunk in reader.chunks():
            suppressed += _note_suppressed(merging, note)
            merging = beside.submit(merger.take_in, chunk)
            on_progress(reader.progress("reading"))
        return suppressed + _note_suppressed(merging, note)


def _note_suppressed(merging: Future[Sequence[Any]] | None, note: Note) -> int:
    rows = merging.result() if merging else ()
    for row in rows:
        what = f"the {row.kind} is suppressed: {row.reason}"
        note(row.line, Remark.SUPPRESSED, f"{what}; its data was erased" if row.is_erased else what)
    return len(rows)


class _Reader:
    """The file's rows as lines of COPY, counted."""

    def __init__(self, table: Table, digester: Digester, defaults: ContactDefaults, note: Note) -> None:
        self._table = table
        self._columns = map_contact_columns(table)
        self._defaults = defaults
        self._digester = digester
        self._note = note
        self._domain_digests: dict[str, str] = {}
        self._company_digests: dict[str, str] = {}
        self.rows = self.refused = self.left_out = 0

    def progress(self, stage: str) -> ImportProgress:
        return ImportProgress(stage, self.rows, *self._table.progress())

    def chunks(self) -> Iterator[list[str]]:
        """The lines of up to CHUNK rows, or as many as fill CHUNK_SIZE; empty when all of the rows are refused."""
        lines, size, begun_at = list[str](), 0, 0
        for row in self._table:
            if line := self._line(row):
                lines.append(line)
                size += len(line)
            if self.rows - begun_at == CHUNK or size > CHUNK_SIZE:
                yield lines
                lines, size, begun_at = [], 0, self.rows
        yield lines

    def _line(self, row: Row | RowProblem) -> str:
        """Empty for a row that is refused."""
        self.rows += 1
        contact = row if isinstance(row, RowProblem) else read_contact_row(row, self._columns, self._defaults)
        if isinstance(contact, RowProblem):
            self.refused += 1
            self._note(contact.line, Remark.REFUSED, "; ".join(map(str, contact.problems)))
            return ""
        for warning in contact.warnings:
            self.left_out += 1
            self._note(contact.line, Remark.LEFT_OUT, str(warning))
        return self._written(contact)

    def _written(self, row: ContactRow) -> str:
        """The cells in the order of `incoming`: printable text, and JSON which escapes what is not."""
        address = row.address
        return _CELL_END.join(
            (
                str(row.line),
                address.original,
                address.normalised,
                address.domain_ascii,
                self._write_digests(address, row.company),
                row.first_name,
                row.last_name,
                row.company,
                row.title,
                row.source,
                row.source_url,
                row.country,
                row.time_zone,
                row.collected_on.isoformat() if row.collected_on else "",
                row.lawful_basis,
                _as_json(row.attributes) if row.attributes else "",
            )
        )

    def _write_digests(self, address: Address, company: str) -> str:
        """PostgreSQL's text form of bytea[]. Those of a domain and a company are made once for all who share them."""
        own = self._digester.address(address.normalised).hex()
        return f'{{"\\\\x{own}"{self._of_domain(address)}{self._of_company(company)}}}'

    def _of_domain(self, address: Address) -> str:
        known = self._domain_digests.get(address.domain_ascii)
        if known is None:
            digests = self._digester.all_of(address.normalised, address.domain_ascii)[1:]
            known = _remember(self._domain_digests, address.domain_ascii, digests)
        return known

    def _of_company(self, name: str) -> str:
        known = self._company_digests.get(name)
        if known is None:
            key = company_key(name)
            known = _remember(self._company_digests, name, [self._digester.company(key)] if key else [])
        return known


def _remember(digests: dict[str, str], name: str, made: Sequence[bytes]) -> str:
    if len(digests) == _KEPT:
        digests.clear()
    digests[name] = "".join([f',"\\\\x{digest.hex()}"' for digest in made])
    return digests[name]


class _Merger:
    """One import run in its transaction."""

    def __init__(self, connection: Connection, file_name: str, list_name: str) -> None:
        self._connection = connection
        self._values: dict[str, Any] = {"file_name": file_name, "list_name": list_name, "strength": list(_BY_STRENGTH)}
        connection.execute(QUERIES["prepare"])
        self._do("open_list")
        self._values |= {"run": self._ask("open_run").id, "list": self._ask("find_list").id}
        self._new = self._late = 0

    def take_in(self, chunk: Sequence[str]) -> Sequence[Any]:
        """Adds what is new and sets aside what is not; the rows that are suppressed: line, kind, reason, is_erased."""
        if not chunk:
            return ()
        with self._connection.cursor().copy(QUERIES["fill"]) as copy:
            copy.write("\n".join(chunk) + "\n")
        suppressed = self._run("take_out_suppressed").fetchall()
        late = self._do("take_in_new")
        self._do("empty_chunk")
        self._late += late
        self._new += len(chunk) - len(suppressed) - late
        return suppressed

    def finish(self, reader: _Reader, suppressed: int, note: Note) -> ContactCounts:
        """Merges what was set aside, and closes the run."""
        late, joined = self._merge_late(note) if self._late else (None, 0)
        known, changed = (late.known, late.changed) if late else (0, 0)
        if self._new:
            self._do("look_over")
        counts = ContactCounts(
            rows=reader.rows,
            refused=reader.refused,
            suppressed=suppressed,
            duplicate=self._late - known,
            new=self._new,
            changed=changed,
            unchanged=known - changed,
            joined=self._new + joined,
            left_out=reader.left_out,
            not_sendable=self._ask("count_not_sendable").contacts,
        )
        self._do("close_run", counts=json.dumps(asdict(counts)))
        return counts

    def _merge_late(self, note: Note) -> tuple[Any, int]:
        """(counts of late rows, how many known contacts joined). The change comes last: senders wait for its end."""
        self._do("weigh_late")
        for line in self._repeated_lines():
            note(line, Remark.DUPLICATE, _REPEATED)
        self._do("fold")
        self._do("find_changed")
        counts = self._ask("count_late")
        joined = self._do("join_known")
        if counts.written:
            with stopping(self._connection):
                self._do("change")
        return counts, joined

    def _repeated_lines(self) -> Iterator[int]:
        with self._connection.cursor("repeated") as cursor:
            cursor.itersize = _STREAMED
            cursor.execute(QUERIES["list_repeated"], self._values)
            for row in cursor:
                yield row.line

    def _run(self, query: str, **values: Any) -> "psycopg.Cursor[Any]":
        """Planned anew each time: the tables have grown since."""
        return self._connection.execute(QUERIES[query], self._values | values, prepare=False)

    def _do(self, query: str, **values: Any) -> int:
        return self._run(query, **values).rowcount

    def _ask(self, query: str) -> Any:
        return self._run(query).fetchone()


def _wait_for_turn(connection: Connection, say_waiting: Callable[[], None]) -> None:
    values = {"import_lock": IMPORT_LOCK}
    row = connection.execute(QUERIES["try_import"], values).fetchone()
    if row is not None and not row.is_ours:
        say_waiting()
        connection.execute(QUERIES["await_import"], values)


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        reason = error.diag.message_primary or "the connection broke"
        raise SetupError(
            f"The database gave up while contacts were taken in: {reason}. Nothing of the file was kept.",
            hint="When the database is well again, import the same file once more.",
        ) from error
