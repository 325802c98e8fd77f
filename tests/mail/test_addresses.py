"""Addresses: the verdict is the library's, the key makes equals equal, and no header can be forged through one."""

import unicodedata

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailfleet.base.errors import InputError
from mailfleet.mail.addresses import Address, format_mailbox, parse_address, parse_domain

_labels = st.sampled_from(["a", "ab--c", "xn--p1ai", "xn--a", "-a", "a-", "a_b", "9", "A1", "x" * 63, "x" * 64, ""])
_last = st.sampled_from(
    ["com", "COM", "c0m", "co1", "test", "Local", "localhost", "onion", "arpa", "invalid", "a-b", "é"]
)
_locals = st.one_of(
    st.text(st.sampled_from("aZ09.+-_'`{}|~\"@ \\é"), max_size=12),
    st.sampled_from(["Info", "POSTMASTER", "x" * 64, "x" * 65, "a..b", ".a", "a."]),
)


@st.composite
def near_addresses(draw: st.DrawFn) -> str:
    """Texts around the border between what is an address and what is not."""
    domain = ".".join([*draw(st.lists(_labels, max_size=4)), draw(_last)])
    return f"{draw(_locals)}@{domain}"


def library_verdict(text: str) -> tuple[str, str, str] | None:
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError:
        return None
    return found.local_part, found.ascii_domain, found.domain


@settings(deadline=None, max_examples=500)
@given(st.one_of(near_addresses(), st.emails(), st.text(max_size=30)).map(str.strip))
def test_the_short_cut_gives_the_verdict_and_the_parts_of_the_library(text: str) -> None:
    """Whatever the text, our verdict and parts are those of email-validator."""
    try:
        address = parse_address(text)
    except InputError:
        assert library_verdict(text) is None
    else:
        assert library_verdict(text) == (address.local, address.domain_ascii, address.domain_unicode)
        assert address.original == text


@pytest.mark.parametrize(
    ("text", "normalised", "needs_smtputf8"),
    [
        (" John.Smith@Mail.Example.COM ", "john.smith@mail.example.com", False),
        ("Info@example.com", "info@example.com", False),
        ("a@d1.test", "a@d1.test", False),
        ("X" * 64 + "@example.com", "x" * 64 + "@example.com", False),
        ("ivan@Почта.РФ", "ivan@xn--80a1acny.xn--p1ai", False),
        ("ivan@xn--80a1acny.xn--p1ai", "ivan@xn--80a1acny.xn--p1ai", False),
        ("Иван@почта.рф", "иван@xn--80a1acny.xn--p1ai", True),
        ("Jose\u0301@example.com", "jos\u00e9@example.com", True),
        ("JOS\u00c9@example.com", "jos\u00e9@example.com", True),
    ],
)
def test_equal_addresses_have_one_key(text: str, normalised: str, needs_smtputf8: bool) -> None:
    """Case, Unicode form and the writing of the domain make no second contact; IDN and SMTPUTF8 are kept."""
    address = parse_address(text)
    assert (address.normalised, address.needs_smtputf8) == (normalised, needs_smtputf8)
    assert address.wire == f"{address.local}@{address.domain_ascii}"


@settings(deadline=None)
@example("\u0390@example.com")  # its case folding is three characters, of which NFC makes one again
@given(near_addresses() | st.text(min_size=1, max_size=8).map(lambda local: f"{local}@пример.com"))
def test_the_key_of_a_key_is_itself(text: str) -> None:
    """Suppression compares keys, so a key read back is the same key, in NFC and in every case of its letters."""
    try:
        key = parse_address(text).normalised
        again = [parse_address(form).normalised for form in (key, unicodedata.normalize("NFD", key))]
    except InputError:
        return
    assert again == [key, key]
    assert unicodedata.is_normalized("NFC", key)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "@"),
        ("ann", "must have an @-sign"),
        ("ann@example", "should have a period"),
        ("ann@@example.com", "invalid characters"),
        ("Ann <ann@example.com>", "display name"),
        ("ann@example.com\r\nBcc: x@example.com", "invalid"),
        ("ann@[127.0.0.1]", "not allowed here"),
        ('"a b"@example.com', "Quoting"),
        ("ann@printer.local", "special-use"),
        ("x" * 65 + "@example.com", "too long before the @-sign"),
        ("x" * 300 + "@example.com", "longer than 254"),
    ],
)
def test_a_refusal_says_why(text: str, reason: str) -> None:
    """An address that cannot be written to is refused with a reason a person understands."""
    with pytest.raises(InputError, match=reason) as refused:
        parse_address(text)
    assert len(str(refused.value)) < 400


def test_a_domain_is_judged_as_in_an_address() -> None:
    """A domain alone gets the same key as the right side of an address, and what is none is refused."""
    assert parse_domain(" @Почта.РФ ") == parse_address("x@почта.рф").domain_ascii
    assert parse_domain("Example.COM") == "example.com"
    for text in ("", "com", "a@example.com", "exa mple.com", "-a.com", "example.com."):
        with pytest.raises(InputError, match="is not a domain: "):
            parse_domain(text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "<ann@example.com>"),
        ("Ann Lee", "Ann Lee <ann@example.com>"),
        ("  Ann   Lee ", "Ann Lee <ann@example.com>"),
        ("Lee, Ann", '"Lee, Ann" <ann@example.com>'),
        ('A "B" \\ C', '"A \\"B\\" \\\\ C" <ann@example.com>'),
        ("Анна", "=?utf-8?b?0JDQvdC90LA=?= <ann@example.com>"),
        ("René Leeson", "=?utf-8?q?Ren=C3=A9_Leeson?= <ann@example.com>"),
        ("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <ann@example.com>"),
    ],
)
def test_a_display_name_stands_as_atoms_quoted_or_encoded(name: str, shown: str) -> None:
    """A name never changes the address: atoms stay, specials are quoted, the rest is encoded (RFC 5322 §3.4)."""
    assert format_mailbox(name, parse_address("ann@example.com")) == shown


def test_a_forged_address_reaches_no_header() -> None:
    """An Address that did not come from parse_address cannot end a header line or add a mailbox."""
    for local in ("a\r\nBcc: b", "a> <b", "a\0", "a b", "a\u2028"):
        with pytest.raises(InputError, match="To holds"):
            format_mailbox("Ann", Address("", "", local, "example.com", "example.com", False), field="To")
