"""DMARC by RFC 9989: the walk up the tree, and what a record says."""

from itertools import pairwise

import pytest
from dns_answers import FAILED, codes, facts_of
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.rules_dmarc import dmarc_record, judge_dmarc
from mailfleet.health.dns.rules_dmarc_records import find_dmarc, is_aligned, tree

D = "acme.com"


def judged(*texts, zone=None, domain=D):
    written = {f"TXT _dmarc.{domain}": list(texts)} if texts else {}
    return judge_dmarc(domain, facts_of(written | (zone or {})))


@pytest.mark.parametrize(
    ("texts", "code", "severity"),
    [
        ([], "dmarc_missing", Severity.BLOCKS),
        (["v=spf1 -all"], "dmarc_missing", Severity.BLOCKS),
        (["V=DMARC1; p=none"], "dmarc_fine", Severity.FINE),
        (["v=dmarc1; p=none"], "dmarc_invalid", Severity.BLOCKS),
        (["p=none; v=DMARC1"], "dmarc_invalid", Severity.BLOCKS),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "dmarc_multiple", Severity.BLOCKS),
        (["v=DMARC1; p=none"], "dmarc_fine", Severity.FINE),
        (["v = DMARC1 ;p = Reject ; rua = mailto:a@acme.com"], "dmarc_fine", Severity.FINE),
        (["v=DMARC1"], "dmarc_no_policy", Severity.BLOCKS),
        (["v=DMARC1; p=block"], "dmarc_no_policy", Severity.BLOCKS),
        (["v=DMARC1; rua=mailto:a@acme.com"], "dmarc_policy_implied", Severity.WARNS),
        (["v=DMARC1; p=reject; t=y"], "dmarc_testing", Severity.WARNS),
        (["v=DMARC1; p=reject; psd=y"], "dmarc_psd", Severity.WARNS),
        (["v=DMARC1; p=reject; pct=10"], "dmarc_removed_tags", Severity.WARNS),
        (["v=DMARC1; p=reject; rf=afrf; ri=86400"], "dmarc_removed_tags", Severity.WARNS),
        (["v=DMARC1; p=reject; np=reject; sp=none; t=n; psd=u"], "dmarc_fine", Severity.FINE),
        (["v=DMARC1; p=reject; np=never"], "dmarc_no_policy", Severity.BLOCKS),
        (["v=DMARC1; p=reject; sp=never; rua=mailto:a@acme.com"], "dmarc_policy_implied", Severity.WARNS),
        (["v=DMARC1; p=reject; adkim=x"], "dmarc_ignored", Severity.WARNS),
        (["v=DMARC1; p=reject; p=none"], "dmarc_ignored", Severity.WARNS),
        (["v=DMARC1; p=reject, rua=mailto:a@b.com"], "dmarc_no_policy", Severity.BLOCKS),
        (["v=DMARC1; p=reject; foo=1"], "dmarc_unknown_tags", Severity.WARNS),
        (["v=DMARC1; p=reject; rua=a@acme.com"], "dmarc_report_uri", Severity.WARNS),
        (["v=DMARC1; p=reject; rua=mailto:a@acme.com!10m"], "dmarc_report_size", Severity.WARNS),
        (["v=DMARC1; p=reject; rua=mailto:a@else.com"], "dmarc_report_refused", Severity.WARNS),
        (["v=DMARC1; p=reject; ruf=mailto:a@mail.acme.com"], "dmarc_fine", Severity.FINE),
    ],
)
def test_every_fault_of_a_record_has_its_finding(texts, code, severity):
    """What leaves the domain without a policy blocks; what says something else than meant warns."""
    assert code in codes(judged(*texts), severity)


def test_reports_may_go_where_they_are_wanted():
    """The receiver's record at _report._dmarc allows it, or its silence is warned of."""
    zone = {f"TXT {D}._report._dmarc.else.com": ["v=DMARC1"]}
    assert codes(judged("v=DMARC1; p=reject; rua=mailto:a@else.com", zone=zone)) == {"dmarc_fine"}


def test_the_walk_asks_eight_names_at_most():
    """RFC 9989 §4.10: of a long name the labels between the first query and the last seven are left out."""
    assert tree("a.b.c.d.e.f.g.h.i.j.mail.acme.com") == [
        "a.b.c.d.e.f.g.h.i.j.mail.acme.com",
        "g.h.i.j.mail.acme.com",
        "h.i.j.mail.acme.com",
        "i.j.mail.acme.com",
        "j.mail.acme.com",
        "mail.acme.com",
        "acme.com",
        "com",
    ]
    assert tree("mail.acme.com") == ["mail.acme.com", "acme.com", "com"]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20).map(".".join))
def test_every_walk_is_short_and_goes_up(domain):
    """Eight queries at most, each name above the one before."""
    names = tree(domain)
    assert len(names) <= 8
    assert names[-1] == domain.rsplit(".", 1)[-1]
    assert all(below.endswith(f".{above}") for below, above in pairwise(names))


@pytest.mark.parametrize(
    ("zone", "domain", "organizational", "policy_domain"),
    [
        ({"acme.com": "p=none"}, "a.mail.acme.com", "acme.com", "acme.com"),
        ({"acme.com": "p=none", "mail.acme.com": "p=reject"}, "a.mail.acme.com", "acme.com", "acme.com"),
        ({"acme.com": "p=none", "mail.acme.com": "p=reject"}, "mail.acme.com", "acme.com", "mail.acme.com"),
        ({"acme.com": "p=none", "x.acme.com": "p=reject; psd=n"}, "a.x.acme.com", "x.acme.com", "x.acme.com"),
        ({"co.uk": "p=reject; psd=y", "acme.co.uk": "p=none"}, "mail.acme.co.uk", "acme.co.uk", "acme.co.uk"),
        ({"co.uk": "p=reject; psd=y"}, "mail.acme.co.uk", "acme.co.uk", "co.uk"),
        ({"uk": "p=none"}, "mail.acme.co.uk", "uk", "uk"),
        ({"acme.com": "p=none; psd=y"}, "acme.com", "acme.com", "acme.com"),
        ({}, "mail.acme.com", "mail.acme.com", ""),
    ],
)  # fmt: skip
def test_policy_and_organizational_domain_come_from_one_walk(zone, domain, organizational, policy_domain):
    """RFC 9989 §4.10.1 and §4.10.2, with psd=y and psd=n ending the walk."""
    written = {f"TXT _dmarc.{name}": [f"v=DMARC1; {tags}"] for name, tags in zone.items()}
    found = find_dmarc(domain, facts_of(written))
    assert (found.organizational, found.policy_domain) == (organizational, policy_domain)


def test_several_records_above_count_as_none():
    """§4.10: the walk goes on past a name with more than one."""
    two = {"TXT _dmarc.acme.com": ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "TXT _dmarc.com": ["v=DMARC1; p=none"]}
    assert find_dmarc("mail.acme.com", facts_of(two)).policy_domain == "com"


@pytest.mark.parametrize(
    ("zone", "severity"),
    [
        ({"acme.com": "p=reject; sp=none; t=y"}, Severity.FINE),
        ({"acme.com": "p=none; sp=reject; t=y"}, Severity.WARNS),
    ],
)
def test_a_subdomain_has_the_policy_of_sp(zone, severity):
    """What is inherited is sp, so t=y matters where sp asks for something."""
    written = {f"TXT _dmarc.{name}": [f"v=DMARC1; {tags}"] for name, tags in zone.items()}
    assert {found.severity for found in judge_dmarc("mail.acme.com", facts_of(written))} == {severity}


def test_a_walk_that_failed_is_unknown():
    """A parent that could not be asked may have the policy."""
    assert {found.severity for found in judged(zone={"TXT _dmarc.com": FAILED})} == {Severity.UNKNOWN}


def test_alignment_is_strict_or_by_organizational_domain():
    """Strict wants the same name; relaxed the same organizational domain; what cannot be looked up is not known."""
    facts = facts_of({"TXT _dmarc.acme.com": ["v=DMARC1; p=none"], "TXT _dmarc.x.org": FAILED})
    assert is_aligned("mail.acme.com", "acme.com", strict=False, facts=facts) is True
    assert is_aligned("mail.acme.com", "acme.com", strict=True, facts=facts) is False
    assert is_aligned("mail.acme.com", "other.com", strict=False, facts=facts) is False
    assert is_aligned("acme.com", "x.org", strict=False, facts=facts) is None


def test_a_valid_record_is_kept_and_a_bad_one_replaced():
    """The record to set is what stands there, if it has a policy."""
    good = "v=DMARC1; p=reject; rua=mailto:a@acme.com"
    assert dmarc_record(D, facts_of({f"TXT _dmarc.{D}": [good]})).value == good
    assert dmarc_record(D, facts_of({f"TXT _dmarc.{D}": ["v=DMARC1"]})).value == "v=DMARC1; p=none"
    assert dmarc_record(D, facts_of({f"TXT _dmarc.{D}": FAILED})).value == ""


tags = st.lists(
    st.sampled_from(["p=none", "p", "sp=x", "psd=y", "psd=n", "rua=mailto:a@b.c", "rua=,,", "t=y", "=", ";", "\x00"]),
    max_size=6,
).map(";".join)  # fmt: skip


@given(st.lists(tags | st.text(max_size=40), max_size=3), st.lists(tags, max_size=2))
def test_no_record_raises(own, above):
    """Whatever a stranger publishes, there are findings and a record to set."""
    zone = {f"TXT _dmarc.{D}": [f"v=DMARC1;{text}" for text in own], "TXT _dmarc.com": [f"v=DMARC1;{x}" for x in above]}
    assert judge_dmarc(D, facts_of(zone))
    assert dmarc_record(D, facts_of(zone)).value
