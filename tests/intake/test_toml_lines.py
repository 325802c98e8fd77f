import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.intake.toml_lines import KeyPath, TomlLines

ODD = '''\
# a comment with [brackets] = "and quotes"
title = "x # no comment"   # a comment
a.b . "c.d" = 1
"quoted key" = [ 1,
  2, # two
  [ 3,
    4 ],
]

point = { x = 1, inner = { y = "}" }, "z.z" = [ { w = 1 }, { w = 2 } ] }
when = 1979-05-27 07:32:00

many = """
[[steps]]
wait = "not a key" ""
end"""
few = \'\'\'it's [not] a table\'\'\'

[[steps]]
wait = 1
  [[steps.variants]]
  name = "a"
  [[steps.variants]]
  name = "b"
[steps.extra]
key = 1

[[ steps ]]
[[steps.variants]]
name = "c"
[table.sub]
k = 2
[table]
own = 3
'''

PLACES: list[tuple[KeyPath, int]] = [
    (("title",), 2),
    (("a",), 3),
    (("a", "b", "c.d"), 3),
    (("quoted key",), 4),
    (("quoted key", 1), 5),
    (("quoted key", 2, 1), 7),
    (("point", "x"), 10),
    (("point", "inner", "y"), 10),
    (("point", "z.z", 1, "w"), 10),
    (("when",), 11),
    (("many",), 13),
    (("few",), 17),
    (("steps", 0), 19),
    (("steps", 0, "wait"), 20),
    (("steps", 0, "variants", 0, "name"), 22),
    (("steps", 0, "variants", 1), 23),
    (("steps", 0, "variants", 1, "name"), 24),
    (("steps", 0, "extra", "key"), 26),
    (("steps", 1), 28),
    (("steps", 1, "variants", 0, "name"), 30),
    (("table",), 33),
    (("table", "sub", "k"), 32),
]


@pytest.mark.parametrize(("path", "line"), PLACES)
def test_every_key_and_item_is_found_in_an_odd_layout(path: KeyPath, line: int) -> None:
    """Whatever way TOML lets a key be written, its line is the one where it stands."""
    tomllib.loads(ODD)
    assert TomlLines(ODD).line(path) == line


def test_a_missing_key_is_placed_at_its_table() -> None:
    """A key that is not there is placed where the nearest table around it begins."""
    lines = TomlLines(ODD)
    assert lines.line(("steps", 1, "wait")) == 28
    assert lines.line(("nothing", "at", "all")) == 1


@pytest.mark.parametrize(
    ("source", "line", "expected"),
    [
        ('k = "one\\ntwo"', 2, 1),
        ('\nk = """\none\ntwo"""', 2, 4),
        ('\nk = """one\ntwo"""', 2, 3),
        ("k = '''\none\ntwo\n'''", 2, 3),
        ("k = '''one\ntwo\n'''", 2, 2),
        ('k = """\none \\\n   more\ntwo"""', 2, 4),
        ('k = """\none\\ntwo\nthree"""', 2, 2),
        ('k = """\none\\ntwo\nthree"""', 3, 3),
        ('k = """\none\\u000Atwo\nthree"""', 3, 3),
        ('k = """\none\\\\ntwo\nthree"""', 2, 3),
    ],
)
def test_a_line_inside_a_text_is_found_in_the_file(source: str, line: int, expected: int) -> None:
    """Line n of a value is led back to the file's line, through opening newlines, joined lines and escapes."""
    assert TomlLines(source).line_in_string(("k",), line) == expected


KEYS = st.text(min_size=1, max_size=6, alphabet="ab.\"' #[]=é")
TEXTS = st.text(max_size=20, alphabet="ab\"'\\ #[]{}=,\nü")


def _quoted(text: str, style: int) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if style == 0 or "'" in text:
        return '"' + escaped.replace("\n", "\\n") + '"'
    return f'"""{escaped}"""' if style == 1 or "\n" in text else f"'{text}'"


@given(st.lists(st.tuples(KEYS, st.lists(st.tuples(TEXTS, st.integers(0, 2)), max_size=3), st.integers(0, 2))))
def test_lines_agree_with_the_reader_of_python(rows: list[tuple[str, list[tuple[str, int]], int]]) -> None:
    """Of any keys and texts, each stands on the line it was written on, and tomllib reads the same keys."""
    source, expected = "", {}
    for number, (key, texts, blanks) in enumerate(rows):
        source += "\n" * blanks + "[[t]]\n"
        name = _quoted(key, 0)
        expected["t", number, key] = source.count("\n") + 1
        source += f"{name} = [ # list\n"
        for position, (text, style) in enumerate(texts):
            expected["t", number, key, position] = source.count("\n") + 1
            source += f"{_quoted(text, style)}\n,"
        source += "]\n"
    data = tomllib.loads(source)
    lines = TomlLines(source)
    for path, line in expected.items():
        value = data
        for part in path:
            value = value[part]
        assert lines.line(path) == line
