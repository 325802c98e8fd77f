"""The opt-out: only our own token is read, whatever is sent to the public page."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.base.errors import InputError, InvariantError
from mailfleet.mail.addresses import parse_address
from mailfleet.mail.compose import new_message_id
from mailfleet.mail.opt_out import TokenFacts, make_token, opt_out_mailto, opt_out_url, read_token

KEY, OLD_KEY, OTHER_KEY = b"k" * 32, b"o" * 32, b"x" * 32
WHO = b"0123456789abcdef"
ids = st.integers(min_value=0, max_value=(1 << 56) - 1)
digests = st.binary(min_size=16, max_size=16)


@settings(deadline=None)
@given(ids, digests)
def test_a_token_reads_back_under_any_key_still_held(message_id: int, digest: bytes) -> None:
    """What we signed we read, the letter and whom it went to, also after the key was rotated; under another key it is
    nothing.
    """
    token = make_token(OLD_KEY, message_id, digest)
    assert read_token([KEY, OLD_KEY], token) == TokenFacts(message_id, digest)
    assert read_token([KEY, OTHER_KEY], token) is None
    assert read_token([], token) is None


@settings(deadline=None)
@given(ids, digests, st.integers(0, 52), st.characters())
def test_a_token_with_any_character_changed_is_nothing(message_id: int, digest: bytes, place: int, char: str) -> None:
    """No single change of a token gives a token: it is signed whole."""
    token = make_token(KEY, message_id, digest)
    changed = token[:place] + char + token[place + 1 :]
    assert (read_token([KEY], changed) is not None) is (changed == token)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.from_regex(r"1[A-Za-z0-9_-]{52}", fullmatch=True)))
def test_garbage_is_nothing_and_raises_nothing(text: str) -> None:
    """The page is public: any text is answered, none is an error."""
    assert read_token([KEY], text) is None


def test_a_token_is_short_safe_in_a_url_and_shows_nothing() -> None:
    """53 characters of base64url, of which neighbours, and letters to one person, have the version alone in common."""
    one, two = make_token(KEY, 1, WHO), make_token(KEY, 2, WHO)
    assert len(one) == 53 and one.isascii() and one.replace("-", "").replace("_", "").isalnum()
    assert sum(a == b for a, b in zip(one[1:], two[1:], strict=True)) < 6
    assert read_token([KEY], one + "\n") is None


@pytest.mark.parametrize(
    ("key", "message_id", "digest"), [(b"short", 1, WHO), (KEY, -1, WHO), (KEY, 1 << 56, WHO), (KEY, 1, b"")]
)
def test_no_token_under_a_weak_key_or_for_no_letter(key: bytes, message_id: int, digest: bytes) -> None:
    """A key shorter than the hash could be guessed; an id without room and a digest that is none are bugs."""
    with pytest.raises(InvariantError):
        make_token(key, message_id, digest)


@pytest.mark.parametrize("base", ["https://go.example.com/o", "https://go.example.com/o/", "http://127.0.0.1:8000/o"])
def test_the_link_is_base_and_token(base: str) -> None:
    """The visible link and the one-click address are the base URL, a slash and the token."""
    assert opt_out_url(base, "1abc") == f"{base.rstrip('/')}/1abc"


@pytest.mark.parametrize(
    "base",
    [
        "http://go.example.com/o",
        "http://localhost.example.com/o",
        "ftp://go.example.com",
        "https://",
        "https:///o",
        "https://go.example.com/o?x=1",
        "https://go.example.com/o#x",
        "https://user@go.example.com/o",
        "https://go.example.com/o\r\nBcc: x",
        "https://go.example.com/> <https://evil.example",
        "https://пример.рф/o",
        "https://[::1/o",
        "https://go.example.com:port/o",
        "go.example.com",
    ],
)
def test_a_base_that_is_not_plain_https_is_refused(base: str) -> None:
    """Mailbox providers honour https alone (RFC 8058 §3.1); http is for loopback, and nothing may break out of <>."""
    with pytest.raises(InputError):
        opt_out_url(base, "1abc")


def test_the_mailto_form_names_the_token_in_the_subject() -> None:
    """A reply by mail carries the token (RFC 6068 §2); what is not ASCII is percent-encoded."""
    token = make_token(KEY, 7, WHO)
    plain = opt_out_mailto(parse_address("bob+x/y@example.com"), token)
    assert plain == f"mailto:bob%2Bx%2Fy@example.com?subject=unsubscribe%20{token}"
    assert opt_out_mailto(parse_address("иван@почта.рф"), token).isascii()


def test_a_message_id_is_built_of_safe_parts_alone() -> None:
    """Token and domain reach a header as they are, so they are letters, digits, dots, hyphens (RFC 5322 §3.6.4)."""
    assert new_message_id("mail.example.com", token="0190-ab.c") == "<0190-ab.c@mail.example.com>"
    for domain, token in (("example.com", "a b"), ("example.com>", "a"), ("example.com", ""), ("почта.рф", "a")):
        with pytest.raises(InvariantError):
            new_message_id(domain, token=token)
