"""The smallest scope that explains, by literals."""

from dataclasses import replace

from health_fleet import scope

from mailfleet.health.causes import Counted, Threshold, find_causes
from mailfleet.health.scopes import Scope

THRESHOLD = Threshold(0.05, letters=10, events=3, confidence=0.8)


def cell(mailbox: str, campaign: str, letters: int, events: int, receiver: str = "") -> Counted:
    return Counted((scope("mailbox", mailbox), scope("campaign", campaign)), letters, events, receiver=receiver)


def of_account(domain: str, letters: int, events: int) -> Counted:
    return Counted((scope("domain", domain), scope("account", "a")), letters, events)


def causes(*counted: Counted, threshold: Threshold = THRESHOLD) -> list[Scope]:
    found, rest = find_causes(counted, lambda _: threshold, explained_share=0.8)
    assert sum(one.letters for one in counted) == sum(one.letters for one in rest) + sum(
        cell.letters for cause in found for cell in cause.counted
    )
    return [cause.scope for cause in found]


def test_a_mailbox_that_writes_most_of_a_campaign_is_not_the_campaign() -> None:
    """One burning part, however large, never makes the whole a cause."""
    looser = {"mailbox": THRESHOLD, "campaign": replace(THRESHOLD, rate=0.03)}
    counted = (cell("m", "c", 85, 40), cell("n", "c", 15, 1))
    found, _ = find_causes(counted, lambda of: looser[of.kind], explained_share=0.8)
    assert [cause.scope for cause in found] == [scope("mailbox", "m")]


def test_of_two_that_explain_each_other_the_one_with_fewer_letters_is_the_cause() -> None:
    """Mailbox m is fine but in campaign c, and c is fine but for m: m is stopped, which stops less."""
    assert causes(cell("m", "c", 100, 50), cell("m", "d", 100, 1), cell("n", "c", 200, 1), cell("o", "d", 200, 1)) == [
        scope("mailbox", "m")
    ]
    assert causes(cell("m", "c", 100, 50), cell("m", "d", 400, 1), cell("n", "c", 200, 1), cell("o", "d", 200, 1)) == [
        scope("campaign", "c")
    ]


def test_a_domain_below_the_floor_is_the_cause_when_its_account_is_above_it_for_it() -> None:
    """The account's three events meet the floor; two of them lie in ten letters of one domain, which is stopped."""
    threshold = Threshold(0.01, events=3, confidence=0.8)
    assert causes(of_account("d", 10, 2), of_account("e", 100, 1), threshold=threshold) == [scope("domain", "d")]
    assert causes(of_account("d", 10, 2), of_account("e", 100, 0), threshold=threshold) == []


def test_events_at_one_receiver_are_its_opinion() -> None:
    """Where two receivers are asked for, any number of events at one is no verdict."""
    threshold = replace(THRESHOLD, receivers=2)
    assert causes(cell("m", "c", 50, 30, "google"), threshold=threshold) == []
    two = cell("m", "c", 50, 15, "google"), cell("m", "c", 50, 15, "yahoo")
    assert causes(*two, threshold=threshold) == [scope("campaign", "c")]


def test_floors_of_letters_and_events() -> None:
    """Nine letters, or two events, are no verdict whatever their rate."""
    assert causes(cell("m", "c", 9, 9)) == []
    assert causes(cell("m", "c", 10, 2)) == []
    assert causes(cell("m", "c", 10, 3)) == [scope("campaign", "c")]


def test_what_one_cause_accounts_for_counts_in_no_other() -> None:
    """Two bad mailboxes of one campaign and a dead campaign of good ones: three causes, no letter in two of them."""
    counted = [cell("m", "c", 100, 30), cell("n", "c", 100, 30)]
    counted += [cell(f"box{number}", "c", 100, 1) for number in range(10)]
    counted += [cell(f"box{number}", "dead", 50, 10) for number in range(10)]
    assert causes(*counted) == [scope("campaign", "dead"), scope("mailbox", "m"), scope("mailbox", "n")]


def test_of_many_that_are_alike_none_explains_what_they_have_in_common() -> None:
    """One letter in sixteen of a bad list is dead, whoever writes: mailboxes with two dead of eight are chance, and the
    campaign is the cause; one with seven of eight is another matter.
    """
    alike = [cell(f"m{number}", "c", 8, 2 if number % 4 == 0 else 0) for number in range(80)]
    threshold = replace(THRESHOLD, rate=0.04)
    assert causes(*alike, threshold=threshold) == [scope("campaign", "c")]
    fine = [cell(f"n{number}", "c", 8, 0) for number in range(80)]
    assert causes(cell("bad", "c", 8, 7), *fine, threshold=replace(THRESHOLD, rate=0.005)) == [scope("mailbox", "bad")]
