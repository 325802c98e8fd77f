"""The templates of one letter of a campaign file: compiled for a check, their variables known, footer in place.

An error names the line of the campaign file, or of the file that `text_file` or `html_file` names.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailfleet.base.errors import InputError
from mailfleet.intake.footer import is_misplaced, with_footer
from mailfleet.intake.toml_file import Table, control_character, did_you_mean, read_text_file
from mailfleet.mail.templates import Kind, Template, compile_template

BODY_KEYS = ("text", "text_file", "html", "html_file")
LETTER_KEYS = ("subject", *BODY_KEYS)
CONTACT = "contact"
CONTACT_FIELDS = ("first_name", "last_name", "company", "title", "email", "country")
"""Those every contact has; any other name under `contact` is a column of the contacts' file."""
FOOTER = "footer"
VARIABLES = (
    *(f"{CONTACT}.{field}" for field in CONTACT_FIELDS),
    *("mailbox.name", "mailbox.address", "mailbox.signature"),
    *("identity.name", "identity.legal_name", "identity.postal_address", "identity.contact_email", "identity.website"),
    "opt_out_url",
)
"""What a template may read, besides the contacts' own columns."""

# Reply and forward marks of the mail programs of the languages our letters are written in, and of their neighbours.
_REPLY_MARK = re.compile(
    r"\s*(?:re|fwd?|aw|wg|antw?|tr|réf|rv|res|enc|sv|vs|vb|odp|pd|отв|ответ|пер)\s*(?:[\[(]\d+[\])])?\s*[:：]",
    re.IGNORECASE,
)
_LINE_IN = re.compile(r", line (\d+)\Z")


@dataclass(frozen=True, slots=True)
class _Source:
    """A template's text, and how a problem in one of its lines (from 1) is reported."""

    text: str
    report: Callable[[str, int], None]


def claims_a_reply(subject: str) -> bool:
    """Whether a subject begins like an answer or a forward: on a letter that is neither, it deceives."""
    return bool(_REPLY_MARK.match(subject))


def read_subject(table: Table, *, is_first: bool) -> str:
    """The key `subject`; a follow-up may leave it out."""
    subject = table.text("subject", None if is_first else "")
    if claims_a_reply(subject):
        advice = "write what it is about" if is_first else "leave the key out to answer in the first one's thread"
        table.report(f"begins like a reply or a forward, which this letter is not: {advice}", "subject")
    if subject:
        _check(_Source(subject, _reporter(table, "subject")), "subject")
    return subject


def read_text(table: Table, language: str) -> str:
    """The plain part from `text` or `text_file`, with its footer; empty when there is neither."""
    return _read_part(table, "text", language)


def read_html(table: Table, language: str) -> str:
    """The HTML part from `html` or `html_file`, with its footer; empty when there is neither."""
    return _read_part(table, "html", language)


def _read_part(table: Table, kind: Kind, language: str) -> str:
    file_key = f"{kind}_file"
    if table.has(kind) and table.has(file_key):
        table.report(f"{kind} and {file_key} are both there: keep one", file_key)
    source = _from_file(table, file_key) if table.has(file_key) else None
    if table.has(kind):
        source = _Source(table.text(kind, lines=True), _reporter(table, kind))
    if source is None or not source.text:
        return ""
    if not _check(source, kind):
        return ""
    letter = with_footer(source.text, language, html=kind == "html")
    template = _compile(_Source(letter, lambda message, _: source.report(f"{message}, with its footer", 1)), kind)
    if (template and FOOTER in template.variables) or is_misplaced(source.text):
        source.report(
            "{{ footer }} must stand by itself: in no condition, with no filter", _line_of(source.text, FOOTER)
        )
    return letter


def _from_file(table: Table, key: str) -> _Source | None:
    name = table.text(key)
    if not name:
        return None
    path = table.file.folder / name
    report = _reporter_elsewhere(table, key, str(path))
    try:
        text = read_text_file(path)
    except InputError as error:
        table.report(str(error), key)
        return None
    if not text.strip():
        report("is empty", 1)
    elif wrong := control_character(text, "\n\t"):
        report(f"holds the control character U+{ord(wrong):04X}", text[: text.index(wrong)].count("\n") + 1)
    else:
        return _Source(text, report)
    return None


def _reporter(table: Table, key: str) -> Callable[[str, int], None]:
    def report(message: str, line: int) -> None:
        table.report(message, key, line=table.file.lines.line_in_string((*table.path, key), line))

    return report


def _reporter_elsewhere(table: Table, key: str, name: str) -> Callable[[str, int], None]:
    def report(message: str, line: int) -> None:
        table.file.report_elsewhere((*table.path, key), f"{name}:{line}", message)

    return report


def _check(source: _Source, kind: Kind) -> bool:
    """Reports what is wrong with the template, and says whether nothing is."""
    template = _compile(source, kind)
    if not template:
        return False
    problems = list(_variable_problems(template, kind))
    for variable, problem in problems:
        source.report(problem, _line_of(source.text, variable))
    return not problems


def _compile(source: _Source, kind: Kind) -> Template | None:
    try:
        return compile_template(source.text, name=kind, kind=kind)
    except InputError as error:
        line = _LINE_IN.search(error.where)
        source.report(str(error).removeprefix(f"{error.where}: "), int(line[1]) if line else 1)
        return None


def _variable_problems(template: Template, kind: Kind) -> Iterator[tuple[str, str]]:
    known = VARIABLES if kind == "subject" else (*VARIABLES, FOOTER)
    for variable in template.variables:
        root, _, field = variable.partition(".")
        is_column = root == CONTACT and field and "." not in field
        if variable not in known and not is_column:
            yield variable, f"unknown variable {variable}{did_you_mean(variable, known)}"


def _line_of(source: str, variable: str) -> int:
    """Where a variable first stands inside markup; 1 when it is written some other way, such as contact["x"]."""
    found = re.search(rf"\{{[{{%][^}}]*?(?<![\w.]){re.escape(variable)}(?!\w)", source)
    return source.count("\n", 0, found.end()) + 1 if found else 1
