"""The domain itself, its exchangers, and the opt-out host."""

from datetime import timedelta

import pytest
from dns_answers import FAILED, GOOD_TLS, NOW, codes, facts_of
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.facts import Answer, Handshake, State, TlsState
from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.provider_records import load_providers
from mailfleet.health.dns.rules_mx import judge_domain, judge_mx, mx_records
from mailfleet.health.dns.rules_opt_out import judge_opt_out, opt_out_place

D = "acme.com"
GOOGLE = load_providers().providers["google_workspace"]
HOSTS = {"A mx.acme.com": ["8.8.8.8"], "AAAA mx6.acme.com": ["2001:4860:4860::8888"], "A inside.acme.com": ["10.0.0.1"]}


@pytest.mark.parametrize(
    ("zone", "code", "severity"),
    [
        ({}, "mx_missing", Severity.BLOCKS),
        ({f"A {D}": ["8.8.8.8"]}, "mx_missing", Severity.BLOCKS),
        ({f"MX {D}": FAILED}, "mx_unknown", Severity.UNKNOWN),
        ({f"MX {D}": ["0 ."]}, "mx_null", Severity.BLOCKS),
        ({f"MX {D}": ["10 mx.acme.com"]}, "mx_fine", Severity.FINE),
        ({f"MX {D}": ["10 mx6.acme.com"]}, "mx_fine", Severity.FINE),
        ({f"MX {D}": ["10 gone.acme.com"]}, "mx_dead", Severity.BLOCKS),
        ({f"MX {D}": ["10 8.8.8.8"]}, "mx_dead", Severity.BLOCKS),
        ({f"MX {D}": ["10 inside.acme.com"]}, "mx_dead", Severity.BLOCKS),
        ({f"MX {D}": ["10 mx.acme.com", "20 gone.acme.com"]}, "mx_part_dead", Severity.WARNS),
        ({f"MX {D}": ["10 x.acme.com"], "A x.acme.com": FAILED}, "mx_host_unknown", Severity.UNKNOWN),
        (
            {f"MX {D}": ["10 x.acme.com"], "A x.acme.com": Answer(State.FOUND, ("8.8.8.8",), "y.acme.com")},
            "mx_alias",
            Severity.WARNS,
        ),
    ],
)
def test_every_fault_of_receiving_has_its_finding(zone, code, severity):
    """A domain that cannot receive may not write; a look-up that failed says nothing."""
    assert codes(judge_mx(D, (), facts_of(HOSTS | zone))) == {code}
    assert codes(judge_mx(D, (), facts_of(HOSTS | zone)), severity) == {code}


def test_replies_must_reach_the_inboxes_that_are_read():
    """Exchangers that are not the provider's are warned of, with the provider's own to set."""
    findings = judge_mx(D, [GOOGLE], facts_of(HOSTS | {f"MX {D}": ["10 mx.acme.com"]}))
    assert codes(findings, Severity.WARNS) == {"mx_elsewhere"}
    assert [record.value for record in findings[0].records] == ["1 smtp.google.com"]


def test_exchangers_of_the_provider_are_kept_in_the_records():
    """Older names of the provider's exchangers serve as well as those it hands out today."""
    zone = {f"MX {D}": ["1 aspmx.l.google.com", "5 alt1.aspmx.l.google.com"]}
    assert [record.value for record in mx_records(D, [GOOGLE], facts_of(zone))] == zone[f"MX {D}"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(Answer(State.MISSING), {"domain_missing"}), (FAILED, {"domain_unknown"}), (Answer(State.EMPTY), set())],
)
def test_a_domain_that_ran_out_is_named_as_such(answer, expected):
    """NXDOMAIN of the name is the one finding; a name without an SOA of its own is a subdomain."""
    assert codes(judge_domain(D, facts_of({f"SOA {D}": answer}))) == expected


@given(st.lists(st.text(max_size=20) | st.sampled_from(["10 mx.acme.com", "0 .", "x", " ", "99999 a"]), max_size=4))
def test_no_exchanger_raises(values):
    """Whatever the MX records hold, there are findings."""
    zone = HOSTS | ({f"MX {D}": values} if values else {})
    assert judge_mx(D, [GOOGLE], facts_of(zone))
    assert mx_records(D, [GOOGLE], facts_of(zone)) is not None


URL = "https://out.acme.com/o"
RESOLVES = {"A out.acme.com": ["8.8.8.8"]}


@pytest.mark.parametrize(
    ("url", "zone", "handshake", "code", "severity"),
    [
        (URL, RESOLVES, GOOD_TLS, "opt_out_fine", Severity.FINE),
        (URL, {}, GOOD_TLS, "opt_out_missing", Severity.BLOCKS),
        (URL, {"A out.acme.com": FAILED}, GOOD_TLS, "opt_out_unknown", Severity.UNKNOWN),
        ("http://out.acme.com/o", RESOLVES, GOOD_TLS, "opt_out_plain", Severity.BLOCKS),
        ("https:///o", RESOLVES, GOOD_TLS, "opt_out_url", Severity.BLOCKS),
        ("https://x:99999/", RESOLVES, GOOD_TLS, "opt_out_url", Severity.BLOCKS),
        (URL, RESOLVES, Handshake(TlsState.GOOD, NOW + timedelta(days=13)), "opt_out_ends_soon", Severity.WARNS),
        (URL, RESOLVES, Handshake(TlsState.EXPIRED), "opt_out_expired", Severity.BLOCKS),
        (URL, RESOLVES, Handshake(TlsState.WRONG_NAME), "opt_out_wrong_name", Severity.BLOCKS),
        (URL, RESOLVES, Handshake(TlsState.UNTRUSTED), "opt_out_untrusted", Severity.BLOCKS),
        (URL, RESOLVES, Handshake(TlsState.REFUSED), "opt_out_refused", Severity.BLOCKS),
        (URL, RESOLVES, Handshake(TlsState.SILENT), "opt_out_silent", Severity.UNKNOWN),
    ],
)
def test_every_fault_of_the_opt_out_host_has_its_finding(url, zone, handshake, code, severity):
    """A reader's program must be able to reach the host and believe it; silence says nothing for sure."""
    assert codes(judge_opt_out(url, facts_of(zone, handshake), NOW), severity) == {code}


def test_without_an_opt_out_address_nothing_is_judged():
    """A domain checked on its own has none."""
    assert judge_opt_out("", facts_of({}), NOW) == []


@given(st.text(max_size=40).map(lambda text: f"https://{text}"))
def test_no_address_raises(url):
    """Whatever stands in opt_out_base_url, there is a finding."""
    assert judge_opt_out(url, facts_of({}), NOW)
    assert opt_out_place(url) is None or opt_out_place(url)[1]
