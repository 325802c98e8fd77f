from pathlib import Path

import pytest

from mailfleet.base.errors import InputError
from mailfleet.intake.toml_file import FileProblems, TomlFile


def _read(text: str) -> TomlFile:
    return TomlFile(text, Path("folder/file.toml"))


def _problems(file: TomlFile) -> list[str]:
    with pytest.raises(FileProblems) as caught:
        file.finish()
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ('a = 1\n\nb = """never closed\n', 3), ("n = " + "1" * 5000, 1)],
)
def test_broken_toml_is_named_with_its_line(text: str, line: int) -> None:
    """A file that is no TOML is refused in our own words, with file and line."""
    with pytest.raises(InputError, match=rf"^folder/file.toml:{line}: is not TOML") as caught:
        _read(text)
    assert caught.value.where == f"folder/file.toml:{line}"


def test_endless_nesting_is_an_input_error() -> None:
    """Nesting without end is refused like any other bad file."""
    with pytest.raises(InputError, match="nested too deep"):
        _read("a = " + "[" * 100_000)


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    """A missing file, a folder and a file in another encoding are each refused by name."""
    broken = tmp_path / "latin.toml"
    broken.write_bytes(b"a = 1\nb = 'M\xfcller'\n")
    for path, reason in ((tmp_path / "none.toml", "No such file"), (tmp_path, "directory"), (broken, "not UTF-8")):
        with pytest.raises(InputError, match=reason):
            TomlFile.open(path)
    with pytest.raises(InputError, match=r"latin\.toml:2:"):
        TomlFile.open(broken)


def test_windows_line_ends_and_byte_order_mark_are_read(tmp_path: Path) -> None:
    """A file saved on Windows has the same lines and values as any other."""
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 'x'\r\nb = '''\r\none\r\ntwo'''\r\n")
    file = TomlFile.open(path)
    assert file.top.text("a") == "x"
    assert file.top.text("b", lines=True) == "one\ntwo"
    assert file.lines.line_in_string(("b",), 2) == 4


def test_all_problems_are_reported_at_once_in_the_order_of_lines() -> None:
    """Nothing hides behind the first problem."""
    file = _read('z = 1\nnmae = "a"\nnumber = "x"\nshare = 2\nflags = [1, "", "b\\u0000"]\n[[rows]]\nwait = ""\n')
    top = file.top
    top.text("name")
    top.integer("number", 1)
    top.share("share", 0.5)
    top.texts("flags")
    top.text("z")
    for row in top.tables("rows"):
        row.text("wait")
        row.close()
    top.close()
    assert _problems(file) == [
        "folder/file.toml:1: name is missing",
        "folder/file.toml:1: z: must be a text in quotes, not a whole number",
        "folder/file.toml:2: nmae: unknown key; did you mean name?",
        "folder/file.toml:3: number: must be a whole number, not a text in quotes",
        "folder/file.toml:4: share: 2.0 is not between 0 and 1",
        "folder/file.toml:5: flags[1]: must be a text in quotes, not a whole number",
        "folder/file.toml:5: flags[2]: is empty",
        "folder/file.toml:5: flags[3]: holds the control character U+0000",
        "folder/file.toml:7: rows[1].wait: is empty",
    ]


@pytest.mark.parametrize("text", ["n = true", "n = 1.5", "n = 0", "n = 11", "n = 1979-05-27"])
def test_a_whole_number_is_nothing_else(text: str) -> None:
    """true is not 1, and bounds hold."""
    file = _read(text)
    file.top.integer("n", least=1, most=10)
    assert len(_problems(file)) == 1


def test_one_line_cannot_smuggle_another() -> None:
    """A value of one line refuses line breaks and controls, however they are written."""
    file = _read('a = "x\\r\\nBcc: y"\nb = "x\\u0085y"\n')
    file.top.text("a")
    file.top.text("b")
    assert len(_problems(file)) == 2


def test_a_list_of_numbers_is_no_list_of_tables() -> None:
    """[[rows]] that is something else is a problem, said once however often it is read."""
    file = _read("rows = [1]\nother = {}\n")
    for _ in range(2):
        assert file.top.tables("rows") == []
        assert file.top.tables("other") == []
    assert _problems(file) == [
        "folder/file.toml:1: rows[1]: is not a table: write [[rows]]",
        "folder/file.toml:2: other: must be a list, not a table",
    ]


def test_a_good_file_finishes_in_silence() -> None:
    """Without a problem, finish returns."""
    file = _read('a = "x"\n')
    assert file.top.texts("a") == ("x",)
    file.top.close()
    file.finish()
