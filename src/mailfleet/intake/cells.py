"""The cells of one row by our fields' names, with all that is wrong with them.

No message holds the text of a cell: a shifted row has its password in any of them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from mailfleet.base.errors import InputError
from mailfleet.intake.tables import ColumnMap, Problem, Row, address_fault
from mailfleet.mail.addresses import Address, parse_address

T = TypeVar("T")

LONGEST_LINE = 250  # chosen: a name in a header, a login, a path
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Cells:
    """Reads cells and collects problems and warnings, each under the name of the file's column."""

    def __init__(self, row: Row, columns: ColumnMap) -> None:
        self._row = row
        self._columns = columns
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def wrong(self, field: str, reason: str) -> None:
        self.problems.append(Problem(self._column(field), reason))

    def warn(self, field: str, reason: str) -> None:
        self.warnings.append(Problem(self._column(field), reason))

    def text(self, field: str, longest: int) -> str:
        """The cell, line breaks kept; empty when there is none or it is too long."""
        text = self._row.values.get(self._columns.known.get(field, ""), "")
        if len(text) <= longest:
            return text
        self.wrong(field, f"is longer than {longest:,} characters")
        return ""

    def line(self, field: str) -> str:
        """A cell of one line: what could end a line of a header or of a protocol is refused."""
        text = self.text(field, LONGEST_LINE)
        if not _CONTROL.search(text):
            return text
        self.wrong(field, "holds a line break or another control character")
        return ""

    def number(self, field: str, *, least: int, most: int) -> int | None:
        """A whole number; spreadsheets' "587.0" is one."""
        text = re.sub(r"\.0+$", "", self.line(field))
        if not text:
            return None
        if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
            return int(text)
        self.wrong(field, f"is no whole number from {least:,} to {most:,}")
        return None

    def word(self, field: str, words: Mapping[T, Sequence[str]]) -> T | None:
        """The key of `words` of which the cell is one, whatever its case."""
        text = self.line(field).casefold()
        found = [meaning for meaning, spellings in words.items() if text in spellings]
        if text and not found:
            self.wrong(field, f"is none of {', '.join(map(str, words))}")
        return found[0] if found else None

    def parsed(self, field: str, parse: Callable[[str], T], fault: str) -> T | None:
        """What `parse` makes of the cell; `fault` is said when it cannot, since its own words would quote the cell."""
        text = self.line(field)
        if not text:
            return None
        try:
            return parse(text)
        except (InputError, ValueError):
            self.wrong(field, fault)
            return None

    def address(self, field: str) -> Address | None:
        text = self.line(field)
        if not text:
            return None
        try:
            return parse_address(text)
        except InputError as error:
            self.wrong(field, address_fault(error))
            return None

    def _column(self, field: str) -> str:
        return self._columns.known.get(field, field)
