"""What waits for a person, and what a person decides, by the real command."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inbox.post import SUBJECT, Post, mail, report
from mailfleet.base.db import connect
from mailfleet.base.errors import InputError
from mailfleet.cli.inbox import age, inbox_command
from mailfleet.cli.looking import why_command
from mailfleet.inbox.questions import QUERIES, Decision, decide_mail
from mailfleet.intake.campaign_store import QUERIES as CAMPAIGNS
from mailfleet.model.words import UNTIL_DECIDED, Folder
from mailfleet.outbox.stops import between_reservations
from mailfleet.providers.sandbox import persona_letters as people
from outbox.queue_scene import blocked

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DOUBT = "No thanks, not interested right now."


def run(post: Post, *words: object, command: object = inbox_command) -> Result:
    """The command's end; our own errors are raised."""
    settings = post.laid.settings
    environment = {"MAILFLEET_HOME": str(settings.home), "MAILFLEET_DATABASE_URL": post.laid.conninfo}
    runner = CliRunner(env=environment)
    return runner.invoke(command, list(map(str, words)), catch_exceptions=False)  # type: ignore[arg-type]


def asked(post: Post) -> int:
    """A doubtful no of the first contact: the mail that asks about it."""
    letter = post.sent[0]
    post.take(people.make_reply(letter.original, DOUBT, NOW), letter.mailbox_id)
    return int(post.mail()["id"])


def begin_another(post: Post) -> int:
    """Another campaign enrolls everybody, as a launch does; its id."""
    number = post.one(
        'WITH made AS (INSERT INTO campaign (name, identity_id, state, "window", zone)'
        " SELECT 'other', identity_id, 'running', \"window\", zone FROM campaign LIMIT 1 RETURNING id), listed AS ("
        " INSERT INTO contact_list (name) VALUES ('all') RETURNING id), lists AS ("
        " INSERT INTO campaign_list (campaign_id, contactlist_id) SELECT made.id, listed.id FROM made, listed), a AS ("
        " INSERT INTO list_member (contact_list_id, contact_id) SELECT listed.id, c.id FROM listed, contact c)"
        " SELECT id FROM made"
    )
    post.connection.execute(CAMPAIGNS["enroll"], {"campaign": number, "until_decided": UNTIL_DECIDED})
    return int(number)


def test_what_waits_is_listed_with_its_age(post: Post) -> None:
    """Questions, mail without a letter, mailboxes that nobody reads; and what to do next."""
    number = asked(post)
    post.take(mail("stranger@x.test", "Yes [bold]please[/].", subject="Re: [x] y"), post.sent[0].mailbox_id)
    post.connection.execute("UPDATE incoming SET read_at = read_at - interval '3 hours'")
    post.connection.execute("INSERT INTO reading (mailbox_id, read_at) SELECT id, now() FROM mailbox WHERE id = 1")
    post.connection.execute(
        "INSERT INTO reading (mailbox_id, read_at, failing_since, failures, fault_text)"
        " VALUES (2, now() - interval '5 hours', now() - interval '4 hours', 7, 'the login was refused')"
    )
    done = run(post)
    assert done.exit_code == 0
    for said in ("Questions (1)", str(number), "3 h", post.sent[0].contact, "Is it a no?", "stranger@x.test", "[x] y"):
        assert said in done.stdout
    for said in ("Not read (1)", "5 h", "the login was refused", "No watcher runs", "decide MAIL opt-out|reply|ignore"):
        assert said in done.stdout


def test_an_empty_list_says_so(post: Post) -> None:
    """Nothing waits, all is read."""
    post.connection.execute("INSERT INTO reading (mailbox_id, read_at) SELECT id, now() FROM mailbox")
    assert "Nothing waits; every mailbox is read." in run(post).stdout


def test_a_mail_is_shown_as_far_as_it_is_kept(post: Post) -> None:
    """From whom, about which letter, the question, and the words."""
    shown = run(post, "show", asked(post)).stdout
    for said in (post.sent[0].contact, SUBJECT, "found by reference", "Is it a no?", DOUBT):
        assert said in shown
    with pytest.raises(InputError, match="There is no mail 99"):
        run(post, "show", 99)


def test_a_person_s_no_bans_the_address(post: Post) -> None:
    """With who decided it; the mail is an opt_out now, and so is the fact."""
    number = asked(post)
    assert "banned for good" in run(post, "decide", number, "opt-out").stdout
    [(address, source)] = post.banned()
    assert address == post.sent[0].contact
    assert source.startswith("operator ")
    assert post.enrollment(post.sent[0]) == ("stopped", "suppressed")
    assert post.events() == [("opt_out", post.sent[0].id, False)]
    kept = post.mail()
    assert (kept["kind"], kept["decision"], bool(kept["decided_by"])) == ("opt_out", "opt-out", True)


def test_a_person_s_answer_ends_what_is_written(post: Post) -> None:
    """No ban."""
    run(post, "decide", asked(post), "reply")
    assert post.enrollment(post.sent[0]) == ("stopped", "replied")
    assert (post.banned(), post.events()) == ([], [("reply", post.sent[0].id, False)])


def test_what_is_ignored_goes_on_unless_another_question_stands(post: Post) -> None:
    """The pause ends with the last question; an absence that was named meanwhile is kept."""
    letter = post.sent[0]
    first = asked(post)
    away = mail(letter.contact, "I am away.", In_Reply_To=letter.header_id, Auto_Submitted="auto-replied")
    post.take(away, letter.mailbox_id)
    post.take(mail(letter.contact, "Call me.", subject="My number"), letter.mailbox_id)
    paused = "SELECT paused_until FROM enrollment WHERE id = %s"
    assert "nothing was paused for it alone" in run(post, "decide", first, "ignore").stdout
    assert post.one(paused, letter.enrollment).year == 2200
    second = post.one("SELECT max(id) FROM incoming")
    assert "what waited for it goes on" in run(post, "decide", second, "ignore").stdout
    until = post.one(paused, letter.enrollment)
    assert NOW < until < post.one("SELECT clock_timestamp() + interval '8 days'")
    assert post.enrollment(letter) == ("active", "away")
    assert post.events() == [("auto_reply", letter.id, False)]


def test_a_mail_is_decided_once(post: Post) -> None:
    """The second word is refused, with who had the first."""
    number = asked(post)
    run(post, "decide", number, "ignore")
    with pytest.raises(InputError, match="decided already: ignore"):
        run(post, "decide", number, "opt-out")
    assert post.banned() == []


async def test_who_decides_second_hears_who_decided_and_what(post: Post) -> None:
    """Two persons read the same question; the one who comes second meets the other's word, not an empty one."""
    number = asked(post)
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    words = {"by": "bob", "contact": ""}
    decide = partial(decide_mail, post.connection, post.laid.vault, number, Decision.OPT_OUT, **words)
    with connect(post.laid.conninfo, name="test") as other, connect(post.laid.conninfo, name="test") as watch:
        with between_reservations(other):
            task = loop.run_in_executor(pool, decide)
            await blocked(watch)
            values = {"mail": number, "decision": "reply", "by": "ann", "kind": "reply", "contact": None}
            other.execute(QUERIES["settle_mail"], values)
        with pytest.raises(InputError, match="decided already: reply, by ann"):
            await task
    pool.shutdown()
    assert post.banned() == []


def test_what_asks_nothing_is_not_ignored(post: Post) -> None:
    """An answer has ended what was written: that nothing goes on is said, and the mail stays as it was."""
    letter = post.sent[0]
    post.take(people.make_reply(letter.original, "Yes, call me.", NOW), letter.mailbox_id)
    with pytest.raises(InputError, match="asks nothing, so there is nothing to ignore"):
        run(post, "decide", post.mail()["id"], "ignore")
    assert (post.mail()["decision"], post.enrollment(letter)) == ("", ("stopped", "replied"))


def test_a_person_overrules_a_rule_once(post: Post) -> None:
    """A no among the spam, which a rule had set aside; afterwards a person's word stands."""
    raw = mail("stranger@x.test", "No thanks, not interested.", subject="Re: your letter")
    post.take(raw, post.sent[0].mailbox_id, folder=Folder.JUNK)
    kept = post.mail()
    assert (kept["decision"], kept["decided_by"]) == ("junk", "rule")
    run(post, "decide", kept["id"], "opt-out")
    assert [address for address, _ in post.banned()] == ["stranger@x.test"]
    with pytest.raises(InputError, match="decided already: opt-out"):
        run(post, "decide", kept["id"], "reply")


@pytest.mark.parametrize(("decision", "bans"), [("opt-out", 1), ("reply", 0), ("ignore", 0)])
def test_a_no_under_our_subject_bans_by_a_person_s_word_alone(decision: str, bans: int, post: Post) -> None:
    """Until then no campaign begins anew, for the question stands; whatever the word, what ended stays ended."""
    letter = post.sent[0]
    post.take(mail(letter.contact, "Please remove me from your list."), letter.mailbox_id)
    other = begin_another(post)
    query = "SELECT state, reason_code FROM enrollment WHERE contact_id = %s AND campaign_id = %s"
    assert post.rows(query, letter.contact_id, other) == [("active", "question")]
    run(post, "decide", post.mail()["id"], decision)
    assert len(post.banned()) == bans
    assert post.enrollment(letter) == ("stopped", "opt_out")
    assert post.rows(query, letter.contact_id, other) == [
        {"opt-out": ("stopped", "suppressed"), "reply": ("stopped", "replied"), "ignore": ("active", "")}[decision]
    ]


def test_who_has_no_name_decides_under_a_number(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a user may be a number that no list of users knows."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    run(post, "decide", asked(post), "opt-out")
    assert [source for _, source in post.banned()] == ["operator uid 4000000001"]
    assert post.mail()["decided_by"] == "uid 4000000001"


def test_a_no_without_a_letter_is_its_senders_or_whose_a_person_says(post: Post) -> None:
    """Known here or not; a report's sender is a machine, so somebody must say whom it is about."""
    letter = post.sent[0]
    post.take(mail("stranger@x.test", "", subject="unsubscribe"), letter.mailbox_id)
    run(post, "decide", post.mail()["id"], "opt-out")
    post.take(mail("alias@x.test", "Please unsubscribe me."), letter.mailbox_id)
    run(post, "decide", post.mail()["id"], "opt-out", "--contact", letter.contact.upper())
    assert {address for address, _ in post.banned()} == {"stranger@x.test", letter.contact}
    assert post.enrollment(letter) == ("stopped", "suppressed")
    post.take(report("gone@x.test", status="5.1.1", said="550 5.1.1 User unknown"), letter.mailbox_id)
    with pytest.raises(InputError, match="machine's report"):
        run(post, "decide", post.mail()["id"], "opt-out")
    run(post, "decide", post.mail()["id"], "ignore")
    assert post.one("SELECT count(*) FROM incoming WHERE decided_at IS NULL") == 0


def test_a_mail_about_one_contact_is_not_decided_for_another(post: Post) -> None:
    """It would leave the one paused for good."""
    with pytest.raises(InputError, match="and not about"):
        run(post, "decide", asked(post), "opt-out", "--contact", post.sent[1].contact)


def test_a_doubtful_dead_address_stays_a_bounce(post: Post) -> None:
    """A person's no bans it; the fact that was learned stays the bounce."""
    letter = post.sent[0]
    raw = report(letter.contact, status="5.1.1", said="550 5.1.1 User unknown", letter=[f"Subject: {SUBJECT}"])
    post.take(raw, letter.mailbox_id)
    run(post, "decide", post.mail()["id"], "opt-out")
    assert post.mail()["kind"] == "bounce"
    assert [kind for kind, *_ in post.events()] == ["bounce"]
    assert len(post.banned()) == 1


def test_why_contact_tells_what_came_back_and_what_waits(post: Post) -> None:
    """Events with how they were matched, pauses, questions."""
    letter = post.sent[0]
    number = asked(post)
    raw = report(letter.contact, status="5.2.2", said="552 5.2.2 full", letter=[f"Message-ID: {letter.header_id}"])
    post.take(raw, letter.mailbox_id)
    told = run(post, "contact", letter.contact, command=why_command).stdout
    for said in (f"Mail {number} waits for your word", "2200-01-01", "bounce", "5.2.2", "returned"):
        assert said in told


def test_ages_are_read_at_a_glance(tmp_path: Path) -> None:
    """In minutes, hours, days."""
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    told = [
        age(at, at.replace(**back)) for back in ({"minute": 0}, {"hour": 11, "minute": 30}, {"hour": 3}, {"day": 20})
    ]
    assert [*told, age(at, None)] == ["0 min", "30 min", "9 h", "4 days", "never"]
