"""A mail is read within bounds, whatever its bytes; what it says of itself is decoded, broken or not."""

import tracemalloc
from datetime import UTC, datetime

import pytest

from mailfleet.mail.charsets import header_text, text_of
from mailfleet.mail.incoming import addresses, message_ids, read_incoming
from mailfleet.mail.parts import MAX_BYTES, MAX_DEPTH, MAX_FIELDS, MAX_PARTS, split, walk

LETTER = b"""Return-Path: <jane@b.example>
Delivered-To: me+tok3n@a.example
From: "Doe, Jane (me@a.example)" <jane@b.example>
To: =?utf-8?q?J=C3=B6rg?= <me@a.example>, Two <two@a.example>
Subject: =?utf-8?B?0J/RgNC4?= =?utf-8?B?0LLQtdGC?=
Date: Thu, 29 Apr 2010 11:00:00 +0200
Message-ID: <m2@b.example>
In-Reply-To: <m1@a.example>
References: <m0@a.example>
 <m1@a.example>
Content-Type: text/plain; charset=windows-1251
Content-Transfer-Encoding: quoted-printable

=CF=F0=E8=E2=E5=F2
"""


def test_a_letter_gives_its_fields_and_text() -> None:
    """Names are no addresses, ids keep their brackets with the nearest letter first, the date is in UTC, text is
    decoded by its charset."""
    mail = read_incoming(LETTER)
    assert mail.sender == "jane@b.example"
    assert mail.recipients == ("me@a.example", "two@a.example")
    assert mail.delivered_to == ("me+tok3n@a.example", "me@a.example", "two@a.example")
    assert mail.subject == "Привет"
    assert mail.get("to") == "Jörg <me@a.example>, Two <two@a.example>"
    assert mail.message_id == "<m2@b.example>"
    assert mail.in_reply_to == ("<m1@a.example>", "<m0@a.example>")
    assert mail.sent_at == datetime(2010, 4, 29, 9, tzinfo=UTC)
    assert mail.text.strip() == "Привет"


def test_line_ends_do_not_matter() -> None:
    """CRLF, CR and LF, an mbox line and blank lines before the fields: the same mail."""
    plain = read_incoming(LETTER)
    for raw in (
        LETTER.replace(b"\n", b"\r\n"),
        LETTER.replace(b"\n", b"\r"),
        b"From jane Thu Apr 29\n" + LETTER,
        b"\n\n" + LETTER,
    ):
        found = read_incoming(raw)
        assert (found.headers.items(), found.text) == (plain.headers.items(), plain.text)


def test_text_comes_from_html_only_where_there_is_no_other() -> None:
    """Plain text goes first, an attached text is no text of the mail, and HTML becomes text."""
    parts = b"--b\nContent-Type: text/html\n\n<p>rich</p>\n"
    frame = b"Content-Type: multipart/mixed; boundary=b\n\n%s--b--\n"
    assert read_incoming(frame % parts).text.strip() == "rich"
    plain = b"--b\nContent-Type: text/plain\n\nplain\n"
    assert read_incoming(frame % (parts + plain)).text.strip() == "plain"
    attached = b"--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nnotes\n"
    assert read_incoming(frame % (plain + attached)).text.strip() == "plain"


def test_what_is_returned_is_kept_apart() -> None:
    """Attached mails and headers are not part of the text, their fields can be asked for, X- fields too."""
    mail = read_incoming(
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nnotice\n"
        b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; c.example\n"
        b"--b\nContent-Type: message/rfc822\n\nMessage-ID: <m1@a.example>\nTo: one@b.example\nX-Tag: 7\n\nbody\n"
        b"--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <m2@a.example>\n--b--\n"
    )
    assert mail.text.strip() == "notice"
    assert mail.report_type == "delivery-status"
    assert mail.statuses[0].strip() == "Reporting-MTA: dns; c.example"
    assert [one.message_id for one in mail.returned] == ["<m1@a.example>", "<m2@a.example>"]
    assert (mail.returned[0].recipients, mail.returned[0].get("x-tag")) == (("one@b.example",), "7")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("=?utf-8?q?caf=C3=A9?= bar", "café bar"),
        ("=?iso-2022-jp?B?GyRCJEsbKEI=?= =?iso-2022-jp?B?GyRCJEsbKEI=?=", "にに"),
        ("=?utf-8?B?0J/R?= =?utf-8?B?gNC4?=", "При"),
        ("=?no-such-charset?q?a=20b?=", "a b"),
        ("=?utf-8?B?!!!?= x", "x"),
        ("=?utf-8*en?q?a_b?=", "a b"),
        ("=?utf-8?q?open", "=?utf-8?q?open"),
        ("=?undefined?q?x?=", "x"),
    ],
)
def test_encoded_words_survive_those_who_write_them(field: str, said: str) -> None:
    """A character split between two words, a charset that is none, broken base64, a word without end."""
    assert header_text(field) == said


@pytest.mark.parametrize(
    ("data", "charset", "said"),
    [
        ("é".encode(), "", "é"),
        (b"\xe9t\xe9", "", "été"),
        (b"\xe9t\xe9", "utf-8", "été"),
        ("ж".encode("koi8-r"), "koi8-r", "ж"),
        (b"\x93x\x94", "iso-8859-1", "\u201cx\u201d"),
        (b"abc", "idna", "abc"),
        (b"abc", "unicode_escape", "abc"),
        (b"abc", "\0", "abc"),
        (b"a\xffb", "us-ascii", "aÿb"),
    ],
)
def test_charsets_survive_those_who_claim_them(data: bytes, charset: str, said: str) -> None:
    """What is claimed is tried, what cannot be it is guessed; nothing raises and nothing warns."""
    assert text_of(data, charset) == said


def test_broken_fields_lose_nothing_after_them() -> None:
    """A line that is no field belongs to the one before; fields after it and the body are still there."""
    mail = read_incoming(
        b'Subject: a\nContent-Type: multipart/mixed;\nboundary="b"\nX-Date: \nFrom: me@a.example\n\n--b\n\ntext\n--b--'
    )
    assert (mail.sender, mail.text.strip()) == ("me@a.example", "text")


def test_a_boundary_that_is_missing_is_guessed() -> None:
    """Parts are found without the parameter; a multipart without any boundary line is a text."""
    assert read_incoming(b"Content-Type: multipart/mixed\n\n--xyz\n\ntext\n--xyz--\n").text.strip() == "text"
    assert (
        read_incoming(b"Content-Type: multipart/mixed; boundary=b\n\nno parts here\n").text.strip() == "no parts here"
    )
    assert split(b"--a\n1\n--ab\n2\n--a--\n--a\n3", "a") == [b"1\n--ab\n2\n"]


def test_addresses_are_not_taken_from_names_and_comments() -> None:
    """Quoted names, comments and routes give no address; what has no domain is none."""
    values = ['"x@y.example" <a@b.example>, c@d.example (e@f.example)', "me, <g@h.example>", "undisclosed:;"]
    assert addresses(values) == ["a@b.example", "c@d.example", "g@h.example"]
    assert message_ids(["m1@a.example", "<m2@a.example> junk"]) == ["<m1@a.example>", "<m2@a.example>"]


def test_a_bomb_of_parts_is_walked_within_bounds() -> None:
    """Parts within parts without end, and parts without number: at most MAX_PARTS, at most MAX_DEPTH deep."""
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (at, at) for at in range(5000))
    wide = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 200_000
    for raw in (deep, wide):
        parts = list(walk(raw))
        assert len(parts) <= MAX_PARTS
        assert max(part.depth for part in parts) <= MAX_DEPTH
    assert read_incoming(wide).text.startswith("x")
    assert len(split(wide, "b")) <= MAX_PARTS


def test_fields_without_end_are_cut() -> None:
    """Half a million fields, and a field without end: what comes first is read, the rest is not kept."""
    many = read_incoming(b"Subject: first\n" + b"X-A: b\n" * 500_000)
    assert many.subject == "first"
    assert len(many.headers) <= MAX_FIELDS
    endless = read_incoming(b"Subject: x\nTo: " + b"one@b.example, " * 300_000 + b"\n\nbody")
    assert endless.subject == "x"
    assert len(str(endless.headers["To"])) <= 20_000


def test_a_mail_of_fifty_megabytes_takes_the_room_of_its_beginning() -> None:
    """No more memory than a few times MAX_BYTES is used, and the text that is read is its beginning."""
    raw = b"Subject: big\n\nhello\n" + b"x" * 50_000_000
    tracemalloc.start()
    mail = read_incoming(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mail.text.startswith("hello\nx")
    assert peak < 6 * MAX_BYTES


@pytest.mark.parametrize(
    "html",
    [b"<div>" * 200_000, b"<table><tr><td>" * 20_000, b"<a " * 50_000, b"<!--" * 9, b"\0" * 99, b"<p>" + b"&#x;" * 999],
)
def test_html_without_end_breaks_nothing(html: bytes) -> None:
    """Nesting, tags and entities beyond all measure: some text, perhaps empty."""
    assert isinstance(read_incoming(b"Content-Type: text/html\n\n" + html).text, str)
