"""What a mail is: machines are told before people, and each kind brings its own pieces."""

from datetime import UTC, datetime

import pytest
from written_reports import NO_REPORTS, WRITTEN, Written

from mailfleet.mail.incoming import read_incoming
from mailfleet.mail.kinds import Classified, classify
from mailfleet.model.words import MailKind

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def said(text: str, subject: str = "Re: Hello", **fields: str) -> Classified:
    """A plain mail of a person, classified."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    raw = f"From: Jane <jane@b.example>\nTo: me@a.example\nSubject: {subject}\n{extra}\n{text}\n"
    return classify(read_incoming(raw.encode()), NOW)


@pytest.mark.parametrize("written", WRITTEN + NO_REPORTS, ids=lambda written: written.name)
def test_reports_and_mail_like_them_are_told_apart(written: Written) -> None:
    """Each written mail is of its kind."""
    assert classify(read_incoming(written.raw), NOW).kind.value == written.kind


def test_an_answer_is_a_reply_with_its_new_text() -> None:
    """What it quotes is cut away; In-Reply-To or the subject show that it is an answer."""
    found = said(
        "Sounds good.\n\nOn Mon, 2 Mar 2026 at 09:00, Me <me@a.example> wrote:\n> Hello", In_Reply_To="<m1@a.example>"
    )
    assert (found.kind, found.text.strip(), found.refusal) == (MailKind.REPLY, "Sounds good.", None)
    assert said("Sounds good.").kind is MailKind.REPLY
    assert said("Sounds good.", "Price list").kind is MailKind.OTHER


@pytest.mark.parametrize("subject", ["unsubscribe 1abc", "Unsubscribe 1abc ", "UNSUBSCRIBE: 1abc", "unsubscribe\t1abc"])
def test_a_mail_to_the_list_unsubscribe_address_is_an_opt_out(subject: str) -> None:
    """The token is handed on as it stands, whatever the mail says of itself; nobody checks it here."""
    found = said("Sent by my mail program.", subject, Auto_Submitted="auto-replied")
    assert (found.kind, found.opt_out_token) == (MailKind.OPT_OUT, "1abc")
    assert said("", "unsubscribe").opt_out_token == ""
    assert said("", "unsubscribe my old phone").opt_out_token == ""


def test_certain_words_of_refusal_are_an_opt_out_and_doubtful_ones_a_reply() -> None:
    """The no is handed on with its words."""
    found = said("Please remove me from your list.")
    assert found.kind is MailKind.OPT_OUT
    assert found.refusal and found.refusal.is_certain


def test_a_newsletter_that_speaks_of_unsubscribing_is_no_opt_out() -> None:
    """Unless it answers us, mail of lists is not searched for refusals."""
    text = "To unsubscribe, click here.\nPlease unsubscribe me"
    assert said(text, "News", List_Id="<news.b.example>").kind is MailKind.OTHER
    assert said("unsubscribe me", "Re: Hello", Precedence="list").kind is MailKind.OPT_OUT


def test_an_automatic_answer_is_no_reply() -> None:
    """RFC 3834: it answers, but nobody has read."""
    found = said("I am out of the office until 9 March 2026.", "Automatic reply: Hello", Auto_Submitted="auto-replied")
    assert found.kind is MailKind.AUTO_REPLY
    assert found.auto_reply is not None
