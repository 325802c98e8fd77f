"""Letters on the wire: the standard library reads back what was written, and no server has cause to change it."""

import email
import re
from binascii import a2b_base64, a2b_qp
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.base.errors import InputError, InvariantError
from mailfleet.mail.addresses import parse_address
from mailfleet.mail.compose import Letter, compose, needs_smtputf8

LETTER = Letter(
    from_name="Bob Brown",
    from_address=parse_address("bob@mail.example.com"),
    to_name="Ann Lee",
    to_address=parse_address("ann@example.org"),
    subject="Quick question",
    text="Hello Ann,\n\nBob\n",
    message_id="<1@mail.example.com>",
    date=datetime(2026, 11, 4, 9, 5, 7, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    opt_out_url="https://go.example.com/o/1abc",
    opt_out_mailto="mailto:bob@mail.example.com?subject=unsubscribe%201abc",
)

_lines = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
_ascii = st.characters(min_codepoint=32, max_codepoint=126)
# Words and blanks as people write them, long words, encoded words, and whatever Unicode has.
_one_line = st.one_of(
    st.text(_ascii, max_size=200),
    st.text(_lines, max_size=200),
    st.lists(
        st.sampled_from(["Ann", "é", "—", "a" * 61, "b" * 300, "=?utf-8?q?x?=", "", "\u00a0", "日本" * 30, "😀"])
    ).map(" ".join),
)
_subjects = _one_line.filter(str.strip)
_endings = st.sampled_from(["\n", "\r\n", "\r"])
_body_lines = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=120),
    st.text(_ascii, max_size=300),
    st.sampled_from(
        ["From Bob", ">From", ".", "..", "", " ", "tab\t", "trailing  ", "=_9", "=", "--", "x" * 2000, "я" * 999]
    ),
)
_texts = st.lists(st.tuples(_body_lines, _endings), max_size=12).map(lambda lines: "".join(a + b for a, b in lines))
_bodies = st.one_of(_texts, st.tuples(_texts, _body_lines).map("".join))


def read(wire: bytes) -> EmailMessage:
    message = email.message_from_bytes(wire, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def content(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None and not part.defects
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n")


def as_lines(text: str) -> str:
    """The text with the line endings of a letter: each line has one, the last too."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines if lines.endswith("\n") else lines + "\n"


def check_wire(wire: bytes) -> None:
    """What holds for every letter: RFC 5321 §2.3.8 and §4.5.3.1.6, RFC 5322 §2.1.1, RFC 2045 §2.7."""
    assert wire.isascii() and b"\0" not in wire
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire) and wire.endswith(b"\r\n")
    headers, _, body = wire.partition(b"\r\n\r\n")
    assert all(len(line) <= 998 for line in headers.split(b"\r\n"))
    assert all(len(line) <= 78 and not line.startswith(b"From ") for line in body.split(b"\r\n"))


@settings(deadline=None, max_examples=300)
@given(_bodies, st.none() | _bodies)
def test_texts_read_back_exactly(text: str, html: str | None) -> None:
    """Plain text and HTML come out as they went in, whatever characters and line endings they hold."""
    wire = compose(replace(LETTER, text=text, html=html))
    check_wire(wire)
    message = read(wire)
    assert message.get_content_type() == ("text/plain" if html is None else "multipart/alternative")
    assert content(message, "plain") == as_lines(text)
    if html is not None:
        assert content(message, "html") == as_lines(html)
        assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    for part in message.walk():
        if part["Content-Transfer-Encoding"] in ("quoted-printable", "base64"):
            assert all(len(line) <= 76 for line in str(part.get_payload()).splitlines())


@settings(deadline=None, max_examples=300)
@given(_subjects, _one_line, _one_line)
def test_headers_read_back_exactly(subject: str, from_name: str, to_name: str) -> None:
    """Subject and names come out as they went in, of names the runs of spaces as one."""
    wire = compose(replace(LETTER, subject=subject, from_name=from_name, to_name=to_name))
    check_wire(wire)
    for line in wire.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        assert len(line) <= (76 if b"=?utf-8?" in line else 78) or line.startswith(b" <mailto:")
        assert all(len(word) <= 75 for word in re.findall(rb"=\?utf-8\?.*?\?=", line))
    for encoding, word in re.findall(rb"=\?utf-8\?(.)\?(.*?)\?=", wire):
        (a2b_base64(word) if encoding == b"b" else a2b_qp(word, header=True)).decode()  # no character is split
    message, plain = read(wire), email.message_from_bytes(wire)
    assert message["Subject"] == subject
    for field, name, address in (("From", from_name, "bob@mail.example.com"), ("To", to_name, "ann@example.org")):
        assert [mailbox.addr_spec for mailbox in message[field].addresses] == [address]
        # policy.default keeps a space between encoded words of a phrase, against RFC 2047 §6.2.
        shown, _ = parseaddr(plain[field].replace("\r\n", ""))
        assert str(make_header(decode_header(shown))) == " ".join(filter(None, name.split(" ")))


def test_every_header_stands_once_and_says_what_the_letter_says() -> None:
    """A follow-up has all fields of the design, each once (RFC 5322 §3.6, RFC 2369, RFC 8058)."""
    letter = replace(
        LETTER,
        html="<p>Hello</p>",
        reply_to=parse_address("sales@example.com"),
        in_reply_to="<0@mail.example.com>",
        references=("<a@mail.example.com>", "<0@mail.example.com>"),
    )
    message = read(compose(letter))
    assert sorted(message.keys()) == sorted(set(message.keys()))
    fields = dict(message.items())
    boundary = fields.pop("Content-Type")
    assert re.fullmatch(r'multipart/alternative; boundary="=_[0-9a-f]{32}"', boundary)
    assert fields == {
        "Date": "Wed, 04 Nov 2026 09:05:07 -0330",
        "From": "Bob Brown <bob@mail.example.com>",
        "To": "Ann Lee <ann@example.org>",
        "Reply-To": "sales@example.com",
        "Subject": "Quick question",
        "Message-ID": "<1@mail.example.com>",
        "In-Reply-To": "<0@mail.example.com>",
        "References": "<a@mail.example.com> <0@mail.example.com>",
        "List-Unsubscribe": (
            "<https://go.example.com/o/1abc>, <mailto:bob@mail.example.com?subject=unsubscribe%201abc>"
        ),
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "MIME-Version": "1.0",
    }


def test_an_opening_has_no_thread_and_a_plain_letter_one_part() -> None:
    """What a letter does not say has no empty field."""
    message = read(compose(LETTER))
    assert not {"In-Reply-To", "References", "Reply-To"} & set(message.keys())
    assert message["Content-Transfer-Encoding"] == "7bit"


def test_the_same_letter_is_the_same_bytes_and_another_has_another_boundary() -> None:
    """A letter composed again after a crash is the one that was begun."""
    letter = replace(LETTER, html="<p>Hello</p>")
    other = compose(replace(letter, message_id="<2@mail.example.com>"))
    assert compose(letter) == compose(letter)
    assert read(compose(letter)).get_boundary() != read(other).get_boundary()


def test_a_text_that_holds_the_boundary_stays_in_its_part() -> None:
    """No text, not even one that quotes the letter's own boundary, can end its part."""
    letter = replace(LETTER, html="<p>Hello</p>")
    text = f"Hello\n--{read(compose(letter)).get_boundary()}--\nBob\n"
    assert content(read(compose(replace(letter, text=text))), "plain") == text


_FORGED = ["a\r\nBcc: x@example.com", "a\nb", "a\rb", "a\0b", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "\ud800"]


@pytest.mark.parametrize("value", _FORGED)
@pytest.mark.parametrize(
    "field", ["subject", "from_name", "to_name", "message_id", "in_reply_to", "opt_out_url", "opt_out_mailto"]
)
def test_no_value_can_add_a_header(field: str, value: str) -> None:
    """A line break, NUL or control in any header value refuses the letter, and the error does not repeat the value."""
    with pytest.raises(InputError) as refused:
        compose(replace(LETTER, **{field: f"<{value}>" if field in ("message_id", "in_reply_to") else value}))
    assert "Bcc" not in str(refused.value)


@settings(deadline=None)
@given(st.sampled_from(["subject", "from_name", "to_name"]), st.text(max_size=40))
def test_whatever_the_value_the_headers_are_the_same_ones(field: str, value: str) -> None:
    """A value is refused, or stands in its own field and nowhere else."""
    try:
        wire = compose(replace(LETTER, **{field: value}))
    except InputError:
        return
    assert read(wire).keys() == read(compose(LETTER)).keys()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject": ""}, "subject is empty"),
        ({"subject": " \u00a0"}, "subject is empty"),
        ({"text": "a\0b"}, "NUL"),
        ({"html": "\ud800"}, "surrogate"),
        ({"message_id": "1@mail.example.com"}, "message id"),
        ({"message_id": "<" + "1" * 401 + ">"}, "message id"),
        ({"references": ("<1@mail.example.com>", "2")}, "References"),
        ({"references": ("<1@mail.example.com>", "2> <3", "<4@mail.example.com>")}, "References"),
        ({"opt_out_url": ""}, "List-Unsubscribe"),
        ({"opt_out_url": "https://a.example/> , <https://b.example"}, "List-Unsubscribe"),
        ({"opt_out_mailto": "mailto:" + "a" * 900}, "List-Unsubscribe"),
    ],
)
def test_a_letter_that_would_be_wrong_is_refused(change: dict[str, object], reason: str) -> None:
    """Better no letter than one without subject, opt-out or thread."""
    with pytest.raises(InputError, match=reason):
        compose(replace(LETTER, **change))  # type: ignore[arg-type]


def test_a_long_thread_keeps_its_first_and_its_latest_ids() -> None:
    """References stays within one line's length, whatever the number of steps or the length of their ids."""
    ids = tuple(f"<{number:0398}>" for number in range(40))
    assert read(compose(replace(LETTER, references=ids)))["References"].split() == [ids[0], ids[-1]]
    short = tuple(f"<{number:030}@mail.example.com>" for number in range(40))
    kept = read(compose(replace(LETTER, references=short)))["References"].split()
    assert kept[0] == short[0] and tuple(kept[1:]) == short[-len(kept) + 1 :] and len(kept) > 10


def test_idn_stands_as_a_labels_and_smtputf8_only_where_the_local_part_asks() -> None:
    """A letter is ASCII unless an address cannot be written in it (RFC 6531 §3.2, RFC 6532)."""
    idn = replace(LETTER, to_address=parse_address("ann@почта.рф"))
    assert not needs_smtputf8(idn)
    assert b"\r\nTo: Ann Lee <ann@xn--80a1acny.xn--p1ai>\r\n" in compose(idn)
    for field in ("to_address", "from_address", "reply_to"):
        letter = replace(LETTER, subject="Вопрос", **{field: parse_address("анна@почта.рф")})
        assert needs_smtputf8(letter)
        wire = compose(letter)
        assert "<анна@xn--80a1acny.xn--p1ai>\r\n".encode() in wire
        assert b"Subject: =?utf-8?" in wire


@settings(deadline=None)
@given(st.integers(10**5, 2 * 10**11), st.integers(-86399, 86399))
def test_the_date_is_the_moment_given(timestamp: int, seconds: int) -> None:
    """The date reads back as the same second, in the zone given when that has whole minutes (RFC 5322 §3.3)."""
    moment = datetime.fromtimestamp(timestamp, timezone(timedelta(seconds=seconds)))
    date = read(compose(replace(LETTER, date=moment)))["Date"].datetime
    assert date == moment
    assert date.utcoffset() == (moment.utcoffset() if seconds % 60 == 0 else timedelta(0))


def test_a_date_without_a_zone_is_a_bug() -> None:
    """A naive moment would be read as a lie by every server of another zone."""
    with pytest.raises(InvariantError):
        compose(replace(LETTER, date=datetime(2026, 11, 4, tzinfo=UTC).replace(tzinfo=None)))
