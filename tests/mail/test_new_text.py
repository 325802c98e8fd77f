"""The new text of a reply is what its writer wrote now: nothing quoted, nothing lost, whatever the program's habits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.mail.new_text import MAX_TEXT, new_text, without_quotes

QUOTE = "> Hello Bob,\n> shall we talk?\n>\n> Ann"
BARE = "Hello Bob,\nshall we talk?\n\nAnn"

WITH_MARKS = [  # introductions after which the quote is marked ">"
    "On Mon, May 4, 2026 at 10:00 AM Ann Lee <ann@a.example> wrote:",
    "On Mon, May 4, 2026 at 10:00 AM Ann Lee of the Very Long Company\n<ann@a.example> wrote:",
    "On 4 May 2026, at 10:00, Ann Lee <ann@a.example> wrote:",
    "Am 04.05.26 um 10:00 schrieb Ann Lee:",
    "Am Mo., 4. Mai 2026 um 10:00 Uhr schrieb Ann Lee <\nann@a.example>:",
    "Le lun. 4 mai 2026 à 10:00, Ann Lee <ann@a.example> a écrit :",
    "El lun, 4 may 2026 a las 10:00, Ann Lee (<ann@a.example>) escribió:",
    "Il giorno lun 4 mag 2026 alle ore 10:00 Ann Lee <ann@a.example> ha scritto:",
    "Em seg., 4 de mai. de 2026 às 10:00, Ann Lee <ann@a.example> escreveu:",
    "Op ma 4 mei 2026 om 10:00 schreef Ann Lee <ann@a.example>:",
    "pon., 4 maj 2026 o 10:00 Ann Lee <ann@a.example> napisał(a):",
    "Den mån 4 maj 2026 kl 10:00 skrev Ann Lee <ann@a.example>:",
    "пн, 4 мая 2026 г. в 10:00, Ann Lee <ann@a.example>:",
    '04.05.2026, 10:00, "Ann Lee" <ann@a.example>:',
    "4 мая 2026 г., в 10:00, Ann Lee <ann@a.example> написал(а):",
    "Понедельник, 4 мая 2026, 10:00 +03:00 от Ann Lee <ann@a.example>:",
    "04.05.2026 10:00, Ann Lee пишет:",
    "Ann Lee писал(а) 2026-05-04 10:00:",
    "пн, 4 трав. 2026 р. о 10:00 Ann Lee <ann@a.example> пише:",
    "2026年5月4日(月) 10:00 Ann Lee <ann@a.example>:",
    "Ann Lee <ann@a.example> 于2026年5月4日周一 10:00写道：",
    "-----Original Message-----",
    "On Monday, Ann Lee wrote:",
    "Am Montag schrieb Ann Lee:",
    "Dne 4. 5. 2026 v 10:00 Ann Lee napsal(a):",
]
WITHOUT_MARKS = [  # introductions after which all is quoted
    "From: Ann Lee <ann@a.example>\nSent: Monday, May 4, 2026 10:00 AM\nTo: Bob <bob@b.example>\nSubject: Talk",
    "*From:* Ann Lee <ann@a.example>\n*Sent:* Monday, May 4, 2026 10:00 AM\n*To:* Bob\n*Subject:* Talk",
    "____________________\nFrom: Ann Lee <ann@a.example>\nSent: Monday, May 4, 2026\nTo: Bob\nSubject: Talk",
    "-----Original Message-----\nFrom: Ann Lee [mailto:ann@a.example]\nSent: Monday\nSubject: Talk",
    "От: Ann Lee <ann@a.example>\nОтправлено: 4 мая 2026 г. 10:00\nКому: Bob\nТема: Talk",
    "-----Исходное сообщение-----\nОт: Ann Lee\nОтправлено: 4 мая 2026 г.\nТема: Talk",
    "-------- Пересылаемое сообщение --------\n04.05.2026, 10:00, Ann Lee:",
    "Von: Ann Lee <ann@a.example>\nGesendet: Montag, 4. Mai 2026 10:00\nAn: Bob\nBetreff: Talk",
    "-----Ursprüngliche Nachricht-----\nVon: Ann Lee\nGesendet: Montag\nBetreff: Talk",
    "De : Ann Lee <ann@a.example>\nEnvoyé : lundi 4 mai 2026 10:00\nÀ : Bob\nObjet : Talk",
    "-----Message d'origine-----\nDe : Ann Lee\nEnvoyé : lundi\nObjet : Talk",
    "De: Ann Lee <ann@a.example>\nEnviado el: lunes, 4 de mayo de 2026 10:00\nPara: Bob\nAsunto: Talk",
    "-----Mensaje original-----\nDe: Ann Lee\nEnviado: lunes\nAsunto: Talk",
    "---------- Forwarded message ---------\nFrom: Ann Lee <ann@a.example>\nDate: Mon, May 4, 2026\nSubject: Talk",
    "Begin forwarded message:\n\nFrom: Ann Lee <ann@a.example>\nSubject: Talk",
    "发件人: Ann Lee <ann@a.example>\n发送时间: 2026年5月4日 10:00\n收件人: Bob\n主题: Talk",
]
SIGNATURES = [
    "Sent from my iPhone",
    "Get Outlook for iOS<https://aka.ms/o0ukef>",
    "Отправлено с iPhone",
    "Отправлено из Mail.ru для Android",
    "Von meinem iPhone gesendet",
    "Gesendet von Mail für Windows",
    "Envoyé de mon iPhone",
    "Enviado desde mi iPhone",
    "Sent from Mail for Windows",
    "-- \nBob Ray\nCEO, B Corp\n+1 555 0100",
    "--\nС уважением,\nБоб",
    "Best regards,\nBob Ray\nB Corp",
    "С уважением,\nБоб Рэй",
    "Mit freundlichen Grüßen\n\nBob Ray",
    "Cordialement,\nBob",
    "Saludos,\nBob",
    "Inviato da iPhone",
    "Kind regards\nBob",
]


@pytest.mark.parametrize("introduction", WITH_MARKS + WITHOUT_MARKS)
def test_what_is_above_an_introduction_is_new(introduction: str) -> None:
    """The answer above a quote stays, and the introduction and the quote go, marked or not."""
    for quote in (QUOTE, BARE):
        assert new_text(f"Yes, Tuesday at ten.\n\n{introduction}\n\n{quote}\n") == "Yes, Tuesday at ten."


@pytest.mark.parametrize("introduction", WITH_MARKS)
def test_what_is_below_a_marked_quote_is_new(introduction: str) -> None:
    """An answer below a marked quote, or among its lines, keeps its own lines and only those."""
    assert new_text(f"{introduction}\n{QUOTE}\n\nYes, Tuesday.\n") == "Yes, Tuesday."
    assert new_text(f"{introduction}\n\nYes, Tuesday.\n\n{QUOTE}") == "Yes, Tuesday."
    assert new_text(f"{introduction}\n> shall we talk?\n\nYes.\n\n> when?\n\nTuesday.\n> Ann") == "Yes.\n\nTuesday."


@pytest.mark.parametrize("signature", SIGNATURES)
def test_signature_goes(signature: str) -> None:
    """A signature, of a person or of a telephone, is no new text, alone or above a quote."""
    assert new_text(f"Yes, Tuesday.\n\n{signature}") == "Yes, Tuesday."
    assert new_text(f"Yes, Tuesday.\n\n{signature}\n\n{WITH_MARKS[0]}\n\n{QUOTE}") == "Yes, Tuesday."
    assert new_text(f"Yes, Tuesday.\r\n\r\n{signature}".replace("\n", "\r\n")) == "Yes, Tuesday."


@pytest.mark.parametrize(
    "text",
    [
        "Thanks, but no.\n\nPlease remove me.",
        "Hi,\n\nBest to call me at ten: I am in.\nBob",
        "Two things:\n- the price\n- the date",
        "I was there at 10:00:\nnobody came.",
        "From: us\n\nwith love",
        "Best regards to your team, and remove me\nfrom the list",
        "Unsubscribe",
        "--\nplease remove me",
        "Regards,\n" + "A long text follows here, line after line.\n" * 20 + "Remove me.",
        "Fine.\n\nRegards,\n" + "please remove me from your list, " * 5 + "thanks",
        "Note: we moved.\nDate: tomorrow",
        "Sent from my point of view that is fine" + ", and so on" * 10,
    ],
)
def test_what_a_person_wrote_stays(text: str) -> None:
    """Closings inside a sentence, lists, lines with colons and long tails are text and stay whole."""
    assert new_text(text) == text.strip()


def test_text_below_a_telephones_line_stays() -> None:
    """A telephone's line goes alone: an answer typed below it is not lost."""
    assert new_text("Sent from my iPhone\n\nPlease remove me\n\n" + QUOTE) == "Please remove me"


def test_postscript_stays() -> None:
    """What is added below the signature is new text too."""
    assert (
        new_text("Fine.\n\nBest regards\nBob\n\nPS: remove Jim from the list")
        == "Fine.\n\nPS: remove Jim from the list"
    )


def test_nothing_new_is_nothing() -> None:
    """A reply that adds nothing to the quote has no new text: our own words are not taken for theirs."""
    for introduction in WITH_MARKS + WITHOUT_MARKS:
        assert new_text(f"{introduction}\n\n{QUOTE}") == ""
    for introduction in WITHOUT_MARKS:
        assert new_text(f"{introduction}\n\n{BARE}\n\nUnsubscribe") == ""
    assert new_text("") == new_text(" \r\n \u00a0") == ""


def test_signature_may_be_kept() -> None:
    """Without quotes alone, the signature stays and the quote goes."""
    assert (
        without_quotes(f"I am away.\n\nBest regards\nBob\n\n{WITH_MARKS[0]}\n{QUOTE}")
        == "I am away.\n\nBest regards\nBob"
    )


words = st.sampled_from(["yes", "no", "Tuesday", "ten", "please", "да", "нет", "bitte", "merci"])
answers = st.lists(words, min_size=1, max_size=8).map(" ".join)


@given(st.lists(answers, min_size=1, max_size=5), st.sampled_from(WITH_MARKS), st.booleans())
def test_every_line_of_an_interleaved_answer_stays(
    lines: list[str], introduction: str, starts_with_quote: bool
) -> None:
    """However an answer is spread among the quoted lines, all its lines stay, in order, and nothing else does."""
    blocks = [f"> quoted {number}\n{line}" for number, line in enumerate(lines)]
    head = [] if starts_with_quote else [lines[0]]
    text = "\n\n".join([*head, f"{introduction}\n" + "\n".join(blocks)])
    assert new_text(text).split("\n") == "\n\n".join([*head, "\n".join(lines)]).split("\n")


pieces = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [*WITH_MARKS, *WITHOUT_MARKS, *SIGNATURES, QUOTE, ">", "> >", ":", "\n", "\r", "On ", " wrote:", "From:"]
    ),
)


@settings(deadline=None)
@given(st.lists(pieces, max_size=30).map("\n".join))
def test_new_text_is_part_of_the_text(text: str) -> None:
    """Whatever comes in: every line that comes out stood there, unmarked."""
    known = {line.strip() for line in text.replace("\u00a0", " ").replace("\r", "\n").split("\n")}
    found = [line.strip() for line in new_text(text).split("\n") if line.strip()]
    assert all(
        line in known or line.lstrip("\ufeff\u200b") in known or any(line in whole for whole in known) for line in found
    )
    assert not any(line.startswith(">") for line in found)


HOSTILE = [
    "On a " * 20000,
    ("On " + "a " * 75 + ":\n") * 400,
    ("Am " + "a schrieb " * 15 + ":\n") * 400,
    ("On On " * 26 + ":\n") * 400,
    (">" * 150 + ":\n") * 400,
    ("From: " + "*" * 200 + "\nx\n") * 300,
    ("Den " + "skrev a " * 18 + ":\n") * 400,
    "From:\n" * 10000,
    "\n" * 60000,
    "*" * 60000,
    " :" * 30000,
    ("2026年5月5日(火) 10:00 <a> " * 6 + ":\n") * 400,
    "Best\n" * 12000,
    "--\n" * 20000,
    "Sent from my\n" * 5000,
    "_" * 60000,
    "- " * 30000,
    ("1:00 a@b wrote" + ":\n") * 4000,
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_ends(text: str) -> None:
    """No text, however built against the patterns, keeps the reader busy or makes it longer."""
    assert len(new_text(text)) <= MAX_TEXT


def test_a_long_text_is_cut() -> None:
    """What stands beyond the bound is not read."""
    assert new_text("a" * (MAX_TEXT + 5)) == "a" * MAX_TEXT
