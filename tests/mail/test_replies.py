"""Replies are read, classified and acted upon by the rules in `replies.toml`, and the laws hold for every text."""

import csv
import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailfleet.base.errors import InvariantError
from mailfleet.mail.replies import Action, Reply, ReplyClass, Scope, Side, Verdict, classify, explain
from mailfleet.mail.reply_rules import DEAD_ADDRESS, NEVER_PERMANENT, SIDES, Book, Rule, make_book

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPORA = Path(os.environ.get("MAILFLEET_CORPORA") or ROOT.parent / "shared" / "corpora")
PAGE = ROOT / "docs" / "replies.md"
MARKER = "<!-- Below this line the page is written by tests/mail/test_replies.py (MAILFLEET_WRITE_DOCS=1). -->\n"
TEMPORARY_CLASSES = {
    "rate_limited_account", "rate_limited_domain_or_ip", "greylisted", "temporary_system", "recipient_full",
}  # fmt: skip
EXPLAINED: dict[tuple[str, str], str] = {}
"""(code, first 40 characters of the text) → why we read a row of the catalogue otherwise than it does."""

Row = dict[str, str]


def read_tsv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


KNOWN = read_tsv(HERE / "known_replies.tsv")
RULES: dict[str, Any] = tomllib.loads(files("mailfleet.mail").joinpath("replies.toml").read_text(encoding="utf-8"))
BOOK: Book = make_book(RULES)


@pytest.fixture(scope="module")
def catalogue() -> list[Row]:
    """The development half of the catalogue of real replies, its columns named as `explain` names them."""
    path = CORPORA / "smtp_replies.tsv"
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing: the catalogue of replies may not be skipped under CI")
        pytest.skip(f"no catalogue of replies at {path}: set MAILFLEET_CORPORA")
    rows = read_tsv(path)
    return [row | {"side": row["seen_at"], "class": row["meaning_class"], "scope": row["remedy_scope"]} for row in rows]


def verdict_of(text: str, *, provider: str = "", side: Side = "mx") -> Verdict:
    return classify(Reply.parse(text), provider=provider, side=side)


def known_id(row: Row) -> str:
    return f"{row['provider']}: {row['code']} {row['text'][:40]}"


# --- reading a reply -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "enhanced", "lines"),
    [
        ("250 2.0.0 OK", 250, "2.0.0", ("2.0.0 OK",)),
        ("550-5.7.1 one\r\n550 5.7.1 two", 550, "5.7.1", ("5.7.1 one", "5.7.1 two")),
        ("450-unavailable\n450 Mail send limit exceeded", 450, None, ("unavailable", "Mail send limit exceeded")),
        ("smtp; 550 5.1.1 <a@b.example>: unknown", 550, "5.1.1", ("smtp; 550 5.1.1 <a@b.example>: unknown",)),
        ("host mx[192.0.2.1] said: 452-4.2.2 full", 452, "4.2.2", ("host mx[192.0.2.1] said: 452-4.2.2 full",)),
        ("421 closing, see 4.16.55.1", 421, None, ("closing, see 4.16.55.1",)),
        ("550 no\n5.1.1 such user", 550, "5.1.1", ("no", "5.1.1 such user")),
        ("X-Unix; 255", None, None, ("X-Unix; 255",)),
        ("5500 apples", None, None, ("5500 apples",)),
        ("", None, None, ()),
    ],
)  # fmt: skip
def test_reply_is_read_from_wire_and_from_diagnostics(
    text: str, code: int | None, enhanced: str | None, lines: tuple[str, ...]
) -> None:
    """Code, first enhanced code and every line are found in replies of one and more lines and in quoted ones."""
    assert Reply.parse(text) == Reply(code, enhanced, lines)


def test_lines_and_one_string_read_alike() -> None:
    """A reply given as lines is the reply given as one string."""
    assert Reply.parse(["550-5.1.1 a", "550 5.1.1 b"]) == Reply.parse("550-5.1.1 a\r\n550 5.1.1 b")


# --- what is known -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", KNOWN, ids=known_id)
def test_known_reply_is_understood(row: Row) -> None:
    """A real reply from a page, a log or the software itself gets its class and its scope."""
    status = row["enhanced_code"] or Reply.parse(row["text"]).enhanced
    side: Any = row["side"]
    verdict = classify(Reply(int(row["code"]), status, (row["text"],)), provider=row["provider"], side=side)
    assert (verdict.reply_class, verdict.scope) == (row["class"], row["scope"]), verdict.rule


def test_catalogue_is_understood(catalogue: list[Row]) -> None:
    """At least 97 % of the development half get the class and the scope of the catalogue."""
    verdicts = [(row, explain(row)) for row in catalogue]
    for field in ("class", "scope"):
        assert sum(row[field] == said[field] for row, said in verdicts) >= 0.97 * len(catalogue)


def test_catalogue_is_understood_without_the_speaker(catalogue: list[Row]) -> None:
    """The text carries the meaning: with the provider unknown, 95 % still get class and scope."""
    verdicts = [(row, explain(row | {"provider": ""})) for row in catalogue]
    for field in ("class", "scope"):
        assert sum(row[field] == said[field] for row, said in verdicts) >= 0.95 * len(catalogue)


def test_no_temporary_reply_of_the_catalogue_is_permanent(catalogue: list[Row]) -> None:
    """Neither a 4yz nor a limit said with 5yz gives a letter up or an address."""
    for row in catalogue:
        if row["code"].startswith("4") or row["class"] in TEMPORARY_CLASSES:
            said = explain(row)
            assert not said["permanent"], row["text"]
            assert said["action"] not in (Action.SUPPRESS, Action.REJECT), row["text"]


def test_only_dead_addresses_of_the_catalogue_are_suppressed(catalogue: list[Row]) -> None:
    """What the catalogue calls neither unknown nor disabled is never suppressed."""
    for row in catalogue:
        if row["class"] not in DEAD_ADDRESS:
            assert explain(row)["action"] != Action.SUPPRESS, row["text"]


# --- order and evidence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "provider", "side", "reply_class", "rule"),
    [
        ("550 5.4.6 Unusual", "zoho", "submission", "rate_limited_account", "zoho-unusual-activity"),
        ("550 5.4.6 Unusual", "postfix", "submission", "recipient_disabled", "status-recipient-doubtful-gone"),
        ("550 5.2.2 mailbox full", "", "mx", "recipient_full", "recipient-over-quota"),
        ("550 5.2.2 Submission quota exceeded", "", "dsn", "rate_limited_account", "own-limit-daily"),
        ("550 5.1.1 see page 7", "", "mx", "recipient_unknown", "status-recipient-unknown"),
        ("550 5.1.1 daily sending quota exceeded", "", "submission", "rate_limited_account", "own-limit-daily"),
        ("550 see page 7", "", "mx", "policy_spam_block", "code-5yz"),
        ("451 see page 7", "", "mx", "temporary_system", "code-4yz"),
        ("see page 7", "", "mx", "temporary_system", "code-none"),
    ],
)
def test_order_is_provider_text_status_code(text: str, provider: str, side: Side, reply_class: str, rule: str) -> None:
    """A provider's dialect goes before text, text before the enhanced code, the enhanced code before the basic one."""
    verdict = verdict_of(text, provider=provider, side=side)
    assert (verdict.reply_class, verdict.rule) == (reply_class, rule)


def test_all_lines_are_read() -> None:
    """The second line of a reply that begins like greylisting says that our own limit is reached."""
    first = "450-Requested mail action not taken: mailbox unavailable"
    assert verdict_of(f"{first}\n450 Try again", side="submission").reply_class is ReplyClass.TEMPORARY_SYSTEM
    limited = verdict_of(f"{first}\n450 Mail send limit exceeded", side="submission")
    assert (limited.reply_class, limited.scope, limited.action) == ("rate_limited_account", "mailbox", Action.HOLD)


def test_help_text_is_not_the_reason() -> None:
    """Limits and policies named after "For more information" do not outweigh what the reply says before it."""
    reply = "550 5.1.1 No such user. For more information on sending limits and your SMTP relay, contact us"
    assert verdict_of(reply, side="submission").reply_class is ReplyClass.RECIPIENT_UNKNOWN


def test_a_reply_of_help_alone_is_still_read() -> None:
    """When nothing before "For more information" says anything, what follows it is read after all."""
    assert verdict_of("550 Hello. For more information: user unknown").rule == "recipient-unknown"


@pytest.mark.parametrize(
    "text",
    [
        "554 5.4.6 loops back 554 5.4.6 to myself",
        "host mx said: 554-loops back 554-to myself",
        "554 loops back [192.0.2.77] to myself",
        "554 loops back <a@b.example> to myself",
        "554 loops back (in reply to RCPT TO command) to myself",
        "554 loops back relay=spam-relay-denied.example to myself",
    ],
)
def test_what_surrounds_the_words_is_removed(text: str) -> None:
    """Repeated codes, addresses and what the quoting server adds neither part a phrase nor add to it."""
    assert verdict_of(text).rule == "mail-loop"


def test_three_digits_are_microsofts() -> None:
    """A detail of three digits is read in Microsoft's dialect though no one says who spoke."""
    assert verdict_of("550 5.7.705 see page 7", side="dsn").rule == "microsoft-banned-tenant"


def test_a_long_reply_is_read_in_part() -> None:
    """What stands beyond the eight longest lines SMTP allows is not read."""
    assert verdict_of("550 see page 7" + " " * 4096 + "user unknown").rule == "code-5yz"


def test_words_inside_addresses_do_not_count() -> None:
    """An address that is called like a refusal decides nothing."""
    assert verdict_of("550 5.1.1 <spam-quota-exceeded@mail.example>: no such user").rule == "recipient-unknown"


@pytest.mark.parametrize("name", ["Google", "google_workspace", "GMAIL-SMTP-IN.l.google.com", "Gmail free"])
def test_speakers_are_known_by_many_names(name: str) -> None:
    """A slug, a product name and a host name lead to the same dialect."""
    reply = "550 5.7.1 This email has been rate limited."
    assert verdict_of(reply, provider=name, side="submission").rule == "google-letter-rate-limited"


def test_a_relay_limits_the_account() -> None:
    """Where one login serves every mailbox, its limit holds the account; elsewhere the mailbox."""
    limit = "452 4.5.3 Daily message limit exceeded"
    assert verdict_of(limit, provider="brevo", side="submission").scope is Scope.ACCOUNT
    assert verdict_of(limit, provider="titan", side="submission").scope is Scope.MAILBOX


# --- what is done --------------------------------------------------------------------------------------------------


def test_daily_limit_is_a_hold_and_never_a_bounce() -> None:
    """A daily limit said with 550 rests the mailbox for a day and leaves the letter alone."""
    verdict = verdict_of("550 5.4.5 Daily user sending limit exceeded.", provider="google_workspace", side="submission")
    assert (verdict.action, verdict.scope, verdict.permanent) == (Action.HOLD, Scope.MAILBOX, False)
    assert verdict.hold_for == timedelta(days=1)


def test_yandex_rests_longer_than_its_block() -> None:
    """Yandex starts its 24 hours anew at every try, so the mailbox rests longer than 24 hours."""
    verdict = verdict_of("554 5.7.1 Message rejected under suspicion of SPAM", provider="yandex", side="submission")
    assert verdict.action is Action.HOLD
    assert verdict.hold_for is not None
    assert verdict.hold_for > timedelta(hours=24)


def test_refused_login_stops_the_mailbox_and_keeps_the_letter() -> None:
    """One refused login stops the mailbox until a person mends it; the letter was never judged."""
    verdict = verdict_of("535 5.7.8 Username and Password not accepted.", provider="gmail", side="submission")
    assert (verdict.action, verdict.scope, verdict.permanent) == (Action.STOP, Scope.MAILBOX, False)


def test_dead_address_is_suppressed_only_by_words() -> None:
    """Words that name the address suppress it; doubtful words, or a soft reply, do not."""
    assert verdict_of("550 5.1.1 User unknown").action is Action.SUPPRESS
    assert verdict_of("550 5.0.0 does not exist here").action is Action.REJECT
    assert verdict_of("550 see page 7").action is Action.REJECT
    soft = verdict_of("450 4.1.1 User unknown")
    assert (soft.reply_class, soft.action, soft.permanent) == ("recipient_unknown", Action.RETRY, False)


def test_a_locked_recipient_may_come_back() -> None:
    """A 5yz that calls the mailbox temporarily locked keeps the address and the letter."""
    verdict = verdict_of("550 5.7.1 Recipient address rejected: User temporary locked.")
    assert (verdict.reply_class, verdict.action, verdict.permanent) == ("recipient_disabled", Action.RETRY, False)


def test_listed_domain_waits_for_a_person() -> None:
    """Our domain on a public list is stopped, not merely rested."""
    verdict = verdict_of("550 5.7.1 Service unavailable, MailFrom domain is listed in Spamhaus.")
    assert (verdict.action, verdict.scope) == (Action.STOP, Scope.DOMAIN)


def test_one_receiver_does_not_rest_the_provider() -> None:
    """A receiver that slows a shared address of the provider delays the letter; the pool goes on."""
    verdict = verdict_of("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints")
    assert (verdict.action, verdict.scope) == (Action.RETRY, Scope.PROVIDER)


# --- laws for every text -------------------------------------------------------------------------------------------

WORDS = sorted(
    {word for rule in RULES["rule"] for phrase in rule.get("text", ()) for word in phrase.replace("|", " ").split()}
)
texts = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
codes = st.one_of(st.none(), st.integers(min_value=200, max_value=599))
statuses = st.one_of(st.none(), st.from_regex(r"[245]\.[0-7]\.[0-9]{1,3}", fullmatch=True))
sides = st.sampled_from(SIDES)
speakers = st.sampled_from(
    ["", "google", "Microsoft Exchange Online", "zoho", "yandex", "GMX", "amazon_ses", "Orange.fr", "qq"]
)
fields = st.sampled_from(["code", "enhanced_code", "text", "provider", "side", "more"])
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.lists(st.text(max_size=20))
records = st.dictionaries(fields, values)


@given(codes, statuses, texts, speakers, sides)
def test_laws_hold_for_every_reply(code: int | None, status: str | None, text: str, provider: str, side: Side) -> None:
    """Whatever is said: an answer; nothing temporary is permanent or suppresses; a wait exactly where one is due."""
    said = Reply.parse(text)
    verdict = classify(Reply(code, status, said.lines), provider=provider, side=side)
    soft = (code is not None and code < 500) or (status or "").startswith("4") or verdict.reply_class in NEVER_PERMANENT
    if soft:
        assert not verdict.permanent
        assert verdict.action not in (Action.SUPPRESS, Action.REJECT)
    if verdict.action is Action.SUPPRESS:
        assert verdict.reply_class in DEAD_ADDRESS
        assert verdict.permanent
    if verdict.action in (Action.HOLD, Action.STOP):
        assert verdict.scope not in (Scope.RECIPIENT, Scope.MESSAGE)
    assert (verdict.hold_for is not None) == (verdict.action in (Action.RETRY, Action.HOLD))


@given(st.sampled_from(KNOWN), st.randoms(use_true_random=False))
def test_form_does_not_change_the_verdict(row: Row, chance: Any) -> None:
    """Upper case, more white space and other line breaks leave the verdict as it is."""
    words = f"{row['enhanced_code']} {row['text']}".split()
    plain = f"{row['code']} {' '.join(words)}"
    other = row["code"] + "".join(chance.choice([" ", "  ", "\t", f"\r\n{row['code']}-"]) + word for word in words)
    shouted = "".join(letter.upper() if letter.isascii() else letter for letter in other)
    side: Any = row["side"]
    first, second = (verdict_of(text, provider=row["provider"], side=side) for text in (plain, shouted))
    assert first == second


@given(records)
@example({"code": "4xx", "text": "User unknown", "side": "mx"})
@example({"code": None, "text": None})
@example({"code": "", "enhanced_code": "4.7.500-699", "text": ["Access denied", "try later"], "side": "both"})
def test_any_record_is_explained(record: dict[str, Any]) -> None:
    """A record with missing and odd fields gets an answer in the words of the catalogue, in plain JSON types."""
    said = explain(record)
    assert list(said) == ["class", "scope", "permanent", "action", "rule"]
    assert said["class"] in set(ReplyClass)
    assert said["scope"] in set(Scope) - {Scope.ACCOUNT}
    assert {type(value) for value in said.values()} == {str, bool}
    if str(record.get("code") or "").startswith("4"):
        assert not said["permanent"]


def test_only_a_class_of_codes_is_known() -> None:
    """ "4xx" is temporary and "5xx" is not, without any more of the code."""
    assert explain({"code": "4xx", "text": "User unknown", "side": "mx"})["permanent"] is False
    assert explain({"code": "5XX", "text": "User unknown", "side": "mx"})["permanent"] is True
    assert explain({"code": 550, "text": "User unknown", "side": "mx"})["action"] == "suppress"


# --- the book of rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", BOOK.rules, ids=lambda rule: rule.id)
def test_every_rule_decides_something(rule: Rule) -> None:
    """No rule stands wholly in the shadow of earlier ones: one of its own phrases or codes leads to it."""
    stem = (rule.codes or (("550",) if rule.enhanced or rule.text else ("",)))[0]
    found = {
        classify(Reply(int(stem.ljust(3, "9")) if stem else None, status, (text,)), provider=name, side=side).rule
        for status in {status.replace("x", stem[:1]) for status in rule.enhanced} or {None}
        for text in (spoken(phrase) for phrase in rule.text or ("",))
        for name in [BOOK.names[group][0] for group in rule.providers] or [""]
        for side in cast("set[Side]", rule.sides or set(SIDES))
    }
    assert rule.id in found


def spoken(phrase: str) -> str:
    return " ".join(word.partition("|")[0] for word in phrase.split() if word != "..")


def test_every_speaker_is_heard() -> None:
    """No group of names is left that no rule asks for."""
    asked = {group for rule in RULES["rule"] for group in rule.get("providers", ())}
    assert asked | {"relay"} == set(RULES["providers"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"class": "greylisted", "scope": "recipient", "action": "suppress"}, "without a dead address"),
        ({"class": "rate_limited_account", "scope": "mailbox", "action": "reject"}, "something that passes"),
        ({"class": "rate_limited_account", "scope": "message", "action": "hold"}, "has no hold"),
        ({"class": "greylisted", "scope": "recipient", "sides": ["phone"]}, "nowhere defined"),
        ({"class": "greylisted", "scope": "recipient", "providers": ["nobody"]}, "nowhere defined"),
        ({"id": "greylist", "class": "greylisted", "scope": "recipient"}, "there twice"),
    ],
)
def test_broken_rule_is_refused(change: dict[str, Any], complaint: str) -> None:
    """A rule that breaks a law is refused when the book is made, not when a reply arrives."""
    with pytest.raises(InvariantError, match=complaint):
        make_book(RULES | {"rule": [*RULES["rule"], {"id": "new", "text": ["hello"], **change}]})


@pytest.mark.parametrize(
    ("effect", "complaint"),
    [
        ({"class": "greylisted", "action": "retry", "permanent": True, "wait_minutes": 1}, "never be permanent"),
        ({"class": "message_too_big", "action": "suppress", "permanent": True, "wait_minutes": 1}, "dead address"),
    ],
)
def test_broken_effect_is_refused(effect: dict[str, Any], complaint: str) -> None:
    """An effect that makes a passing thing final, or suppresses for a letter's fault, is refused."""
    with pytest.raises(InvariantError, match=complaint):
        make_book(RULES | {"effect": [effect, *RULES["effect"]]})


# --- the page ------------------------------------------------------------------------------------------------------


def test_page_tells_what_the_rules_do(catalogue: list[Row]) -> None:
    """The tables in docs/replies.md are those of today's rules and today's catalogue."""
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARKER)
    page = (
        head + MARKER + "\n".join([*effect_table(), "", *agreement_table(catalogue), "", *disagreements(catalogue), ""])
    )
    if os.environ.get("MAILFLEET_WRITE_DOCS") == "1":
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page


def effect_table() -> Iterator[str]:
    yield "## Class, scope, action"
    yield ""
    yield "For the scopes our rules give; a line for each side where sides differ. A rule may change a wait."
    yield ""
    yield "| class | scope | side | action | the letter is over | temporary instead | wait |"
    yield "|---|---|---|---|---|---|---|"
    used = {(rule.reply_class, scope) for rule in BOOK.rules for scope in (rule.scope, rule.relay_scope)}
    for reply_class, scope in sorted(used, key=lambda pair: (pair[0], list(Scope).index(pair[1]))):
        yield from effect_lines(reply_class, scope)


def effect_lines(reply_class: ReplyClass, scope: Scope) -> Iterator[str]:
    by_effect: dict[Any, list[str]] = {}
    for side in SIDES:
        by_effect.setdefault(BOOK.effects[reply_class, scope, side], []).append(side)
    for effect, said_by in by_effect.items():
        softer = {"reject": "retry", "suppress": "retry", "stop": "hold"}.get(effect.action, "the same")
        side = "any" if len(said_by) == len(SIDES) else ", ".join(said_by)
        over = "yes" if effect.permanent else "no"
        yield f"| {reply_class} | {scope} | {side} | {effect.action} | {over} | {softer} | {effect.wait} |"


def agreement_table(catalogue: list[Row]) -> Iterator[str]:
    said = [(row, explain(row)) for row in catalogue]
    yield "## Agreement with the catalogue (development half)"
    yield ""
    same = {field: sum(row[field] == verdict[field] for row, verdict in said) for field in ("class", "scope")}
    yield f"{len(said)} replies: class {same['class'] / len(said):.1%}, scope {same['scope'] / len(said):.1%}."
    yield ""
    yield "| class in the catalogue | replies | taken for it | taken for another | scope the same |"
    yield "|---|---|---|---|---|"
    for name in sorted(ReplyClass):
        mine = [(row, verdict) for row, verdict in said if row["class"] == name]
        other = Counter(str(verdict["class"]) for row, verdict in mine if verdict["class"] != name)
        others = ", ".join(f"{wrong} {count}" for wrong, count in sorted(other.items())) or "-"
        right = sum(row["scope"] == verdict["scope"] for row, verdict in mine)
        yield f"| {name} | {len(mine)} | {len(mine) - other.total()} | {others} | {right} |"


def disagreements(catalogue: list[Row]) -> Iterator[str]:
    yield "## Where we read otherwise"
    yield ""
    for row in catalogue:
        said = explain(row)
        if (row["class"], row["scope"]) != (said["class"], said["scope"]):
            why = EXPLAINED[row["code"], row["text"][:40]]
            yield (f"- `{row['code']} {row['text'][:60]}`: {row['class']}, {row['scope']} there; "
                   f"{said['class']}, {said['scope']} here. {why}")  # fmt: skip
    if not any((row["class"], row["scope"]) != (explain(row)["class"], explain(row)["scope"]) for row in catalogue):
        yield "Nowhere, in this half."
