"""Automatic replies are told from people's, and the day they name is read, in a dozen languages."""

import email
import os
import tomllib
from datetime import UTC, date, datetime
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.mail.auto_replies import AutoReply, AutoReplyKind, find_auto_reply

HERE = Path(__file__).parent
CORPORA = Path(os.environ.get("MAILFLEET_CORPORA") or HERE.parents[2] / "shared" / "corpora")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SAMPLES: dict[str, Any] = tomllib.loads((HERE / "auto_replies.toml").read_text(encoding="utf-8"))
VACATIONS = {  # the reference calls them no bounce, and they are notices: kind and day
    "rfc3834-01.eml": (AutoReplyKind.OUT_OF_OFFICE, date(2005, 5, 5)),
    "rfc3834-02.eml": (AutoReplyKind.OUT_OF_OFFICE, date(2013, 7, 19)),
    "rfc3834-03.eml": (AutoReplyKind.OUT_OF_OFFICE, date(2020, 1, 10)),
    "rfc3834-04.eml": (AutoReplyKind.OUT_OF_OFFICE, date(2013, 7, 31)),
    "rfc3834-05.eml": (AutoReplyKind.OTHER, None),
    "rfc3834-06.eml": (AutoReplyKind.LEFT_THE_COMPANY, None),
}


def with_headers(headers: dict[str, str]) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return message


def found_in(sample: dict[str, Any]) -> AutoReply | None:
    return find_auto_reply(with_headers(sample.get("headers", {})), sample["subject"], sample["text"], NOW)


def sample_id(sample: dict[str, Any]) -> str:
    return f"{sample['subject']} {sample['text'][:40]}"


@pytest.mark.parametrize("sample", SAMPLES["auto"], ids=sample_id)
def test_automatic_reply_is_read(sample: dict[str, Any]) -> None:
    """What a program wrote is found, with its kind and the last day of the absence."""
    found = found_in(sample)
    assert found is not None
    assert (found.kind, found.until) == (sample["kind"], sample.get("until"))


@pytest.mark.parametrize("sample", SAMPLES["human"], ids=sample_id)
def test_people_are_no_programs(sample: dict[str, Any]) -> None:
    """An answer of a person stays an answer, whatever words of absence stand in it or below the quote."""
    assert found_in(sample) is None


def corpus(folder: str, name: str) -> Message:
    path = CORPORA / folder / name
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing: the corpus of mails may not be skipped under CI")
        pytest.skip(f"no corpus of mails at {path}: set MAILFLEET_CORPORA")
    return email.message_from_bytes(path.read_bytes())


def found_in_mail(message: Message, received_at: datetime) -> AutoReply | None:
    part = next(part for part in message.walk() if part.get_content_type() == "text/plain")
    text = part.get_payload(decode=True)
    assert isinstance(text, bytes)
    subject = str(make_header(decode_header(str(message["Subject"]))))
    return find_auto_reply(message, subject, text.decode(errors="replace"), received_at)


@pytest.mark.parametrize("name", VACATIONS)
def test_every_vacation_of_the_corpus_is_found(name: str) -> None:
    """Every notice the reference calls a vacation is found, and its day is read where it names one."""
    message = corpus("bounces", name)
    received_at = email.utils.parsedate_to_datetime(message.get("Delivery-date") or message["Date"]).astimezone(UTC)
    found = found_in_mail(message, received_at)
    assert found is not None
    assert (found.kind, found.until) == VACATIONS[name]


@pytest.mark.parametrize("name", ["is-not-bounce-01.eml", "is-not-bounce-02.eml"])
def test_letters_of_the_corpus_are_no_programs(name: str) -> None:
    """A person's letter in the corpus is not automatic."""
    assert found_in_mail(corpus("not_bounces", name), NOW) is None


@pytest.mark.parametrize("kind", ["delivery-status", "feedback-report"])
def test_reports_are_left_to_others(kind: str) -> None:
    """A bounce or an abuse report is not an automatic reply, though it says so of itself."""
    headers = {"Auto-Submitted": "auto-replied", "Content-Type": f"multipart/report; report-type={kind}"}
    assert find_auto_reply(with_headers(headers), "Undelivered Mail", "", NOW) is None


@pytest.mark.parametrize(
    ("headers", "mark"),
    [
        ({"Auto-Submitted": "auto-replied"}, "Auto-Submitted"),
        ({"Auto-Submitted": "AUTO-GENERATED (rejected)"}, "Auto-Submitted"),
        ({"Auto-Submitted": "no"}, None),
        ({"Auto-Submitted": "no; x=y"}, None),
        ({"X-Autorespond": "yes"}, "X-Autorespond"),
        ({"X-Autoreply": "no"}, None),
        ({"Precedence": "auto_reply"}, "Precedence"),
        ({"Precedence": "bulk"}, None),
        ({"Precedence": "list"}, None),
        ({"X-Auto-Response-Suppress": "OOF"}, None),
        ({"X-MS-Exchange-Inbox-Rules-Loop": "a@b.example"}, None),
        ({"Return-Path": "<>"}, "Return-Path"),
        ({"Return-Path": " < > "}, None),
        ({"X-Mailer": "Autoresponder 2"}, "X-Mailer"),
        ({}, None),
    ],
)
def test_header_speaks_for_an_answer(headers: dict[str, str], mark: str | None) -> None:
    """In an answer ("Re:") without a machine's words only a header that no person's letter bears is believed."""
    found = find_auto_reply(with_headers(headers), "Re: Question", "Fine.", NOW)
    assert (found and found.mark) == mark


@pytest.mark.parametrize("name", ["Precedence", "X-Auto-Response-Suppress", "X-MS-Exchange-Inbox-Rules-Loop"])
def test_weak_header_needs_a_word_or_no_answer(name: str) -> None:
    """A header that people's letters may bear too counts with a machine's words, or where no "Re:" answers."""
    value = {"Precedence": "junk", "X-Auto-Response-Suppress": "All"}.get(name, "a@b.example")
    words = "We have received your request."
    for subject, text in (("Re: Question", words), ("Question", "Fine.")):
        found = find_auto_reply(with_headers({name: value}), subject, text, NOW)
        assert found is not None
        assert found.mark == name


header_names = st.sampled_from(
    ["Auto-Submitted", "Precedence", "X-Autoreply", "Return-Path", "X-Apple-Criteria", "X-Apple-Action", "Content-Type"]
)
phrases = st.sampled_from(
    [part[field] for part in SAMPLES["auto"] + SAMPLES["human"] for field in ("subject", "text")]
    + ["{kind=VACATION,endDate=2026-13-45T", "until 31.02.", "back on 99 May", "1/1/1", "until 00.00.0000"]
)
texts = st.one_of(st.text(max_size=80), phrases)


@settings(deadline=None)
@given(
    st.dictionaries(header_names, texts),
    texts,
    st.lists(texts, max_size=4).map(" ".join),
    st.datetimes(timezones=st.just(UTC)),
)
def test_anything_gets_an_answer(headers: dict[str, str], subject: str, text: str, received_at: datetime) -> None:
    """Whatever comes in: an answer, and the day it names is never before the mail came."""
    found = find_auto_reply(with_headers(headers), subject, text, received_at)
    if found and found.until:
        assert found.until >= received_at.date()


HOSTILE = [
    "1 " * 2000,
    "may " * 1000,
    "until 1.1." * 400,
    "1.1." * 1000,
    "absent " * 600,
    "a" * 4000,
    "12月" * 1000,
    "- " * 2000,
    "until a a " * 400,
    "mon" * 1300,
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_ends(text: str) -> None:
    """No text keeps the reader busy."""
    assert find_auto_reply(with_headers({"Auto-Submitted": "auto-replied"}), text, text, NOW) is not None
