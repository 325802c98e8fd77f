"""What can go wrong with a provider's server, and where the errors of sockets, TLS and libraries become ours.

ProviderError
├── NotOffered    the server lacks an extension this letter needs; nothing was written
├── TooLarge      the letter is over the size the server announced; nothing was written
├── Unreached     nothing of this letter left us: MAIL was not written
├── Interrupted   lost after MAIL and before the final dot: not accepted, may be tried again
└── Ambiguous     the final dot was written, even partly, and no complete reply was read (RFC 1047)
"""

import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from aiosmtplib import SMTPException, SMTPResponseException

from mailfleet.base.errors import ProviderError
from mailfleet.mail.replies import Reply
from mailfleet.providers.endpoint import Endpoint

TEXT_LIMIT = 300  # chosen: characters of a server's answer that a message for a person repeats


class Stage(StrEnum):
    """How far a conversation came, in order. `dot` is the wait for the answer to the final dot."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    DOT = "dot"


class NotOffered(ProviderError):
    """This mailbox's server cannot carry this letter to this recipient."""

    def __init__(self, extension: str, *, needed_for: str) -> None:
        super().__init__(
            f"The mailbox's server does not offer {extension}, which {needed_for} needs; nothing was sent.",
            hint="Write to this recipient from a mailbox of a provider that offers it.",
        )
        self.extension = extension


class TooLarge(ProviderError):
    """Octets as RFC 1870 counts them: with CRLF, without dot stuffing."""

    def __init__(self, size: int, maximum: int) -> None:
        super().__init__(
            f"The letter has {size} octets and the mailbox's server takes {maximum}; nothing was sent.",
            hint="Shorten the letter, or write from a mailbox of a provider that takes larger ones.",
        )
        self.size = size
        self.maximum = maximum


class Unreached(ProviderError):
    """`reply` is the server's last answer, when that is why."""

    def __init__(self, stage: Stage, detail: str, *, reply: Reply | None = None, hint: str = "") -> None:
        super().__init__(detail, hint=hint)
        self.stage = stage
        self.detail = detail
        self.reply = reply


class Interrupted(ProviderError):
    def __init__(self, stage: Stage, detail: str) -> None:
        super().__init__(f"The letter was broken off at {stage} and not accepted: {detail}")
        self.stage = stage
        self.detail = detail


class Ambiguous(ProviderError):
    def __init__(self, detail: str) -> None:
        super().__init__(f"The letter was sent whole and its fate is unknown: {detail}")
        self.detail = detail


@contextmanager
def reaching(stage: Stage, endpoint: Endpoint) -> Iterator[None]:
    """Turns every error of sockets, TLS and aiosmtplib inside into Unreached."""
    try:
        yield
    except (SMTPException, OSError, UnicodeError) as error:
        raise unreached(stage, endpoint, error) from error


def unreached(stage: Stage, endpoint: Endpoint, error: Exception) -> Unreached:
    """What `error`, met at `stage`, means and what to do about it, in plain words."""
    if isinstance(error, SMTPResponseException) and error.code >= 200:
        return refused(stage, endpoint, read_reply(error.code, error.message.split("\n")))
    cause = _root(error)
    words, hint = _explain(stage, cause)
    return Unreached(stage, f"{endpoint}: {words}", hint=hint)


def refused(stage: Stage, endpoint: Endpoint, reply: Reply) -> Unreached:
    """The server answered, and the answer was no."""
    said = shorten(" ".join((str(reply.code), *reply.lines)))
    hint = ""
    if stage is Stage.AUTH and reply.code is not None:
        hint = _LATER if reply.code < 500 else WRONG_LOGIN
    return Unreached(stage, f"{endpoint}: {_REFUSALS.get(stage, 'the server refused')}: {said}", reply=reply, hint=hint)


def read_reply(code: int, lines: Iterable[str]) -> Reply:
    """A reply whose lines have lost their code; what PostgreSQL's text cannot hold (NUL, half a character) goes too."""
    return Reply.parse([f"{code} {line}".encode(errors="replace").decode().replace("\0", "") for line in lines])


def shorten(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}…"


WRONG_LOGIN = (
    "Check the user name and the password or token. Where two-step login is on, most providers want an app password; "
    "some want SMTP and IMAP switched on for the mailbox first."
)
_LATER = "This is said to pass by itself; try again later."
_REFUSALS = {
    Stage.GREETING: "the server does not take connections now",
    Stage.EHLO: "the server refused our greeting",
    Stage.STARTTLS: "the server refused STARTTLS, and no password was sent",
    Stage.AUTH: "the login was refused",
}
_SILENT = {
    Stage.RESOLVE: ("the name could not be resolved in time", "Check this machine's DNS resolver."),
    Stage.CONNECT: (
        "no answer to the connection attempt",
        "Check host and port; many networks and hosting companies block outgoing ports 25, 465 and 587.",
    ),
    Stage.GREETING: ("the server took the connection and said nothing", "Port 465 and 993 usually want security tls."),
}
_TLS_PORT = "Check port and security: 465 and 993 usually want tls, 587 and 143 starttls."
_RENEW = "Nothing is sent until the server's owner renews it."
_OTHER_NAME = "Use the host name that the provider publishes; an alias or an IP address does not do."
_UNKNOWN_CA = "For a server of your own name its CA file (ca_file). Otherwise someone may be listening in."
_CERTIFICATES = {  # X509_V_ERR_*, openssl/x509_vfy.h
    9: ("the server's certificate is not valid yet", "Check this machine's clock."),
    10: ("the server's certificate has expired", _RENEW),
    18: ("the server's certificate is signed by itself", _UNKNOWN_CA),
    19: ("the server's certificate is signed by an authority that is not trusted", _UNKNOWN_CA),
    20: ("the server's certificate is signed by an authority that is not trusted", _UNKNOWN_CA),
    62: ("the server's certificate is for another host name", _OTHER_NAME),
    64: ("the server's certificate is for another host name", _OTHER_NAME),
}


def _root(error: BaseException) -> BaseException:
    """aiosmtplib wraps what the socket or TLS said; that says more."""
    while isinstance(error, SMTPException) and not isinstance(error, TimeoutError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _explain(stage: Stage, error: BaseException) -> tuple[str, str]:
    """Words and hint; never the text of an answer, which `refused` gives."""
    match error:
        case socket.gaierror(errno=socket.EAI_NONAME | socket.EAI_NODATA) | UnicodeError():
            return "there is no host of this name", "Check the spelling of the host."
        case socket.gaierror():
            return f"the name could not be resolved: {error.strerror}", "Check this machine's DNS resolver."
        case ssl.SSLCertVerificationError():
            unknown = (f"the server's certificate was not accepted: {error.verify_message}", "")
            return _CERTIFICATES.get(error.verify_code, unknown)
        case ssl.SSLError(reason="UNSUPPORTED_PROTOCOL" | "TLSV1_ALERT_PROTOCOL_VERSION"):
            return "the server offers only TLS older than 1.2", "Its owner must mend that; it is not safe to go on."
        case ssl.SSLError():
            return f"TLS did not come about ({getattr(error, 'reason', None) or error.strerror})", _TLS_PORT
        case ConnectionRefusedError():
            return "the connection was refused", "Check host and port, and that the server runs."
        case TimeoutError():
            return _SILENT.get(stage, (f"no answer in time at {stage}", _LATER))
        case ConnectionError() if stage is Stage.TLS:
            return "the server closed the connection during the TLS handshake", _TLS_PORT
        case ConnectionError():
            return f"the server closed the connection at {stage}", _LATER
        case OSError():
            return f"{error.strerror or error}", "Check host and port, and this machine's network."
    return f"the server's answer at {stage} is not SMTP", _TLS_PORT
