"""The SMTP or IMAP server that a row means, when it says all of it, some of it or nothing."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from mailfleet.intake.cells import Cells
from mailfleet.model.words import Security
from mailfleet.providers.presets import PresetEndpoint

_YES, _NO = "true", "false"
_WORDS: dict[str, tuple[str, ...]] = {
    Security.TLS: ("tls", "ssl", "ssl/tls", "tls/ssl", "ssl_tls", "implicit", "smtps", "imaps"),
    Security.STARTTLS: ("starttls", "start_tls", "explicit"),
    Security.NONE: ("none", "plain", "unencrypted"),
    _YES: ("true", "yes", "1", "on"),
    _NO: ("false", "no", "0", "off"),
}
# RFC 8314 section 3.3 (465, 993) and section 3 (143), RFC 6409 section 3.1 (587); 25 and 2525 where relays take more.
_BY_PORT = {465: Security.TLS, 993: Security.TLS, **dict.fromkeys((25, 143, 587, 2525), Security.STARTTLS)}
_PORTS: dict[str, dict[str | None, int]] = {
    "smtp": {Security.TLS: 465, Security.NONE: 25},
    "imap": {Security.STARTTLS: 143, Security.NONE: 143},
}
_USUAL_PORT = {"smtp": 587, "imap": 993}
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Server:
    host: str
    port: int
    security: Security


def read_server(
    kind: Literal["smtp", "imap"], preset: PresetEndpoint | None, cells: Cells, *, allow_insecure: bool
) -> Server | None:
    """The server of the row; None when neither row nor preset names a host.

    1. Host: the row's, else the preset's.
    2. Port: the row's, else the preset's for its own host, else the usual one for the stated security.
    3. Security: the row's, else what the port stands for.
    4. Without encryption only on this machine, unless `allow_insecure`.
    """
    host = read_host(kind, cells) or (preset.host if preset else "")
    stated = cells.word(f"{kind}_security", _WORDS)
    port = cells.number(f"{kind}_port", least=1, most=65535)
    if not host:
        return None
    if port is None and preset and preset.host == host:
        port = preset.port
    if port is None:
        port = _PORTS[kind].get(stated, _USUAL_PORT[kind])
    security = _security(stated, port, host)
    if stated == Security.TLS and security is Security.STARTTLS:
        cells.warn(f"{kind}_security", f"port {port} begins in the clear, so STARTTLS is taken")
    if security is Security.NONE and not (allow_insecure or is_loopback(host)):
        cells.wrong(f"{kind}_security", "sending the password unencrypted is allowed on this machine only")
    return Server(host, port, security)


def read_host(kind: Literal["smtp", "imap"], cells: Cells) -> str:
    """In lower case, a closing dot and IPv6 brackets dropped; empty when there is none."""
    return cells.parsed(f"{kind}_host", _host, "is no host name") or ""


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its very name, without asking DNS."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _security(stated: str | None, port: int, host: str) -> Security:
    """Exporters say "TLS" for STARTTLS too, so a port known to begin in the clear decides against that word."""
    by_port = _BY_PORT.get(port)
    if stated in (Security.STARTTLS, Security.NONE):
        return Security(stated)
    if stated == Security.TLS:
        return Security.STARTTLS if by_port is Security.STARTTLS and not is_loopback(host) else Security.TLS
    if by_port and not (stated == _NO and is_loopback(host)):
        return by_port
    if is_loopback(host) and stated != _YES:
        return Security.NONE
    return Security.STARTTLS


def _host(text: str) -> str:
    """ValueError if `text` is neither a name nor an IP address."""
    host = text.casefold().removesuffix(".").strip("[]")
    if _HOST.fullmatch(host):
        return host
    return str(ipaddress.ip_address(host))
