"""A certain no is never missed, a doubtful one waits for a person, and an answer that is no refusal goes through."""

import tomllib
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.base.errors import InvariantError
from mailfleet.mail.phrases import Clause, clauses, clean, spell
from mailfleet.mail.refusals import MAX_TEXT, Refusal, find_refusal, make_rules

RULES: dict[str, Any] = tomllib.loads(files("mailfleet.mail").joinpath("refusals.toml").read_text(encoding="utf-8"))
CERTAIN = [(rule["id"], text) for rule in RULES["rule"] if rule["certain"] for text in rule["matches"]]
DOUBTFUL = [
    (rule["id"], text)
    for rule in RULES["rule"]
    for text in [*rule.get("doubtful", ()), *(() if rule["certain"] else rule["matches"])]
]
MISSES = [(rule["id"], text) for rule in RULES["rule"] for text in rule["misses"]]

GREETINGS = ["", "Hi Ann,\n\n", "Добрый день!\n", "Guten Tag,\n\n", "Bonjour\n\n", "Hola, "]
THANKS = ["", "\n\nThanks", "\n\nС уважением,\nБоб", "\nDanke", "\n\nMerci", "\n\nBob Ray\nCEO, B Corp"]
PEOPLE = """
Sounds great, let's talk on Monday.
Could you send me more information about pricing?
I'll forward this to my colleague who handles purchasing.
Please don't stop sending these, they are great
I would not opt out of this for anything
Feel free to not remove me
Don't stop!
I will remove the blocker on our side and come back
Could you remove the logo from the proposal?
I can't write more now, will send details tomorrow
No, Monday does not work; Tuesday is better
Can you take me through the pricing?
We stopped using that provider
If you don't hear from me, write again
Do not worry, write me whenever you like
We will not send the contract before Friday
Please do not share this with anyone
Please reach out to anna@x.example, she handles this
Не могли бы вы прислать прайс?
Нет, в понедельник не могу, давайте во вторник
Не получил ваше письмо, пришлите ещё раз
Если не отвечу, напишите ещё раз
Отпишусь по итогам встречи
Nein, Montag passt nicht, aber Dienstag
Ich habe Ihre E-Mail nicht erhalten
Das ist nicht schlecht, erzählen Sie mehr
Non, lundi ne va pas, plutôt mardi
Je n'ai pas reçu votre message
Ce n'est pas mal, envoyez la brochure
No, el lunes no puedo, mejor el martes
No dude en llamarme
Me interesa, hablemos el lunes
""".strip().splitlines()


def test_every_rule_has_samples_of_its_own() -> None:
    """Each rule shows what it takes and what it leaves, so a change of one is seen."""
    for rule in RULES["rule"]:
        assert rule["matches"], rule["id"]
        assert rule["misses"], rule["id"]
    assert {"en", "ru", "de", "fr", "es"} <= {rule["language"] for rule in RULES["rule"] if rule["certain"]}


@pytest.mark.parametrize(("rule", "text"), CERTAIN)
def test_certain_refusal_is_certain(rule: str, text: str) -> None:
    """A plain no is an opt-out, by the rule it is a sample of."""
    found = find_refusal("Re: our offer", text)
    assert found is not None
    assert (found.is_certain, found.rule) == (True, rule)


@pytest.mark.parametrize(("rule", "text"), DOUBTFUL)
def test_doubtful_refusal_waits(rule: str, text: str) -> None:
    """What may be a no, and may not, is doubtful: neither missed nor acted upon."""
    found = find_refusal("Re: our offer", text)
    assert found is not None
    assert (found.is_certain, found.rule) == (False, rule)


@pytest.mark.parametrize(("rule", "text"), MISSES)
def test_what_a_rule_leaves(rule: str, text: str) -> None:
    """The opposite of a no, or another matter in like words, is never certain, and not by that rule."""
    found = find_refusal("Re: our offer", text)
    assert found is None or (not found.is_certain and found.rule != rule)


@pytest.mark.parametrize("text", PEOPLE)
def test_an_answer_is_no_refusal(text: str) -> None:
    """Ordinary answers, with negations and words of refusal in other senses, are neither certain nor doubtful."""
    assert find_refusal("Re: our offer", text) is None


@given(st.sampled_from(CERTAIN), st.sampled_from(GREETINGS), st.sampled_from(THANKS), st.booleans())
def test_politeness_changes_nothing(sample: tuple[str, str], greeting: str, thanks: str, shouted: bool) -> None:
    """A greeting, thanks, a signature or capitals around a certain no leave it certain."""
    text = greeting + sample[1] + thanks
    found = find_refusal("Re: our offer", text.upper() if shouted else text)
    assert found is not None
    assert found.is_certain


@given(
    st.sampled_from(CERTAIN), st.lists(st.sampled_from(["\u00ad", "\u200b", "\ufeff", "\u2060"]), min_size=1), st.data()
)
def test_invisible_signs_hide_nothing(sample: tuple[str, str], signs: list[str], data: Any) -> None:
    """Soft hyphens and zero-width signs anywhere, NBSP for spaces and curly quotes hide no refusal."""
    text = sample[1].replace(" ", "\u00a0").replace("'", "’")
    for sign in signs:
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + sign + text[place:]
    found = find_refusal("Re: our offer", text)
    assert found is not None
    assert found.is_certain


@given(st.sampled_from(CERTAIN))
def test_a_quoted_no_is_not_theirs(sample: tuple[str, str]) -> None:
    """Words on quoted lines are not the writer's."""
    quoted = "\n".join("> " + line for line in sample[1].splitlines())
    assert find_refusal("Re: our offer", quoted + "\nLet us talk on Monday") is None


@pytest.mark.parametrize(
    ("subject", "is_certain"),
    [
        ("unsubscribe", True),
        ("Please remove me from your list", True),
        ("Re: Unsubscribe", True),
        ("AW: STOP", True),
        ("Отв: отпишите", True),
        ("Not interested", False),
        ("Re: Do not contact me again", None),
        ("Re: Why customers unsubscribe", None),
        ("Our offer", None),
    ],
)
def test_subject_may_say_no(subject: str, is_certain: bool | None) -> None:
    """A subject of their own counts like the text; one that answers ours counts only when all of it is a no."""
    found = find_refusal(subject, "")
    assert (found and found.is_certain) == is_certain


def test_certain_beats_doubtful() -> None:
    """Of a doubtful no and a certain one the certain one decides, wherever it stands."""
    found = find_refusal("Re: our offer", "No thanks, not interested.\n\nAnd please take us off your list.")
    assert found == Refusal(is_certain=True, words="take us off your list", rule="en-remove")


def test_words_are_the_letters() -> None:
    """The words shown are those of the letter, as they were written."""
    found = find_refusal("Re: our offer", "Well — Пожалуйста, НЕ  пишите мне больше!")
    assert found is not None
    assert found.words.startswith("НЕ  пишите")


@pytest.mark.parametrize(
    "typo",
    [
        "unsuscribe",
        "unsubcribe",
        "unsubsribe",
        "unsubscirbe",
        "Unsubscride",
        "unsubscibe",
        "отпешите",
        "отпишитте",
        "désabonez",
        "abmeldn",
    ],
)
def test_slips_of_the_pen_count(typo: str) -> None:
    """A common word of refusal with a slip in it is still a certain no."""
    found = find_refusal("Re: our offer", f"{typo} please")
    assert found is not None
    assert found.is_certain


words = sorted(
    {
        word.rstrip("*")
        for rule in RULES["rule"]
        for phrase in rule.get("phrases", ())
        for part in spell(phrase)
        for word in part
    }
)
mess = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(words), max_size=40).map(" ".join))


@settings(deadline=None)
@given(mess, mess)
def test_anything_gets_an_answer(subject: str, text: str) -> None:
    """Whatever comes in: an answer, by a known rule, in words of the letter."""
    found = find_refusal(subject, text)
    if found:
        assert found.rule in {rule["id"] for rule in RULES["rule"]}
        assert found.words in clean(text, MAX_TEXT) or found.words in clean(subject, MAX_TEXT)


HOSTILE = [
    "not " * 3000,
    "unsubscribe not " * 800,
    ",. " * 4000,
    '"' * 12000,
    "\n" * 12000,
    "stop all " * 1300,
    "> " * 6000,
    "ﷺ" * 12000,
    " ".join(words * 3),
    "re:" * 4000,
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_ends(text: str) -> None:
    """No text keeps the reader busy; the words found are few."""
    found = find_refusal(text, text)
    assert found is None or len(found.words) < 1000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": "en-stop"}, "there twice"),
        ({"phrases": ["ab*"]}, "not one word"),
        ({"phrases": ["d'accord"]}, "not one word"),
        ({"phrases": ["stop .."]}, "gap at an end"),
        ({"phrases": ["a .. b .. c .. d"]}, "more than two gaps"),
    ],
)
def test_broken_rule_is_refused(change: dict[str, Any], complaint: str) -> None:
    """A rule that cannot be read is refused when the rules are made, not when a letter arrives."""
    rule = {"id": "new", "language": "en", "certain": True, "phrases": ["hello"], **change}
    with pytest.raises(InvariantError, match=complaint):
        make_rules(RULES | {"rule": [*RULES["rule"], rule]})


# --- how a text is read ---------------------------------------------------------------------------------------------


def words_of(text: str, *, by_line: bool = False) -> list[str]:
    return [clause.words.strip() for clause in clauses(clean(text, 1000), by_line=by_line)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Don’t e-mail me. Bye!", ["do not email me", "bye"]),
        ("Art. 21 DSGVO. Ende", ["art 21 dsgvo", "ende"]),
        ("n'écrivez plus, svp", ["n ecrivez plus , svp"]),
        ("Ещё\u00a0раз", ["еще раз"]),
        ("remove me from\nthe list\nBob", ["remove me from the list", "bob"]),
        ("remove me\n\nfrom here", ["remove me", "from here"]),
        ("自動返信", ["自 動 返 信"]),
        ("write to a.b@x.example now", ["write to a b x example now"]),
        ("", []),
    ],
)
def test_text_is_read_in_clauses(text: str, said: list[str]) -> None:
    """Marks and empty lines end a clause, a wrapped line does not; words lose case, accents and contractions."""
    assert words_of(text) == said


def test_lines_may_be_clauses() -> None:
    """Read by line, every line stands alone."""
    assert words_of("remove me from\nthe list", by_line=True) == ["remove me from", "the list"]


def test_a_clause_is_bounded() -> None:
    """A text without marks is cut into clauses, none of its words lost."""
    said = words_of("word " * 150)
    assert sum(len(clause.split()) for clause in said) == 150
    assert max(len(clause.split()) for clause in said) <= 60


@given(st.text(max_size=200))
def test_every_clause_knows_its_place(text: str) -> None:
    """Each word of a clause has one place in the cleaned text, in order."""
    cleaned = clean(text, 1000)
    for clause in clauses(cleaned):
        assert isinstance(clause, Clause)
        assert len(clause.words.split()) == len(clause.places)
        assert list(clause.places) == sorted(clause.places)
        assert all(0 <= start < end <= len(cleaned) for start, end in clause.places)
