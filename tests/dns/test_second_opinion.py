"""Whole domains against a real server, and what checkdmarc, which knows nothing of us, says of the same zones."""

import random

import checkdmarc.dmarc
import checkdmarc.spf
import dns.resolver
import pytest
from dns_servers import nsd

from mailfleet.health.dns.checking import check_domain
from mailfleet.health.dns.facts import Facts, Kind
from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.lookup import Lookup
from mailfleet.health.dns.rules import DomainSetup
from mailfleet.health.dns.rules_dmarc import judge_dmarc
from mailfleet.health.dns.rules_dmarc_records import find_dmarc
from mailfleet.health.dns.rules_spf_syntax import parse_spf
from mailfleet.health.dns.rules_spf_walk import spf_texts, walk_spf

# What a domain may look like, each under a name of its own; the ip4 are nobody's.
SPF = {
    "plain": "v=spf1 ip4:192.88.99.0/24 -all",
    "neutral": "v=spf1 ip4:192.88.99.0/24 ?all",
    "bare": "v=spf1 ip4:192.88.99.0/24",
    "named": "v=spf1 a mx a:plain.com mx:mail.com ~all",
    "chain": "v=spf1 include:named.com redirect=plain.com",
    "ten": "v=spf1 " + " ".join(f"include:leaf{n}.com" for n in range(10)) + " -all",
    "eleven": "v=spf1 " + " ".join(f"include:leaf{n}.com" for n in range(11)) + " -all",
    "nested": "v=spf1 include:ten.com -all",
    "twice": "v=spf1 include:five.com include:five.com ~all",
    "five": "v=spf1 " + " ".join(f"include:leaf{n}.com" for n in range(5)) + " -all",
    "loop": "v=spf1 include:loop.com -all",
    "looping": "v=spf1 redirect=looped.com",
    "looped": "v=spf1 redirect=looping.com",
    "gone": "v=spf1 include:nowhere.com -all",
    "unspf": "v=spf1 include:mail.com -all",
    "twovoid": "v=spf1 a:no1.com a:no2.com -all",
    "threevoid": "v=spf1 a:no1.com a:no2.com a:no3.com -all",
    "voidinside": "v=spf1 include:twovoid.com a:no3.com -all",
    "typo": "v=spf1 ip4:192.88.99.0/24 includ:plain.com -all",
    "badnet": "v=spf1 ip4:192.88.99.0/33 -all",
    "colon": "v=spf1 ip4=192.88.99.1 -all",
    "prefix": "v=spf1 a/24//64 mx:mail.com/30 -all",
    "macro": "v=spf1 include:%{d}.m.com exists:plain.com -all",
    "double": "v=spf1 redirect=plain.com redirect=plain.com",
}
ZONE = {
    **{f"TXT {name}.com": [text] for name, text in SPF.items()},
    **{f"A {name}.com": ["8.8.8.8"] for name in SPF},
    **{f"MX {name}.com": ["10 mx.mail.com"] for name in SPF},
    **{f"TXT leaf{n}.com": ["v=spf1 ip4:192.88.99.9 -all"] for n in range(11)},
    "TXT macro.com.m.com": ["v=spf1 ip4:192.88.99.9 -all"],
    "TXT two.com": ["v=spf1 -all", "v=spf1 ~all"],
    "A mx.mail.com": ["8.8.4.4"],
    "MX mail.com": ["10 mx.mail.com"],
    "TXT mail.com": ["not spf"],
}

DMARC = {
    "plain.com": "v=DMARC1; p=none; rua=mailto:a@plain.com",
    "strict.com": "v=DMARC1; p=reject; sp=quarantine; np=reject; adkim=s; aspf=s; t=y",
    "old.com": "v=DMARC1; p=quarantine; pct=50; ri=3600; rf=afrf",
    "lower.com": "v=dmarc1; p=none",
    "late.com": "p=none; v=DMARC1",
    "reports.com": "v=DMARC1; rua=mailto:a@reports.com",
    "bad.com": "v=DMARC1; p=block",
    "spaced.com": "v = DMARC1 ; p = none",
    "co.uk": "v=DMARC1; p=reject; psd=y",
    "acme.co.uk": "v=DMARC1; p=none; psd=n",
}
ZONE |= {f"A {name}": ["8.8.8.8"] for name in ("mail.strict.com", "mail.acme.co.uk", "x.co.uk", "none.com")}
ZONE |= {f"TXT _dmarc.{name}": [text] for name, text in DMARC.items()}
ZONE |= {"TXT _dmarc.twice.com": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}


def _random_zone(seed, count=40):
    """Domains whose records include and redirect to those after them, so that there is no circle."""
    chance = random.Random(seed)
    zone = {}
    for number in range(count):
        name = f"r{number}.com"
        later = [f"r{n}.com" for n in range(number + 1, count)]
        terms = [f"include:{one}" for one in chance.sample(later, min(len(later), chance.choice([0, 0, 1, 1, 2])))]
        terms += chance.choices(["a", "mx", "a:mail-host.com", "a:no.com", "ip4:192.88.99.1"], k=chance.randint(0, 2))
        chance.shuffle(terms)
        ends = ["-all", "~all", *([f"redirect={chance.choice(later)}"] if later else [])]
        zone[f"TXT {name}"] = [" ".join(["v=spf1", *terms, chance.choice(ends)])]
        zone[f"A {name}"], zone[f"MX {name}"] = ["8.8.8.8"], ["10 mail-host.com"]
    return zone | {"A mail-host.com": ["8.8.4.4"]}


RANDOM = _random_zone(7)
ALL_SPF = [*SPF, "two", *(f"r{number}" for number in range(40))]


NOT_VALID = {"spf_missing", "spf_multiple", "spf_invalid", "spf_lookups", "spf_voids"}


@pytest.fixture(scope="module")
def resolver():
    with nsd(ZONE | RANDOM) as address:
        yield address


@pytest.fixture
def theirs(resolver):
    """The same server, for a library that asks by itself."""
    their = dns.resolver.Resolver(configure=False)
    their.nameservers, their.port = [resolver.address], resolver.port
    return their


async def report_on(resolver, domain, **setup):
    return await check_domain(DomainSetup(domain, **setup), Lookup(resolver), [])


@pytest.mark.parametrize("name", ALL_SPF)
async def test_checkdmarc_agrees_on_spf(resolver, theirs, name):
    """The same records are valid, and the valid ones cost the same look-ups, void ones included."""
    domain = f"{name}.com"
    report = await report_on(resolver, domain)
    opinion = checkdmarc.spf.check_spf(domain, resolver=theirs)
    ours = NOT_VALID & {finding.code for finding in report.findings}
    assert (not ours) == opinion["valid"], (ours, opinion.get("error"))
    if opinion["valid"]:
        tally = await tally_of(resolver, domain)
        assert (tally.lookups, tally.voids) == (opinion["dns_lookups"], opinion["void_dns_lookups"])


async def tally_of(resolver, domain):
    """The count, by the same rules over the same server."""
    lookup, known = Lookup(resolver), {}
    while True:
        facts = Facts(known)
        texts = spf_texts(facts.ask(Kind.TXT, domain))
        tally = walk_spf(parse_spf(texts[0]), domain, facts) if texts else None
        if not facts.wanted:
            assert tally is not None
            return tally
        for question in facts.wanted:
            known[question] = await lookup.answer(question)


@pytest.mark.parametrize("domain", [*DMARC, "twice.com", "none.com", "mail.strict.com", "mail.acme.co.uk", "x.co.uk"])
async def test_checkdmarc_agrees_on_dmarc(resolver, theirs, domain):
    """The same domains have a policy, it stands at the same name, and says the same."""
    lookup, known = Lookup(resolver), {}
    while True:
        facts = Facts(known)
        found, findings = find_dmarc(domain, facts), judge_dmarc(domain, facts)
        if not facts.wanted:
            break
        for question in facts.wanted:
            known[question] = await lookup.answer(question)
    opinion = checkdmarc.dmarc.check_dmarc(domain, resolver=theirs)
    blocked = any(finding.severity is Severity.BLOCKS for finding in findings)
    assert blocked != opinion["valid"], (findings, opinion)
    if opinion["valid"]:
        assert found.policy_domain == opinion["location"]
        assert found.policy.word("p", "none") == opinion["tags"]["p"]["value"]
