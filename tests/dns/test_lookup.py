"""Looking up: every way a server can fail is an answer, and nothing is asked twice."""

import asyncio
from datetime import timedelta

import pytest
from dns_servers import hostile_dns, nsd

from mailfleet.base.errors import InputError, SetupError
from mailfleet.health.dns.facts import Answer, Kind, Question, State, TlsQuestion, TlsState
from mailfleet.health.dns.lookup import Lookup, Patience, ResolverAddress
from servers import Authority, free_port

QUICK = Patience(
    whole=timedelta(milliseconds=400), one_try=timedelta(milliseconds=150), tls=timedelta(milliseconds=500)
)
LONG = "v=DKIM1; p=" + "A" * 3000
ZONE = {
    "A host.com": ["8.8.8.8"],
    "AAAA host.com": ["2001:4860:4860::8888"],
    "CNAME alias.com": ["host.com"],
    "CNAME dangling.com": ["gone.com"],
    "MX host.com": ["10 Mail.Host.com", "20 mail2.host.com"],
    "MX null.com": ["0 ."],
    "TXT long.com": [LONG],
    "TXT quotes.com": ['say "é\\"'],
}


@pytest.fixture(scope="module")
def resolver():
    with nsd(ZONE) as address:
        yield address


async def asked(address, kind, name, **options):
    return await Lookup(address, **options).answer(Question(kind, name))


@pytest.mark.parametrize(
    ("kind", "name", "answer"),
    [
        (Kind.A, "host.com", Answer(State.FOUND, ("8.8.8.8",))),
        (Kind.AAAA, "host.com", Answer(State.FOUND, ("2001:4860:4860::8888",))),
        (Kind.A, "alias.com", Answer(State.FOUND, ("8.8.8.8",), "host.com")),
        (Kind.A, "dangling.com", Answer(State.MISSING)),
        (Kind.TXT, "host.com", Answer(State.EMPTY)),
        (Kind.TXT, "gone.com", Answer(State.MISSING)),
        (Kind.SOA, "host.com", Answer(State.EMPTY)),
        (Kind.MX, "null.com", Answer(State.FOUND, ("0 .",))),
        (Kind.TXT, "long.com", Answer(State.FOUND, (LONG,))),
        (Kind.TXT, "quotes.com", Answer(State.FOUND, ('say "é\\"',))),
    ],
)
async def test_answers_of_a_real_server_are_understood(resolver, kind, name, answer):
    """Names, aliases, strings that were split, and answers that only TCP can hold come out as they were put in."""
    assert await asked(resolver, kind, name) == answer


async def test_exchangers_are_in_lower_case(resolver):
    """Names are compared in one form."""
    found = await asked(resolver, Kind.MX, "host.com")
    assert set(found.values) == {"10 mail.host.com", "20 mail2.host.com"}


@pytest.mark.parametrize(
    "name", ["a..b.com", "x" * 64 + ".com", "x." * 130 + "com", "é.com", "\\", "a b.com", "\\300.com", ""]
)
async def test_a_name_that_is_none_is_missing(resolver, name):
    """A record may hold anything for a name; nothing is there, and no error (RFC 7208 §4.3)."""
    assert (await asked(resolver, Kind.A, name)).is_void


@pytest.mark.parametrize("way", ["servfail", "refused", "silent", "garbage", "stranger", "loop", "cutcut"])
async def test_every_failure_is_an_answer_that_says_nothing(way):
    """SERVFAIL, silence, noise, forgery and a truncated answer without TCP: not known, with the reason."""
    with hostile_dns() as server:
        found = await asked(ResolverAddress("127.0.0.1", server.port), Kind.A, f"{way}.com", patience=QUICK)
    assert found.state is State.FAILED
    assert found.why
    assert f"{way}.com" not in found.why


async def test_an_answer_to_another_question_is_none():
    """A server that answers for another name has not answered."""
    with hostile_dns() as server:
        found = await asked(ResolverAddress("127.0.0.1", server.port), Kind.A, "nobody.com", patience=QUICK)
    assert found.values == ()


async def test_a_truncated_answer_is_asked_for_by_tcp():
    """RFC 7766 §5: what UDP cut off comes whole by TCP."""
    with hostile_dns() as server:
        found = await asked(ResolverAddress("127.0.0.1", server.port), Kind.A, "cut.com", patience=QUICK)
        assert found.values == ("8.8.8.8",)
        assert server.asked["cut", "tcp"] == 1


async def test_a_server_that_is_not_there_is_a_failure():
    """Nothing listens: not known."""
    assert (
        await asked(ResolverAddress("127.0.0.1", free_port()), Kind.A, "x.com", patience=QUICK)
    ).state is State.FAILED


async def test_what_many_ask_at_once_is_asked_once():
    """A fleet shares its providers' includes, and a failing one does not cost each domain its deadline."""
    with hostile_dns() as server:
        now = [0.0]
        lookup = Lookup(ResolverAddress("127.0.0.1", server.port), patience=QUICK, clock=lambda: now[0])
        await asyncio.gather(*(lookup.answer(Question(Kind.A, "good.com")) for _ in range(50)))
        first = await asyncio.gather(*(lookup.answer(Question(Kind.A, "refused.com")) for _ in range(50)))
        tries = server.asked["refused", "udp"]
        assert (server.asked["good", "udp"], len(set(first))) == (1, 1)
        now[0] = 59.0
        await lookup.answer(Question(Kind.A, "good.com"))
        assert server.asked["good", "udp"] == 1
        now[0] = 61.0
        await lookup.answer(Question(Kind.A, "good.com"))
        await lookup.answer(Question(Kind.A, "refused.com"))
        assert (server.asked["good", "udp"], server.asked["refused", "udp"]) == (2, 2 * tries)


@pytest.mark.parametrize(
    ("names", "expired", "trusts", "state"),
    [
        (["host.com"], False, True, TlsState.GOOD),
        (["*.com", "host.com"], False, True, TlsState.GOOD),
        (["else.com"], False, True, TlsState.WRONG_NAME),
        (["host.com"], True, True, TlsState.EXPIRED),
        (["host.com"], False, False, TlsState.UNTRUSTED),
    ],
)
async def test_the_certificate_is_verified_with_its_name(tmp_path, names, expired, trusts, state):
    """The handshake goes to the address that our resolver gives, and proves the host's name."""
    authority = Authority.create(tmp_path)
    context = authority.server_context(*names, expired=expired)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    with nsd({"A host.com": ["127.0.0.1"]}) as resolver:
        lookup = Lookup(resolver, patience=QUICK, ca_file=authority.ca_file if trusts else None)
        met = await lookup.handshake(TlsQuestion("host.com", server.sockets[0].getsockname()[1]))
    server.close()
    await server.wait_closed()
    assert met.state is state
    assert (met.expires_at is not None) == (state is TlsState.GOOD)


async def test_hosts_that_do_not_answer_in_tls():
    """A closed port refuses; a server that speaks no TLS refuses; one that says nothing is silent; a name without an
    address too.
    """

    async def plain(reader, writer):
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    async def nothing(reader, writer):
        await reader.read()
        writer.close()

    talking, silent = [await asyncio.start_server(serve, "127.0.0.1", 0) for serve in (plain, nothing)]
    with nsd({"A host.com": ["127.0.0.1"]}) as resolver:
        lookup = Lookup(resolver, patience=QUICK)
        ports = free_port(), talking.sockets[0].getsockname()[1], silent.sockets[0].getsockname()[1]
        met = [(await lookup.handshake(TlsQuestion("host.com", port))).state for port in ports]
        met.append((await lookup.handshake(TlsQuestion("gone.com", 443))).state)
    for server in (talking, silent):
        server.close()
        await server.wait_closed()
    assert met == [TlsState.REFUSED, TlsState.REFUSED, TlsState.SILENT, TlsState.SILENT]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", ResolverAddress("127.0.0.1")),
        ("127.0.0.1:5353", ResolverAddress("127.0.0.1", 5353)),
        ("::1", ResolverAddress("::1")),
        ("[::1]:5353", ResolverAddress("::1", 5353)),
    ],
)
def test_a_resolver_is_an_address(text, address):
    """With or without a port, IPv4 or IPv6."""
    assert ResolverAddress.parse(text) == address


@pytest.mark.parametrize(
    "text", ["", "dns.acme.com", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:x", "[::1"]
)
def test_what_is_no_resolver_is_refused(text):
    """A name would itself have to be looked up."""
    with pytest.raises(InputError):
        ResolverAddress.parse(text)


def test_a_ca_file_that_cannot_be_used_is_said_at_once(tmp_path):
    """Not in the middle of the handshakes."""
    with pytest.raises(SetupError):
        Lookup(ResolverAddress("127.0.0.1"), ca_file=str(tmp_path / "gone.pem"))
