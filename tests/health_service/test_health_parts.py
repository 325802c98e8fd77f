"""The pure parts: limits of trials, what attempts say, whose servers a name is, what is told of domains and grants."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.health.dns.facts import Answer, State
from mailfleet.health.facts import Facts
from mailfleet.health.findings import Level
from mailfleet.health.half_open import TrialLimit, WantedLimit, change_limits
from mailfleet.health.recipient_providers import name_of_host, provider_of
from mailfleet.health.scopes import Place, Scope
from mailfleet.health.standing import DomainTrouble, dns_findings, oauth_findings
from mailfleet.health.troubles import trouble_of, trouble_of_reading
from mailfleet.model.words import Family, Outcome
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.faults import GrantFaultKind
from mailfleet.providers.oauth.grants import EndingGrant, StandingFault

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
FACTS = Facts(tuple(Place(number, number, 1, 1, 1) for number in range(1, 7)))

SCOPES = st.sampled_from([Scope("mailbox", str(number)) for number in range(4)])
MOMENTS = st.integers(0, 5).map(lambda hours: NOW + hours * HOUR)
STANDING = st.lists(st.builds(TrialLimit, st.just(0), SCOPES, st.integers(0, 40), MOMENTS), unique_by=lambda x: x.scope)
WANTED = st.lists(
    st.builds(WantedLimit, SCOPES, st.integers(0, 40), st.none() | MOMENTS),
    unique_by=lambda x: x.scope,
)


@given(STANDING, WANTED)
def test_changes_lead_to_what_is_wanted_and_then_to_nothing(
    standing: list[TrialLimit], wanted: list[WantedLimit]
) -> None:
    """Written, changed and removed limits are those wanted, each once; applied, they leave nothing to change; what
    counts anew, or goes, forgets what it counted."""
    limits = {
        limit.scope: TrialLimit(number, limit.scope, limit.maximum, limit.since)
        for number, limit in enumerate(standing)
    }
    changes = change_limits(limits.values(), wanted)
    by_id = {limit.id: limit for limit in limits.values()}
    after = {limit.scope: limit for number, limit in by_id.items() if number not in changes.removed}
    for number, maximum in changes.changed.items():
        after[by_id[number].scope] = TrialLimit(number, by_id[number].scope, maximum, by_id[number].since)
    for number, one in enumerate(changes.written, len(by_id)):
        known = after.get(one.scope)
        assert known is None or known.id in changes.forgotten
        after[one.scope] = TrialLimit(number, one.scope, one.maximum, max(one.held_since or NOW, NOW))
    assert {scope: limit.maximum for scope, limit in after.items()} == {one.scope: one.maximum for one in wanted}
    again = change_limits(after.values(), wanted)
    assert not again.comes_or_goes and not again.changed
    assert set(changes.removed) <= set(changes.forgotten)


@pytest.mark.parametrize(
    ("outcome", "stage", "code", "reply_class", "scope", "family"),
    [
        ("accepted", "dot", 250, "", "", None),
        ("rejected", "rcpt", 550, "recipient_unknown", "recipient", None),
        ("rejected", "dot", 550, "policy_spam_block", "message", None),
        ("deferred", "mail", 450, "rate_limited_account", "mailbox", Family.RATE_LIMIT),
        ("deferred", "rcpt", 451, "temporary_system", "recipient", None),
        ("deferred", "rcpt", 451, "temporary_system", "provider", Family.UNREACHABLE),
        ("unreached", "auth", 535, "mailbox_suspended_or_auth", "mailbox", Family.AUTHENTICATION),
        ("unreached", "auth", 454, "mailbox_suspended_or_auth", "mailbox", Family.UNREACHABLE),
        ("unreached", "connect", None, "", "", Family.UNREACHABLE),
        ("unreached", "greeting", 421, "rate_limited_domain_or_ip", "provider", Family.RATE_LIMIT),
        ("unreached", "greeting", 554, "policy_spam_block", "provider", Family.UNREACHABLE),
    ],
)
def test_what_an_attempt_says_of_the_server(
    outcome: str, stage: str, code: int | None, reply_class: str, scope: str, family: Family | None
) -> None:
    """A server that takes or judges a letter works; a login refused for good is the password, else the server."""
    assert trouble_of(Outcome(outcome), stage, code, reply_class, scope) is family


def test_what_a_reading_says_of_the_server() -> None:
    """A refused login at once; a connection that broke when it broke twice; words of others say nothing."""
    assert trouble_of_reading("login", 1) is Family.AUTHENTICATION
    assert trouble_of_reading("lost", 1) is None and trouble_of_reading("lost", 2) is Family.UNREACHABLE
    assert trouble_of_reading("no_token", 9) is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("aspmx.l.google.com", "google"),
        ("northwind-com.mail.protection.outlook.com", "microsoft"),
        ("outlook-com.olc.protection.outlook.com", "microsoft"),
        ("mta7.am0.yahoodns.net", "yahoo"),
        ("mx.yandex.net", "yandex"),
        ("mxs.mail.ru", "mail.ru"),
        ("mx01.mail.icloud.com", "icloud"),
        ("mailsec.protonmail.ch", "proton"),
        ("mx2.zoho.eu", "zoho"),
        ("mail.fernhill.de", "fernhill.de"),
        ("mx.fernhill.co.uk", "fernhill.co.uk"),
        ("co.uk", "co.uk"),
        ("notgoogle.com", "notgoogle.com"),
    ],
)
def test_whose_servers_an_exchanger_is(host: str, name: str) -> None:
    """By the provider's names, whole labels of them; else by its own domain."""
    assert name_of_host(host) == name


def test_the_exchanger_asked_first_says_who_it_is() -> None:
    """The lowest preference, in any order of the answer; without exchangers the domain itself; nobody where no mail is
    taken, no domain is, or no answer came."""
    found = Answer(State.FOUND, ("20 mx.backup.net", "5 aspmx.l.google.com", "10 mx.yandex.net"))
    assert provider_of("northwind.com", found) == "google"
    assert provider_of("northwind.com", Answer(State.EMPTY)) == "northwind.com"
    assert provider_of("northwind.com", Answer(State.FOUND, ("0 .",))) == ""
    assert provider_of("northwind.com", Answer(State.MISSING)) == provider_of("x.com", Answer(State.FAILED)) == ""


def trouble(number: int, *, checked: bool = True, held: timedelta | None = HOUR) -> DomainTrouble:
    held_since = NOW - held if held is not None else None
    return DomainTrouble(number, f"d{number}.com", 1, checked, held_since, "There is no SPF record.")


def test_many_domains_of_an_identity_are_one_thing_to_tell() -> None:
    """Two are told each; three together, with their letters a day; what is not held yet is a warning."""
    two = dns_findings([trouble(1), trouble(2, held=None)], FACTS, NOW)
    assert [(one.scope, one.level) for one in two] == [(("domain", "1"), Level.STOP), (("domain", "2"), Level.WARN)]
    assert two[0].reason == "There is no SPF record"
    [together] = dns_findings([trouble(1), trouble(2, held=None), trouble(3)], FACTS, NOW)
    assert (together.scope, together.level, together.letters_a_day) == (("identity", "1"), Level.STOP, 90)
    assert "d1.com, d2.com, d3.com" in together.reason
    [warned] = dns_findings([trouble(number, held=None) for number in range(1, 7)], FACTS, NOW)
    assert warned.level is Level.WARN and warned.reason.endswith("d5.com, …)")


def test_domains_that_no_check_answers_for_are_told_after_an_hour_and_once() -> None:
    """Those that came in a moment ago are no news; a resolver that is away is one thing, not four hundred."""
    fresh = [trouble(number, checked=False, held=timedelta(minutes=50)) for number in range(1, 4)]
    assert dns_findings(fresh, FACTS, NOW) == []
    [waiting] = dns_findings([*fresh, *(trouble(n, checked=False) for n in range(4, 7))], FACTS, NOW)
    assert (waiting.scope.kind, waiting.level, waiting.letters_a_day) == ("fleet", Level.WARN, 90)


def fault(mailbox: int | None, account: int = 1) -> StandingFault:
    text, hint = "The server refused the grant.", "Connect the account anew."
    name = f"m{mailbox}@d.com" if mailbox else "google/main"
    return StandingFault(account, mailbox, name, next(iter(GrantFaultKind)), text, hint, NOW)


def test_grants_are_told_by_account() -> None:
    """A fault of an account is one; of a mailbox its own, of three mailboxes their account's. A secret that ends warns,
    one that has ended stops."""
    [one] = oauth_findings([fault(None), fault(1)], [], FACTS, NOW.date())
    assert (one.family, one.scope, one.level) == (Family.AUTHENTICATION, ("account", "1"), Level.STOP)
    assert one.todo == "Connect the account anew."
    two = oauth_findings([fault(1), fault(2)], [], FACTS, NOW.date())
    assert [one.scope for one in two] == [("mailbox", "1"), ("mailbox", "2")]
    [three] = oauth_findings([fault(1), fault(2), fault(3)], [], FACTS, NOW.date())
    assert (three.scope, three.letters_a_day) == (("account", "1"), 90)
    for day, level in ((date(2026, 11, 24), Level.WARN), (date(2026, 11, 23), Level.STOP)):
        grant = EndingGrant("google/main", 1, next(iter(Flow)), "client", day)
        [ending] = oauth_findings([], [grant], FACTS, NOW.date())
        assert ending.level is level and day.isoformat() in ending.reason
