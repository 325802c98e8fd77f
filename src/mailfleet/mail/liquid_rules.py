"""Our Liquid: what of it a letter may use, and when an output is a hole.

There are no loops, no ranges, no assignments and no filter that multiplies text, so the work is bounded by the length
of a template and of its values. Variables are what was given and nothing else: no `now`, no `size` of a dict.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, RenderContext, Token
from liquid.ast import Node
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import LiquidError, UndefinedError
from liquid.expression import Expression
from liquid.output import LimitedStringIO
from liquid.stringify import to_liquid_string
from liquid.token import TOKEN_CONTENT, TOKEN_ILLEGAL, TOKEN_OUTPUT
from liquid.undefined import UNDEFINED

Values = Mapping[str, object]

MAX_OUTPUT = 200_000  # chosen: twice what Gmail shows of a message (102 KB)
MAX_BYTES = 4 * MAX_OUTPUT
MAX_NESTING = 10  # chosen: deeper, nobody can say which letter results

TAGS = frozenset({"if", "unless", "case", "#"})
FILTERS = frozenset(
    {
        *("append", "capitalize", "default", "downcase", "escape", "first", "last", "newline_to_br"),
        *("prepend", "remove", "split", "strip", "truncate", "upcase", "url_encode"),
    }
)


def find_value(values: Values, path: Iterable[object]) -> object | None:
    """The value at a path; None for what is missing, None, blank, or no single value."""
    found: Any = values
    try:
        for name in path:
            found = found[name]
    except (KeyError, TypeError):  # no such name, or nothing that has names
        return None
    if isinstance(found, str):
        return found if found and not found.isspace() else None
    return found if isinstance(found, int | float | Decimal) else None


def dotted(path: Iterable[object]) -> str:
    return ".".join(str(part) for part in path)


def hole(path: Iterable[object], token: Token | None) -> UndefinedError:
    """The error that names a missing variable by its path, as do those that Liquid raises by itself."""
    return UndefinedError(dotted(path), token=token)


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all within it, the outer before the inner."""
    yield expression
    for inner in expression.children():
        yield from walk(inner)


def walk_nodes(template: BoundTemplate, nodes: Iterable[Node]) -> Iterator[Expression]:
    """All expressions of a template, in order of appearance."""
    context = RenderContext(template)
    for node in nodes:
        for expression in node.expressions():
            yield from walk(expression)
        yield from walk_nodes(template, node.children(context, include_partials=False))


class _Context(RenderContext):
    __slots__ = ()

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        found = find_value(self.globals, path)
        if found is None:
            name = dotted(path)
            return self.env.undefined(name, hint=name, token=token)
        return found


class _Template(BoundTemplate):
    context_class = _Context

    def _get_buffer(self) -> LimitedStringIO:
        return LimitedStringIO(MAX_BYTES, newline="")  # Liquid's own changes line endings


class _FilledNode(OutputNode):
    """An output that is blank, at its end or between two filters, is a hole, unless a default was written for it."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        expression = self.expression
        if not isinstance(expression, FilteredExpression) or (path := _unguarded(expression)) is None:
            return super().render_to_output(context, buffer)
        text = ""
        for value in _stages(expression, context):
            text = to_liquid_string(value, context.autoescape)
            if not text.strip():
                raise hole(path.path, path.token)
        return buffer.write(text)


class _FilledOutput(Output):
    node_class = _FilledNode


def _unguarded(expression: FilteredExpression) -> Path | None:
    """The first variable of an expression that has one and no default."""
    if any(used.name == "default" for used in expression.filters or ()):
        return None
    return next((inner for inner in walk(expression) if isinstance(inner, Path)), None)


def _stages(expression: FilteredExpression, context: RenderContext) -> Iterator[object]:
    """The value before and after each filter."""
    value = expression.left.evaluate(context)
    yield value
    for used in expression.filters or ():
        value = used.evaluate(value, context)
        yield value


class _Environment(Environment):
    block_nesting_limit = MAX_NESTING
    template_class = _Template

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        kept = {*TAGS, TOKEN_CONTENT, TOKEN_ILLEGAL, TOKEN_OUTPUT}
        self.tags = {name: tag for name, tag in self.tags.items() if name in kept}
        self.filters = {name: func for name, func in self.filters.items() if name in FILTERS}
        self.add_tag(_FilledOutput)

    def error(self, exc: type[LiquidError] | LiquidError, msg: str | None = None, token: Token | None = None) -> None:
        """Gives an error at the end of an expression (index -1) the place of the expression."""
        if isinstance(exc, LiquidError) and exc.token and exc.token.start_index < 0:
            exc.token = token or exc.token
        super().error(exc, msg, token)


TEXT = _Environment(undefined=FalsyStrictUndefined)
HTML = _Environment(undefined=FalsyStrictUndefined, autoescape=True)
