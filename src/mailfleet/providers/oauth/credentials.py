"""What an account proves itself by: read from files, packed as text for the keyring. Never shown, never in a repr."""

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from mailfleet.base.errors import InputError, InvariantError


class Flow(StrEnum):
    """How an account comes to its tokens.

    service_account     a signed assertion for each mailbox (RFC 7523 §2.1)
    client_credentials  one token of the application serves every mailbox (RFC 6749 §4.4)
    consent             each mailbox's person agreed once; its refresh token brings the next one (RFC 6749 §6)
    """

    SERVICE_ACCOUNT = "service_account"
    CLIENT_CREDENTIALS = "client_credentials"
    CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Credential:
    """One of: a secret; a private key (PEM) with the name under which the server knows it; nothing (a public client).

    `key_name` is Google's key id, or the certificate's SHA-256 thumbprint in base64url. `issuer` is whose key it is:
    a service account's address; empty: the client's own.
    """

    secret: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    key_name: str = ""
    issuer: str = ""

    def pack(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def unpack(cls, text: str) -> "Credential":
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            raise InvariantError("a sealed credential is not of our making") from None


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """`client_id` is the number that the Admin console asks for; `address` the account's own name."""

    client_id: str
    address: str
    credential: Credential


@dataclass(frozen=True, slots=True)
class Certificate:
    credential: Credential
    expires_on: date


def read_service_account(path: Path) -> ServiceAccount:
    """The key file of a Google service account, as the Cloud console writes it. Its own URLs are not used."""
    try:
        data = json.loads(_read(path))
        if data["type"] != "service_account":
            raise _not_a_key_file(path)
        key = data["private_key"]
        credential = Credential("", key, str(data["private_key_id"]), str(data["client_email"]))
        account = ServiceAccount(str(data["client_id"]), str(data["client_email"]), credential)
    except (ValueError, KeyError, TypeError):
        raise _not_a_key_file(path) from None
    _check_key(key, path)
    return account


def read_certificate(path: Path) -> Certificate:
    """A PEM file with an application's private key and its certificate (as uploaded to Entra)."""
    text = _read(path)
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        raise InputError("holds no certificate", where=str(path), hint=_PEM_HINT) from None
    _check_key(text, path)
    thumbprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    name = urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    return Certificate(Credential("", text, name), certificate.not_valid_after_utc.date())


def read_secret(path: Path) -> str:
    """The first line of a file."""
    secret = _read(path).strip()
    if not secret or "\n" in secret:
        raise InputError("is to hold the secret, and nothing else", where=str(path))
    return secret


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}", where=str(path)
        ) from (None)


def _check_key(text: str, path: Path) -> None:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError(
            "holds no private key that opens without a password", where=str(path), hint=_PEM_HINT
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise InputError("holds a key that is not RSA", where=str(path), hint="Both providers take RSA keys only.")


def _not_a_key_file(path: Path) -> InputError:
    return InputError(
        "is no key file of a service account",
        where=str(path),
        hint="In the Cloud console: IAM, service accounts, the account, keys, add key, JSON.",
    )


_PEM_HINT = "It is to be PEM, the private key and the certificate one after the other, without a password."
