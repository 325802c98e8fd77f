"""Burnt domains: who takes their openings, and who may be added."""

from datetime import timedelta

from health_fleet import NOW, TUNABLES, facts_of, fleet, scope

from mailfleet.health.facts import Facts, StandingHold, Trial
from mailfleet.health.quarantine import acknowledgement_needed, quarantine_domains
from mailfleet.health.rules import judge
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.mail.families import family_of
from mailfleet.model.words import Family

FLEET = fleet(1200)
IDENTITY = scope("identity", 0)
ROOM = {scope("domain", key): 10 + key for key in range(400)}


def held(of: Scope, family: Family | None = Family.POLICY) -> StandingHold:
    return StandingHold(1, of, family, NOW, None)


def test_openings_of_a_burnt_domain_go_to_the_others_of_its_identity() -> None:
    """The roomiest first, each with what it has left; none of another identity, none that is itself burnt."""
    facts = facts_of(FLEET, Family.POLICY, lambda p, c, r: int(p.domain_id in (7, 8)), letters=4)
    orders = judge(facts, TUNABLES, now=NOW).orders
    first, second = quarantine_domains(orders, facts, ROOM)
    assert (first.domain, second.domain) == (scope("domain", 7), scope("domain", 8))
    heirs = [int(heir.key) for heir, _ in first.heirs]
    assert heirs == [key for key in range(199, -1, -1) if key not in (7, 8)]
    assert first.heirs[0] == (scope("domain", 199), 209)
    assert first.room == sum(10 + key for key in range(200) if key not in (7, 8))


def test_nothing_held_inherits() -> None:
    """Neither a domain without room nor one that a hold on its account, on its mailboxes, or by a person stops."""
    few = FLEET[:12]  # domains 0 to 3, one account
    burnt = held(scope("domain", 0))
    by_person = held(scope("domain", 1), None)
    boxes = tuple(held(scope("mailbox", mailbox), Family.AUTHENTICATION) for mailbox in (6, 7, 8))
    facts = Facts(few, holds=(burnt, by_person, *boxes))
    (quarantine,) = quarantine_domains((), facts, ROOM)
    assert quarantine.heirs == ((scope("domain", 3), 13),)
    assert quarantine_domains((), facts, {**ROOM, scope("domain", 3): 0})[0].heirs == ()
    stopped = Facts(few, holds=(burnt, held(scope("account", 0), Family.AUTHENTICATION)))
    assert quarantine_domains((), stopped, ROOM)[0].heirs == ()


def test_a_domain_that_only_cannot_log_in_is_not_burnt() -> None:
    """Its openings wait: nothing is wrong with its name."""
    assert quarantine_domains((), Facts(FLEET, holds=(held(scope("domain", 0), Family.AUTHENTICATION),)), ROOM) == ()


def test_new_domains_of_an_identity_stopped_for_complaints_ask_first() -> None:
    """While the identity or one of its domains is held for complaints, or on trial after; for nothing else, and not for
    another identity."""
    domain, names = scope("domain", 7), {scope("domain", 7): "burnt.example"}
    trial = Trial(1, domain, Family.COMPLAINTS, NOW - timedelta(days=1))
    asks = (
        Facts(FLEET, holds=(held(domain, Family.COMPLAINTS),)),
        Facts(FLEET, holds=(held(IDENTITY, Family.COMPLAINTS),)),
        Facts(FLEET, trials=(trial,)),
    )
    assert all(acknowledgement_needed(IDENTITY, facts, names) for facts in asks)
    assert (acknowledgement_needed(IDENTITY, asks[0], names) or "").startswith(
        "burnt.example was stopped for complaints."
    )
    over = Trial(1, domain, Family.COMPLAINTS, NOW, is_over=True)
    for facts in (Facts(FLEET, holds=(held(domain, Family.POLICY),)), Facts(FLEET, trials=(over,)), Facts(FLEET)):
        assert acknowledgement_needed(IDENTITY, facts, names) is None
    assert acknowledgement_needed(scope("identity", 1), asks[0], names) is None


def test_a_reply_counts_in_its_family_alone() -> None:
    """A dead address is a bounce, a login refused for now no wrong password, a recipient's busy server none of ours."""
    known = [
        ("recipient_unknown", "recipient", False, Family.BOUNCES),
        ("recipient_disabled", "recipient", True, None),
        ("recipient_full", "recipient", False, None),
        ("policy_spam_block", "message", False, Family.POLICY),
        ("reputation_block", "provider", True, Family.POLICY),
        ("dns_or_auth_failure", "domain", False, Family.POLICY),
        ("dns_or_auth_failure", "recipient", False, None),
        ("mailbox_suspended_or_auth", "mailbox", False, Family.AUTHENTICATION),
        ("mailbox_suspended_or_auth", "mailbox", True, Family.UNREACHABLE),
        ("rate_limited_account", "account", False, Family.RATE_LIMIT),
        ("temporary_system", "mailbox", True, Family.UNREACHABLE),
        ("temporary_system", "recipient", True, None),
        ("accepted", "message", False, None),
    ]
    for reply_class, of, is_temporary, family in known:
        assert family_of(reply_class, of, is_temporary=is_temporary) is family


def test_tunables_come_back_as_they_were_stored() -> None:
    """Durations too; what a record does not name keeps its default, what nobody knows is passed over."""
    mine = HealthTunables(bounce_warn=0.01, policy_hold=timedelta(hours=30), trial_letters=7)
    assert HealthTunables.of_record(mine.as_record()) == mine
    assert HealthTunables.of_record({"trial_letters": 7, "gone": 1}) == HealthTunables(trial_letters=7)
