"""How a mailbox proves who it is: passwords (SASL PLAIN, LOGIN) and ready access tokens (XOAUTH2)."""

from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass, field

from mailfleet.model.words import AuthKind


@dataclass(frozen=True, slots=True)
class Login:
    """`secret` is the password, or for XOAUTH2 an access token that is still good."""

    username: str
    secret: str = field(repr=False)
    kind: AuthKind = AuthKind.PASSWORD


@dataclass(frozen=True, slots=True)
class Exchange:
    """One AUTH dialogue (RFC 4954): the words of the command, then the answer to each 334 in turn."""

    command: tuple[bytes, ...] = field(repr=False)
    answers: tuple[bytes, ...] = field(repr=False)


def choose_exchange(login: Login, offered: Collection[str]) -> Exchange | None:
    """The dialogue for the mechanisms a server offers (lower case); None when it offers none of ours."""
    username, secret = login.username.encode(), login.secret.encode()
    if login.kind is AuthKind.XOAUTH2:
        return _xoauth2(username, secret) if "xoauth2" in offered else None
    if "plain" in offered:  # RFC 4616
        return Exchange((b"AUTH", b"PLAIN", b64encode(b"\0%b\0%b" % (username, secret))), ())
    if "login" in offered:  # draft-murchison-sasl-login: the server asks for the name, then for the password
        return Exchange((b"AUTH", b"LOGIN"), (b64encode(username), b64encode(secret)))
    return None


def _xoauth2(username: bytes, token: bytes) -> Exchange:
    """https://developers.google.com/workspace/gmail/imap/xoauth2-protocol: a 334 is an error in base64 JSON; an empty
    line brings the reply with the reason.
    """
    words = b"user=%b\x01auth=Bearer %b\x01\x01" % (username, token)
    return Exchange((b"AUTH", b"XOAUTH2", b64encode(words)), (b"",))
