import re
from datetime import timedelta
from pathlib import Path

import pytest

from mailfleet.intake.campaign_file import CampaignFile, ContactWindow, Variant, read_campaign
from mailfleet.intake.contacts import ContactDefaults, ContactRow, map_contact_columns, read_contact_row
from mailfleet.intake.footer import LANGUAGES, is_complete, with_footer
from mailfleet.intake.letter import CONTACT_FIELDS, FOOTER, VARIABLES, claims_a_reply
from mailfleet.intake.pool import Pool, Selector
from mailfleet.intake.tables import Row, open_table
from mailfleet.intake.toml_file import FileProblems
from mailfleet.mail.markup import text_from_html
from mailfleet.mail.templates import Kind, compile_template
from mailfleet.model.words import LawfulBasis

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/campaign.toml"
DOCS = ROOT / "docs/campaigns.md"
CONTACTS = ROOT / "examples/contacts.csv"
VALUES = {
    "contact": {**dict.fromkeys(CONTACT_FIELDS, "c"), "instrument": "FC-200"},
    "mailbox": {"name": "Ann", "address": "ann@northwind-lab.example", "signature": "Ann"},
    "identity": {
        "name": "northwind",
        "legal_name": "Northwind & Sons",
        "postal_address": "12 Harbour <Street>\nBristol",
        "contact_email": "office@northwind.example",
        "website": "https://northwind.example",
    },
    "opt_out_url": "https://out.northwind.example/o/1abc",
}
HEAD = """\
name = "labs"
identity = "northwind"
list = "labs"
window.zone = "Europe/Berlin"
"""
FIRST = "[[steps]]\nsubject = 'Drift'\ntext = 'x'\n"


def _read(text: str, folder: Path) -> CampaignFile:
    path = folder / "campaign.toml"
    path.write_text(text, encoding="utf-8")
    return read_campaign(path)


def _problems(text: str, folder: Path) -> list[str]:
    with pytest.raises(FileProblems) as caught:
        _read(text, folder)
    return [str(problem).removeprefix(f"{folder}/campaign.toml:") for problem in caught.value.problems]


def _letter(body: str, folder: Path, kind: str = "text", head: str = HEAD) -> Variant:
    campaign = _read(f"{head}\n[[steps]]\nsubject = 'Drift'\n{kind} = '''\n{body}'''\n", folder)
    return campaign.steps[0].variants[0]


def _render(source: str, kind: Kind = "text") -> str:
    return compile_template(source, name=kind, kind=kind).render(VALUES)


def test_a_short_file_is_a_whole_campaign(tmp_path: Path) -> None:
    """What a file leaves out has the default the docs name."""
    campaign = _read(f'{HEAD}\n[[steps]]\nsubject = "Drift"\ntext = "How?"\n', tmp_path)
    assert (campaign.name, campaign.identity, campaign.lists) == ("labs", "northwind", ("labs",))
    assert campaign.language == "en"
    assert (campaign.pool, campaign.priority, campaign.openings_share) == (Pool(), 0, 0.0)
    assert campaign.window == ContactWindow(
        ("mon", "tue", "wed", "thu", "fri"), ("09:00-17:00",), "Europe/Berlin", "Europe/Berlin"
    )
    (step,) = campaign.steps
    assert step.wait == timedelta(0)
    assert [(variant.name, variant.weight, variant.subject) for variant in step.variants] == [("a", 1, "Drift")]


def test_the_example_says_what_it_looks_like() -> None:
    """examples/campaign.toml: three steps, two wordings of the first, contacts' own hours."""
    campaign = read_campaign(EXAMPLE)
    assert [step.wait for step in campaign.steps] == [timedelta(0), timedelta(days=3), timedelta(days=6)]
    assert [(v.name, v.weight, bool(v.html)) for v in campaign.steps[0].variants] == [
        ("question", 2, False),
        ("offer", 1, True),
    ]
    assert campaign.pool == Pool(
        Selector(tags=("labs", "science")), Selector(mailboxes=("director@northwind-lab.example",))
    )
    assert campaign.window == ContactWindow(
        ("mon", "tue", "wed", "thu", "fri"), ("09:00-12:00", "13:00-17:00"), "contact", "Europe/London"
    )
    assert campaign.steps[1].variants[0].subject == ""


def test_every_letter_of_the_example_shows_opt_out_and_address_once() -> None:
    """No letter leaves the reader without the way out, and none is told twice."""
    for step in read_campaign(EXAMPLE).steps:
        for variant in step.variants:
            parts = [_render(variant.text)] + ([text_from_html(_render(variant.html, "html"))] if variant.html else [])
            for part in parts:
                assert part.count(VALUES["opt_out_url"]) == 1  # type: ignore[arg-type]
                assert part.count("12 Harbour <Street>") == 1


def test_the_example_contacts_fill_the_example_letters() -> None:
    """Every contact of examples/contacts.csv has a lawful basis and gets every letter without a hole."""
    table = open_table(CONTACTS)
    columns = map_contact_columns(table)
    sources = [v.text for step in read_campaign(EXAMPLE).steps for v in step.variants]
    for row in table:
        assert isinstance(row, Row)
        contact = read_contact_row(row, columns, ContactDefaults())
        assert isinstance(contact, ContactRow)
        assert contact.lawful_basis != LawfulBasis.NONE
        known = {"first_name": contact.first_name, "company": contact.company, **contact.attributes}
        for source in sources:
            assert compile_template(source, name="text").render({**VALUES, "contact": known})


def test_every_problem_of_a_campaign_is_named_with_its_line(tmp_path: Path) -> None:
    """One reading shows all that is wrong, each with line, key and what would be right."""
    text = """\
name = "Labs of May"
list = []
langauge = "de"
priority = "high"
openings_share = 1.5
[pool]
tags = [1]
domains = "no domain"
accounts = "contract-1"
[pool.exclude]
tag = "x"
[window]
weekdays = ["mon-fry", "fri-mon"]
hours = ["9-17", "17:00-09:00", "10:00-12:00", "11:00-13:00"]
zone = "Europe/Berln"
fallback_zone = "Europe/Paris"
[[steps]]
wait = "1 day"
subject = "Fwd: [1] Drift"
[[steps]]
text = "x"
wait = "2 working days"
[[steps]]
subject = "x"
[[steps.variants]]
name = "a"
weight = 0
text = "x"
text_file = "x.txt"
[[steps.variants]]
name = "a"
text = "x"
"""
    assert _problems(text, tmp_path) == [
        '1: name: "Labs of May" is no name: up to 63 of a-z 0-9 . _ -, the first a letter or digit',
        "1: identity is missing",
        "2: list: names no list",
        "3: langauge: unknown key; did you mean language?",
        "4: priority: must be a whole number, not a text in quotes",
        "5: openings_share: 1.5 is not between 0 and 1",
        "7: pool.tags[1]: must be a text in quotes, not a whole number",
        "8: pool.domains: 'no domain' is not a domain: The part after the @-sign contains invalid characters: SPACE.",
        '9: pool.accounts: "contract-1" is no account: write "provider/account"',
        "11: pool.exclude.tag: unknown key; did you mean tags?",
        '13: window.weekdays[1]: "fry" is none of mon, tue, wed, thu, fri, sat, sun; did you mean fri?',
        '13: window.weekdays[2]: "fri-mon" runs backwards: name the days one by one',
        '14: window.hours[1]: "9-17" is no span of hours: write "09:00-17:00", from 00:00 to 24:00',
        '14: window.hours[2]: "17:00-09:00" does not end after it begins; write a night as two spans',
        "14: window.hours: 10:00-12:00 and 11:00-13:00 overlap",
        '15: window.zone: "Europe/Berln" is no IANA time zone; did you mean Europe/Berlin?',
        '16: window.fallback_zone: has no meaning unless zone = "contact"',
        "17: steps[1]: a letter needs text, text_file, html or html_file",
        "18: steps[1].wait: the first step has no letter before it to wait for",
        "19: steps[1].subject: begins like a reply or a forward, which this letter is not: write what it is about",
        '22: steps[2].wait: "2 working days" is no duration: write a number and seconds, minutes, hours or days, '
        'like "3 days"',
        "23: steps[3]: wait is missing",
        "24: steps[3].subject: belongs into each of the step's variants",
        "27: steps[3].variants[1].weight: 0 is not between 1 and 1000",
        "29: steps[3].variants[1].text_file: text and text_file are both there: keep one",
        f"29: steps[3].variants[1].text_file: {tmp_path}/x.txt: cannot be read: No such file or directory",
        '31: steps[3].variants[2].name: "a" is there twice in this step',
    ]


def test_a_campaign_cannot_start_with_nothing(tmp_path: Path) -> None:
    """An empty file is told all that a campaign needs, the time zone among it: no zone is guessed."""
    assert _problems("", tmp_path) == [
        "1: name is missing",
        "1: identity is missing",
        "1: list is missing",
        "1: window: zone is missing",
        "1: a campaign needs at least one [[steps]]",
    ]


def test_contacts_own_hours_need_a_zone_for_those_without_one(tmp_path: Path) -> None:
    """With zone = "contact", somebody without a zone is never written to by a guess."""
    head = HEAD.replace('"Europe/Berlin"', '"contact"')
    found = _problems(head + FIRST, tmp_path)
    assert found == ["4: window: fallback_zone is missing"]


@pytest.mark.parametrize("key", ["opt_out", "footer", "unsubscribe", "suppression", "lawful_basis_required"])
def test_no_key_takes_the_opt_out_the_address_or_a_suppression_away(key: str, tmp_path: Path) -> None:
    """What the law asks of a letter is not an option: such a key does not exist, anywhere in the file."""
    step = f'[[steps]]\nsubject = "x"\ntext = "x"\n{key} = false\n'
    assert ": unknown key" in _problems(f"{key} = false\n{HEAD}{step}", tmp_path)[0]
    assert ": unknown key" in _problems(f"{HEAD}{step}", tmp_path)[0]


TEMPLATE_ERRORS = [
    ("Hello {{ contct.first_name }}", 1, "unknown variable contct.first_name; did you mean contact.first_name?"),
    ("Hello\n\n{{ mailbox.nmae }}", 3, "unknown variable mailbox.nmae; did you mean mailbox.name?"),
    ("mailbox.nmae\n{% if mailbox.nmae %}x{% endif %}", 2, "unknown variable mailbox.nmae; did you mean mailbox.name?"),
    ("{{ contact }}", 1, "unknown variable contact"),
    ("{{ contact.a.b }}", 1, "unknown variable contact.a.b"),
    ("a\n{{ unsubscribe_url }}", 2, "unknown variable unsubscribe_url"),
    ("a\nb {% endfor %}", 2, "unexpected tag"),
    ("a\n\n{{ contact.first_name ", 3, "{{ is not closed"),
    ("a\n{{ footer | upcase }}", 2, "{{ footer }} must stand by itself"),
    ("a\n{% if contact.title %}{{ footer }}{% endif %}", 2, "{{ footer }} must stand by itself"),
]


@pytest.mark.parametrize(("body", "line", "message"), TEMPLATE_ERRORS)
def test_a_template_error_names_the_line_of_the_campaign_file(
    body: str, line: int, message: str, tmp_path: Path
) -> None:
    """Whatever is wrong inside a letter is shown where it stands in the file."""
    head = f"{HEAD}[[steps]]\nsubject = 'x'\ntext = '''\n"
    found = _problems(f"{head}{body}'''\n", tmp_path)
    assert [problem.split(":")[0] for problem in found] == [str(head.count("\n") + line)]
    assert found[0].split(": ", 1)[1].startswith(f"steps[1].text: {message}")


@pytest.mark.parametrize(("body", "line", "message"), TEMPLATE_ERRORS)
def test_a_template_error_names_the_line_of_the_file_beside(body: str, line: int, message: str, tmp_path: Path) -> None:
    """A letter in a file of its own is led back to that file's line."""
    (tmp_path / "letter.txt").write_text(body, encoding="utf-8")
    found = _problems(f"{HEAD}[[steps]]\nsubject = 'x'\ntext_file = 'letter.txt'\n", tmp_path)
    (problem,) = found
    assert problem.startswith(f"{tmp_path}/letter.txt:{line}: steps[1].text_file: {message}")


def test_a_subject_is_checked_like_a_letter_and_has_no_footer(tmp_path: Path) -> None:
    """A subject's variables are known ones, and the footer is not among them."""
    found = _problems(f"{HEAD}[[steps]]\ntext = 'x'\nsubject = 'x {{{{ footer }}}}'\n", tmp_path)
    assert found == ["7: steps[1].subject: unknown variable footer"]


@pytest.mark.parametrize("content", [b"", b" \n", b"a\x00b", b"M\xfcller"])
def test_a_letter_file_that_holds_no_letter_is_refused(content: bytes, tmp_path: Path) -> None:
    """An empty file, a NUL and another encoding never become a letter."""
    (tmp_path / "letter.txt").write_bytes(content)
    assert len(_problems(f"{HEAD}[[steps]]\nsubject = 'x'\ntext_file = 'letter.txt'\n", tmp_path)) == 1


def test_a_letter_beside_the_campaign_file_is_found_from_anywhere(tmp_path: Path) -> None:
    """Paths begin at the campaign file, and the letter is the same as one written inline."""
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/first.txt").write_text("How do you do?\n", encoding="utf-8")
    campaign = _read(f"{HEAD}[[steps]]\nsubject = 'Drift'\ntext_file = 'letters/first.txt'\n", tmp_path)
    assert campaign.steps[0].variants[0] == _letter("How do you do?\n", tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["text", "html"])
def test_a_letter_without_a_footer_gets_one_in_its_language(language: str, kind: Kind, tmp_path: Path) -> None:
    """Who says nothing of the law's lines has them added, and they render in every language."""
    variant = _letter("How do you do?", tmp_path, kind, f"language = '{language}'\n{HEAD}")
    letter = _render(variant.text or variant.html, kind)
    assert letter.startswith("How do you do?")
    shown = text_from_html(letter) if kind == "html" else letter
    for line in ("Northwind & Sons", "12 Harbour <Street>\nBristol", "https://out.northwind.example/o/1abc"):
        assert line in shown


def test_footers_differ_by_language() -> None:
    """No language borrows another's words."""
    for html in (False, True):
        assert len({with_footer("x", language, html=html) for language in LANGUAGES}) == len(LANGUAGES)


SHOWN = "{{ identity.postal_address }} {{ opt_out_url }}"
HIDING = [
    ("text", "{% if contact.title %}" + SHOWN + "{% endif %}"),
    ("text", "{% unless contact.title %}{% if contact.a %}x{% endif %}" + SHOWN + "{% endunless %}"),
    ("text", "{% case contact.title %}{% when 'x' %}" + SHOWN + "{% endcase %}"),
    ("text", "{% if contact.title %}" + '{{ "{% endif %}" }}' + SHOWN + "{% endif %}"),
    ("text", "{% raw %}" + SHOWN + "{% endraw %}"),
    ("text", "{% # " + SHOWN.replace("{{", "").replace("}}", "") + " %}"),
    ("text", "{{ identity.postal_address }}"),
    ("text", "{{ opt_out_url }}"),
    ("text", "{{ identity.postal_address }} {{ opt_out_url | truncate: 3 }}"),
    ("html", f"<p>x</p><!-- {SHOWN} -->"),
    ("html", f"<p>x</p><p style='display:none'>{SHOWN}</p>"),
    ("html", f"<style>{SHOWN}</style><p>x</p>"),
    ("html", "<p>{{ identity.postal_address }} <a href='{{ opt_out_url }}'> </a></p>"),
    ("html", "<p>{{ identity.postal_address }} <a href='{{ opt_out_url }}'>{% if contact.title %}x{% endif %}</a></p>"),
]


@pytest.mark.parametrize(("kind", "body"), HIDING)
def test_what_not_every_reader_sees_does_not_count(kind: str, body: str) -> None:
    """The opt-out and the address cannot be hidden: then the footer is added all the same."""
    html = kind == "html"
    assert not is_complete(body, html=html)
    assert is_complete(with_footer(body, "en", html=html), html=html)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text", f"x {SHOWN}"),
        ("text", "{{- identity.postal_address -}}\n{{opt_out_url}}{% if contact.title %}x{% endif %}"),
        ("html", "<p>{{ identity.postal_address | newline_to_br }} <a href='{{ opt_out_url }}'>no more</a></p>"),
    ],
)
def test_an_author_who_shows_both_is_left_alone(kind: str, body: str) -> None:
    """A letter that already shows address and opt-out is not changed by a letter."""
    assert with_footer(body, "en", html=kind == "html") == body


def test_the_footer_stands_where_the_author_puts_it() -> None:
    """`{{ footer }}` is replaced in place; without it an HTML footer goes before the end of the body."""
    assert with_footer("a\n{{ footer }}\nb", "en", html=False).endswith("{{ opt_out_url }}\nb")
    assert with_footer("<body><p>a</p></BODY></html>", "en", html=True).endswith("</p>\n</BODY></html>")


def test_a_letter_that_only_fits_without_its_footer_is_refused(tmp_path: Path) -> None:
    """What would be too long to be compiled when it is sent is refused when it is read."""
    found = _problems(f"{HEAD}[[steps]]\nsubject = 'x'\ntext = '{'x' * 99_990}'\n", tmp_path)
    assert len(found) == 1
    assert "with its footer" in found[0]


@pytest.mark.parametrize(
    "subject", ["Re: x", "re:x", "RE : x", "Fwd: x", "fw: x", "AW: x", "Re[2]: x", "Re (3): x", "Отв: x", "RV：x"]
)
def test_no_letter_pretends_to_be_an_answer(subject: str, tmp_path: Path) -> None:
    """Re: and Fwd: on what answers nothing is a false subject, in any language and on any step."""
    follow_up = "[[steps]]\nwait = '1 day'\ntext = 'x'\n"
    for steps in (FIRST.replace("Drift", subject), f"{FIRST}{follow_up}subject = '{subject}'\n"):
        assert "begins like a reply" in _problems(HEAD + steps, tmp_path)[0]


@pytest.mark.parametrize("subject", ["Reed: a question", "Regarding us", "Free: none", "x Re: y", "Resin: drift"])
def test_an_honest_subject_passes(subject: str) -> None:
    """Words that only begin like a mark are left alone."""
    assert not claims_a_reply(subject)


def test_a_pool_may_be_one_of_the_fleet(tmp_path: Path) -> None:
    """pool = "name" refers to fleet.toml."""
    assert _read(f'pool = "labs"\n{HEAD}[[steps]]\nsubject = "x"\ntext = "x"\n', tmp_path).pool == "labs"


def test_spans_of_days_and_hours_are_put_in_order(tmp_path: Path) -> None:
    """However a window is written, its days and hours come out sorted and once."""
    window = "window.weekdays = ['sun', 'tue-thu', 'wed']\nwindow.hours = ['13:00 - 24:00', '00:00-07:30']\n"
    campaign = _read(f"{HEAD}{window}[[steps]]\nsubject = 'x'\ntext = 'x'\n", tmp_path)
    assert campaign.window.weekdays == ("tue", "wed", "thu", "sun")
    assert campaign.window.hours == ("00:00-07:30", "13:00-24:00")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
def test_every_example_of_the_docs_is_read(block: str, tmp_path: Path) -> None:
    """What docs/campaigns.md shows can be copied: nothing in it is wrong, only the other parts are not there."""
    for problem in _problems(block, tmp_path):
        assert problem.endswith((" is missing", "a campaign needs at least one [[steps]]")), problem


def test_every_key_of_the_docs_is_one_of_the_file(tmp_path: Path) -> None:
    """No key is described that the file does not know."""
    sections = re.split(r"^## ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    headers = {"The campaign": "", "`[pool]`": "[pool]", "`[window]`": "[window]", "`[[steps]]`": "[[steps]]"}
    described = 0
    for section in sections:
        header = headers.get(section.splitlines()[0])
        for key in re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) if header is not None else []:
            table = "[[steps.variants]]" if key in ("name", "weight") and header == "[[steps]]" else header
            assert not [p for p in _problems(f"{table}\n{key} = 1979-05-27\n", tmp_path) if "unknown key" in p], key
            described += 1
    assert described == 9 + 6 + 4 + 9


def test_the_docs_describe_exactly_the_variables_there_are() -> None:
    """Every variable of a template stands in docs/campaigns.md, and nothing else does."""
    table = DOCS.read_text(encoding="utf-8").split("| variable | meaning |")[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert set(re.findall(r"`([\w.]+\w)`", " ".join(cells))) == {*VARIABLES, FOOTER}
