"""Looking up, by dnspython: deadlines, a cache by TTL, many questions at once but not too many, TCP after truncation.

Whatever the network or a server does ends as an `Answer`; only a resolver that cannot be used at all is an error.
"""

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from time import monotonic

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver

from mailfleet.base.errors import InputError, SetupError
from mailfleet.health.dns.facts import Answer, Handshake, Kind, Question, State, TlsQuestion, TlsState
from mailfleet.providers.endpoint import tls_context

DNS_PORT = 53
PAYLOAD = 1232  # dnsflagday.net/2020: larger answers come by TCP
MOST_TTL = timedelta(hours=1)  # chosen: a run is over by then, and a person who mends a record does not wait a day
FAILURE_TTL = timedelta(seconds=30)  # chosen: RFC 2308 §7 allows 5 minutes; long enough for all that ask at once
MOST_ADDRESSES = 4  # chosen: of an opt-out host, as many as are tried

_WITH_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([0-9.]+)):([0-9]{1,5})")

# Outcomes of OpenSSL's verification (X509_V_ERR_*).
_EXPIRED = (10,)
_WRONG_NAME = (62, 64)


@dataclass(frozen=True, slots=True)
class ResolverAddress:
    """The one DNS server that is asked."""

    address: str
    port: int = DNS_PORT

    @classmethod
    def parse(cls, text: str) -> "ResolverAddress":
        """ADDRESS, ADDRESS:PORT or [IPv6]:PORT; InputError for anything else."""
        found = _WITH_PORT.fullmatch(text)
        host, port = (found[1] or found[2], int(found[3])) if found else (text.strip(), DNS_PORT)
        try:
            address = ip_address(host)
        except ValueError:
            port = 0
        if not 0 < port < 65536:
            raise InputError(f"{text!r} is no resolver.", hint="Write ADDRESS or ADDRESS:PORT, as 127.0.0.1:53.")
        return cls(str(address), port)


@dataclass(frozen=True, slots=True)
class Patience:
    """`whole` for one question, retries and TCP included; `one_try` for a datagram; `tls` to the handshake's end."""

    whole: timedelta = timedelta(seconds=8)  # chosen: two tries at each of two servers
    one_try: timedelta = timedelta(seconds=2)  # chosen: a resolver that has to walk answers within one
    tls: timedelta = timedelta(seconds=10)  # chosen: a mail program waits no longer either


class Lookup:
    """Asks and remembers. One for each run; questions asked by many at once go out once.

    `ca_file` (PEM) names the only authorities trusted in handshakes. SetupError when it cannot be used, or when the
    system names no resolver.
    """

    def __init__(
        self,
        resolver: ResolverAddress | None = None,
        *,
        patience: Patience = Patience(),
        at_once: int = 100,  # chosen: sockets; a resolver at home answers thousands a second
        ca_file: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._resolver = _resolver(resolver, patience)
        self._patience = patience
        self._turns = asyncio.Semaphore(at_once)
        self._tls = tls_context(ca_file)
        self._clock = clock
        self._answers: dict[Question, tuple[Answer, float]] = {}
        self._handshakes: dict[TlsQuestion, Handshake] = {}
        self._locks: defaultdict[Question | TlsQuestion, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def answer(self, question: Question) -> Answer:
        async with self._locks[question]:
            known = self._answers.get(question)
            if known is not None and known[1] > self._clock():
                return known[0]
            async with self._turns:
                answer, ttl = await self._asked(question)
            self._answers[question] = answer, self._clock() + ttl.total_seconds()
            return answer

    async def _asked(self, question: Question) -> tuple[Answer, timedelta]:
        name = _name(question.name)
        if name is None:
            return Answer(State.MISSING, why="no name that the DNS can hold"), MOST_TTL
        try:
            found = await self._resolver.resolve(name, question.kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            return Answer(State.MISSING), _ttl(error.kwargs["responses"][name])
        except dns.resolver.YXDOMAIN:
            return Answer(State.MISSING, why="its alias is too long"), FAILURE_TTL
        except (dns.exception.DNSException, OSError, EOFError) as error:
            return Answer(State.FAILED, why=_why(error)), FAILURE_TTL
        canonical = "" if found.canonical_name == name else _text(found.canonical_name)
        if found.rrset is None:
            return Answer(State.EMPTY, canonical=canonical), _ttl(found.response)
        return Answer(State.FOUND, _values(found), canonical), _ttl(found.response)

    async def handshake(self, question: TlsQuestion) -> Handshake:
        async with self._locks[question]:
            if question not in self._handshakes:
                self._handshakes[question] = await self._met(question)
            return self._handshakes[question]

    async def _met(self, question: TlsQuestion) -> Handshake:
        """The first address that answers decides."""
        asked = [await self.answer(Question(kind, question.host)) for kind in (Kind.A, Kind.AAAA)]
        met = Handshake(TlsState.SILENT, why="it has no address")
        for address in [value for answer in asked for value in answer.values][:MOST_ADDRESSES]:
            async with self._turns:
                met = await self._connect(address, question)
            if met.state not in (TlsState.SILENT, TlsState.REFUSED):
                break
        return met

    async def _connect(self, address: str, question: TlsQuestion) -> Handshake:
        seconds = self._patience.tls.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(
                    address, question.port, ssl=self._tls, server_hostname=question.host
                )
        except ssl.SSLCertVerificationError as error:
            return Handshake(_broken(error.verify_code), why=error.verify_message)
        except ssl.SSLError as error:
            return Handshake(TlsState.REFUSED, why=error.reason or "no TLS is spoken there")
        except ConnectionError as error:
            return Handshake(TlsState.REFUSED, why=error.strerror or "the connection was cut off")
        except TimeoutError:
            return Handshake(TlsState.SILENT, why=f"no answer within {seconds:g} s")
        except OSError as error:
            return Handshake(TlsState.SILENT, why=error.strerror or "the network is away")
        certificate = writer.get_extra_info("peercert")
        writer.transport.abort()
        return Handshake(TlsState.GOOD, datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC))


def _resolver(address: ResolverAddress | None, patience: Patience) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=address is None)
    except dns.exception.DNSException as error:
        raise SetupError(
            "This system names no DNS resolver.", hint="Name one: --resolver ADDRESS, or MAILFLEET_RESOLVER."
        ) from error
    if address is not None:
        resolver.nameservers = [address.address]
        resolver.port = address.port
    resolver.timeout = patience.one_try.total_seconds()
    resolver.lifetime = patience.whole.total_seconds()
    resolver.use_edns(0, 0, PAYLOAD)
    return resolver


def _name(text: str) -> dns.name.Name | None:
    try:
        # Taken literally: a backslash in a stranger's record is no escape of ours.
        return dns.name.from_text(text.replace("\\", "\\\\")) if text.isascii() else None
    except dns.exception.DNSException:
        return None


def _ttl(response: dns.message.QueryMessage) -> timedelta:
    try:
        seconds = response.resolve_chaining().minimum_ttl
    except dns.exception.DNSException:
        return FAILURE_TTL
    return min(timedelta(seconds=seconds), MOST_TTL)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _values(found: dns.resolver.Answer) -> tuple[str, ...]:
    if found.rdtype == dns.rdatatype.TXT:
        return tuple(b"".join(rdata.strings).decode("utf-8", "replace") for rdata in found)
    if found.rdtype == dns.rdatatype.MX:
        return tuple(f"{rdata.preference} {_text(rdata.exchange) or '.'}" for rdata in found)
    return tuple(rdata.to_text() for rdata in found)


def _why(error: Exception) -> str:
    """One sentence, without the name asked for: a blocklist's may hold a key."""
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return "no answer in time"
    if isinstance(error, dns.resolver.NoNameservers):
        said = [str(failure[3]) for failure in error.kwargs.get("errors", ())]
        return f"the resolver says {said[-1]}" if said else "no resolver answers"
    if isinstance(error, OSError):
        return error.strerror or "the network is away"
    return f"the answer is broken ({type(error).__name__})"


def _broken(code: int) -> TlsState:
    if code in _EXPIRED:
        return TlsState.EXPIRED
    return TlsState.WRONG_NAME if code in _WRONG_NAME else TlsState.UNTRUSTED
