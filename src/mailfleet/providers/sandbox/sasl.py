"""SASL as both faces speak it: PLAIN (RFC 4616), LOGIN, XOAUTH2 (Google's and Microsoft's bearer form). Pure."""

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

MECHANISMS = ("PLAIN", "LOGIN", "XOAUTH2")

# What Google answers to a bad token, in base64, before the final refusal (developers.google.com, XOAUTH2 protocol).
XOAUTH2_REFUSAL = base64.b64encode(b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}')


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a client says it is, and by what: a password or a token."""

    login: str
    secret: str
    kind: Literal["password", "token"]


def decode(line: bytes) -> bytes | None:
    """The octets of one base64 response; a lone "=" is empty (RFC 4954 section 4). None: not base64."""
    try:
        return b"" if line == b"=" else base64.b64decode(line, validate=True)
    except binascii.Error:
        return None


def read_plain(response: bytes) -> Claim | None:
    """authzid NUL authcid NUL password; an authzid other than the authcid is refused. None: not of that form."""
    parts = response.split(b"\0")
    if len(parts) != 3 or parts[0] not in (b"", parts[1]):
        return None
    return _claim(parts[1], parts[2], "password")


def read_xoauth2(response: bytes) -> Claim | None:
    """ "user=" login ^A "auth=Bearer " token ^A ^A. None: not of that form."""
    if not response.startswith(b"user=") or not response.endswith(b"\1\1"):
        return None
    login, _, bearer = response[5:-2].partition(b"\1auth=Bearer ")
    return _claim(login, bearer, "token") if bearer else None


def _claim(login: bytes, secret: bytes, kind: Literal["password", "token"]) -> Claim | None:
    try:
        return Claim(login.decode(), secret.decode(), kind)
    except UnicodeDecodeError:
        return None
