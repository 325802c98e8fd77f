"""Each kind of mail does what it is for, once, and to nobody else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from inbox.post import SUBJECT, Post, mail, report
from mailfleet.model.words import Folder, MailKind
from mailfleet.providers.sandbox import persona_letters as people

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_answer_ends_everything_written_to_its_contact(post: Post) -> None:
    """The enrollment ends as replied, the fact and the new text are kept, and the others go on."""
    letter = post.sent[0]
    taken = post.take(people.make_reply(letter.original, "Sounds good, call me.", NOW), letter.mailbox_id)
    assert (taken.kind, taken.message_id, taken.stopped.ended) == (MailKind.REPLY, letter.id, 1)
    assert post.enrollment(letter) == ("stopped", "replied")
    assert post.events() == [("reply", letter.id, False)]
    kept = post.mail()
    assert (kept["matched_by"], kept["text"].strip(), kept["contact_id"]) == (
        "reference",
        "Sounds good, call me.",
        letter.contact_id,
    )
    assert post.state == {"mails": 1, "events": 1, "bans": 0, "holds": 0, "ended": 1, "paused": 0}


def test_a_letter_in_the_queue_is_cancelled_by_an_answer(post: Post) -> None:
    """The follow-up that is planned already never leaves."""
    from outbox.queue_scene import queue

    letter = post.sent[0]
    queue(post.connection)
    taken = post.take(people.make_reply(letter.original, "Yes.", NOW), letter.mailbox_id)
    assert taken.stopped.letters == 1
    query = "SELECT state, reason_code FROM message WHERE enrollment_id = %s ORDER BY id DESC LIMIT 1"
    assert post.rows(query, letter.enrollment) == [("cancelled", "replied")]


def test_an_answer_from_another_address_or_in_another_mailbox_is_one(post: Post) -> None:
    """A colleague or an alias answers, to a mailbox of ours that did not write: the reference is proof enough."""
    letter = post.sent[0]
    other = next(sent.mailbox_id for sent in post.sent if sent.mailbox_id != letter.mailbox_id)
    post.take(mail("colleague@elsewhere.test", "I take over.", In_Reply_To=letter.header_id), other)
    assert post.enrollment(letter) == ("stopped", "replied")


def test_an_answer_without_references_is_found_by_address_and_subject(post: Post) -> None:
    """Only in the mailbox that wrote, and only from the very address."""
    letter = post.sent[0]
    assert post.take(mail("x" + letter.contact, "Yes!"), letter.mailbox_id).message_id is None
    assert post.take(mail(letter.contact.upper(), "Yes"), letter.mailbox_id).message_id == letter.id
    assert post.mail()["matched_by"] == "subject"
    assert post.enrollment(letter) == ("stopped", "replied")


def test_a_contact_that_writes_outside_the_thread_waits_for_a_person(post: Post) -> None:
    """It may be an answer: nothing more is written until somebody looks."""
    letter = post.sent[0]
    taken = post.take(mail(letter.contact, "Please call me.", subject="My number"), letter.mailbox_id)
    assert (taken.kind, taken.message_id, taken.stopped.paused) == (MailKind.OTHER, letter.id, 1)
    assert post.mail()["question"].startswith("Is it an answer?")
    assert post.enrollment(letter) == ("active", "question")


@pytest.mark.parametrize(
    ("words", "kind"), [("Please remove me from your list.", MailKind.OPT_OUT), ("Call me, please.", MailKind.REPLY)]
)
def test_what_a_contact_writes_to_another_of_our_mailboxes_waits_for_a_person(
    words: str, kind: MailKind, post: Post
) -> None:
    """A no above all: nothing more is written by the mailbox that wrote before somebody has looked."""
    letter = post.sent[0]
    other = next(sent.mailbox_id for sent in post.sent if sent.mailbox_id != letter.mailbox_id)
    taken = post.take(mail(letter.contact, words), other)
    assert (taken.kind, taken.message_id, taken.stopped.paused) == (kind, letter.id, 1)
    kept = post.mail()
    assert (kept["matched_by"], bool(kept["question"]), kept["decided_at"]) == ("address", True, None)
    assert (post.enrollment(letter), post.banned(), post.events()) == (("active", "question"), [], [])


def test_the_latest_letters_of_the_mailbox_written_to_are_never_out_of_sight(post: Post) -> None:
    """Ten later ones from another mailbox leave the one that the mail answers to be found, by its subject."""
    letter = post.sent[0]
    other = next(sent.mailbox_id for sent in post.sent if sent.mailbox_id != letter.mailbox_id)
    post.connection.execute(
        "WITH step AS (INSERT INTO step (campaign_id, number, wait) SELECT m.campaign_id, n, '1 day'"
        " FROM message m, generate_series(10, 19) n WHERE m.id = %(id)s RETURNING id)"
        " INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id,"
        " subject, state, settled_at) SELECT m.enrollment_id, step.id, m.campaign_id, m.contact_id, %(other)s,"
        " m.variant_id, '<later' || step.id || '@a.test>', 'Later', 'accepted', clock_timestamp()"
        " FROM message m, step WHERE m.id = %(id)s",
        {"id": letter.id, "other": other},
    )
    post.take(mail(letter.contact, "Yes!"), letter.mailbox_id)
    assert (post.mail()["message_id"], post.mail()["matched_by"]) == (letter.id, "subject")


def test_a_no_under_our_subject_ends_the_letters_and_asks_before_the_ban(post: Post) -> None:
    """Address and subject can be guessed: nothing more is written, the others go on, and a person's word bans."""
    letter = post.sent[0]
    taken = post.take(mail(letter.contact, "Please remove me from your list."), letter.mailbox_id)
    assert (taken.kind, taken.message_id, taken.stopped.ended) == (MailKind.OPT_OUT, letter.id, 1)
    kept = post.mail()
    assert (kept["matched_by"], kept["question"]) == (
        "subject",
        "Is it the contact's no? It came from the contact's address, with no letter named.",
    )
    assert post.enrollment(letter) == ("stopped", "opt_out")
    assert post.state == {"mails": 1, "events": 0, "bans": 0, "holds": 0, "ended": 1, "paused": 0}


@pytest.mark.parametrize("words", [words for _, words in people.REFUSALS])
def test_a_no_in_plain_words_bans_the_address(words: str, post: Post) -> None:
    """In each of the five languages, from the contact itself."""
    letter = post.sent[0]
    taken = post.take(people.make_reply(letter.original, words, NOW), letter.mailbox_id)
    assert taken.kind is MailKind.OPT_OUT
    assert post.banned() == [(letter.contact, "reply")]
    assert post.enrollment(letter) == ("stopped", "suppressed")
    assert post.events() == [("opt_out", letter.id, False)]


def test_a_no_from_another_address_waits_for_a_person(post: Post) -> None:
    """Who knows the thread may speak for the contact or not: a pause, a question, no ban."""
    letter = post.sent[0]
    said = mail("boss@elsewhere.test", "Please remove me from your list.", In_Reply_To=letter.header_id)
    taken = post.take(said, letter.mailbox_id)
    assert (taken.kind, taken.stopped.paused, post.banned()) == (MailKind.OPT_OUT, 1, [])
    assert post.mail()["question"]
    assert post.one("SELECT paused_until FROM enrollment WHERE id = %s", letter.enrollment).year == 2200


def test_doubtful_words_of_refusal_wait_for_a_person(post: Post) -> None:
    """Neither an answer nor a ban before somebody has looked; nothing leaves meanwhile."""
    letter = post.sent[0]
    post.take(people.make_reply(letter.original, "No thanks, not interested right now.", NOW), letter.mailbox_id)
    kept = post.mail()
    assert (kept["kind"], bool(kept["question"]), post.banned()) == ("reply", True, [])
    assert post.enrollment(letter) == ("active", "question")
    assert post.events() == []


def test_a_mail_to_the_opt_out_address_bans_whom_its_token_names(post: Post) -> None:
    """Whoever sends it, to whichever mailbox: dated as it was said, if that was before now."""
    letter, said_at = post.sent[0], datetime.now(UTC) - timedelta(hours=3)
    raw = people.make_opt_out(letter.original, NOW).replace(letter.contact.encode(), b"phone@elsewhere.test")
    taken = post.take(raw, post.sent[1].mailbox_id, at=said_at)
    assert (taken.kind, taken.message_id) == (MailKind.OPT_OUT, letter.id)
    assert post.banned() == [(letter.contact, "mailto")]
    assert post.one("SELECT created_at FROM suppression") == said_at


def test_a_no_from_tomorrow_is_dated_now(post: Post) -> None:
    """A server's clock that is fast does not date a ban into the future."""
    letter = post.sent[0]
    post.take(people.make_opt_out(letter.original, NOW), letter.mailbox_id, at=datetime.now(UTC) + timedelta(days=1))
    assert post.one("SELECT created_at <= clock_timestamp() FROM suppression")


@pytest.mark.parametrize("keeps_contact", [True, False])
def test_a_no_outlives_its_letter(keeps_contact: bool, post: Post) -> None:
    """The letter is gone: the token's address is banned all the same, and what is written to it ends."""
    letter = post.sent[0]
    raw = people.make_opt_out(letter.original, NOW)
    post.connection.execute("DELETE FROM attempt WHERE message_id = %s", [letter.id])
    post.connection.execute("DELETE FROM message WHERE id = %s", [letter.id])
    if not keeps_contact:
        post.connection.execute("DELETE FROM enrollment WHERE id = %s", [letter.enrollment])
        post.connection.execute("DELETE FROM contact WHERE id = %s", [letter.contact_id])
    post.take(raw, letter.mailbox_id)
    assert post.banned() == [(letter.contact if keeps_contact else None, "mailto")]
    if keeps_contact:
        assert post.enrollment(letter) == ("stopped", "suppressed")


def test_a_hard_bounce_bans_the_address(post: Post) -> None:
    """With the evidence; the event says what was said."""
    letter = post.sent[0]
    taken = post.take(people.make_bounce(letter.original, NOW), letter.mailbox_id)
    assert taken.kind is MailKind.BOUNCE
    assert post.banned() == [(letter.contact, "bounce")]
    assert post.rows("SELECT kind, is_hard, reply_class, enhanced FROM event") == [
        ("bounce", True, "recipient_unknown", "5.1.1")
    ]
    assert post.one("SELECT evidence FROM suppression") == {
        "incoming": post.mail()["id"],
        "letter": letter.id,
        "matched_by": "returned",
    }


def test_a_bounce_in_words_alone_bans_too_when_it_returns_the_letter(post: Post) -> None:
    """Exim's text with our head in it."""
    letter = post.sent[0]
    post.take(people.make_odd_bounce(letter.original, NOW), letter.mailbox_id)
    assert post.banned() == [(letter.contact, "bounce")]


@pytest.mark.parametrize(("status", "said"), [("5.2.2", "552 5.2.2 mailbox full"), ("4.4.7", "451 4.4.7 delayed")])
def test_a_soft_or_delayed_bounce_is_a_fact_and_stops_nothing(status: str, said: str, post: Post) -> None:
    """The next step goes on."""
    letter = post.sent[0]
    raw = report(letter.contact, status=status, said=said, letter=[f"Message-ID: {letter.header_id}"])
    post.take(raw, letter.mailbox_id)
    assert post.events() == [("bounce", letter.id, False)]
    assert post.enrollment(letter)[0] == "active"
    assert post.banned() == []


def test_the_envelope_id_names_the_letter_when_nothing_is_returned(post: Post) -> None:
    """RFC 3461 §4.4: the Message-ID left of the @, in a report of the mailbox that wrote."""
    letter = post.sent[0]
    envid = letter.header_id.strip("<>").partition("@")[0]
    raw = report(letter.contact, status="5.1.1", said="550 5.1.1 User unknown", extra=f"Original-Envelope-Id: {envid}")
    post.take(raw, letter.mailbox_id)
    assert post.mail()["matched_by"] == "envelope"
    assert post.banned() == [(letter.contact, "bounce")]


EXCHANGE = """From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@{domain}>
To: {mailbox}
Subject: Undeliverable: hello
Message-ID: <ndr1@mx.test>
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Your message couldn't be delivered. You have exceeded the limit of messages you can send per day.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0PR01MB1234.eurprd01.prod.exchangelabs.com

Final-Recipient: rfc822;{contact}
Action: failed
Status: 5.1.90
Diagnostic-Code: smtp;550 5.1.90 Your message can't be sent because you've reached your daily limit for
 message recipients

--b
Content-Type: text/rfc822-headers

Message-ID: {header_id}
To: {contact}
--b--
"""


def test_a_notice_of_our_own_limit_holds_our_side_and_bans_nobody(post: Post) -> None:
    """Exchange's 5.1.90: the mailbox rests, with its family; the address is none the worse."""
    letter = post.sent[0]
    raw = EXCHANGE.format(
        domain=letter.mailbox.partition("@")[2],
        mailbox=letter.mailbox,
        contact=letter.contact,
        header_id=letter.header_id,
    )
    taken = post.take(raw.encode(), letter.mailbox_id)
    assert (taken.kind, taken.stopped.held) == (MailKind.BOUNCE, "mailbox")
    assert post.rows("SELECT scope_kind, scope_key, family, until IS NOT NULL FROM hold") == [
        ("mailbox", str(letter.mailbox_id), "rate_limit", True)
    ]
    assert (post.banned(), post.events()) == ([], [("bounce", letter.id, False)])


def test_one_mail_stops_no_account_for_longer_than_a_day(post: Post) -> None:
    """5.7.705 bans the whole tenant, until a person lifts it if a server says so; a mail may be forged."""
    letter = post.sent[0]
    raw = EXCHANGE.format(
        domain="outlook.com", mailbox=letter.mailbox, contact=letter.contact, header_id=letter.header_id
    )
    said = "550 5.7.705 Access denied, tenant has exceeded threshold"
    told = "Your message can't be sent because you've reached your daily limit for\n message recipients"
    post.take(raw.replace("5.1.90", "5.7.705").replace(f"550 5.7.705 {told}", said).encode(), letter.mailbox_id)
    assert post.rows("SELECT scope_kind, until - since < interval '25 hours' FROM hold") == [("account", True)]


def test_a_notice_without_a_letter_of_ours_holds_nothing(post: Post) -> None:
    """Anybody can write that our account is banned."""
    letter = post.sent[0]
    raw = EXCHANGE.format(domain="a.test", mailbox=letter.mailbox, contact=letter.contact, header_id="<none@a.test>")
    post.take(raw.encode(), letter.mailbox_id)
    assert (post.state["holds"], post.state["bans"], post.state["mails"]) == (0, 0, 1)


def test_a_complaint_bans_the_address(post: Post) -> None:
    """RFC 5965 with our letter in it; a feedback loop may report to another of our mailboxes."""
    letter = post.sent[0]
    other = next(sent.mailbox_id for sent in post.sent if sent.mailbox_id != letter.mailbox_id)
    post.take(people.make_complaint(letter.original, NOW), other)
    assert post.banned() == [(letter.contact, "complaint")]
    assert post.events() == [("complaint", letter.id, False)]


@pytest.mark.parametrize(("feedback", "event", "banned"), [("opt-out", "opt_out", 1), ("auth-failure", None, 0)])
def test_what_is_no_abuse_counts_as_no_complaint(feedback: str, event: str | None, banned: int, post: Post) -> None:
    """A wish to be left alone is an opt_out; a machine's remark on authentication is nothing."""
    letter = post.sent[0]
    raw = people.make_complaint(letter.original, NOW).replace(
        b"Feedback-Type: abuse", f"Feedback-Type: {feedback}".encode()
    )
    post.take(raw, letter.mailbox_id)
    assert [kind for kind, *_ in post.events()] == ([event] if event else [])
    assert len(post.banned()) == banned


def test_an_absence_pauses_until_the_day_it_names(post: Post) -> None:
    """To the end of the last day, where the contact lives; a shorter one later changes nothing."""
    letter = post.sent[0]
    post.connection.execute("UPDATE contact SET time_zone = 'Asia/Tokyo' WHERE id = %s", [letter.contact_id])
    day = datetime.now(UTC).date() + timedelta(days=12)
    text = "I am out of the office until {}.\n"
    for number, until in enumerate((day, day - timedelta(days=5))):
        raw = mail(
            letter.contact,
            text.format(f"{until:%d %B %Y}"),
            subject=f"Automatic reply: {SUBJECT}",
            In_Reply_To=letter.header_id,
            Auto_Submitted="auto-replied",
        )
        taken = post.take(raw, letter.mailbox_id)
        assert (taken.kind, taken.stopped.paused) == (MailKind.AUTO_REPLY, 1 - number)
    ends = post.one("SELECT paused_until FROM enrollment WHERE id = %s", letter.enrollment)
    assert ends == datetime(day.year, day.month, day.day, 15, tzinfo=UTC)
    assert post.enrollment(letter) == ("active", "away")


def test_an_absence_without_a_day_pauses_a_week(post: Post) -> None:
    """From the day it came."""
    letter, at = post.sent[0], datetime.now(UTC)
    raw = mail(letter.contact, "I am out of the office.", subject="Out of office", Auto_Submitted="auto-replied")
    post.take(raw, letter.mailbox_id, at=at)
    assert post.one("SELECT paused_until FROM enrollment WHERE id = %s", letter.enrollment) == at + timedelta(days=7)


def test_who_has_left_the_company_is_written_to_no_more(post: Post) -> None:
    """It is no answer, and ends all the same, with its own reason."""
    letter = post.sent[0]
    raw = mail(
        letter.contact,
        "Jo Doe no longer works here.",
        subject="Automatic reply",
        In_Reply_To=letter.header_id,
        Auto_Submitted="auto-replied",
    )
    post.take(raw, letter.mailbox_id)
    assert post.enrollment(letter) == ("stopped", "left")


def test_a_receipt_changes_nothing(post: Post) -> None:
    """A ticket was opened: a fact, no pause."""
    letter = post.sent[0]
    raw = mail(
        letter.contact,
        "Thank you for contacting us. We have received your request and a ticket has been opened.",
        subject=f"[Ticket 17] {SUBJECT}",
        In_Reply_To=letter.header_id,
        Auto_Submitted="auto-replied",
    )
    assert not post.take(raw, letter.mailbox_id).stopped
    assert post.events() == [("auto_reply", letter.id, False)]


@pytest.mark.parametrize("reply_stops", ["contact", "company"])
def test_an_answer_may_speak_for_the_whole_company(reply_stops: str, make_post: Callable[..., Post]) -> None:
    """By name, whatever its legal form, or by domain; in that campaign only, never by a public provider's domain."""
    post = make_post(contacts=6)
    employers = [
        ("Acme GmbH", "acme.example"),
        ("ACME", "elsewhere.example"),
        ("", "acme.example"),
        ("Other Ltd", "gmail.com"),
        ("Acme Labs", "labs.example"),
        ("Other Inc", "gmail.com"),
    ]
    for letter, (company, domain) in zip(post.sent, employers, strict=True):
        post.connection.execute(
            "UPDATE contact SET company = %s, domain = %s WHERE id = %s", [company, domain, letter.contact_id]
        )
    post.connection.execute("UPDATE campaign SET reply_stops = %s", [reply_stops])
    post.take(people.make_reply(post.sent[0].original, "Yes.", NOW), post.sent[0].mailbox_id)
    ended = {number for number, letter in enumerate(post.sent) if post.enrollment(letter)[0] == "stopped"}
    assert ended == ({0, 1, 2} if reply_stops == "company" else {0})
    post.take(people.make_reply(post.sent[3].original, "Yes.", NOW), post.sent[3].mailbox_id)
    assert post.enrollment(post.sent[5])[0] == ("stopped" if reply_stops == "company" else "active")
    assert post.enrollment(post.sent[4])[0] == "active"


def test_own_letters_and_copies_mean_nothing(post: Post) -> None:
    """A copy of a letter, a follow-up that answers itself, mail between our mailboxes: other, no fact, nobody asked."""
    letter, other = post.sent[0], next(sent for sent in post.sent if sent.mailbox != post.sent[0].mailbox)
    follow_up = mail(letter.mailbox, "Did my letter reach you? Please remove me.", In_Reply_To=letter.header_id)
    for raw in (letter.original.content, follow_up, mail(other.mailbox, "unsubscribe me", subject="Re: lunch")):
        taken = post.take(raw, letter.mailbox_id)
        assert (taken.kind, taken.message_id) == (MailKind.OTHER, None)
    assert post.state == {"mails": 3, "events": 0, "bans": 0, "holds": 0, "ended": 0, "paused": 0}
    assert post.one("SELECT count(*) FROM incoming WHERE decided_at IS NULL") == 0


def test_what_belongs_to_no_letter_waits_with_a_clock_and_what_is_not_about_us_does_not(post: Post) -> None:
    """An answer, a report and a no that match nothing are listed; newsletters, and answers among the spam, are not."""
    box = post.sent[0].mailbox_id
    listed = [
        mail("stranger@x.test", "Yes please."),
        report("stranger@x.test", status="5.1.1", said="550 5.1.1 User unknown"),
        mail("stranger@x.test", "", subject="unsubscribe"),
    ]
    for raw in listed:
        assert post.take(raw, box).message_id is None
    post.take(mail("news@x.test", "Offers!", subject="News", List_Id="<n.x.test>"), box)
    post.take(mail("pills@x.test", "Buy!", subject="Re: your order"), box, folder=Folder.JUNK)
    waiting = post.one("SELECT count(*) FROM incoming WHERE decided_at IS NULL AND message_id IS NULL")
    assert (waiting, post.state["mails"]) == (3, 5)
    assert post.one("SELECT count(*) FROM incoming WHERE text <> '' AND kind = 'other'") == 0


@pytest.mark.parametrize("state", ["ambiguous", "resolved"])
def test_what_comes_back_proves_that_a_letter_left(state: str, make_post: Callable[..., Post]) -> None:
    """An ambiguous letter, or one that a person called not sent, is accepted by a report that names it; it never leaves
    again, and the next step follows."""
    post = make_post(state="ambiguous")
    letter = post.sent[0]
    if state == "resolved":
        post.connection.execute("UPDATE attempt SET outcome = 'deferred', stage = 'resolved'")
        post.connection.execute("UPDATE message SET state = 'queued', due_at = NULL")
    raw = report(
        letter.contact,
        status="5.2.2",
        said="552 5.2.2 mailbox full",
        letter=[f"Message-ID: {letter.header_id}"],
    )
    post.take(raw, letter.mailbox_id)
    assert post.rows("SELECT state, reason_code FROM message WHERE id = %s", letter.id) == [("accepted", "proven")]
    assert post.one("SELECT outcome FROM attempt WHERE message_id = %s", letter.id) == "accepted"
    assert post.rows("SELECT state, next_step FROM enrollment WHERE id = %s", letter.enrollment) == [("active", 2)]


def test_an_ambiguous_letter_that_is_answered_left_and_ends(make_post: Callable[..., Post]) -> None:
    """Proof first, then the stop: accepted, and nothing follows."""
    post = make_post(state="ambiguous")
    letter = post.sent[0]
    post.take(people.make_reply(letter.original, "Yes.", NOW), letter.mailbox_id)
    assert post.one("SELECT state FROM message WHERE id = %s", letter.id) == "accepted"
    assert post.enrollment(letter) == ("stopped", "replied")
