"""What can go wrong with reading a mailbox, and where the errors of sockets, TLS and IMAPClient become ours.

ProviderError
├── ImapFault     a conversation that failed: `kind` says what to do, `stage` where it was
└── CursorVoid    the folder was numbered anew (UIDVALIDITY, RFC 3501 §2.3.1.1): begin again by date
"""

import errno
import imaplib
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from imapclient.exceptions import ProtocolError

from mailfleet.base.errors import ProviderError
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.faults import WRONG_LOGIN, Stage, shorten, unreached
from mailfleet.providers.imap_wire import Answer, OverrunError, Wire


class ImapStage(StrEnum):
    """Where a conversation was: the steps of opening, as in `Stage`, then the command in hand."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    STARTTLS = "starttls"
    AUTH = "auth"
    LIST = "list"
    STATUS = "status"
    EXAMINE = "examine"
    SEARCH = "search"
    FETCH = "fetch"
    APPEND = "append"
    IDLE = "idle"
    LOGOUT = "logout"


class FaultKind(StrEnum):
    """What failed, and so what helps.

    unreached   no connection came about: the name, the network, a port where nobody is. Passes by itself, or never
    untrusted   the certificate is not to be trusted, or TLS cannot be had: nothing was said. A person must see to it
    login       the server does not take who we say we are: do not try again until the login changed
    busy        the server says "not now": too many connections, throttled, unavailable. Later, and less
    lost        the connection broke, or the server fell silent, in the middle. Again at the next round
    refused     NO or BAD to one command; the session goes on
    protocol    what came is no IMAP, or more than was asked for. The connection is gone
    """

    UNREACHED = "unreached"
    UNTRUSTED = "untrusted"
    LOGIN = "login"
    BUSY = "busy"
    LOST = "lost"
    REFUSED = "refused"
    PROTOCOL = "protocol"


class ImapFault(ProviderError):
    """`is_ours`: this machine's network or resolver failed, so it says nothing about the mailbox. `code` is the
    server's response code (RFC 5530) or empty, `said` its words, shortened.
    """

    def __init__(
        self,
        kind: FaultKind,
        stage: ImapStage,
        detail: str,
        *,
        hint: str = "",
        answer: Answer | None = None,
        is_ours: bool = False,
    ) -> None:
        said = shorten(answer.text) if answer else ""
        super().__init__(f"{detail}: {said}" if said else detail, hint=hint)
        self.kind = kind
        self.stage = stage
        self.code = answer.code if answer else ""
        self.said = said
        self.is_ours = is_ours


class CursorVoid(ProviderError):
    """What a cursor says of a folder means nothing any more; no mail was read. `uid_validity` is the new one."""

    def __init__(self, folder: str, uid_validity: int) -> None:
        super().__init__(
            f"The server has numbered the folder {folder} anew, so what was read there is not known by number.",
            hint="The folder is read again from a date on; mails already known are told by their Message-ID.",
        )
        self.folder = folder
        self.uid_validity = uid_validity


# What a parser of a stranger's octets may raise: IMAPClient's lets ValueError and its kin through, and a deep nest of
# parentheses is a RecursionError.
_PARSING = (ValueError, TypeError, LookupError, AttributeError, RuntimeError)
_OUR_NETWORK = {errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL}
_OPENING = (
    *(ImapStage.RESOLVE, ImapStage.CONNECT, ImapStage.TLS),
    *(ImapStage.GREETING, ImapStage.STARTTLS, ImapStage.AUTH),
)
_LATER = "This is said to pass by itself; it is tried again later."

_BUSY_CODES = {"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "THROTTLED", "OVERQUOTA"}  # RFC 5530; THROTTLED: Exchange
_LOGIN_CODES = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN"}
_WRONG = re.compile(r"invalid|incorrect|wrong|credential|password|too many (?:login|auth|failed|invalid)", re.I)
_BUSY = re.compile(  # in the words of Gmail, Exchange, Yahoo, Dovecot, Courier
    r"too many|simultaneous|maximum number of connections|throttl|rate limit|temporar|unavailable|try again"
    r"|not connected|server busy",
    re.I,
)


@contextmanager
def mapped(stage: ImapStage, endpoint: Endpoint, wire: Wire | None = None) -> Iterator[None]:
    """Turns every error of sockets, TLS, imaplib and IMAPClient inside into ImapFault. Only after a plain NO or BAD is
    the connection still there.
    """
    try:
        yield
    except (OSError, imaplib.IMAP4.error, OverrunError, *_PARSING) as error:
        answer = wire.answer if wire is not None else None
        if wire is not None and not _is_plain_refusal(error, answer):
            wire.close()
        raise explain(error, stage, endpoint, answer) from error


def explain(error: Exception, stage: ImapStage, endpoint: Endpoint, answer: Answer | None) -> ImapFault:
    """`error`, met at `stage`, as a fault; `answer` is the server's last refusal in this command, if any."""
    if answer is not None and (answer.word == "BYE" or _is_plain_refusal(error, answer)):
        return _refused(stage, endpoint, answer)
    if isinstance(error, OSError) and stage in _OPENING:
        return _unreached(stage, endpoint, error)
    if isinstance(error, UnicodeError) and stage is ImapStage.RESOLVE:  # a name that IDNA does not take
        return _unreached(stage, endpoint, error)
    if isinstance(error, OSError):
        return _lost(stage, endpoint, error)
    if isinstance(error, imaplib.IMAP4.abort) and isinstance(error.__context__, OSError):
        return _lost(stage, endpoint, error.__context__)  # imaplib's wrapping of a failed send
    what = str(error) if isinstance(error, OverrunError) else f"the server's answer at {stage} is not IMAP"
    hint = "Check host and port." if stage is ImapStage.GREETING else ""
    return ImapFault(FaultKind.PROTOCOL, stage, f"{endpoint}: {what}; the connection was dropped", hint=hint)


def _is_plain_refusal(error: Exception, answer: Answer | None) -> bool:
    is_plain = isinstance(error, imaplib.IMAP4.error) and not isinstance(error, (imaplib.IMAP4.abort, ProtocolError))
    return is_plain and answer is not None and answer.word in ("NO", "BAD")


def _unreached(stage: ImapStage, endpoint: Endpoint, error: OSError | UnicodeError) -> ImapFault:
    where = _stage_of(stage, error)
    told = unreached(Stage(where), endpoint, error)
    untrusted = isinstance(error, ssl.SSLCertVerificationError)
    kind = FaultKind.UNTRUSTED if untrusted else FaultKind.UNREACHED
    return ImapFault(kind, where, told.detail, hint=told.hint, is_ours=_is_our_network(error))


def _stage_of(stage: ImapStage, error: OSError | UnicodeError) -> ImapStage:
    return ImapStage.TLS if isinstance(error, ssl.SSLError) else stage


def _is_our_network(error: OSError | UnicodeError) -> bool:
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError) and error.errno in _OUR_NETWORK


def _lost(stage: ImapStage, endpoint: Endpoint, error: OSError) -> ImapFault:
    if isinstance(error, TimeoutError):
        what = f"the server fell silent at {stage}"
    else:
        what = f"the connection broke at {stage}"
    return ImapFault(FaultKind.LOST, stage, f"{endpoint}: {what}", hint=_LATER, is_ours=_is_our_network(error))


def _refused(stage: ImapStage, endpoint: Endpoint, answer: Answer) -> ImapFault:
    kind = _kind_of_refusal(stage, answer)
    words = {
        FaultKind.LOGIN: ("the IMAP login was refused", WRONG_LOGIN),
        FaultKind.BUSY: ("the server takes no more for now", _LATER),
        FaultKind.LOST: (f"the server ended the session at {stage}", _LATER),
        FaultKind.UNTRUSTED: ("the server refused STARTTLS, and no password was sent", ""),
    }
    what, hint = words.get(kind, (f"the server refused {stage}", ""))
    return ImapFault(kind, stage, f"{endpoint}: {what}", hint=hint, answer=answer)


def _kind_of_refusal(stage: ImapStage, answer: Answer) -> FaultKind:
    """The response code first, then the words."""
    if stage is ImapStage.STARTTLS:
        return FaultKind.UNTRUSTED
    login = FaultKind.LOGIN if stage is ImapStage.AUTH else FaultKind.REFUSED
    if answer.code in _LOGIN_CODES:
        return login
    if answer.code in _BUSY_CODES and not (stage is ImapStage.APPEND and answer.code == "OVERQUOTA"):
        return FaultKind.BUSY
    if stage is ImapStage.AUTH and _WRONG.search(answer.text):
        return FaultKind.LOGIN
    if _BUSY.search(answer.text):
        return FaultKind.BUSY
    return FaultKind.LOST if answer.word == "BYE" else login
