"""Keys and digests."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.base.errors import SetupError
from mailfleet.base.secrets import DIGEST_BYTES, Digester, Keyring, new_key


@given(st.binary(min_size=1, max_size=100), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_digest_is_hmac_sha256(key: bytes, text: str) -> None:
    """The digest of an address is what RFC 2104 says, so that it outlives our code."""
    wanted = hmac.digest(key, b"address:" + text.encode(), hashlib.sha256)[:DIGEST_BYTES]
    assert Digester(key).address(text) == wanted


def test_a_contact_can_be_banned_by_its_address_its_domain_and_each_parent() -> None:
    """Four digests for a@x.y.example: the address, x.y.example, y.example, and never example alone."""
    digester = Digester(b"k" * 32)
    assert digester.all_of("a@x.y.example", "x.y.example") == [
        digester.address("a@x.y.example"),
        digester.domain("x.y.example"),
        digester.domain("y.example"),
    ]


def test_every_key_opens_and_the_newest_seals() -> None:
    """A rotated value opens by the new key alone; another key opens nothing, and says what to do."""
    old, new = new_key(), new_key()
    sealed = Keyring([old]).seal("a secret")
    rotated = Keyring([new, old]).rotate(sealed)
    assert Keyring([new, old]).open(sealed, what="a@b.example") == "a secret"
    assert Keyring([new]).open(rotated, what="a@b.example") == "a secret"
    with pytest.raises(SetupError, match=r"a@b\.example") as caught:
        Keyring([new_key()]).open(sealed, what="a@b.example")
    assert "keys" in caught.value.hint
