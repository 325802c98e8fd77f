"""SPF: syntax, cost, coverage and the record to set."""

import pytest
from dns_answers import FAILED, codes, facts_of
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.facts import Kind
from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.provider_records import load_providers
from mailfleet.health.dns.rules_spf import judge_spf, spf_record
from mailfleet.health.dns.rules_spf_syntax import expand, is_spf, parse_spf
from mailfleet.health.dns.rules_spf_walk import walk_spf

D = "acme.com"
GOOGLE = load_providers().providers["google_workspace"]
GOOGLE_ZONE = {
    "TXT _spf.google.com": ["v=spf1 include:_netblocks.google.com ~all"],
    "TXT _netblocks.google.com": ["v=spf1 ip4:35.190.247.0/24 ip6:2001:4860:4000::/36 ~all"],
}


def judged(*texts, zone=None, providers=()):
    facts = facts_of({f"TXT {D}": list(texts), **(zone or {})})
    return judge_spf(D, providers, facts)


@pytest.mark.parametrize(
    ("texts", "code", "severity"),
    [
        (["hello"], "spf_missing", Severity.BLOCKS),
        (["v=spf10 -all"], "spf_missing", Severity.BLOCKS),
        (["v=spf1 -all", "V=SPF1 ~all"], "spf_multiple", Severity.BLOCKS),
        (["v=spf1 ip4:1.2.3.4 -all", "other"], "spf_fine", Severity.FINE),
        (["v=spf1 ip4:1.2.3.4 +all"], "spf_all_pass", Severity.BLOCKS),
        (["v=spf1 ip4:1.2.3.4 all"], "spf_all_pass", Severity.BLOCKS),
        (["v=spf1 ip4:1.2.3.4 ?all"], "spf_all_neutral", Severity.WARNS),
        (["v=spf1 ip4:1.2.3.4"], "spf_all_neutral", Severity.WARNS),
        (["v=spf1 ip4:1.2.3.4 ~all"], "spf_fine", Severity.FINE),
        (["v=spf1 ptr -all"], "spf_ptr", Severity.WARNS),
        (["v=spf1 ip4=1.2.3.4 -all"], "spf_ignored", Severity.WARNS),
        (["v=spf1 -all ip4:1.2.3.4"], "spf_ignored", Severity.WARNS),
        (["v=spf1 redirect=x.com -all"], "spf_ignored", Severity.WARNS),
        (["v=spf1 include:gone.com -all"], "spf_invalid", Severity.BLOCKS),
        ([f"v=spf1 include:{D} -all"], "spf_invalid", Severity.BLOCKS),
        (["v=spf1 ip4:1.2.3.400 -all"], "spf_invalid", Severity.BLOCKS),
        (["v=spf1 ip4:1.2.3.4-all"], "spf_invalid", Severity.BLOCKS),
        (["v=spf1 includ:x.com -all"], "spf_invalid", Severity.BLOCKS),
        (["v=spf1 redirect=a.com redirect=b.com"], "spf_invalid", Severity.BLOCKS),
        (["v=spf1 a:no1.com a:no2.com a:no3.com -all"], "spf_voids", Severity.BLOCKS),
        (["v=spf1 a:no1.com a:no2.com -all"], "spf_fine", Severity.FINE),
        (["v=spf1 " + "ip4:10.11.12.13 " * 30 + "-all"], "spf_long", Severity.WARNS),
    ],
)
def test_every_fault_of_a_record_has_its_finding(texts, code, severity):
    """What RFC 7208 calls none or permerror blocks; what is only unwise warns; the rest is fine."""
    assert code in codes(judged(*texts), severity)


@pytest.mark.parametrize(
    "term",
    [
        "a", "mx", "a/24", "a//64", "mx/24//64", "a:x.com/0", "A:X.com", "ptr", "ptr:x.com", "include:%{d2}.x.com",
        "exists:%{i}._spf.%{d}", "include:_a-b._spf.x.com", "ip4:1.2.3.4", "ip4:1.2.3.4/32", "ip6:::1",
        "ip6:2001:db8::/32", "?mx:x.com", "exists:x.%{h}",
        "a:x.com.", "foo=bar", "exp=e.x.com", "redirect=_spf.x.com", "a:a/b.x.com", "exists:%{l1r+-}.x.com",
    ],
)  # fmt: skip
def test_terms_of_the_grammar_are_taken(term):
    """RFC 7208 §12 allows each of these."""
    assert parse_spf(f"v=spf1 {term} -all").errors == ()


@pytest.mark.parametrize(
    "term",
    [
        "include", "include:", "include:x", "include:x.123", "exists", "a/33", "a//129", "a/01", "mx/", "ptr/24",
        "all:x.com", "-all/8", "ip4", "ip4:", "ip4:::1", "ip4:1.2.3.4/33", "ip4:1.2.3.4/024", "ip4:1.2.3.4/255.0.0.0",
        "ip6:1.2.3.4", "ip4:%{d}", "include:%{x}.x.com", "include:%d.x.com",
        "-redirect=x.com", "redirect=", "redirect=x", "foo", "+", "a:x.com\tb", "include:é.com", "=",
    ],
)  # fmt: skip
def test_terms_outside_the_grammar_are_errors(term):
    """What the grammar of RFC 7208 §12 does not know is a permerror."""
    assert parse_spf(f"v=spf1 {term} -all").errors


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{o}.x.com", "sender.org.x.com"),
        ("a%%%_%-.x.com", "a% %20.x.com"),
        ("%{i}.x.com", None),
        ("%{l}.x.com", None),
        ("%{s}.x.com", None),
        ("x.com.", "x.com"),
    ],
)
def test_macros_of_the_domain_are_expanded(spec, name):
    """RFC 7208 §7.4's examples; what depends on the letter has no name that holds for all."""
    assert expand(spec, domain="email.example.com", sender_domain="sender.org") == name


def test_the_provider_must_be_covered():
    """A record without the provider's include blocks, and the record to set keeps what stood there."""
    findings = judged(
        "v=spf1 ip4:1.2.3.4 a:x.com -all", zone=GOOGLE_ZONE | {"A x.com": ["8.8.8.8"]}, providers=[GOOGLE]
    )
    assert codes(findings) == {"spf_provider"}
    assert findings[0].records[0].value == "v=spf1 ip4:1.2.3.4 a:x.com include:_spf.google.com -all"


@pytest.mark.parametrize(
    "text", ["v=spf1 include:_spf.google.com ~all", "v=spf1 include:own.com ~all", "v=spf1 redirect=_spf.google.com"]
)
def test_the_provider_is_covered_at_any_depth(text):
    """An include of an include, and a redirect, cover as well as the include itself."""
    zone = GOOGLE_ZONE | {"TXT own.com": ["v=spf1 include:_spf.google.com -all"]}
    assert codes(judged(text, zone=zone, providers=[GOOGLE])) == {"spf_fine"}


def test_copied_addresses_cover_and_are_warned_of():
    """Networks that contain all of the provider's are enough today."""
    text = "v=spf1 ip4:35.190.0.0/16 ip6:2001:4860::/32 -all"
    assert codes(judged(text, zone=GOOGLE_ZONE, providers=[GOOGLE])) == {"spf_copied"}


def test_part_of_the_addresses_does_not_cover():
    """One network of the provider outside ours, and its letters fail."""
    assert codes(judged("v=spf1 ip4:35.190.0.0/16 -all", zone=GOOGLE_ZONE, providers=[GOOGLE])) == {"spf_provider"}


@pytest.mark.parametrize("name", [f"TXT {D}", "TXT _spf.google.com", "TXT _netblocks.google.com"])
def test_a_look_up_that_failed_is_unknown(name):
    """Neither the record nor an include that could not be asked for is held against the domain."""
    written = {f"TXT {D}": ["v=spf1 include:_spf.google.com ~all"], **GOOGLE_ZONE, name: FAILED}
    assert {finding.severity for finding in judge_spf(D, [GOOGLE], facts_of(written))} == {Severity.UNKNOWN}


def test_two_records_become_one():
    """The record to set has the terms of both, each once."""
    texts = ["v=spf1 ip4:1.2.3.4 include:_spf.google.com ~all", "v=spf1 ip4:1.2.3.4 ip4:5.6.7.8 -all"]
    facts = facts_of({f"TXT {D}": texts, **GOOGLE_ZONE})
    assert spf_record(D, [GOOGLE], facts).value == "v=spf1 ip4:1.2.3.4 include:_spf.google.com ip4:5.6.7.8 ~all"


def test_no_record_is_written_over_one_that_nobody_saw():
    """Where the look-up failed, no value is proposed."""
    assert spf_record(D, [GOOGLE], facts_of({f"TXT {D}": FAILED})).value == ""


# A tree of records: each node is (mechanisms that cost, children by include, a redirect or none).
leaves = st.tuples(st.integers(0, 3), st.just([]), st.none())
trees = st.recursive(
    leaves, lambda node: st.tuples(st.integers(0, 3), st.lists(node, max_size=3), st.none() | node), max_leaves=12
)


def _planted(tree, name, zone):
    """Writes the tree into the zone; returns its cost, counted on the tree and not on any text."""
    plain, children, last = tree
    zone[f"A {name}"] = ["8.8.8.8"]
    terms, cost = ["a"] * plain, plain
    for number, child in enumerate(children):
        below = f"i{number}.{name}"
        terms.append(f"include:{below}")
        cost += 1 + _planted(child, below, zone)
    if last is not None:
        terms.append(f"redirect=r.{name}")
        cost += 1 + _planted(last, f"r.{name}", zone)
    zone[f"TXT {name}"] = [" ".join(["v=spf1", *terms])]
    return cost


@given(trees)
def test_the_count_is_that_of_the_tree(tree):
    """Look-ups are counted through includes and redirects exactly as the tree of records has them (§4.6.4)."""
    zone = {}
    cost = _planted(tree, D, zone)
    tally = walk_spf(parse_spf(zone[f"TXT {D}"][0]), D, facts_of(zone))
    assert tally.lookups == cost if cost <= 40 else tally.has_given_up
    assert ("spf_lookups" in codes(judge_spf(D, (), facts_of(zone)))) == (cost > 10)


def test_a_redirect_that_grows_for_ever_comes_to_an_end():
    """A stranger's record that redirects to ever new names is given up, not followed."""

    facts = facts_of({f"TXT {'a.' * depth}x.com": ["v=spf1 redirect=a.%{d}"] for depth in range(120)})
    assert "spf_lookups" in codes(judge_spf("x.com", (), facts))


records = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=60) | st.lists(
    st.sampled_from(["a", "mx", "include:", "x.com", "%{d}", "%{i", "/24", "//", "-all", "=", ":", " ", "ip4:1.2.3.4"]),
    max_size=12,
).map("".join)  # fmt: skip


@given(st.lists(records.map(lambda text: f"v=spf1 {text}"), min_size=1, max_size=3))
def test_no_record_raises(texts):
    """Whatever a stranger publishes, the rules give findings, and the record to set is one."""
    zone = {f"TXT {D}": texts, "TXT x.com": texts[:1], "MX x.com": ["10 x.com", "x", ""]}
    facts = facts_of(zone)
    findings = judge_spf(D, [GOOGLE], facts)
    assert findings
    assert is_spf(spf_record(D, [GOOGLE], facts).value)


def test_exchangers_of_mx_are_few():
    """More than ten hosts behind one mx are a permerror (§4.6.4)."""
    zone = {f"MX {D}": [f"10 h{number}.com" for number in range(11)]} | {f"A h{n}.com": ["8.8.8.8"] for n in range(11)}
    assert "spf_invalid" in codes(judged("v=spf1 mx -all", zone=zone))


def test_only_what_is_needed_is_asked():
    """A record without names asks for itself alone."""
    facts = facts_of({f"TXT {D}": ["v=spf1 ip4:1.2.3.4 -all"]})
    asked = []
    facts.ask = lambda kind, name, ask=facts.ask: asked.append((kind, name)) or ask(kind, name)
    judge_spf(D, (), facts)
    assert set(asked) == {(Kind.TXT, D)}
