"""Reads a TOML file of ours: values checked one by one, every problem kept with its line, all reported at once.

A reader takes each key it knows from a `Table`; `close` then reports the keys nobody took. After a problem the reader
goes on with a stand-in, so what it builds is good only once `TomlFile.finish` has returned.
"""

import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from mailfleet.base.errors import InputError
from mailfleet.intake.toml_lines import KeyPath, TomlLines

T = TypeVar("T")

_KINDS: dict[type, str] = {
    str: "a text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """`where` is "file:line"; `key` counts list items from 1: "steps[2].wait", the second step's wait."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" if self.key else f"{self.where}: {self.message}"


class FileProblems(InputError):
    """Everything that is wrong with one file, in the order of its lines; never empty."""

    def __init__(self, name: str, problems: tuple[Problem, ...]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            "\n".join([f"{count}, nothing was read in", *(f"  {problem}" for problem in problems)]),
            where=name,
            hint="Mend the lines named and run the command again.",
        )
        self.problems = problems


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean …?" for the nearest of the known words, or nothing when none is near."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def read_text_file(path: Path) -> str:
    """A file's UTF-8 text with LF line ends, without a byte order mark; InputError when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("is not UTF-8", where=f"{path}:{line}", hint="Save the file as UTF-8.") from error


class TomlFile:
    """One file being read. `name` is its path as the user gave it; `folder` is where the paths in it begin."""

    def __init__(self, text: str, path: Path) -> None:
        """InputError with the line when the text is not TOML."""
        self.name = str(path)
        self.folder = path.parent
        self._found: list[tuple[int, Problem]] = []
        try:
            data = tomllib.loads(text)
            self.lines = TomlLines(text)
        except (ValueError, RecursionError) as error:
            raise _syntax_error(error, text, self.name) from error
        self.top = Table(self, (), data)

    @classmethod
    def open(cls, path: Path) -> "TomlFile":
        return cls(read_text_file(path), path)

    def report(self, path: KeyPath, message: str, *, line: int | None = None) -> None:
        line = self.lines.line(path) if line is None else line
        self._add(line, Problem(f"{self.name}:{line}", _key_name(path), message))

    def report_elsewhere(self, path: KeyPath, where: str, message: str) -> None:
        """A problem inside a file that the key `path` names."""
        self._add(self.lines.line(path), Problem(where, _key_name(path), message))

    def _add(self, line: int, problem: Problem) -> None:
        if (line, problem) not in self._found:
            self._found.append((line, problem))

    def finish(self) -> None:
        """Returns only when the file has no problem; else raises FileProblems with all of them."""
        if self._found:
            ordered = sorted(self._found, key=lambda found: found[0])
            raise FileProblems(self.name, tuple(problem for _, problem in ordered))


class Table:
    """One table of the file. A missing or wrong value is a problem of the file; what comes back then is a stand-in."""

    def __init__(self, file: TomlFile, path: KeyPath, data: Mapping[str, Any]) -> None:
        self.file, self.path = file, path
        self._data = data
        self._known: set[str] = set()

    def has(self, key: str) -> bool:
        return key in self._data

    def holds_text(self, key: str) -> bool:
        return isinstance(self._data.get(key), str)

    def report(self, message: str, key: str | None = None, *, line: int | None = None) -> None:
        """A problem of a key, or of the table itself."""
        self.file.report(self.path if key is None else (*self.path, key), message, line=line)

    def refuse(self, key: str, message: str) -> None:
        """Reports the key, when it is there, as one that has no place in this table."""
        self._known.add(key)
        if key in self._data:
            self.report(message, key)

    def text(self, key: str, default: str | None = None, *, lines: bool = False) -> str:
        """One line (several with `lines`); without a default it must be there and not blank."""
        value: str = self._take(key, str, default, "")
        if not self.holds_text(key):
            return value
        if default is None and not value.strip():
            self.report("is empty", key)
        elif wrong := control_character(value, "\n\t" if lines else ""):
            self.report(f"holds the control character U+{ord(wrong):04X}", key)
        else:
            return value if lines else value.strip()
        return ""

    def texts(self, key: str) -> tuple[str, ...]:
        """A text or a list of texts, each once, in the file's order; empty when the key is absent."""
        value = self._data.get(key)
        if not isinstance(value, list):
            text = self.text(key, "")
            return (text,) if text else ()
        self._known.add(key)
        return tuple(dict.fromkeys(filter(None, (self._item_text(key, *item) for item in enumerate(value)))))

    def integer(self, key: str, default: int | None = None, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """A whole number within bounds; `most` is PostgreSQL's integer unless told."""
        value: int = self._take(key, int, default, least)
        if least <= value <= most:
            return value
        self.report(f"{value} is not between {least} and {most}", key)
        return least

    def share(self, key: str, default: float) -> float:
        """A number from 0 to 1."""
        value = float(self._take(key, float, default, default))
        if 0 <= value <= 1:
            return value
        self.report(f"{value} is not between 0 and 1", key)
        return default

    def parsed(self, key: str, parse: Callable[[str], T], default: T, *, required: bool = False) -> T:
        """A text that `parse` turns into a value; its ValueError or InputError says what is wrong."""
        if key not in self._data and not required:
            self._known.add(key)
            return default
        text = self.text(key)
        if not text:
            return default
        try:
            return parse(text)
        except (ValueError, InputError) as error:
            self.report(str(error), key)
            return default

    def parsed_all(self, key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """Like `texts`, each parsed."""
        values = []
        for position, text in enumerate(self.texts(key)):
            try:
                values.append(parse(text))
            except (ValueError, InputError) as error:
                listed = isinstance(self._data[key], list)
                self.file.report((*self.path, key, position) if listed else (*self.path, key), str(error))
        return tuple(dict.fromkeys(values))

    def one_of(self, key: str, choices: Iterable[str], default: str = "", *, required: bool = False) -> str:
        """One of the choices, or the default when the key is absent."""
        return self.parsed(key, lambda text: _choose(text, choices), default, required=required)

    def table(self, key: str) -> "Table":
        """The table of that key; an empty one when it is absent."""
        return Table(self.file, (*self.path, key), self._take(key, dict, {}, {}))

    def tables(self, key: str) -> list["Table"]:
        """The tables of an array of tables, in the file's order; empty when it is absent."""
        items = self._take(key, list, [], [])
        path = (*self.path, key)
        for position, item in enumerate(items):
            if not isinstance(item, dict):
                self.file.report((*path, position), f"is not a table: write [[{key}]]")
        return [Table(self.file, (*path, at), item) for at, item in enumerate(items) if isinstance(item, dict)]

    def close(self) -> None:
        """Reports every key that nobody took."""
        for key in self._data:
            if key not in self._known:
                self.report(f"unknown key{did_you_mean(key, self._known)}", key)

    def _take(self, key: str, kind: type, default: Any, stand_in: Any) -> Any:
        self._known.add(key)
        if key not in self._data:
            if default is not None:
                return default
            self.report(f"{key} is missing")
            return stand_in
        value = self._data[key]
        if _is_kind(value, kind):
            return value
        self.report(f"must be {_KINDS[kind]}, not {_kind_name(value)}", key)
        return stand_in if default is None else default

    def _item_text(self, key: str, position: int, value: object) -> str:
        path = (*self.path, key, position)
        if not isinstance(value, str):
            self.file.report(path, f"must be {_KINDS[str]}, not {_kind_name(value)}")
        elif not value.strip():
            self.file.report(path, "is empty")
        elif wrong := control_character(value, ""):
            self.file.report(path, f"holds the control character U+{ord(wrong):04X}")
        else:
            return value.strip()
        return ""


def _choose(text: str, choices: Iterable[str]) -> str:
    """The text, when it is one of the choices; ValueError names them."""
    choices = tuple(choices)
    if text in choices:
        return text
    raise ValueError(f'"{text}" is none of {", ".join(choices)}{did_you_mean(text, choices)}')


def _syntax_error(error: Exception, text: str, name: str) -> InputError:
    if isinstance(error, RecursionError):
        return InputError("lists or tables are nested too deep", where=name)
    message, _, place = str(error).rpartition(" (at ")
    if place.startswith("line "):
        line = int(place.removeprefix("line ").split(",")[0])
    else:
        message, line = message or str(error), text.rstrip("\n").count("\n") + 1
    return InputError(f"is not TOML: {message}", where=f"{name}:{line}")


def _key_name(path: KeyPath) -> str:
    name = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)
    return name.removeprefix(".")


def _is_kind(value: object, kind: type) -> bool:
    if isinstance(value, bool):  # Python takes true for the number 1
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _kind_name(value: object) -> str:
    return next((words for kind, words in _KINDS.items() if _is_kind(value, kind)), "a date or time")


def control_character(text: str, allowed: str) -> str:
    """The first control character (Unicode class Cc) that is not allowed, or nothing."""
    return next((char for char in text if unicodedata.category(char) == "Cc" and char not in allowed), "")
