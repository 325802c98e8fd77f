"""What is read from the octets of a letter."""

from hypothesis import given
from hypothesis import strategies as st

from mailfleet.providers.sandbox.letter import Letter, read_letter, unstuff


@given(st.lists(st.text("a.\r\n", max_size=5).map(str.encode), max_size=6))
def test_unstuffing_takes_back_what_stuffing_added(lines: list[bytes]) -> None:
    """Whatever the lines, one dot comes off each line that the sender put one before (RFC 5321 section 4.5.2)."""
    content = b"".join(line + b"\r\n" for line in lines)
    parts = content.split(b"\r\n")
    stuffed = b"\r\n".join(b"." + part if part.startswith(b".") else part for part in parts)
    assert unstuff(stuffed) == content


def test_headers_are_read_from_the_header_alone() -> None:
    """Names in any case, folded values in one line, the first of a name; nothing from the body or from other names."""
    content = (
        b"X-Subject: no\r\nSUBJECT: =?utf-8?q?=C3=A9?=\r\n\tand more\r\nsubject: second\r\n"
        b"message-id:\r\n <x@y.test>\r\nTo: \xc3\xa9@z.test\r\n\r\nFrom: body@z.test\r\nList-Unsubscribe: <x>\r\n"
    )
    assert read_letter(content) == Letter(
        size=len(content), message_id="<x@y.test>", subject="=?utf-8?q?=C3=A9?=\tand more", header_to="é@z.test"
    )


def test_a_letter_without_a_body_is_read() -> None:
    """A header that ends with the content is read whole."""
    assert read_letter(b"From: a@b.test\r\nSubject: x\r\n").subject == "x"
    assert read_letter(b"") == Letter()
