"""CSV files as people have them: any separator, any usual encoding, read row by row in bounded memory.

How a file is understood, by rule, so that the same file is always read the same way:

1. Encoding: see `decoding`. The whole file is looked through before its first row is given out.
2. Separator: Excel's first line `sep=;` decides. Else that of `,` `;` tab `|` which cuts the header into most cells; of
   equals the one by which most of the next 20 records have as many cells as the header; of those the first named.
3. Header: required. Names are compared as `plain_name` writes them; two alike are refused.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from mailfleet.base.errors import InputError
from mailfleet.intake.decoding import SAVE_AS_CSV, find_encoding

LARGEST_CELL = 64 * 1024  # chosen: a signature in HTML fits; a quote left open is found soon
_SEPARATORS = (",", ";", "\t", "|")
_COMPARED = 20
_BLANK = ' \t\r\n,;|"'
_SAID = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_DATA = re.compile(r"\S+@\S+|[+-]?\d+(?:[.,]\d+)?")


class Row(NamedTuple):
    """One record: the line it begins on, and its trimmed cells by column, in the file's order."""

    line: int
    values: dict[str, str]


class Problem(NamedTuple):
    """What is wrong with a cell, or (no `column`) with the row. Never holds a cell's text: it may be a password."""

    column: str
    reason: str

    def __str__(self) -> str:
        return f"{self.column}: {self.reason}" if self.column else self.reason


class RowProblem(NamedTuple):
    """A row that is refused, with every reason found; at least one. It never stops the rows after it."""

    line: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class ColumnMap:
    """`known`: our field and the column that holds it. `other`: the columns that hold none, in the file's order."""

    known: Mapping[str, str]
    other: tuple[str, ...]


class ReadFile:
    """A file that is read from its beginning by each iteration."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._done = 0
        self._total = path.stat().st_size

    def progress(self) -> tuple[int, int]:
        """(bytes read, bytes in all) of the latest iteration."""
        if self._file is not None and not self._file.closed:
            self._done = self._file.tell()
        return self._done, self._total


class Table(ReadFile):
    """A file that has been looked through; made by `open_table`. Each iteration reads it anew."""

    def __init__(self, path: Path, encoding: str, separator: str, columns: tuple[str, ...], header_lines: int) -> None:
        super().__init__(path)
        self.encoding = encoding
        self.separator = separator
        self.columns = columns
        self._header_lines = header_lines

    def __iter__(self) -> Iterator[Row | RowProblem]:
        """The records below the header, blank ones left out. Raises InputError where the next row cannot be found."""
        with _opened(self.path, self.encoding) as (file, lines):
            self._file, self._done = file, 0
            below = islice(lines, self._header_lines, None)
            yield from self._rows(_records(below, self.separator, self.path, self._header_lines))
            self._done = self._total

    def _rows(self, records: Iterable[tuple[int, list[str] | Problem]]) -> Iterator[Row | RowProblem]:
        columns, width = self.columns, len(self.columns)
        for line, cells in records:
            if isinstance(cells, Problem):
                yield RowProblem(line, (cells,))
            elif len(cells) == width or _is_padded(cells, width):
                yield Row(line, dict(zip(columns, map(str.strip, cells), strict=False)))
            else:
                reason = f"the row has {len(cells)} cells, the header {width}: check its quotes and separators"
                yield RowProblem(line, (Problem("", reason),))


def open_table(path: str | Path) -> Table:
    """Looks a CSV file through: 1. encoding, 2. separator, 3. header.

    Raises InputError that names file and line and says what to do.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("there is no such file", where=str(path))
    if not path.is_file():
        raise InputError("is a folder or a pipe, not a file", where=str(path), hint="Save its rows as a file first.")
    with _errors_named(path):
        encoding = find_encoding(path)
    with _opened(path, encoding) as (_, lines):
        said, before, head = _head(lines, path)
    separator = said or _find_separator(head)
    columns, header_lines = _read_header(head, separator, path, before)
    return Table(path, encoding, separator, columns, before + header_lines)


def plain_name(header: str) -> str:
    """A column's name as a Liquid identifier: "First Name", "first-name" and "firstName" are one, `first_name`."""
    spaced = _CAMEL.sub("_", unicodedata.normalize("NFKC", header))
    name = re.sub(r"[\W_]+", "_", spaced).strip("_").casefold()
    return f"_{name}" if name[:1].isdigit() else name


def map_columns(columns: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> ColumnMap:
    """Which column holds which field. A field's own name goes before its synonyms, and they in their order."""
    known = {}
    for field, names in synonyms.items():
        found = [name for name in (field, *names) if name in columns]
        known.update({field: found[0]} if found else {})
    return ColumnMap(known, tuple(column for column in columns if column not in known.values()))


def address_fault(error: InputError) -> str:
    """Why `parse_address` refused a cell, without the cell: a shifted row may hold a password there."""
    return "no e-mail address: " + str(error).rpartition(" is not an e-mail address: ")[2]


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeError as error:
        raise InputError("the file changed while it was read; import it again", where=str(path)) from error


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[tuple[IO[bytes], Iterator[str]]]:
    """The bytes, to see how far they are read, and the lines with their LF, CR or CRLF, which csv needs in quotes."""
    with _errors_named(path), path.open("rb") as file, TextIOWrapper(file, encoding=encoding, newline="") as lines:
        yield file, lines


def _head(lines: Iterator[str], path: Path) -> tuple[str | None, int, list[str]]:
    """(the separator the file names, the lines before its header, the header and lines after it)."""
    said = None
    for before, line in enumerate(lines):
        if before == 0 and (found := _SAID.fullmatch(line)):
            said = found[1]
        elif line.strip(_BLANK):
            return said, before, [line, *islice(lines, 4 * _COMPARED)]
    raise InputError("the file is empty", where=str(path), hint="It needs a line of column names, then the rows.")


def _find_separator(head: list[str]) -> str:
    def fit(separator: str) -> tuple[int, int]:
        header, *rest = _widths(head, separator)
        return header, rest[:_COMPARED].count(header)

    return max(_SEPARATORS, key=fit)


def _widths(head: list[str], separator: str) -> list[int]:
    """How many cells each record has; a record that csv cannot read ends the list, and is reported when it is read."""
    widths: list[int] = []
    try:
        widths.extend(len(cells) for cells in csv.reader(head, delimiter=separator) if cells)
    except csv.Error:
        return widths or [0]
    return widths


def _read_header(head: list[str], separator: str, path: Path, before: int) -> tuple[tuple[str, ...], int]:
    """The columns, and how many lines they take up: a name may hold a line break."""
    taken = iter(head)
    line, cells = next(_records(taken, separator, path, before))
    where = f"{path}:{line}"
    if isinstance(cells, Problem):
        raise InputError(str(cells), where=where, hint=SAVE_AS_CSV)
    return _columns(cells, where), len(head) - sum(1 for _ in taken)


def _columns(cells: list[str], where: str) -> tuple[str, ...]:
    if any(_DATA.fullmatch(cell.strip()) for cell in cells):
        hint = "Put a line of column names above the first row, such as: email,first_name,company"
        raise InputError("this line holds data where column names belong", where=where, hint=hint)
    while not cells[-1].strip():
        cells = cells[:-1]
    columns = tuple(plain_name(cell) or f"column_{number}" for number, cell in enumerate(cells, 1))
    for number, column in enumerate(columns):
        if (first := columns.index(column)) != number:
            reason = f"columns {first + 1} and {number + 1} are both named {column}"
            raise InputError(reason, where=where, hint="Rename or remove one of them.")
    return columns


def _is_padded(cells: list[str], width: int) -> bool:
    """Whether all that is beyond the header's cells is empty: spreadsheets write such tails."""
    return len(cells) > width and not any(map(str.strip, cells[width:]))


def _records(
    lines: Iterator[str], separator: str, path: Path, before: int
) -> Iterator[tuple[int, list[str] | Problem]]:
    """(line it begins on, its cells or why it has none) of each record but blank ones; `lines` begin after `before`."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    end = 0
    while True:
        try:
            for cells in reader:
                begin, end = end + 1, reader.line_num
                if not any(cells) or not "".join(cells).strip():
                    continue
                if max(map(len, cells)) > LARGEST_CELL:
                    raise _too_large(path, before + begin)
                yield before + begin, cells
            return
        except csv.Error as error:
            begin, end = end + 1, reader.line_num
            yield before + begin, _record_fault(error, path, before + begin, before + end)


def _record_fault(error: csv.Error, path: Path, begin: int, end: int) -> Problem:
    """A stray quote spoils its own record; past a quote left open or a cell without end no next one can be found."""
    if "unexpected end" in str(error):
        raise InputError("a quote that opens here is never closed", where=f"{path}:{begin}") from error
    if "field limit" in str(error):
        raise _too_large(path, begin) from error
    lines = f"lines {begin} to {end}" if end > begin else "the row"
    return Problem("", f"{lines} cannot be cut into cells: text stands after a closing quote")


def _too_large(path: Path, line: int) -> InputError:
    reason = f"a cell is larger than {LARGEST_CELL // 1024} kB; a quote may be left open"
    return InputError(reason, where=f"{path}:{line}")
