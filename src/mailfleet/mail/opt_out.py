"""The opt-out of a letter: a token that names the message and whom it was written to, can be read by us alone, and is
worth nothing to a guesser.

RFC 8058 §3.1 asks for a hard-to-forge part in the address; RFC 2369 §3.2 and RFC 6068 for the mailto form.
A token is the version, then base64url of 7 bytes of message id and 16 of the address's digest, masked, and of 16 bytes
of tag: 53 characters. The tag signs both, and masks them, so that a recipient cannot count our letters. The digest is
the one that suppressions are keyed by: a no outlives its letter's row, and an id that a restored database gives to
another letter opts nobody else out.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from mailfleet.base.errors import InputError, InvariantError
from mailfleet.base.secrets import DIGEST_BYTES
from mailfleet.mail.addresses import Address

VERSION = "1"
_TAG = 16  # 128 bits, half of the hash: RFC 2104 §5
_ID = 7
_KEY = 32  # chosen: as long as the hash, RFC 2104 §3
_TOKEN = re.compile(r"1[A-Za-z0-9_-]{52}")
_URL = re.compile(r"https?://[!-;=?-~]{1,700}", re.IGNORECASE)  # chosen: with the token, well within a line of 998


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a token says: the letter, and the keyed digest of the address it was written to."""

    message_id: int
    address_digest: bytes


def make_token(key: bytes, message_id: int, address_digest: bytes) -> str:
    """The token of one message. `key` has at least 32 bytes; the id has 56 bits; the digest is a contact's first."""
    if len(key) < _KEY or not 0 <= message_id < 1 << 8 * _ID or len(address_digest) != DIGEST_BYTES:
        raise InvariantError(
            "An opt-out token needs a key of 32 bytes, a message id of 56 bits and a digest; none was made."
        )
    content = message_id.to_bytes(_ID) + address_digest
    tag = _signed(key, content)
    return VERSION + urlsafe_b64encode(_masked(key, tag, content) + tag).decode()


def read_token(keys: Sequence[bytes], token: str) -> TokenFacts | None:
    """What one of `keys` signed, or None for whatever else, compared in constant time."""
    if not _TOKEN.fullmatch(token):
        return None
    sealed = urlsafe_b64decode(token[1:])
    found = None
    for key in keys:
        tag = sealed[-_TAG:]
        content = _masked(key, tag, sealed[:-_TAG])
        if hmac.compare_digest(_signed(key, content), tag):
            found = TokenFacts(int.from_bytes(content[:_ID]), content[_ID:])
    return found


@lru_cache(maxsize=64)
def check_base_url(base_url: str) -> None:
    """Refuses a public address that is not https (RFC 8058 §3.1); http is for loopback only. Raises InputError."""
    if not _URL.fullmatch(base_url):
        raise InputError(
            f"The opt-out address {base_url!r} is not a https URL in ASCII; set one such as https://go.example.com/o"
        )
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"The opt-out address {base_url!r} is not a URL: {error}") from error
    if not host or "@" in parts.netloc or parts.query or parts.fragment or "?" in base_url or "#" in base_url:
        raise InputError(f"The opt-out address {base_url!r} must be host and path only")
    if parts.scheme != "https" and not _is_loopback(host):
        raise InputError(f"The opt-out address {base_url!r} must be https: mailbox providers ignore http")


def opt_out_url(base_url: str, token: str) -> str:
    """`base_url`/token: for the visible link and List-Unsubscribe. Raises InputError on a base that is not https."""
    check_base_url(base_url)
    return f"{base_url.rstrip('/')}/{token}"


def opt_out_mailto(address: Address, token: str) -> str:
    """The mailto form for List-Unsubscribe: the watcher reads the token in the subject."""
    return f"mailto:{quote(address.local, safe='')}@{address.domain_ascii}?subject=unsubscribe%20{token}"


def _signed(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, b"mailfleet opt-out tag" + content, "sha256")[:_TAG]


def _masked(key: bytes, tag: bytes, content: bytes) -> bytes:
    mask = hmac.digest(key, b"mailfleet opt-out mask" + tag, "sha256")
    return bytes(a ^ b for a, b in zip(content, mask, strict=False))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
