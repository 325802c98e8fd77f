"""What came of an attempt, and what follows: the sender's rule by literals."""

import json
from dataclasses import dataclass
from datetime import timedelta

import pytest

from mailfleet.base.errors import InvariantError, SetupError
from mailfleet.mail.families import family_of
from mailfleet.mail.replies import Reply
from mailfleet.model.words import MessageState, Outcome, ScopeKind
from mailfleet.outbox.limits import Usage, Window
from mailfleet.outbox.rules import (
    ENDING_CODES,
    HoldOrder,
    LimitUsage,
    Refusal,
    Result,
    RetryPolicy,
    limit_refusal,
    refusal_of,
)
from mailfleet.providers.faults import Ambiguous, Interrupted, NotOffered, Stage, TooLarge, Unreached
from mailfleet.providers.smtp import Submission
from mailfleet.sending.journal import Entry
from mailfleet.sending.outcomes import broken, failed, lost_after_dot, lost_before_dot, submitted, withdrawn
from mailfleet.sending.recovery import results_of

RETRY = RetryPolicy()
HALF_AN_HOUR, DAY = 1800.0, 86400.0
ENDS = [Outcome.ACCEPTED, Outcome.DEFERRED, Outcome.REJECTED, Outcome.UNREACHED, Outcome.AMBIGUOUS]


def told(stage: Stage, text: str, *, dialect: str = "", number: int = 1) -> Result:
    """The result of a letter that the server answered so."""
    return submitted(1, Submission(stage, Reply.parse(text)), dialect=dialect, number=number, retry=RETRY)


def raised(error: Exception, *, dialect: str = "", number: int = 1) -> Result:
    return failed(1, error, dialect=dialect, number=number, retry=RETRY)


# stage, dialect, reply, outcome, state, class, hold (kind, seconds), suppress, retry after seconds
ANSWERS = [
    (Stage.DOT, "", "250 2.0.0 queued", "accepted", "accepted", "", None, False, None),
    (Stage.RCPT, "", "550 5.1.1 no such user", "rejected", "rejected", "recipient_unknown", None, True, None),
    (Stage.DOT, "", "552 5.3.4 message too big", "rejected", "rejected", "message_too_big", None, False, None),
    (Stage.DOT, "", "550 5.7.1 looks like spam", "rejected", "rejected", "policy_spam_block", None, False, None),
    (Stage.DOT, "", "451 4.3.0 try later", "deferred", "queued", "temporary_system", None, False, HALF_AN_HOUR),
    (Stage.MAIL, "", "421 service not available", "deferred", "queued", "temporary_system", None, False, HALF_AN_HOUR),
    (Stage.RCPT, "", "250 2.1.5 ok", "deferred", "queued", "accepted", None, False, HALF_AN_HOUR),
    (
        *(Stage.MAIL, "google", "550 5.4.5 Daily user sending limit exceeded", "deferred", "queued"),
        *("rate_limited_account", ("mailbox", DAY), False, DAY),
    ),
    (
        *(Stage.MAIL, "", "421 4.7.0 too many connections", "deferred", "queued"),
        *("rate_limited_account", ("mailbox", 300.0), False, 300.0),
    ),
    (
        *(Stage.DOT, "", "550 5.7.26 unauthenticated email is not accepted", "rejected", "rejected"),
        *("dns_or_auth_failure", ("domain", 3600.0), False, None),
    ),
    (
        *(Stage.MAIL, "microsoft", "550 5.1.8 Access denied, bad outbound sender", "deferred", "queued"),
        *("mailbox_suspended_or_auth", ("mailbox", None), False, 0.0),
    ),
]


@pytest.mark.parametrize(
    ("stage", "dialect", "text", "outcome", "state", "said", "hold", "suppress", "retry"),
    ANSWERS,
    ids=[answer[2] for answer in ANSWERS],
)
def test_the_servers_last_word_becomes_a_result(
    stage: Stage,
    dialect: str,
    text: str,
    outcome: str,
    state: str,
    said: str,
    hold: tuple[str, float | None] | None,
    suppress: bool,
    retry: float | None,
) -> None:
    """Stage, dialect and reply give outcome, state and what follows; the reply is kept as it was said."""
    result = told(stage, text, dialect=dialect)
    assert (result.outcome, result.state, result.reply_class) == (outcome, state, said)
    temporary = outcome != "rejected"
    family = family_of(said, result.reply_scope, is_temporary=temporary) if said else None
    assert result.hold == (HoldOrder(hold[0], text, hold[1], family) if hold else None)
    assert (result.suppress, result.retry_seconds) == (suppress, retry)
    assert (result.stage, result.reply, result.code) == (stage, text, int(text[:3]))
    assert (result.reason, result.reason_code) == (("", "") if outcome == "accepted" else (text, said))
    assert bool(result.rule) == (outcome != "accepted")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("452 4.2.2 mailbox full", DAY),
        ("450 4.1.1 no such user", DAY / 2),
        ("450 4.7.1 message looks like spam", 4 * 3600.0),
    ],
)
def test_a_letter_waits_at_least_as_long_as_its_replys_rule_says(text: str, seconds: float) -> None:
    """A full mailbox is not tried again in half an hour."""
    assert told(Stage.RCPT, text).retry_seconds == seconds


def test_a_short_wait_of_a_rule_does_not_shorten_the_retry() -> None:
    """Greylisting opens after a quarter of an hour; RFC 5321 asks for half an hour, then more each time."""
    waits = [told(Stage.RCPT, "450 4.2.0 greylisted", number=number).retry_seconds for number in (1, 2, 3)]
    assert waits == [HALF_AN_HOUR, 2 * HALF_AN_HOUR, 4 * HALF_AN_HOUR]


def test_a_letter_that_is_deferred_for_days_is_given_up() -> None:
    """The ninth deferral ends it, with the number of tries in the reason; a hold's waiting is no try that failed."""
    result = told(Stage.DOT, "451 4.3.0 try later", number=9)
    assert (result.outcome, result.state, result.reason_code) == ("deferred", "rejected", "gave_up")
    assert result.reason == "given up after 9 tries: 451 4.3.0 try later"
    held = told(Stage.MAIL, "421 4.7.0 too many connections", number=9)
    assert (held.state, held.retry_seconds) == ("queued", 300.0)
    assert lost_before_dot(1, "cut", 9, RETRY).state == "rejected"
    assert lost_before_dot(1, "cut", 8, RETRY).state == "queued"


def test_retries_double_up_to_a_day_and_end_within_five() -> None:
    """RFC 5321 §4.5.4.1: at least 30 minutes apart, for 4 to 5 days."""
    waits = [RETRY.wait(number) for number in range(1, 9)]
    minutes = (30, 60, 120, 240, 480, 960, 1440, 1440)
    assert waits == [timedelta(minutes=count) for count in minutes]
    assert timedelta(days=2) < sum(waits, timedelta()) < timedelta(days=5)
    assert [RETRY.gives_up_after(number) for number in (8, 9, 10)] == [False, True, True]
    assert RETRY.wait(10_000) == timedelta(days=1)


def reply(text: str) -> Reply:
    return Reply.parse(text)


# error, outcome, state, reason code, hold (seconds; None: for ever; "": none)
LOSSES = [
    (Ambiguous("the deadline passed"), "ambiguous", "ambiguous", "ambiguous", ""),
    (Interrupted(Stage.DATA, "the connection broke"), "deferred", "queued", "interrupted", ""),
    (NotOffered("SMTPUTF8", needed_for="an address"), "rejected", "rejected", "not_offered", ""),
    (TooLarge(9, 8), "rejected", "rejected", "not_offered", ""),
    (Unreached(Stage.CONNECT, "refused"), "unreached", "queued", "unreachable", 600.0),
    (Unreached(Stage.TLS, "bad certificate"), "unreached", "queued", "unreachable", 600.0),
    (Unreached(Stage.MAIL, "closed"), "unreached", "queued", "unreachable", 600.0),
    (
        *(Unreached(Stage.AUTH, "no", reply=reply("535 5.7.8 bad password")), "unreached", "queued"),
        *("mailbox_suspended_or_auth", None),
    ),
    (
        *(Unreached(Stage.AUTH, "no", reply=reply("550 5.3.0 strange word")), "unreached", "queued"),
        *("temporary_system", None),
    ),
    (
        *(Unreached(Stage.AUTH, "no", reply=reply("454 4.7.0 temporary authentication failure")), "unreached"),
        *("queued", "temporary_system", 900.0),
    ),
    (
        *(Unreached(Stage.GREETING, "no", reply=reply("554 5.3.2 no service")), "unreached", "queued"),
        *("temporary_system", 600.0),
    ),
    (
        SetupError("The CA file x cannot be used", hint="Name a readable PEM file."),
        "unreached",
        "queued",
        "unusable",
        600.0,
    ),
]


@pytest.mark.parametrize(
    ("error", "outcome", "state", "code", "seconds"),
    LOSSES,
    ids=[f"{type(e[0]).__name__}-{n}" for n, e in enumerate(LOSSES)],
)
def test_what_was_not_heard_becomes_a_result(
    error: Exception, outcome: str, state: str, code: str, seconds: float | str | None
) -> None:
    """Only what never left gives its usage back; a mailbox whose server cannot be used rests, one whose password is
    refused rests for good; a kept connection that was closed is no fault of the mailbox."""
    result = raised(error)
    assert (result.outcome, result.state) == (outcome, state)
    if code != "temporary_system":
        assert result.reason_code == code
    if seconds == "":
        assert result.hold is None
    else:
        assert result.hold is not None
        assert (result.hold.scope_kind, result.hold.seconds) == (ScopeKind.MAILBOX, seconds)
    if outcome == "unreached":
        assert result.retry_seconds == 0.0
    assert result.reason
    assert not result.suppress


def test_the_stage_reached_is_told() -> None:
    """A letter that is ambiguous says `dot`, so that no sweep's late fact is taken for it; one that never left says
    where it ended."""
    assert raised(Ambiguous("x")).stage == lost_after_dot(1, "x").stage == "dot"
    assert raised(Unreached(Stage.TLS, "x")).stage == "tls"
    assert raised(Unreached(Stage.MAIL, "x")).stage == "mail"


def test_an_error_that_is_not_the_providers_is_not_swallowed() -> None:
    """A broken promise of our own is raised, not settled as if a server had said it; once it is settled, its text,
    which might quote a letter, is left out."""
    with pytest.raises(InvariantError):
        raised(InvariantError("a bug"))
    result = broken(1, ValueError("Dear Ann, our secret offer"), number=1, retry=RETRY)
    assert (result.outcome, result.state, result.reason_code) == ("unreached", "queued", "broken")
    assert "ValueError" in result.reason
    assert "Ann" not in json.dumps(result.as_record())


def test_a_reply_is_kept_to_a_thousand_characters() -> None:
    """A server that talks without end does not fill the journal."""
    assert len(told(Stage.DOT, f"451 4.3.0 {'x' * 5000}").reply) == 1000


@pytest.mark.parametrize("outcome", ENDS)
def test_a_result_survives_a_journal(outcome: Outcome) -> None:
    """Through JSON and back it is the same, whatever it holds."""
    plain = Result(5, outcome, MessageState.QUEUED, "c", "r \u2603", 3.5, "dot", 250, "2.0.0", "ok", "k", "rule")
    for result in (plain, plain.began("2026-11-24T09:00:00+00:00"), told(Stage.MAIL, "421 4.7.0 too many connections")):
        again = Result.of_record(json.loads(json.dumps(result.as_record())))
        assert again == result
        assert type(again.outcome) is Outcome
        assert type(again.state) is MessageState


@dataclass(frozen=True)
class Open:
    """An attempt that the database holds as open."""

    id: int
    number: int = 1
    tries: int = 1
    outcome: str | None = None


def test_what_a_journal_says_of_an_open_attempt() -> None:
    """Silence: not begun. Begun: given up before the dot, and counted. Dotted: nobody knows. Done: as it was. Of
    what the database does not hold as open nothing is said."""
    accepted = Result(4, Outcome.ACCEPTED, MessageState.ACCEPTED)
    settled = Result(5, Outcome.REJECTED, MessageState.REJECTED)
    began_at = "2026-11-24T09:00:00+00:00"
    entries = {
        2: Entry("begin", began_at, None),
        3: Entry("dot", began_at, None),
        4: Entry("done", "", accepted),
        5: Entry("done", "", settled),
        6: Entry("begin", began_at, None),
    }
    found = {result.attempt_id: result for result in results_of([Open(n) for n in (1, 2, 3, 4)], entries, retry=RETRY)}
    said = {n: (result.outcome, result.state, result.began_at) for n, result in found.items()}
    assert said == {
        1: ("unreached", "queued", None),
        2: ("deferred", "queued", began_at),
        3: ("ambiguous", "ambiguous", began_at),
        4: ("accepted", "accepted", None),
    }
    assert found[4] is accepted
    assert (found[1].retry_seconds, found[2].retry_seconds) == (0.0, HALF_AN_HOUR)
    [given_up] = results_of([Open(2, number=9, tries=9)], entries | {4: entries[3], 5: entries[3]}, retry=RETRY)
    assert (given_up.outcome, given_up.state) == ("deferred", "rejected")


def test_what_is_withdrawn_costs_nothing() -> None:
    """Reserved and never begun: usage comes back, and the planner may take the letter at once."""
    result = withdrawn(1, "late", "it could not begin in its moment")
    assert (result.outcome, result.state, result.retry_seconds) == ("unreached", "queued", 0.0)
    assert result.hold is None


def test_refusals_say_what_ends_and_what_binds() -> None:
    """The gate's words end a letter or hand it back; a full limit is named with scope, maximum and window."""
    assert {code for code in ENDING_CODES if refusal_of(code, "r").ends} == {
        *("suppressed", "ended", "campaign_stopped", "campaign_finished", "no_lawful_basis")
    }
    for code in ("held", "campaign_paused", "campaign_draft", "other_mailbox", "mailbox_retired"):
        assert refusal_of(code, "r") == Refusal(code, "r", False)
    limit = LimitUsage(7, ("domain", "42"), Window("rolling", timedelta(hours=1)), 100, Usage())
    assert limit_refusal(limit) == Refusal("limit", "domain 42: limit 7 of 100 in a rolling hour is reached", False)
