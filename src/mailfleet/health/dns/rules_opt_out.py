"""The opt-out host: it resolves, and proves by TLS who it is. RFC 8058 §3.1 asks for HTTPS; a reader whose program is
turned away at the door presses "spam" instead.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from mailfleet.health.dns.facts import Facts, TlsState, plain_name
from mailfleet.health.dns.findings import Check, Finding, blocks, fine, shown, unknown, warns

SOON = timedelta(days=14)  # chosen: who renews by machine does it 30 days before the end; at 14 it has failed
HTTPS = 443

_BROKEN = {
    TlsState.EXPIRED: ("has a certificate that ran out", "Renew it."),
    TlsState.WRONG_NAME: ("has a certificate for another name", "Have one made for this host."),
    TlsState.UNTRUSTED: ("has a certificate that mail programs do not trust", "Have one made by a public authority."),
    TlsState.REFUSED: ("takes no TLS connection", "See that its server runs and listens there."),
}


def opt_out_place(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None when the address names no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    try:
        name = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return None
    return parts.scheme.lower(), plain_name(name), port or HTTPS


def judge_opt_out(url: str, facts: Facts, now: datetime) -> list[Finding]:
    """`url` is the identity's `opt_out_base_url`; nothing is judged where there is none."""
    if not url:
        return []
    place = opt_out_place(url)
    if place is None:
        seen = f"The opt-out address {shown(url)} names no host."
        return [blocks(Check.OPT_OUT, "opt_out_url", seen, "Mend opt_out_base_url of the identity.")]
    scheme, host, port = place
    if scheme != "https":
        seen = f"The opt-out address {shown(url)} is not https, which one-click needs (RFC 8058 §3.1)."
        return [blocks(Check.OPT_OUT, "opt_out_plain", seen, "Mend opt_out_base_url of the identity.")]
    answer, addresses = facts.addresses(host)
    if answer.is_open:
        return [unknown(Check.OPT_OUT, "opt_out_unknown", f"The opt-out host {host}", answer.why)]
    if not addresses:
        seen = f"The opt-out host {host} has no address."
        return [
            blocks(Check.OPT_OUT, "opt_out_missing", seen, f"Set an A record for {host} to the server of its page.")
        ]
    return list(_handshake(host, port, facts, now))


def _handshake(host: str, port: int, facts: Facts, now: datetime) -> Iterator[Finding]:
    met = facts.meet(host, port)
    where = f"The opt-out host {host}:{port}"
    if met.state in (TlsState.SILENT, TlsState.UNASKED):
        yield unknown(Check.OPT_OUT, "opt_out_silent", where, met.why)
    elif met.state in _BROKEN:
        what, todo = _BROKEN[met.state]
        why = f" ({shown(met.why)})" if met.why else ""
        yield blocks(Check.OPT_OUT, f"opt_out_{met.state}", f"{where} {what}{why}.", todo)
    elif met.expires_at is not None and met.expires_at - now < SOON:
        seen = f"The certificate of {host} ends at {met.expires_at:%Y-%m-%d %H:%M} UTC."
        yield warns(Check.OPT_OUT, "opt_out_ends_soon", seen, "Renew it; see why it was not renewed by itself.")
    else:
        until = f" until {met.expires_at:%Y-%m-%d}" if met.expires_at else ""
        yield fine(Check.OPT_OUT, "opt_out_fine", f"{host} proves its name by TLS{until}.")
