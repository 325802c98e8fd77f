"""A synthetic fleet of 1,200 mailboxes with one thing wrong: exactly one right cause, hold and incident."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from health_fleet import NOW, TUNABLES, attempts, cells, facts_of, fleet, scope

from mailfleet.health.facts import Cell, Facts, Listening
from mailfleet.health.findings import Level
from mailfleet.health.incidents import Severity, View, next_incidents
from mailfleet.health.rules import Judgement, judge
from mailfleet.health.scopes import Place
from mailfleet.model.words import Family

FLEET = fleet()


def judged(facts: Facts) -> Judgement:
    return judge(facts, TUNABLES, now=NOW)


def holds(judgement: Judgement) -> list[tuple[str, str]]:
    return [(order.scope.kind, order.scope.key) for order in judgement.orders]


def causes(judgement: Judgement) -> list[tuple[str, str, str]]:
    return [(finding.level.value, finding.scope.kind, finding.scope.key) for finding in judgement.findings]


def test_a_healthy_fleet_is_left_alone() -> None:
    """The usual one bounce in a hundred, here and there a deferral of a login, stop nothing and tell nobody."""
    facts = replace(
        facts_of(FLEET, Family.BOUNCES, lambda p, c, r: int((p.mailbox_id + c) % 9 == 0 and r == "google")),
        attempted=attempts(FLEET, lambda p: None),
    )
    assert causes(judged(facts)) == []


def test_a_dead_list_stops_its_campaign_and_no_mailbox() -> None:
    """Every mailbox that wrote to it is over 5 %; the list is the one cause, its campaign the one hold."""
    facts = facts_of(FLEET, Family.BOUNCES, lambda p, c, r: 3 if c == 1 else 0)
    judgement = judged(facts)
    assert causes(judgement) == [("stop", "contact_list", "2")]
    assert holds(judgement) == [("campaign", "1")]


def test_a_dead_list_written_by_one_domain_alone_is_still_the_list() -> None:
    """Where mailbox and list explain the same letters, the list is at fault: an address is dead for everybody."""
    facts = facts_of(FLEET, Family.BOUNCES, lambda p, c, r: 3 if c == 1 else 0)
    few = {Family.BOUNCES: tuple(c for c in facts.cells[Family.BOUNCES] if c.campaign_id != 1 or c.mailbox_id < 3)}
    assert causes(judged(replace(facts, cells=few))) == [("stop", "contact_list", "2")]


def test_a_bad_mailbox_stops_alone() -> None:
    """It bounces in all its campaigns; no campaign is held for it."""
    facts = facts_of(FLEET, Family.BOUNCES, lambda p, c, r: 4 if p.mailbox_id == 70 else 0)
    assert holds(judged(facts)) == [("mailbox", "70")]


def test_a_receiver_that_knows_nobody_stops_letters_to_it_alone() -> None:
    """An outage that answers "unknown" to all, as Gmail's of December 2020, is not our lists' or mailboxes' fault."""
    facts = facts_of(FLEET, Family.BOUNCES, lambda p, c, r: 8 if r == "google" else 0)
    judgement = judged(facts)
    assert holds(judgement) == [("recipient_provider", "google")]
    assert judgement.orders[0].until == NOW + TUNABLES.recipients_hold


def test_bounces_between_two_and_three_in_a_hundred_are_a_warning() -> None:
    """A list surely above 2 % is told of and not stopped."""
    facts = facts_of(FLEET, Family.BOUNCES, lambda p, c, r: int(c == 0 and p.mailbox_id % 10 < 3 and r != "yahoo"))
    judgement = judged(facts_of(FLEET, Family.BOUNCES, lambda p, c, r: int(c == 0 and p.mailbox_id % 10 < 3)))
    assert causes(judgement) == [("warn", "contact_list", "1")] and not judgement.orders
    assert causes(judged(facts)) == []


def test_a_burnt_domain_stops_alone() -> None:
    """Blocks at several receivers from one domain's mailboxes stop that domain, not its account, for a day and more."""
    facts = facts_of(FLEET, Family.POLICY, lambda p, c, r: int(p.domain_id == 7 and c == 0), letters=4)
    judgement = judged(facts)
    assert causes(judgement) == [("stop", "domain", "7")]
    assert [order.until for order in judgement.orders] == [NOW + timedelta(hours=25)]


def test_two_burnt_domains_of_ten_are_two() -> None:
    """Their account's eight clean domains write on."""
    facts = facts_of(FLEET, Family.POLICY, lambda p, c, r: int(p.domain_id in (7, 8)), letters=4)
    assert holds(judged(facts)) == [("domain", "7"), ("domain", "8")]


def test_two_domains_below_the_floor_do_not_add_up_to_an_account() -> None:
    """Two blocks each are no verdict on a domain, and four no verdict on the ten of its account: both are slowed."""
    facts = facts_of(
        FLEET, Family.POLICY, lambda p, c, r: int(p.mailbox_id in (21, 24) and c == 0 and r != "yahoo"), letters=4
    )
    judgement = judged(facts)
    assert causes(judgement) == [("slow", "domain", "7"), ("slow", "domain", "8")]
    assert judgement.halvings == dict.fromkeys(range(21, 27), 1)


def test_a_refused_text_stops_its_campaign() -> None:
    """What every domain is refused for in one campaign is its text; a domain that did nothing else wrong writes on."""
    facts = facts_of(FLEET, Family.POLICY, lambda p, c, r: int(c == 2), letters=4)
    judgement = judged(facts)
    assert holds(judgement) == [("campaign", "2")] and judgement.orders[0].until is None


def test_an_account_of_bad_repute_stops_whole() -> None:
    """All of its domains are refused, at every receiver, in every campaign: what they share is the account."""
    facts = facts_of(FLEET, Family.POLICY, lambda p, c, r: int(p.account_id == 5), letters=4)
    assert holds(judged(facts)) == [("account", "5")]


def test_a_receiver_that_blocks_all_of_us_is_left_in_peace() -> None:
    """One receiver alone that refuses many domains: no letters to it, all others go on."""
    facts = facts_of(FLEET, Family.POLICY, lambda p, c, r: int(r == "microsoft"), letters=4)
    assert holds(judged(facts)) == [("recipient_provider", "microsoft")]


def test_receivers_that_nobody_looked_up_are_told_apart_by_their_domains() -> None:
    """Blocks at several small firms whose mail servers are not known yet stop the domain; at one firm they are its
    opinion, and slow it."""
    written = tuple(Cell(place.mailbox_id, 0, 300, 0) for place in FLEET[:60])
    for firms, found in ((5, ("stop", "domain", "7")), (1, ("slow", "domain", "7"))):
        blocked = tuple(Cell(21 + n % 3, 0, 1, 1, receiver=f"firm{n % firms}.example") for n in range(15))
        judgement = judged(Facts(FLEET, {Family.POLICY: (*written, *blocked)}))
        assert causes(judgement) == [found]
        assert judgement.findings[0].evidence["receivers"] == sorted({cell.receiver for cell in blocked})


def test_complaints_halve_and_then_stop_the_domain() -> None:
    """Among 324 letters of a domain: one complaint is one person, two halve it, four stop it for a week."""

    def judgement(complaints: int) -> Judgement:
        return judged(
            facts_of(
                FLEET,
                Family.COMPLAINTS,
                lambda p, c, r: int(p.domain_id == 9 and r == "yahoo" and 3 * c + p.mailbox_id % 3 < complaints),
            )
        )

    assert causes(judgement(1)) == []
    assert causes(judgement(2)) == [("slow", "domain", "9")]
    assert judgement(2).halvings == {27: 1, 28: 1, 29: 1}
    assert causes(judgement(4)) == [("stop", "domain", "9")]
    assert judgement(4).orders[0].until == NOW + timedelta(days=7)


def test_many_domains_just_below_are_one_identity() -> None:
    """Two complaints on each stop none of them; together they stop their identity: spreading does not hide."""
    facts = facts_of(
        FLEET,
        Family.COMPLAINTS,
        lambda p, c, r: int(p.identity_id == 1 and p.mailbox_id % 3 == 0 and c < 2 and r == "yahoo"),
    )
    assert holds(judged(facts)) == [("identity", "1")]


def test_a_revoked_account_is_one_cause() -> None:
    """Thirty mailboxes that fail alike and one elsewhere: one account, one mailbox, until a person lifts it."""
    facts = Facts(
        FLEET,
        attempted=attempts(
            FLEET, lambda p: Family.AUTHENTICATION if p.account_id == 5 or p.mailbox_id == 1000 else None
        ),
    )
    judgement = judged(facts)
    assert holds(judgement) == [("account", "5"), ("mailbox", "1000")]
    assert {order.until for order in judgement.orders} == {None}


def test_a_provider_outage_is_one_cause() -> None:
    """Ten accounts that cannot be used are one provider, for some minutes."""
    facts = Facts(FLEET, attempted=attempts(FLEET, lambda p: Family.UNREACHABLE if p.provider_id == 2 else None))
    judgement = judged(facts)
    assert holds(judgement) == [("provider", "2")]
    assert judgement.orders[0].until == NOW + timedelta(minutes=10)


def test_a_sender_host_without_network_is_one_cause() -> None:
    """Mailboxes of every provider fail from one host and not from the other; at stake is what that one tried."""
    facts = Facts(FLEET, attempted=attempts(FLEET, lambda p: Family.UNREACHABLE if p.mailbox_id % 2 else None))
    judgement = judged(facts)
    assert holds(judgement) == [("sender_host", "host1")]
    (incident,) = next_incidents((), View(judgement, facts, {}, TUNABLES, NOW)).written
    assert (incident.letters_a_day, incident.severity) == (18_000, Severity.GRAVE)
    assert incident.text == (
        "Sender host host1: tried from there, the provider's server for sending (SMTP) is not reached, or is busy, for"
        " 600 of 600 mailboxes. Mailfleet holds it until 2026-11-24 10:10 UTC, then tries a few letters. Letters a day"
        " at stake: 18000. See to that host: its network, its clock, and whether the providers block its address."
    )


def test_failures_of_some_time_ago_say_nothing_of_now() -> None:
    """What failed more than a quarter of an hour ago is no finding; its holds stand by themselves."""
    at = NOW - TUNABLES.failure_window
    facts = Facts(FLEET, attempted=attempts(FLEET, lambda p: Family.UNREACHABLE if p.account_id == 5 else None, at))
    assert causes(judged(facts)) == []


def test_a_few_failures_far_apart_do_not_make_a_provider() -> None:
    """Four of 300 mailboxes, when nobody else has tried yet, are four mailboxes."""
    tried = [FLEET[mailbox] for mailbox in (0, 31, 62, 93)]
    facts = Facts(FLEET, attempted=attempts(tried, lambda p: Family.AUTHENTICATION))
    assert [kind for kind, _ in holds(judged(facts))] == ["mailbox"] * 4


def refused_below(last: int, place: Place) -> Family | None:
    return Family.AUTHENTICATION if 150 <= place.mailbox_id < last else None


def test_an_account_in_which_every_sixth_mailbox_writes_on_is_not_the_cause() -> None:
    """Twenty-five of thirty are eight domains and one mailbox; twenty-seven are the account."""
    for failing, found in ((25, ["domain"] * 8 + ["mailbox"]), (27, ["account"])):
        facts = Facts(
            FLEET,
            attempted=attempts(FLEET, partial(refused_below, 150 + failing)),
        )
        assert [kind for kind, _ in holds(judged(facts))] == found


def test_who_fails_otherwise_does_not_vouch() -> None:
    """An account of which a third is refused and the rest not reached has two troubles, each of the whole account."""

    def trouble(place: Place) -> Family | None:
        if place.account_id != 5:
            return None
        return Family.AUTHENTICATION if place.mailbox_id % 3 == 0 else Family.UNREACHABLE

    judgement = judged(Facts(FLEET, attempted=attempts(FLEET, trouble)))
    assert holds(judgement) == [("account", "5")] * 2


def listening(place: Place, unanswered: int) -> Listening:
    return Listening(place.mailbox_id, letters=600, replies=30, unanswered=unanswered, read_at=NOW)


def test_a_mailbox_gone_silent_is_told_by_likelihood() -> None:
    """Answered once in twenty letters, 150 unanswered ones are chance, 300 are not; and who was answered twice as often
    is judged after half as many."""
    for replies, unanswered, silent in ((30, 150, False), (30, 300, True), (60, 150, True), (4, 3000, False)):
        one = replace(listening(FLEET[3], unanswered), replies=replies)
        others = tuple(listening(place, 10) for place in FLEET if place.mailbox_id != 3)
        assert holds(judged(Facts(FLEET, listening=(one, *others)))) == ([("mailbox", "3")] if silent else [])


def test_a_mailbox_that_is_not_read_is_not_silent() -> None:
    """No reply can be known of while the watcher cannot read."""
    one = replace(listening(FLEET[3], 300), read_at=NOW - timedelta(hours=7))
    assert holds(judged(Facts(FLEET, listening=(one,)))) == []
    assert holds(judged(Facts(FLEET, listening=(replace(one, read_at=None),)))) == []


def test_a_domain_gone_silent_is_one_cause() -> None:
    """Its three mailboxes are one hold."""
    facts = Facts(FLEET, listening=tuple(listening(p, 300 if p.domain_id == 4 else 20) for p in FLEET))
    assert holds(judged(facts)) == [("domain", "4")]


def test_everything_at_once_is_one_incident_each() -> None:
    """A burnt domain, a dead list, a revoked account and a provider outage: four incidents with their letters a day;
    a quarter of the fleet is grave."""
    facts = Facts(
        FLEET,
        {
            Family.BOUNCES: cells(FLEET, lambda p, c, r: 3 if c == 1 else 0),
            Family.POLICY: cells(FLEET, lambda p, c, r: int(p.domain_id == 7), letters=4),
        },
        attempts(
            FLEET,
            lambda p: (
                Family.AUTHENTICATION if p.account_id == 5 else Family.UNREACHABLE if p.provider_id == 2 else None
            ),
        ),
    )
    judgement = judged(facts)
    view = View(judgement, facts, {scope("account", 5): "google/main"}, TUNABLES, NOW)
    changes = next_incidents((), view)
    assert [(i.family.value, i.scope.kind, i.scope.key, i.letters_a_day, i.severity) for i in changes.written] == [
        ("authentication", "account", "5", 900, Severity.SERIOUS),
        ("bounces", "contact_list", "2", 6172, Severity.SERIOUS),
        ("policy", "domain", "7", 90, Severity.SERIOUS),
        ("unreachable", "provider", "2", 9000, Severity.GRAVE),
    ]
    assert len(changes.notices) == 4 and all(finding.level is Level.STOP for finding in judgement.findings)
    assert changes.written[0].text == (
        "Account google/main: the provider's server for sending (SMTP) refuses the login of 30 of 30 mailboxes."
        " Mailfleet holds it until you lift it: `mailfleet lift account google/main`. Letters a day at stake: 900."
        " Renew the password (`mailfleet import mailboxes FILE --check`) or the grant (`mailfleet account check"
        " google/main`)."
    )
