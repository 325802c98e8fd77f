"""The judge, by literals: each law has a ledger that keeps it and one that breaks it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailfleet.base.errors import InputError
from mailfleet.providers.sandbox.judge import (
    EXAMPLES,
    Expectations,
    ExpectedLetter,
    LimitKind,
    LimitRule,
    OptOut,
    Report,
    Said,
    Scopes,
    judge,
)
from mailfleet.providers.sandbox.ledger import Ledger, Transaction

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
SCOPES = {
    "ann@a.test": Scopes("a.test", "acc-1", "alpha", "one"),
    "amy@a.test": Scopes("a.test", "acc-1", "alpha", "one"),
    "bob@b.test": Scopes("b.test", "acc-1", "alpha", "one"),
    "cat@c.test": Scopes("c.test", "acc-2", "alpha", "one"),
    "dan@d.test": Scopes("d.test", "acc-3", "beta", "one"),
    "eve@e.test": Scopes("e.test", "acc-4", "gamma", "two"),
}
ACCEPTED = Transaction(
    seq=1,
    mail_at=NOON.timestamp(),
    end_at=NOON.timestamp(),
    provider="alpha",
    account="acc-1",
    mailbox="ann@a.test",
    ehlo="host-1",
    mail_from="ann@a.test",
    rcpt="zed@z.test",
    stage="dot",
    code=250,
    text="2.0.0 OK",
    accepted=True,
    dropped="",
    size=100,
    message_id="<1@a.test>",
    subject="Hello",
    header_from="ann@a.test",
    header_to="zed@z.test",
    in_reply_to="",
    list_unsubscribe=True,
)
REFUSED = replace(ACCEPTED, accepted=False, code=450, stage="mail", message_id="")


def at(seconds: float, of: Transaction = ACCEPTED, **changes: object) -> Transaction:
    """One record `seconds` after noon, over in an instant."""
    moment = NOON.timestamp() + seconds
    return replace(of, **{"mail_at": moment, "end_at": moment} | changes)  # type: ignore[arg-type]


def letter(said: Said = "accepted", number: int = 1, **changes: object) -> ExpectedLetter:
    return replace(
        ExpectedLetter(f"<{number}@a.test>", "zed@z.test", "e1", number, said),
        **changes,  # type: ignore[arg-type]
    )


def report(*transactions: Transaction, **expected: object) -> Report:
    numbered = tuple(replace(transaction, seq=number) for number, transaction in enumerate(transactions, 1))
    return judge(Ledger(numbered, ()), Expectations(SCOPES, **expected))  # type: ignore[arg-type]


def broken(found: Report) -> dict[str, int]:
    return {name: finding.count for name, finding in found.laws.items() if finding.count}


def test_a_ledger_as_expected_breaks_no_law() -> None:
    """What is as we say is counted by its outcome, and every law holds."""
    dropped = replace(REFUSED, code=0, dropped="in_data")
    found = report(ACCEPTED, REFUSED, replace(REFUSED, code=550), dropped, letters=[letter()])
    assert (found.transactions, found.accepted, found.deferred, found.rejected, found.dropped) == (4, 1, 1, 1, 1)
    assert found.holds
    assert not broken(found)


def test_a_message_id_accepted_twice_is_a_duplicate() -> None:
    """The same Message-ID accepted again is one duplicate, whoever sent it; refused tries are none."""
    found = report(ACCEPTED, REFUSED, replace(ACCEPTED, mailbox="bob@b.test"), letters=[letter()])
    assert broken(found) == {"duplicates": 1}
    assert not found.holds
    assert "<1@a.test> from bob@b.test to zed@z.test" in found.duplicates.examples[0]


def test_the_same_step_under_another_message_id_is_a_duplicate() -> None:
    """Two letters of one enrollment and step are twice the same, though their Message-IDs differ; two steps are not."""
    second = replace(ACCEPTED, message_id="<2@a.test>")
    assert broken(report(ACCEPTED, second, letters=[letter(), letter(number=2, step=1)])) == {"duplicates": 1}
    assert not broken(report(ACCEPTED, second, letters=[letter(), letter(number=2)]))


def test_letters_without_message_id_are_told_by_recipient_and_subject() -> None:
    """Without Message-IDs the same subject to the same person is a duplicate, and another subject is not."""
    bare = replace(ACCEPTED, message_id="")
    assert report(bare, replace(bare, rcpt="ZED@z.test")).duplicates.count == 1
    assert report(bare, replace(bare, subject="Other"), replace(bare, rcpt="y@z.test")).duplicates.count == 0


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("mailbox", {"mailbox": "amy@a.test"}),
        ("domain", {"mailbox": "bob@b.test"}),
        ("account", {"mailbox": "cat@c.test"}),
        ("provider", {"mailbox": "dan@d.test"}),
        ("identity", {"mailbox": "eve@e.test"}),
        ("recipient_domain", {"rcpt": "zed@y.test"}),
        ("sender_host", {"ehlo": "host-2"}),
    ],
)
def test_a_limit_counts_its_own_scope(kind: LimitKind, other: dict[str, object]) -> None:
    """Two in one scope break a limit of one; one in each of two scopes does not. What was refused counts as well."""
    limits = [LimitRule(kind, 1, length=timedelta(hours=1))]
    assert report(at(0, REFUSED), at(1, REFUSED), limits=limits).over_limit.count == 1
    assert report(at(0, REFUSED), at(1, REFUSED, **other), limits=limits).over_limit.count == 0


@pytest.mark.parametrize(
    ("kind", "same"),
    [
        ("domain", {"mailbox": "amy@a.test"}),
        ("account", {"mailbox": "bob@b.test"}),
        ("provider", {"mailbox": "cat@c.test"}),
        ("identity", {"mailbox": "dan@d.test"}),
        ("recipient_domain", {"rcpt": "yan@Z.TEST", "mailbox": "eve@e.test"}),
        ("sender_host", {"mailbox": "eve@e.test"}),
    ],
)
def test_a_limit_is_summed_over_its_scope(kind: LimitKind, same: dict[str, object]) -> None:
    """Different mailboxes of one scope share its limit."""
    limits = [LimitRule(kind, 1, length=timedelta(hours=1))]
    assert report(at(0, REFUSED), at(1, REFUSED, **same), limits=limits).over_limit.count == 1


def test_a_rolling_window_slides_exactly() -> None:
    """No interval of the length may hold more: one just outside is free, one just inside is over, at any phase."""
    limits = [LimitRule("mailbox", 2, length=timedelta(seconds=60))]
    assert report(at(0, REFUSED), at(59, REFUSED), at(60, REFUSED), at(119, REFUSED), limits=limits).holds
    assert report(at(0, REFUSED), at(59, REFUSED), at(59.999, REFUSED), limits=limits).over_limit.count == 1
    assert report(at(30, REFUSED), at(61, REFUSED), at(89, REFUSED), limits=limits).over_limit.count == 1


def test_a_rolling_window_is_read_by_time_and_not_by_record() -> None:
    """Records stand in the order of their ends; windows are counted in the order of MAIL."""
    limits = [LimitRule("mailbox", 1, length=timedelta(seconds=60))]
    assert report(at(100, REFUSED), at(0, REFUSED), limits=limits).holds
    assert report(at(50, REFUSED), at(0, REFUSED), limits=limits).over_limit.count == 1


def test_a_calendar_day_is_its_zones_day() -> None:
    """Two letters on either side of midnight in Moscow (21:00 UTC) are of two days there and of one in London."""
    evening = [at(9 * 3600 - 60, REFUSED), at(9 * 3600 + 60, REFUSED)]
    assert report(*evening, limits=[LimitRule("mailbox", 1, zone="Europe/Moscow")]).holds
    assert report(*evening, limits=[LimitRule("mailbox", 1, zone="Europe/London")]).over_limit.count == 1


def test_a_limit_with_a_key_binds_that_scope_alone() -> None:
    """A limit of one account leaves the others alone."""
    limits = [LimitRule("account", 0, key="acc-2", length=timedelta(hours=1))]
    assert report(at(0, REFUSED), limits=limits).holds
    assert report(at(0, REFUSED, mailbox="cat@c.test"), limits=limits).over_limit.count == 1


def test_a_letter_over_several_limits_is_counted_once() -> None:
    """`over_limit` counts letters, not broken limits."""
    limits = [LimitRule("mailbox", 0, zone="UTC"), LimitRule("domain", 0, zone="UTC")]
    assert report(at(0, REFUSED), limits=limits).over_limit.count == 1


def test_a_limit_has_one_kind_of_window() -> None:
    """A rule with both windows, or with none, is refused."""
    for windows in ({}, {"length": timedelta(1), "zone": "UTC"}):
        with pytest.raises(InputError, match="either a length or the zone"):
            LimitRule("mailbox", 1, **windows)  # type: ignore[arg-type]


@pytest.mark.parametrize(("gap", "count"), [(9.9, 1), (9.994, 1), (9.996, 0), (10, 0)])
def test_pace_runs_from_the_end_to_the_next_mail(gap: float, count: int) -> None:
    """A gap shorter than the pace by more than the tolerance is found; it is measured from the end, not from MAIL."""
    first = at(0, REFUSED, end_at=NOON.timestamp() + 5)
    found = report(first, at(5 + gap, REFUSED), paces={"ann@a.test": timedelta(seconds=10)})
    assert found.before_pace.count == count


def test_pace_holds_against_every_earlier_submission() -> None:
    """A submission inside a longer one, and one right after that, are both too early; other mailboxes do not matter."""
    paces = {"ann@a.test": timedelta(seconds=10)}
    long = at(0, REFUSED, end_at=NOON.timestamp() + 100)
    assert report(long, at(20, REFUSED), at(105, REFUSED), paces=paces).before_pace.count == 2
    assert report(long, at(20, REFUSED, mailbox="bob@b.test"), at(110, REFUSED), paces=paces).holds


@pytest.mark.parametrize("target", ["Zed@z.test", "z.test"])
def test_nothing_begins_after_a_no(target: str) -> None:
    """A try, even a refused one, at a person or a domain that said no is found once the grace is over."""
    opt_outs = [OptOut(target, NOON), OptOut(target, NOON + timedelta(hours=1))]
    grace = timedelta(seconds=10)
    assert report(at(10, REFUSED), opt_outs=opt_outs, opt_out_grace=grace).holds
    assert report(at(10.1, REFUSED), opt_outs=opt_outs, opt_out_grace=grace).after_opt_out.count == 1
    assert report(at(20, REFUSED, rcpt="zed@y.test"), opt_outs=opt_outs, opt_out_grace=grace).holds


def test_an_address_is_one_in_either_form_of_its_domain() -> None:
    """A no for a Unicode domain holds for its ASCII form too (RFC 5890)."""
    written = at(1, REFUSED, rcpt="zed@xn--caf-dma.example")
    assert report(written, opt_outs=[OptOut("zed@CAFÉ.example", NOON)]).after_opt_out.count == 1


@pytest.mark.parametrize(
    ("said", "in_ledger", "lost"),
    [
        ("accepted", True, 0),
        ("accepted", False, 1),
        ("not_accepted", True, 1),
        ("not_accepted", False, 0),
        ("assumed", True, 0),
        ("assumed", False, 0),
        ("ambiguous", True, 0),
        ("ambiguous", False, 0),
    ],
)
def test_our_word_and_the_ledgers_agree(said: Said, in_ledger: bool, lost: int) -> None:
    """Accepted without acceptance, and acceptance without accepted, are lost letters; doubt is not."""
    found = report(*([ACCEPTED] if in_ledger else [REFUSED]), letters=[letter(said)])
    assert broken(found) == ({"lost": 1} if lost else {})


def test_an_acceptance_without_a_reply_counts() -> None:
    """A letter taken before its connection broke is accepted (RFC 1047), and denying it is a loss."""
    cut = replace(ACCEPTED, code=0, text="", dropped="after_commit")
    assert broken(report(cut, letters=[letter("not_accepted")])) == {"lost": 1}


def test_a_letter_of_nobody_is_unknown() -> None:
    """An accepted letter that we do not have, or have for another recipient, is unknown; the latter is lost as well."""
    assert broken(report(ACCEPTED)) == {"unknown": 1}
    assert broken(report(ACCEPTED, letters=[letter(recipient="yan@z.test")])) == {"unknown": 1, "lost": 1}


def test_examples_are_few_and_counts_are_whole() -> None:
    """However often a law breaks, the count is exact and the examples end at ten."""
    found = report(*[replace(ACCEPTED, message_id=f"<{n}@x.test>") for n in range(25)])
    assert (found.unknown.count, len(found.unknown.examples)) == (25, EXAMPLES)


def test_a_mailbox_out_of_nowhere_is_an_error() -> None:
    """A ledger that names a mailbox without scopes cannot be judged."""
    with pytest.raises(InputError, match=r"mallory@m\.test"):
        report(replace(ACCEPTED, mailbox="mallory@m.test"))
