"""What waits for a person, and what a person decides, by the real command."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inbox.post import SUBJECT, Post, mail, report
from mailfleet.base.errors import InputError
from mailfleet.cli.inbox import age, inbox_command
from mailfleet.cli.looking import why_command
from mailfleet.providers.sandbox import persona_letters as people

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
    run(post, "decide", first, "ignore")
    assert post.one(paused, letter.enrollment).year == 2200
    second = post.one("SELECT max(id) FROM incoming")
    run(post, "decide", second, "ignore")
    until = post.one(paused, letter.enrollment)
    assert until is None or until.year < 2200
    assert post.enrollment(letter) == ("active", "")
    assert post.events() == [("auto_reply", letter.id, False)]


def test_a_mail_is_decided_once(post: Post) -> None:
    """The second word is refused, with who had the first."""
    number = asked(post)
    run(post, "decide", number, "ignore")
    with pytest.raises(InputError, match="decided already: ignore"):
        run(post, "decide", number, "opt-out")
    assert post.banned() == []


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
