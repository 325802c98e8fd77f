"""Blocklists: a listing is what the list says of the domain, and never what it says of the query."""

import pytest
from dns_answers import FAILED, codes, facts_of
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.facts import Answer, State
from mailfleet.health.dns.findings import Severity, verdict_of
from mailfleet.health.dns.rules_blocklist import judge_blocklists, load_blocklists

LISTS = load_blocklists()
DBL, SURBL, URIBL = LISTS["spamhaus_dbl"], LISTS["surbl"], LISTS["uribl"]
TEST_POINTS = {
    "A dbltest.com.dbl.spamhaus.org": ["127.0.1.2"],
    "A test.surbl.org.multi.surbl.org": ["127.0.0.64"],
    "A test.uribl.com.multi.uribl.com": ["127.0.0.14"],
}


def judged(blocklist, answers, zone=TEST_POINTS):
    listed = {f"A acme.com.{blocklist.zone}": answers} if answers else {}
    return judge_blocklists(["acme.com"], [blocklist], facts_of(zone | listed))


@pytest.mark.parametrize(
    ("blocklist", "answers", "code", "severity"),
    [
        (DBL, None, "blocklist_clean", Severity.FINE),
        (DBL, Answer(State.EMPTY), "blocklist_clean", Severity.FINE),
        (DBL, ["127.0.1.2"], "blocklist_listed", Severity.BLOCKS),
        (DBL, ["127.0.1.106"], "blocklist_listed", Severity.BLOCKS),
        (DBL, ["127.0.1.99"], "blocklist_listed", Severity.WARNS),
        (DBL, ["127.0.1.255"], "blocklist_unknown", Severity.UNKNOWN),
        (DBL, ["127.255.255.252"], "blocklist_unknown", Severity.UNKNOWN),
        (DBL, ["127.255.255.254"], "blocklist_unknown", Severity.UNKNOWN),
        (DBL, ["127.255.255.255"], "blocklist_unknown", Severity.UNKNOWN),
        (DBL, ["198.51.100.7"], "blocklist_unknown", Severity.UNKNOWN),
        (DBL, FAILED, "blocklist_unknown", Severity.UNKNOWN),
        (SURBL, ["127.0.0.80"], "blocklist_listed", Severity.BLOCKS),
        (SURBL, ["127.0.0.1"], "blocklist_unknown", Severity.UNKNOWN),
        (URIBL, ["127.0.0.2"], "blocklist_listed", Severity.BLOCKS),
        (URIBL, ["127.0.0.4"], "blocklist_listed", Severity.WARNS),
        (URIBL, ["127.0.0.1"], "blocklist_unknown", Severity.UNKNOWN),
    ],
)
def test_every_answer_has_its_meaning(blocklist, answers, code, severity):
    """NXDOMAIN is clean, the codes of the data are listings, and what is about the query is not known."""
    findings = judged(blocklist, answers)
    assert code in codes(findings, severity)
    assert len(codes(findings)) == 1


@pytest.mark.parametrize("point", [[], ["127.255.255.254"], FAILED])
def test_a_list_that_does_not_know_its_test_point_is_not_believed(point):
    """A resolver to which a list plays dead would make every domain clean (RFC 5782 §5)."""
    zone = {"A dbltest.com.dbl.spamhaus.org": point} if point else {}
    assert codes(judged(DBL, None, zone)) == {"blocklist_unknown"}


def test_a_listing_counts_though_another_query_failed():
    """One name's listing is not lost to the error of another."""
    zone = TEST_POINTS | {"A a.com.dbl.spamhaus.org": ["127.0.1.4"], "A b.com.dbl.spamhaus.org": ["127.255.255.255"]}
    findings = judge_blocklists(["b.com", "a.com"], [DBL], facts_of(zone))
    assert codes(findings) == {"blocklist_listed", "blocklist_unknown"}
    assert verdict_of(findings) is Severity.BLOCKS


def test_a_list_that_does_not_answer_is_no_reason_to_wait():
    """The verdict is a warning, not unknown: a fleet behind a public resolver can begin."""
    assert verdict_of(judged(DBL, FAILED)) is Severity.WARNS


def test_a_key_changes_the_zone_and_is_never_shown():
    """Holders of a key ask in a zone of their own; its name stands in no finding."""
    keyed = DBL.with_key("s3cret")
    assert keyed.zone == "s3cret.dbl.dq.spamhaus.net"
    assert all("s3cret" not in str(finding) for finding in judged(keyed, FAILED) + judged(keyed, ["127.0.1.2"]))


@given(
    st.lists(st.ip_addresses(v=4).map(str) | st.text(max_size=12), min_size=1, max_size=3), st.sampled_from(list(LISTS))
)
def test_no_answer_raises_and_no_stranger_lists(answers, name):
    """Only answers within 127.0.0.0/8 that are no error list a domain."""
    found = codes(judged(LISTS[name], answers))
    assert found
    if not any(answer.startswith("127.") for answer in answers):
        assert found == {"blocklist_unknown"}
