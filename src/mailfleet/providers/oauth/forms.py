"""What is sent to an OAuth server: forms and URLs, pure. A form is a dict; the client's own proof is part of it."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailfleet.base.errors import InputError
from mailfleet.providers.faults import shorten
from mailfleet.providers.oauth.credentials import Credential
from mailfleet.providers.oauth.endpoints import OAuthEndpoints

Form = dict[str, str]

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
SECRETS = ("client_secret", "refresh_token", "assertion", "client_assertion", "code", "code_verifier", "device_code")
"""Names of fields whose values nobody may see."""

DELEGATED_FOR = timedelta(hours=1)  # the longest Google takes, and what a token's life is cut to
CLIENT_PROOF_FOR = timedelta(minutes=10)  # Microsoft, certificate credentials: 5 to 10 minutes at most


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and where. `scope` is what tokens are asked for."""

    client_id: str
    token_url: str
    scope: str
    credential: Credential = field(repr=False)


def delegated_form(client: Client, login: str, now: datetime) -> Form:
    """RFC 7523 §2.1 as Google has it: the service account's assertion, `sub` the mailbox it acts for.

    developers.google.com/identity/protocols/oauth2/service-account; `now` is the database's, the same on every host.
    """
    claims = {
        "iss": client.credential.issuer,
        "sub": login,
        "scope": client.scope,
        "aud": client.token_url,
        "iat": int(now.timestamp()),
        "exp": int((now + DELEGATED_FOR).timestamp()),
    }
    headers = {"kid": client.credential.key_name}
    return {
        "grant_type": JWT_BEARER,
        "assertion": jwt.encode(claims, _key(client), algorithm="RS256", headers=headers),
    }


def application_form(client: Client, now: datetime) -> Form:
    """RFC 6749 §4.4.2."""
    return {"grant_type": "client_credentials", "scope": client.scope, **_proof(client, now)}


def refresh_form(client: Client, refresh_token: str, now: datetime) -> Form:
    """RFC 6749 §6."""
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, **_proof(client, now)}


def code_form(client: Client, code: str, redirect_uri: str, verifier: str, now: datetime) -> Form:
    """RFC 6749 §4.1.3, with RFC 7636 §4.5."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        **_proof(client, now),
    }


def device_request(client: Client) -> Form:
    """RFC 8628 §3.1."""
    return {"client_id": client.client_id, "scope": client.scope}


def device_form(client: Client, device_code: str, now: datetime) -> Form:
    """RFC 8628 §3.4."""
    return {"grant_type": DEVICE_CODE, "device_code": device_code, **_proof(client, now)}


def _proof(client: Client, now: datetime) -> Form:
    """The client's name and what proves it: RFC 6749 §2.3.1, or RFC 7523 §2.2 as Microsoft's certificates have it."""
    if client.credential.private_key:
        return {
            "client_id": client.client_id,
            "client_assertion_type": CLIENT_JWT_BEARER,
            "client_assertion": _client_assertion(client, now),
        }
    if client.credential.secret:
        return {"client_id": client.client_id, "client_secret": client.credential.secret}
    return {"client_id": client.client_id}


def _client_assertion(client: Client, now: datetime) -> str:
    """learn.microsoft.com/entra/identity-platform/certificate-credentials: PS256, x5t#S256."""
    claims = {
        "aud": client.token_url,
        "iss": client.client_id,
        "sub": client.client_id,
        "jti": secrets.token_urlsafe(16),
        "nbf": int(now.timestamp()),
        "iat": int(now.timestamp()),
        "exp": int((now + CLIENT_PROOF_FOR).timestamp()),
    }
    headers = {"x5t#S256": client.credential.key_name}
    return jwt.encode(claims, _key(client), algorithm="PS256", headers=headers)


def _key(client: Client) -> RSAPrivateKey:
    return _load_key(client.credential.private_key)


@lru_cache(maxsize=64)
def _load_key(pem: str) -> RSAPrivateKey:
    """Once for each account: opening a key takes 40 ms, signing with it one."""
    return cast(RSAPrivateKey, load_pem_private_key(pem.encode(), password=None))


@dataclass(frozen=True, slots=True)
class Consent:
    """One question to a person: the URL to open, and what proves that the answer belongs to it (RFC 7636, S256)."""

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)

    def is_answered_by(self, url: str) -> bool:
        """Whether `url` (or its query alone) answers this question and no other."""
        return secrets.compare_digest(_query(url).get("state", "").encode(), self.state.encode())

    def code_of(self, url: str) -> str:
        """The code in the URL to which the browser was sent back. InputError when it holds none, or a no."""
        query = _query(url)
        if not self.is_answered_by(url):
            raise InputError("That is not the answer to this question.", hint=_PASTE)
        if error := query.get("error"):
            said = shorten(query.get("error_description", error))
            raise InputError(f"The provider did not give its consent: {said}", hint="Ask again, and agree.")
        if not (code := query.get("code")):
            raise InputError("That address holds no code.", hint=_PASTE)
        return code


_PASTE = "Paste the whole address to which the browser was sent, from http:// on."


def _query(url: str) -> dict[str, str]:
    text = url.strip()
    return dict(parse_qsl(urlsplit(text).query or text))


def ask_consent(client: Client, endpoints: OAuthEndpoints, redirect_uri: str, *, login: str) -> Consent:
    """RFC 6749 §4.1.1 with PKCE; `login_hint` spares the person choosing among accounts."""
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "scope": client.scope,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "login_hint": login,
        **endpoints.authorize_with,
    }
    return Consent(f"{endpoints.authorize_url}?{urlencode(query)}", redirect_uri, state, verifier)
