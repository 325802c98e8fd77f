"""CSV files in every shape that people have them."""

import csv
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailfleet.base.errors import InputError
from mailfleet.intake.tables import LARGEST_CELL, Row, RowProblem, Table, map_columns, open_table, plain_name


def table_of(path: Path, content: bytes) -> Table:
    file = path / "file.csv"
    file.write_bytes(content)
    return open_table(file)


def rows_of(path: Path, content: bytes) -> list[Row | RowProblem]:
    return list(table_of(path, content))


def values_of(path: Path, content: bytes) -> list[dict[str, str]]:
    rows = rows_of(path, content)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.values for row in rows if isinstance(row, Row)]


CELLS = st.text(st.characters(codec="cp1251", exclude_categories=("Cc", "Zs", "Cf")), max_size=12)
QUOTED_TOO = st.text(st.sampled_from("abЖяé,;\t|\"'\n =@"), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELLS, QUOTED_TOO, st.just("end")), max_size=6),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    is_quoted=st.booleans(),
)
def test_written_rows_are_read_back(
    tmp_path: Path, rows: list[tuple[str, ...]], separator: str, encoding: str, newline: str, is_quoted: bool
) -> None:
    """Whatever the separator, quoting, line ends and Unicode encoding, the cells written are the cells read."""
    text = io.StringIO()
    # With "\r" as its line end the writer would leave a bare "\n" unquoted.
    quoting = csv.QUOTE_ALL if is_quoted or newline == "\r" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=separator, lineterminator=newline, quoting=quoting)
    writer.writerow(["first", "second", "third"])
    writer.writerows(rows)
    wanted = [dict(zip(("first", "second", "third"), map(str.strip, row), strict=True)) for row in rows]
    assert values_of(tmp_path, text.getvalue().encode(encoding)) == wanted


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("email,имя,город\na@x.ru,Пётр,Санкт-Петербург\nb@x.ru,Анна,Тверь\n", "cp1251"),
        ("email,name\na@x.ru,Сёмин\n", "cp1251"),  # its first two letters are UTF-8 by accident
        ("email,name,city\na@x.de,Jürgen Größe,Köln\nb@x.fr,Hélène,Orléans à la mer\n", "cp1252"),
        ("email,price\na@x.de,5 €\n", "cp1252"),
        ("email,name\n" + "a@x.io,Ann\n" * 200_000 + "b@x.ru,Пётр Иванов\n", "cp1251"),  # plain for 2 MB
        ("email,имя\na@x.ru,Пётр\n", "utf-8"),
        ("email,name\na@x.io,Ann\n", "utf-16-le"),
        ("email,name\na@x.io,Ann\n", "utf-16-be"),
    ],
)
def test_the_encoding_is_found_without_a_mark(tmp_path: Path, text: str, encoding: str) -> None:
    """Without a byte order mark the encoding is still the one written, wherever the first odd letter stands."""
    table = table_of(tmp_path, text.encode(encoding))
    assert table.encoding == encoding
    *_, last = table
    assert isinstance(last, Row)
    assert list(last.values.values()) == text.splitlines()[-1].split(",")


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        (b"a;b;c\n1;2;3\n", ";"),
        (b"a|b\n1|2\n", "|"),
        (b"a\tb\n1\t2\n", "\t"),
        (b"only\n1\n", ","),
        (b"email;Name (last, first);City\nx;y;z\n", ";"),
        (b"email;Name, first\nx;y\nx;z\n", ";"),  # a tie in the header: the rows decide
        (b'"a,b";c;d\n1;2;3\n', ";"),
        (b"sep=;\r\nno,comma,here;b\r\n1;2\r\n", ";"),
        (b'"sep=|"\r\na,b,c|d\r\n1|2\r\n', "|"),
    ],
)
def test_the_separator_is_found(tmp_path: Path, content: bytes, separator: str) -> None:
    """The separator is the one Excel's first line names, else the one that cuts header and rows best."""
    table = table_of(tmp_path, content)
    assert table.separator == separator
    assert all(isinstance(row, Row) for row in table)


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    """A row's line is the one an editor shows, past Excel's line, blank lines and cells of several lines."""
    content = b'sep=,\n\na,"b\nb"\n\n1,"x\ny"\n,\n  \n3,4\n'
    assert [row.line for row in rows_of(tmp_path, content)] == [6, 10]


def test_a_bad_row_does_not_stop_the_next(tmp_path: Path) -> None:
    """Too few cells, too many and a stray quote refuse their own row only; empty cells at its end do not count."""
    content = b'a,b\n1\n1,2,3\n1,2,,\n"1"x,2\n"p\nq"r,2\n5,6\n'
    rows = rows_of(tmp_path, content)
    assert [(row.line, isinstance(row, Row)) for row in rows] == [
        (2, False),
        (3, False),
        (4, True),
        (5, False),
        (6, False),
        (8, True),
    ]
    problems = [str(row.problems[0]) for row in rows if isinstance(row, RowProblem)]
    assert "has 1 cells, the header 2" in problems[0]
    assert "lines 6 to 7" in problems[3]


@pytest.mark.parametrize(
    ("content", "where", "reason"),
    [
        (b"", "", "empty"),
        (b"\n ,, \r\n\n", "", "empty"),
        (b"PK\x03\x04rest", "", "spreadsheet"),
        (b"\xd0\xcf\x11\xe0rest", "", "old Excel"),
        (b"a,b\n1,2\n3,\x004\n", ":3", "NUL"),
        (b"a,b\n1,2\n" + b"x" * 3_000_000, "", "longer than 1,048,576 bytes"),
        (b'a,b\n1,2\n3,"4\n5,6\n', ":3", "never closed"),
        (b'"a,b\n1,2\n', ":1", "never closed"),
        (b"a,b\n1,2\n3," + b"x" * (LARGEST_CELL + 1) + b"\n", ":3", "larger than 64 kB"),
        (b'a,b\n1,2\n3,"' + b"4,5\n" * 60_000 + b'"\n', ":3", "larger than 64 kB"),
        ("a,b\nжизнь,2\n".encode() + b"\xff\n", ":3", "bytes that are not"),
        ("a,b\nжизнь,2\nещё".encode()[:-1], ":3", "bytes that are not"),
        (b"\xef\xbb\xbfa,b\n\xff,2\n", ":2", "bytes that are not"),
        (b"\xff\xfea\x00\n\x00\x00\xdc\x01", ":2", "bytes that are not"),
        (b"a,b\nx\x81\xe9,2\n", ":2", "bytes that are not"),
        (b"ann@example.com,Ann\nbob@example.com,Bob\n", ":1", "data where column names belong"),
        (b"1,2\n3,4\n", ":1", "data where column names belong"),
        (b"First Name,b,firstName\n1,2,3\n", ":1", "columns 1 and 3 are both named first_name"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, where: str, reason: str) -> None:
    """A file that is no CSV, or past a point cannot be cut into rows, is one error that names file, line and reason."""
    with pytest.raises(InputError, match=reason) as refusal:
        rows_of(tmp_path, content)
    assert refusal.value.where == f"{tmp_path / 'file.csv'}{where}"


def test_a_fault_of_encoding_is_found_before_the_first_row(tmp_path: Path) -> None:
    """What no encoding explains is refused when the file is opened, so nothing of it can have been saved."""
    with pytest.raises(InputError, match="NUL"):
        table_of(tmp_path, b"a,b\n" + b"1,2\n" * 500_000 + b"\x00\n")


def test_no_file(tmp_path: Path) -> None:
    """A path without a file, and a folder, are said to be no file, each in its own words."""
    for path, words in ((tmp_path, "is a folder or a pipe"), (tmp_path / "none.csv", "no such file")):
        with pytest.raises(InputError, match=words):
            open_table(path)


def test_a_broken_pair_of_quotes_shows_no_cell(tmp_path: Path) -> None:
    """Errors of a file tell the line and never the text in it, which may be a password."""
    problem = rows_of(tmp_path, b'address,password\n"a@b.io","hunter2"x\n')[0]
    assert isinstance(problem, RowProblem)
    assert "hunter2" not in repr(problem)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("First Name", "first_name"),
        ("first-name", "first_name"),
        (" FIRST__NAME ", "first_name"),
        ("firstName", "first_name"),
        ("SMTPHost", "smtp_host"),
        ("IMAP Username", "imap_username"),
        ("E-Mail", "e_mail"),
        ("Имя", "имя"),
        ("1st order", "_1st_order"),
        ("50 % off!", "_50_off"),
    ],
)
def test_a_column_name_is_an_identifier(header: str, name: str) -> None:
    """Names that differ in case, spaces, hyphens and underscores only are one, and fit a Liquid template."""
    assert plain_name(header) == name


def test_columns_without_a_name(tmp_path: Path) -> None:
    """A nameless column is called by its number, and nameless ones at the end are none."""
    table = table_of(tmp_path, b",a,!,,\n1,2,3,,\n")
    assert table.columns == ("column_1", "a", "column_3")
    assert values_of(tmp_path, b",a,!,,\n1,2,3,,\n") == [{"column_1": "1", "a": "2", "column_3": "3"}]


def test_the_first_synonym_holds_the_field() -> None:
    """A field's own name goes before its synonyms, they in their order, and a column that lost is another column."""
    columns = map_columns(("address", "mail", "name"), {"email": ("mail", "address"), "name": (), "none": ("x",)})
    assert (columns.known, columns.other) == ({"email": "mail", "name": "name"}, ("address",))


def test_progress_and_a_second_reading(tmp_path: Path) -> None:
    """Progress grows from nothing to all bytes, and a table can be read again from its beginning."""
    table = table_of(tmp_path, b"a,b\n" + b"1,2\n" * 50_000)
    assert table.progress() == (0, 200_004)
    reading = iter(table)
    next(reading)
    early = table.progress()[0]
    assert 0 < early < 200_004
    assert sum(1 for _ in reading) == 49_999
    assert table.progress() == (200_004, 200_004)
    assert sum(1 for _ in table) == 50_000


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file is never in memory as a whole."""
    file = tmp_path / "large.csv"
    file.write_bytes(b"a,b\n" + (b"x" * 2_000 + b",y\n") * 12_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_table(file)) == 12_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < file.stat().st_size / 3


def test_opening_reads_from_the_disk_again(tmp_path: Path) -> None:
    """A file that is no longer what was looked through is an error that says so."""
    table = table_of(tmp_path, "a,b\nж,2\n".encode())
    (tmp_path / "file.csv").write_bytes(b"a,b\n\xff\xff,2\n")
    with pytest.raises(InputError, match="changed while it was read"):
        list(table)
