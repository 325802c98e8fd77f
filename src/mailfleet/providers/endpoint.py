"""Where a server is, how the way to it is secured, and how long each phase of a conversation may take."""

import ssl
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from mailfleet.base.errors import SetupError
from mailfleet.model.words import Security


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server. `ca_file` (PEM) names the only authorities trusted for it; without it the system's are."""

    host: str
    port: int
    security: Security
    ca_file: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each phase may take, from RFC 5321 §4.5.3.2 where it names one; each counts anew, to a complete reply.

    `greeting` holds for the TLS handshake too, `command` for EHLO, STARTTLS, AUTH and RSET, `content` for each block.
    """

    resolve: timedelta = timedelta(seconds=30)  # chosen: a resolver tries its servers for about 20 s
    connect: timedelta = timedelta(seconds=60)  # chosen: Linux gives up after two minutes, and later means a filter
    greeting: timedelta = timedelta(minutes=5)
    command: timedelta = timedelta(minutes=5)
    mail: timedelta = timedelta(minutes=5)
    rcpt: timedelta = timedelta(minutes=5)
    data: timedelta = timedelta(minutes=2)
    content: timedelta = timedelta(minutes=3)
    dot: timedelta = timedelta(minutes=10)
    quit: timedelta = timedelta(seconds=5)  # chosen: nothing hangs on the answer


@lru_cache(maxsize=64)
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """The one context per CA file: certificate and host name verified, TLS 1.2 (RFC 8996) or newer.

    SetupError when the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SetupError(
            f"The CA file {ca_file} cannot be used: {error.strerror or error}",
            hint="Name a readable PEM file with the certificates of the authority that signed the server's.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
