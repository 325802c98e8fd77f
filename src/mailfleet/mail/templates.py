"""Templates: Liquid, and strict. A letter with a hole is never sent.

Every output must be filled, or say itself what stands in its place: `{{ contact.first_name | default: "there" }}`.
A value that is missing, None or blank counts as missing, in `if` too. Spintax is not known: a wording is a variant.
"""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Literal

from liquid import BoundTemplate, Environment, Token, escape
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path, StringLiteral
from liquid.builtin.expressions.primitive import Blank, Empty, RangeLiteral
from liquid.builtin.output import OutputNode
from liquid.exceptions import LiquidError, UndefinedError
from liquid.expression import Expression
from liquid.stringify import to_liquid_string

from mailfleet.base.errors import InputError
from mailfleet.mail.liquid_rules import FILTERS, HTML, MAX_OUTPUT, TEXT, Values, dotted, find_value, hole, walk_nodes

Kind = Literal["subject", "text", "html"]

MAX_SOURCE = 100_000  # chosen: Gmail cuts a message at 102 KB
MAX_MARKUP = 500  # chosen: one expression; beyond it the parser's time grows with the square

_OPENING = re.compile(r"\{[{%]")
_VERBATIM = re.compile(r"\{%-?\s*(raw|doc)\b")
_ALLOWED_TAGS = "allowed are if, unless, case, and # for a note"
_CLOSING = {"{{": "}}", "{%": "%}"}
_BREAKS = re.compile(r" *[\x00-\x1f\x7f-\x9f\u2028\u2029][\x00-\x20\x7f-\x9f\u2028\u2029]*")


class TemplateHole(InputError):
    """The letter would have a hole; `variable` is the path, such as contact.first_name, that is missing or blank."""

    def __init__(self, variable: str, *, where: str) -> None:
        super().__init__(
            f"{variable} is missing or blank; the letter is not sent",
            where=where,
            hint=f'Fill it, or write what stands in its place: {{{{ {variable} | default: "…" }}}}',
        )
        self.variable = variable


class Template:
    """A compiled template; renders any number of letters."""

    __slots__ = ("_fill", "_kind", "name", "variables")

    def __init__(self, name: str, kind: Kind, variables: tuple[str, ...], fill: Callable[[Values], str]) -> None:
        self.name = name
        self.variables = variables
        """The paths it reads, such as contact.first_name: unique, in order of appearance, with a default or without."""
        self._kind = kind
        self._fill = fill

    def render(self, values: Values) -> str:
        """One letter. Values are texts, numbers and booleans, or dicts of them; whatever else counts as missing.

        In HTML every value is escaped; in a subject line breaks and controls become one space.
        Raises TemplateHole, or InputError when the result is too long or a filter refuses its value.
        """
        try:
            text = self._fill(values)
        except UndefinedError as error:
            raise TemplateHole(str(error.message), where=self.name) from error
        except LiquidError as error:
            raise InputError(f"{_reason(error)}; the letter is not sent", where=self.name) from error
        if len(text) > MAX_OUTPUT:
            raise InputError(f"the result is over {MAX_OUTPUT} characters; the letter is not sent", where=self.name)
        return _BREAKS.sub(" ", text).strip() if self._kind == "subject" else text


def compile_template(source: str, *, name: str, kind: Kind = "text") -> Template:
    """Checks and compiles. `name` tells in errors which template it is. Raises InputError that names the line."""
    _check_markup(source, name)
    try:
        parsed = (HTML if kind == "html" else TEXT).from_string(source)
        expressions = list(walk_nodes(parsed, parsed.nodes))
        _check_filters(parsed.env, expressions)
    except LiquidError as error:
        raise _refused(_reason(error), source, error.token, name) from error
    for expression in expressions:
        if reason := _why_not(expression):
            raise _refused(reason, source, expression.token, name)
    paths = [dotted(expression.path) for expression in expressions if isinstance(expression, Path)]
    return Template(name, kind, tuple(dict.fromkeys(paths)), _filler(parsed))


def _check_markup(source: str, name: str) -> None:
    """Bounds what the parser gets to see: its patterns take quadratic time on long, unclosed or verbatim markup."""
    if len(source) > MAX_SOURCE:
        raise InputError(f"the template is longer than {MAX_SOURCE} characters", where=name)
    at = 0
    while opened := _OPENING.search(source, at):
        closing = _CLOSING[opened[0]]
        closed = source.find(closing, opened.end(), opened.end() + MAX_MARKUP)
        if closed < 0:
            reason = f"{opened[0]} is not closed by {closing} within {MAX_MARKUP} characters"
            raise InputError(reason, where=_place(name, source, opened.start()))
        if verbatim := _VERBATIM.match(source, opened.start()):
            reason = f"unexpected tag '{verbatim[1]}'; {_ALLOWED_TAGS}"
            raise InputError(reason, where=_place(name, source, opened.start()))
        at = closed + len(closing)


def _check_filters(env: Environment, expressions: Iterable[Expression]) -> None:
    for expression in expressions:
        if isinstance(expression, FilteredExpression):
            for used in expression.filters or ():
                used.validate_filter_arguments(env)


def _why_not(expression: Expression) -> str | None:
    if isinstance(expression, RangeLiteral):
        return "ranges such as (1..9) are not allowed"
    if isinstance(expression, Blank | Empty):
        return "a blank value counts as missing: write {% if contact.x %} instead of a comparison with blank or empty"
    if isinstance(expression, Path) and not all(isinstance(part, str) for part in expression.path):
        return 'a variable is named outright, such as contact.first_name or contact["job title"]'
    if isinstance(expression, FilteredExpression) and not _splits_well(expression):
        return "split stands right before first or last, and these right after split"
    return None


def _splits_well(expression: FilteredExpression) -> bool:
    """A list turned back into text grows at every turn; a part taken out of it does not."""
    names = ["", *(used.name for used in expression.filters or ()), ""]
    return all((one == "split") == (two in ("first", "last")) for one, two in pairwise(names))


def _filler(parsed: BoundTemplate) -> Callable[[Values], str]:
    """The short cut when every node allows it, else Liquid itself; both give the same text."""
    parts = [_part(node, parsed.env.autoescape) for node in parsed.nodes]
    simple = [part for part in parts if part is not None]
    if len(simple) < len(parts):
        return parsed.render
    return lambda values: "".join([part if isinstance(part, str) else part(values) for part in simple])


def _part(node: Node, autoescape: bool) -> str | Callable[[Values], str] | None:
    """Literal text, or an output with at most a literal default; None for what only Liquid can do."""
    if isinstance(node, ContentNode):
        return node.text
    expression = node.expression if isinstance(node, OutputNode) else None
    if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path):
        return None
    path = tuple(str(part) for part in expression.left.path)
    if not expression.filters:
        return _output(path, None, autoescape)
    default = _literal_default(expression)
    return None if default is None else _output(path, default, autoescape)


def _literal_default(expression: FilteredExpression) -> str | None:
    filters = expression.filters or []
    if len(filters) != 1 or filters[0].name != "default" or len(filters[0].args) != 1:
        return None
    argument = filters[0].args[0]
    return argument.value.value if isinstance(argument.value, StringLiteral) and not hasattr(argument, "name") else None


def _output(path: tuple[str, ...], default: str | None, autoescape: bool) -> Callable[[Values], str]:
    """As Liquid: a literal default is the author's and not escaped; where there is one, false counts as missing."""

    def output(values: Values) -> str:
        found = find_value(values, path)
        if found is None or (found is False and default is not None):
            if default is None:
                raise hole(path, None)
            return default
        if type(found) is str:
            return str(escape(found)) if autoescape else found
        return to_liquid_string(found, autoescape)

    return output


def _reason(error: LiquidError) -> str:
    """Liquid's own words, and what is allowed where something is not."""
    reason = str(error.message)
    if reason.startswith("unexpected tag"):
        return f"{reason}; {_ALLOWED_TAGS}"
    return f"{reason}; allowed are {', '.join(sorted(FILTERS))}" if reason.startswith("unknown filter") else reason


def _refused(reason: str, source: str, token: Token | None, name: str) -> InputError:
    return InputError(reason, where=_place(name, source, token.start_index) if token else name)


def _place(name: str, source: str, index: int) -> str:
    """Liquid's index of the end is -1."""
    return f"{name}, line {source.count(chr(10), 0, index if index >= 0 else len(source)) + 1}"
