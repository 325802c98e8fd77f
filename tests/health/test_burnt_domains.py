"""New domains beside burnt ones; families; tunables."""

from datetime import timedelta

from health_fleet import NOW, fleet, scope

from mailfleet.health.burnt_domains import acknowledgement_needed
from mailfleet.health.facts import Facts, StandingHold, Trial
from mailfleet.health.scopes import Scope
from mailfleet.health.tunables import HealthTunables
from mailfleet.mail.families import family_of
from mailfleet.model.words import Family

FLEET = fleet(1200)
IDENTITY = scope("identity", 0)


def held(of: Scope, family: Family | None = Family.POLICY) -> StandingHold:
    return StandingHold(1, of, family, NOW, None)


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
