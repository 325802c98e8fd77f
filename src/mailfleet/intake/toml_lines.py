"""Where in a TOML text each key, table and list item stands: `tomllib` reads values and forgets their lines.

The text has passed `tomllib` before, so this walk trusts its syntax (TOML 1.0) and looks for positions alone.
"""

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]
"""Keys from the top; an item of a list is its position from 0: ("steps", 1, "wait")."""

_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_TURN = re.compile(r"(?P<joined>\\[ \t]*\n\s*)|(?P<escaped>\\(?:n|u000[Aa]|U0000000[Aa]))|\\.|(?P<plain>\n)", re.DOTALL)


class TomlLines:
    """Lines, from 1, of everything in a valid TOML text with LF line ends."""

    def __init__(self, text: str) -> None:
        walk = _Walk(text)
        walk.document()
        self._starts, self._strings = walk.starts, walk.strings
        self._line_ends = [match.start() for match in re.finditer("\n", text)]

    def line(self, path: KeyPath) -> int:
        """The line where the key or item stands; of a missing one, the line of the nearest table around it."""
        while path and path not in self._starts:
            path = path[:-1]
        return self._line_at(self._starts[path]) if path else 1

    def line_in_string(self, path: KeyPath, line: int) -> int:
        """The file's line that holds line `line` (from 1) of a text."""
        start, raw = self._strings[path]
        first = self._line_at(start)
        if raw[:3] not in ('"""', "'''"):
            return first
        opening = 4 if raw[3:4] == "\n" else 3  # TOML drops a newline right after the opening quotes
        ahead = first + (opening - 3)
        return ahead + (line - 1 if raw[0] == "'" else _source_lines(raw, opening, line - 1))

    def _line_at(self, offset: int) -> int:
        return bisect_right(self._line_ends, offset - 1) + 1


def _source_lines(raw: str, at: int, turns: int) -> int:
    """How many lines of the source lie before the text's line number `turns` + 1: `\\n` turns without a source line,
    and a backslash at a line's end joins lines."""
    passed = 0
    for match in _TURN.finditer(raw, at):
        if turns <= 0:
            break
        passed += match.group().count("\n")
        turns -= match.lastgroup in ("escaped", "plain")
    return passed


class _Walk:
    def __init__(self, text: str) -> None:
        self.starts: dict[KeyPath, int] = {}
        self.strings: dict[KeyPath, tuple[int, str]] = {}
        self._text, self._at = text, 0
        self._sizes: dict[KeyPath, int] = {}  # of the arrays that [[headers]] grow

    def document(self) -> None:
        table: KeyPath = ()
        while self._skip(_SPACE) < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._text[self._at] == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> KeyPath:
        start = self._at
        self._at += brackets
        self._skip(_BLANK)
        keys = self._keys()
        self._skip(_BLANK)
        self._at += brackets
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._current((*path, key))
        path = (*path, keys[-1])
        if brackets == 2:
            self._sizes[path] = self._sizes.get(path, 0) + 1
        path = self._current(path)
        self._mark(path, start)
        self.starts[path] = start
        return path

    def _current(self, path: KeyPath) -> KeyPath:
        """The path itself, or the last item of the array of tables it names."""
        return (*path, self._sizes[path] - 1) if path in self._sizes else path

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = (*table, *self._keys())
        self._mark(path, start)
        self._skip(_BLANK)
        self._at += len("=")
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> tuple[str, ...]:
        keys = []
        while True:
            if quoted := _STRING.match(self._text, self._at):
                keys.append(tomllib.loads(f"key = {quoted.group()}")["key"])
                self._at = quoted.end()
            else:
                start = self._at
                keys.append(self._text[start : self._skip(_BARE_KEY)])
            dot = _DOT.match(self._text, self._at)
            if not dot:
                return tuple(keys)
            self._at = dot.end()

    def _value(self, path: KeyPath) -> None:
        if string := _STRING.match(self._text, self._at):
            self.strings[path] = (self._at, string.group())
            self._at = string.end()
        elif self._text[self._at] == "[":
            self._array(path)
        elif self._text[self._at] == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += len("[")
        position = 0
        while self._text[self._skip(_SPACE)] != "]":
            item = (*path, position)
            self._mark(item, self._at)
            self._value(item)
            self._comma()
            position += 1
        self._at += len("]")

    def _inline_table(self, path: KeyPath) -> None:
        self._at += len("{")
        while self._text[self._skip(_SPACE)] != "}":
            self._pair(path)
            self._comma()
        self._at += len("}")

    def _comma(self) -> None:
        if self._text[self._skip(_SPACE)] == ",":
            self._at += len(",")

    def _mark(self, path: KeyPath, start: int) -> None:
        for length in range(1, len(path) + 1):
            self.starts.setdefault(path[:length], start)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()
        return self._at
