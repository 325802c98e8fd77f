"""The standing of domains in the database, and the holds that follow from it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

import laid
from mailfleet.base.db import connect
from mailfleet.health.dns.findings import Severity, blocks
from mailfleet.health.dns.rules import DomainReport
from mailfleet.health.dns.rules_hold import NOT_CHECKED, Step
from mailfleet.health.dns.store import hold_unchecked, load_domains, settle_report
from mailfleet.model.words import ScopeKind
from mailfleet.outbox.stops import hold
from mailfleet.providers.sandbox.fleet import make_fleet

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def connection(home, database):
    """A fleet of three domains at a provider out in the world."""
    fleet = make_fleet(1, 4, 3, 1, 1, 1)
    laid.lay(database, home, fleet, {name: {"smtp": {"none": 9}} for name in fleet.providers}, contacts=0)
    with connect(database, name="test") as connection:
        connection.execute("UPDATE mailbox SET smtp_host = 'smtp.gmail.com'")
        connection.execute("UPDATE provider SET preset = 'google_workspace'")
        connection.execute("UPDATE domain SET name = 'd' || id || '.com', dkim_selectors = '{s1}'")
        yield connection


def first(connection):
    return load_domains(connection)[0]


def settled(connection, verdict, now=NOW, found=()):
    domain = first(connection)
    report = DomainReport(domain.setup, domain.setup.providers, now, verdict, found, ())
    return settle_report(connection, domain, report, now)


def standing_holds(connection):
    return [
        row[0] for row in connection.execute("SELECT reason FROM hold WHERE lifted_at IS NULL ORDER BY id").fetchall()
    ]


def test_the_fleet_says_what_its_domains_are_meant_to_be(connection):
    """Provider, selectors and opt-out host of a check come from the database; a generic provider says nothing."""
    setup = first(connection).setup
    assert (setup.providers, [one.name for one in setup.selectors]) == (("google_workspace",), ["s1"])
    assert setup.opt_out_url == "https://stop.example.com/o"
    connection.execute("UPDATE provider SET preset = 'generic'")
    assert first(connection).setup.providers == ()


def test_domains_are_found_by_name(connection):
    """Only those of the fleet, each once."""
    names = [domain.setup.domain for domain in load_domains(connection)]
    assert len(names) == len(set(names)) == 3
    assert [d.setup.domain for d in load_domains(connection, [names[1], "other.com"])] == [names[1]]


def test_new_domains_are_held_until_their_first_good_check(connection):
    """Nobody writes from an unchecked domain; a check that blocks says why; a good one sets it free."""
    assert hold_unchecked(connection) == 3
    assert hold_unchecked(connection) == 0
    assert standing_holds(connection) == [NOT_CHECKED] * 3
    wrong = blocks("spf", "spf_missing", "There is no SPF record.", "")
    assert settled(connection, Severity.UNKNOWN).step is Step.NONE
    assert settled(connection, Severity.BLOCKS, NOW + DAY, (wrong,)).step is Step.NONE
    assert "There is no SPF record." in standing_holds(connection)[0]
    assert settled(connection, Severity.WARNS, NOW + 2 * DAY).step is Step.LIFT
    assert standing_holds(connection) == [NOT_CHECKED] * 2
    assert hold_unchecked(connection) == 0


def test_a_hold_that_came_while_the_check_asked_around_is_lifted_by_it(connection):
    """The domain was not held when it was loaded; by the time the answers are in, it waits for its first check."""
    domain = first(connection)
    hold_unchecked(connection)
    report = DomainReport(domain.setup, domain.setup.providers, NOW, Severity.FINE, (), ())
    assert settle_report(connection, domain, report, NOW).step is Step.LIFT
    assert standing_holds(connection) == [NOT_CHECKED] * 2


def test_a_domain_at_work_is_held_after_three_days(connection):
    """Failing for 72 hours holds it, and mending it frees it."""
    assert settled(connection, Severity.FINE).step is Step.NONE
    for days in (1, 2, 3):
        assert settled(connection, Severity.BLOCKS, NOW + DAY * days).step is Step.NONE
    assert settled(connection, Severity.BLOCKS, NOW + DAY * 4).step is Step.HOLD
    assert len(standing_holds(connection)) == 1
    assert settled(connection, Severity.BLOCKS, NOW + DAY * 5).step is Step.NONE
    assert settled(connection, Severity.FINE, NOW + DAY * 6).step is Step.LIFT
    assert standing_holds(connection) == []


def test_other_holds_are_left_alone(connection):
    """A good check lifts what the checks have set, not what a person has."""
    hold(connection, ScopeKind.DOMAIN, first(connection).setup.domain, reason="by hand", set_by="operator")
    hold_unchecked(connection, [first(connection).setup.domain])
    assert standing_holds(connection) == ["by hand", NOT_CHECKED]
    assert settled(connection, Severity.FINE).step is Step.LIFT
    assert standing_holds(connection) == ["by hand"]


def test_an_older_report_changes_nothing(connection):
    """Of two checks at once, the later one counts."""
    settled(connection, Severity.FINE, NOW + DAY)
    old = first(connection)
    settled(connection, Severity.FINE, NOW + 2 * DAY)
    report = DomainReport(old.setup, (), NOW, Severity.BLOCKS, (), ())
    assert settle_report(connection, old, report, NOW + DAY).step is Step.NONE
    assert first(connection).standing.verdict is Severity.FINE


def test_the_findings_are_kept(connection):
    """A page can show what was seen and what to set."""
    settled(connection, Severity.BLOCKS, found=(blocks("spf", "spf_missing", "seen", "todo"),))
    kept = connection.execute("SELECT dns_findings FROM domain WHERE dns_verdict = 'blocks'").fetchone()[0]
    assert json.loads(json.dumps(kept))[0]["code"] == "spf_missing"


def test_trials_are_neither_checked_nor_held(connection):
    """The sandbox's domains stay usable: their mailboxes submit to this machine."""
    connection.execute("UPDATE mailbox SET smtp_host = '127.0.0.1'")
    domain = first(connection)
    assert domain.is_exempt
    assert not domain.is_due(NOW + DAY)
    assert hold_unchecked(connection) == 0


def test_what_is_due_is_looked_at(connection):
    """At once when it is new, then daily."""
    assert first(connection).is_due(NOW)
    settled(connection, Severity.FINE)
    assert not first(connection).is_due(NOW + timedelta(hours=23))
    assert first(connection).is_due(NOW + timedelta(hours=24))
