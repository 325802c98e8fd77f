"""Templates: no letter with a hole, no template that runs away, and the short cut writes what Liquid writes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from liquid import Environment, FalsyStrictUndefined
from liquid.exceptions import UndefinedError

from mailfleet.base.errors import InputError
from mailfleet.mail.liquid_rules import FILTERS, HTML, MAX_NESTING, TEXT
from mailfleet.mail.markup import clean_html, text_from_html
from mailfleet.mail.templates import MAX_OUTPUT, MAX_SOURCE, Kind, TemplateHole, compile_template

VALUES: dict[str, Any] = {
    "contact": {
        "first_name": "Ann",
        "company": "B & <Co>",
        "job title": "CTO",
        "nothing": None,
        "spaces": " \n",
        "vip": True,
    },
    "mailbox": {"name": "Bob", "signature": "Bob\r\nBrown"},
    "opt_out_url": "https://go.example.com/o/1",
}


def render(source: str, kind: Kind = "text") -> str:
    return compile_template(source, name="step 1", kind=kind).render(VALUES)


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(["", " ", "<&'\">"]),
)
_names = st.sampled_from(["a", "b", "size", "first"])
_literals = st.text(st.characters(exclude_characters='"{}%', exclude_categories=["Cs"]), max_size=6)
_outputs = st.builds(
    lambda path, default, left, right: f"{{{{{left} {path}{default} {right}}}}}",
    st.sampled_from(["a", "c.a", "c.b", 'c["a b"]', "c.size", "now"]),
    st.one_of(
        st.sampled_from(["", ' | default: allow_false: "x"', ' | default: "x" | upcase']),
        _literals.map(lambda text: f' | default: "{text}"'),
    ),
    st.sampled_from(["", "-"]),
    st.sampled_from(["", "-"]),
)
_sources = st.lists(st.one_of(_outputs, st.text(st.sampled_from("ab \n\t<&}'"), max_size=6)), max_size=6).map("".join)
_contexts = st.fixed_dictionaries(
    {}, optional={"a": _values, "c": st.dictionaries(st.sampled_from(["a", "b", "a b", "size"]), _values)}
)


def outcome(fill: Any, values: dict[str, Any]) -> str:
    try:
        return str(fill(values))
    except UndefinedError as error:
        return f"hole: {error.message}"
    except TemplateHole as error:
        return f"hole: {error.variable}"


@settings(deadline=None, max_examples=300)
@given(_sources, _contexts, st.sampled_from(["text", "html"]))
def test_the_short_cut_writes_what_our_liquid_writes(source: str, values: dict[str, Any], kind: Kind) -> None:
    """Same text or same hole, for any values, with or without escaping."""
    template = compile_template(source, name="step 1", kind=kind)
    liquid = (HTML if kind == "html" else TEXT).from_string(source)
    assert outcome(template.render, values) == outcome(liquid.render, values)


@settings(deadline=None, max_examples=300)
@given(_sources, _contexts, st.sampled_from(["text", "html"]))
def test_a_filled_letter_is_what_plain_liquid_writes(source: str, values: dict[str, Any], kind: Kind) -> None:
    """Our strictness only ever withholds: what it lets through is the output of Liquid as it comes."""
    text = outcome(compile_template(source, name="step 1", kind=kind).render, values)
    blanks = any(
        isinstance(value, str) and not value.strip() for value in (values.get("a"), *values.get("c", {}).values())
    )
    if not text.startswith("hole: ") and not blanks and "now" not in source and "size" not in source:
        plain = Environment(undefined=FalsyStrictUndefined, autoescape=kind == "html")
        assert text == plain.from_string(source).render(values)


@pytest.mark.parametrize(
    ("source", "variable"),
    [
        ("{{ contact.frist_name }}", "contact.frist_name"),
        ("{{ contact.nothing }}", "contact.nothing"),
        ("{{ contact.spaces }}", "contact.spaces"),
        ("{{ nobody.first_name }}", "nobody.first_name"),
        ("{{ contact }}", "contact"),
        ("{{ contact.size }}", "contact.size"),
        ("{{ contact.first_name.size }}", "contact.first_name.size"),
        ("{{ now }}", "now"),
        ("{{ contact.nothing | append: '!' }}", "contact.nothing"),
        ("{{ 'Dear ' | append: contact.nothing }}", "contact.nothing"),
        ("{{ contact.first_name | remove: 'Ann' | append: '!' }}", "contact.first_name"),
        ("{{ contact.first_name | split: 'Ann' | last | append: '!' }}", "contact.first_name"),
        ("{{ contact.nothing | default: contact.spaces }}", "contact.spaces"),
        ("{% if contact.vip %}{{ contact.nothing }}{% endif %}", "contact.nothing"),
    ],
)
@pytest.mark.parametrize("kind", ["subject", "text", "html"])
def test_a_letter_with_a_hole_is_withheld_and_names_it(source: str, variable: str, kind: Kind) -> None:
    """Unknown, None and blank are holes wherever text is made of them, and the error names the path."""
    with pytest.raises(TemplateHole, match="step 1: ") as hole:
        render(source, kind)
    assert hole.value.variable == variable


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('Hi {{ contact.nothing | default: "there" }}', "Hi there"),
        ("Hi {{ contact.spaces | default: contact.first_name }}", "Hi Ann"),
        ('Hi{{ contact.nothing | default: "" }}', "Hi"),
        ("{% if contact.nothing %}a{% elsif contact.spaces %}b{% else %}c{% endif %}", "c"),
        ("{% if contact.frist_name == nil %}a{% endif %}", "a"),
        ('{% if contact.nothing contains "x" or contact.nothing > 3 %}a{% else %}b{% endif %}', "b"),
        ("{% unless contact.nothing %}a{% endunless %}", "a"),
        ('{% case contact.nothing %}{% when "x" %}a{% else %}b{% endcase %}', "b"),
        ('{{ contact["job title"] | downcase }}{% # a note %}', "cto"),
        ('{{ contact.first_name | append: " Lee" | split: " " | last }}', "Lee"),
        ("{{ '{{' }} as it is }}", "{{ as it is }}"),
        ("{Hi|Hello}", "{Hi|Hello}"),
    ],
)
def test_what_says_what_stands_in_its_place_is_filled(source: str, text: str) -> None:
    """A default and a condition are answers to a missing value; spintax is just text."""
    assert render(source) == text


def test_variables_are_the_paths_in_order_of_appearance() -> None:
    """A campaign can be checked against its list before anyone is written to."""
    source = (
        '{{ opt_out_url }}{% if contact.vip %}{{ mailbox.name | append: contact["job title"] }}{% elsif a %}{% endif %}'
        "{% case d.e %}{% when f %}{{ opt_out_url }}{% endcase %}{% unless g %}{{ h | default: i }}{% endunless %}"
    )
    paths = compile_template(source, name="step 1").variables
    assert ",".join(paths) == "opt_out_url,contact.vip,mailbox.name,contact.job title,a,d.e,f,g,h,i"


def test_values_are_escaped_in_html_and_in_html_alone() -> None:
    """A value is never markup; in text and subject it stays as it is."""
    source = "<p>{{ contact.company }}</p>"
    assert render(source, "html") == "<p>B &amp; &lt;Co&gt;</p>"
    assert render(source, "text") == render(source, "subject") == "<p>B & <Co></p>"
    assert render("{{ mailbox.signature | newline_to_br }}", "html") == "Bob<br />\nBrown"
    assert render("{{ contact.company | append: contact.company }}", "html") == "B &amp; &lt;Co&gt;B &amp; &lt;Co&gt;"


def test_a_subject_is_one_line() -> None:
    """Line breaks and controls, of a value or of the template, become one space."""
    assert render("\n{{ mailbox.signature }}\t \x00{{ contact.first_name }}\u2028!\n", "subject") == "Bob Brown Ann !"
    assert render("a  b", "subject") == "a  b"


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("a\n{{ contact.first_name", 2, "is not closed"),
        ("\n{{ " + "a" * 500 + " }}", 2, "is not closed by }} within 500 characters"),
        ("a\n\n{% if contact.vip %}", 3, "endif"),
        ("\n{% endif %}", 2, "unexpected tag 'endif'"),
        ("\n{{ a b }}", 2, "expected end of expression"),
        ("\n{{ }}\n\n", 2, "expected a primitive"),
        ("\n{{ a | nope }}", 2, "unknown filter 'nope'; allowed are append"),
        ("\n{{ a | join: ',' }}", 2, "unknown filter 'join'"),
        ("\n{{ a | replace: 'a', 'aa' }}", 2, "unknown filter 'replace'"),
        ("\n{% for x in contact %}{% endfor %}", 2, "unexpected tag 'for'; allowed are if"),
        ("\n{% assign x = 1 %}", 2, "unexpected tag 'assign'"),
        ("\n{% include 'x' %}", 2, "unexpected tag 'include'"),
        ("\n{%- raw %}{{ a }}{% endraw %}", 2, "unexpected tag 'raw'; allowed are if"),
        ("\n{{ (1..100000000) }}", 2, "ranges"),
        ("\n{% if (1..100000000) contains 2 %}{% endif %}", 2, "ranges"),
        ("\n{{ 'a' | append: (1..9) }}", 2, "ranges"),
        ("\n{{ contact[0] }}", 2, "named outright"),
        ("\n{{ contact[a] }}", 2, "named outright"),
        ("\n{% if a != blank %}{% endif %}", 2, "counts as missing"),
        ("\n{{ a | split: '' | append: '' | split: '' }}", 2, "split stands right before"),
        ("\n{{ a | first }}", 2, "split stands right before"),
    ],
)
def test_what_cannot_be_used_is_refused_by_line(source: str, line: int, reason: str) -> None:
    """Every refusal names template, line and reason, before any letter is rendered."""
    with pytest.raises(InputError, match=rf"^step 1, line {line}: .*{reason}"):
        compile_template(source, name="step 1")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        *(
            "{{" + " " * 400 + "}}",
            "{{" + " " * 400,
            "{% if a %}",
            "{% raw %}",
            "{% comment %}",
            "{% raw %}{%{{% endraw %}",
        ),
        *(
            "{{ a" + " | escape" * 50 + " }}",
            "{% if " + "a and " * 80 + "a %}{% endif %}",
            "{{ " + "[" * 400 + " }}",
            "{",
        ),
    ],
)
def test_no_template_keeps_the_parser_busy(piece: str) -> None:
    """The longest template of the worst pieces compiles, or is refused, and does not go on for ever."""
    try:
        compile_template((piece * MAX_SOURCE)[: MAX_SOURCE // len(piece) * len(piece)], name="step 1")
    except InputError:
        pass


@pytest.mark.parametrize("name", sorted(FILTERS - {"split", "first", "last"}))
@pytest.mark.parametrize("kind", ["text", "html"])
def test_no_chain_of_filters_multiplies_a_value(name: str, kind: Kind) -> None:
    """As many filters as fit in one expression grow a value by a factor, never by a power."""
    argument = {"append": ": a", "prepend": ": a", "remove": ": 'x'", "truncate": ": 999999"}.get(name, "")
    chain = f" | {name}{argument}" * (480 // len(f" | {name}{argument}"))
    text = compile_template("{{ a" + chain + " }}", name="step 1", kind=kind).render({"a": "\n<&%'" * 10})
    assert len(text) < 50 * 480 * 10


def test_lengths_and_depth_have_ends() -> None:
    """A template, its nesting and its result are bounded, and the error says by what."""
    with pytest.raises(InputError, match="longer than"):
        compile_template("a" * (MAX_SOURCE + 1), name="step 1")
    with pytest.raises(InputError, match="nesting"):
        compile_template("{% if a %}" * (MAX_NESTING + 1) + "{% endif %}" * (MAX_NESTING + 1), name="step 1")
    for source in ("{{ a }}", "{{ a | strip }}", "{{ a | append: a | append: a | append: a | append: a }}"):
        with pytest.raises(InputError, match=r"over 200000 characters|limit reached"):
            compile_template(source, name="step 1").render({"a": "x" * (MAX_OUTPUT + 1)})


def test_a_filter_that_refuses_its_value_withholds_the_letter() -> None:
    """A comparison or an argument of the wrong kind is an error of that letter, not a crash."""
    for source in ("{% if contact.first_name > 3 %}a{% endif %}", "{{ contact.first_name | truncate: 'x' }}"):
        with pytest.raises(InputError, match="the letter is not sent"):
            render(source)


def test_text_from_html_keeps_words_lines_and_the_address_of_a_link() -> None:
    """The derived text can be read, and its opt-out can be followed."""
    html = "<style>p {}</style><p>Hello &amp; welcome</p><p><a href='https://go.example.com/o/1'>No more</a></p>"
    text = text_from_html(html)
    assert text.splitlines()[0] == "Hello & welcome"
    assert "[No more](https://go.example.com/o/1)" in text
    assert text_from_html(" \n") == text_from_html("<p> </p>") == ""


def test_clean_html_drops_what_acts_and_keeps_what_is_seen() -> None:
    """Scripts, forms, frames, handlers and odd schemes go; styles, tables, links and images stay."""
    bad = (
        "<script>x</script><form action='https://x.example'><input></form><iframe src='https://x.example'></iframe>"
        "<p onclick='x()'>a</p><a href='javascript:x()'>b</a><!-- c --><style>p {}</style><meta http-equiv=refresh>"
    )
    assert clean_html(bad) == "<p>a</p><a>b</a>"
    good = (
        '<table width="600" bgcolor="#ffffff"><tbody><tr><td style="color:red" align="center">'
        '<a href="https://example.com/?a=1&amp;b={{ contact.first_name }}">x</a><img src="cid:1" alt="y">'
        "</td></tr></tbody></table>"
    )
    assert clean_html(good) == good
