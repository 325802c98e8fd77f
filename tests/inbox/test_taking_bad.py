"""Bad mail and forged mail: the mail is in the table, nobody is banned by it, nothing is held, nothing crashes."""

import json
import resource
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inbox.post import SUBJECT, Post, mail, report
from mailfleet.mail.opt_out import make_token
from mailfleet.mail.parts import MAX_BYTES
from mailfleet.model.words import MailKind
from mailfleet.providers.sandbox import persona_letters as people

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HARD = {"status": "5.1.1", "said": "550 5.1.1 User unknown"}


def assert_harmless(post: Post, *, mails: int = 1, paused: int = 0) -> None:
    assert post.state == {"mails": mails, "events": 0, "bans": 0, "holds": 0, "ended": 0, "paused": paused}


def forgeries(post: Post) -> dict[str, bytes]:
    """Mails that want the first contact's address banned, by somebody who has had the second contact's letter."""
    victim, mine = post.sent[0], post.sent[1]
    head = [f"Message-ID: {mine.header_id}"]
    token = make_token(b"x" * 32, victim.id, b"d" * 16)
    other = victim.token[:-1] + ("B" if victim.token.endswith("A") else "A")
    complaint = people.make_complaint(victim.original, NOW).replace(victim.header_id.encode(), b"<guess@a.test>")
    return {
        "bounce that names no letter": report(victim.contact, **HARD),
        "bounce with a guessed id": report(victim.contact, **HARD, letter=["Message-ID: <guess@a.test>"]),
        "bounce with a guessed envelope": report(victim.contact, **HARD, extra="Original-Envelope-Id: 12345"),
        "bounce about another's letter": report(victim.contact, **HARD, letter=head),
        "bounce with the subject alone": report(victim.contact, **HARD, letter=[f"Subject: {SUBJECT}"]),
        "complaint without our letter": complaint,
        "token of another key": mail(victim.contact, "", subject=f"unsubscribe {token}"),
        "token of one bit else": mail(victim.contact, "", subject=f"unsubscribe {other}"),
        "no token": mail(victim.contact, "", subject="unsubscribe"),
        "a no from elsewhere": mail("x@else.test", "Unsubscribe me.", In_Reply_To=victim.header_id),
        "a no outside the thread": mail(victim.contact, "Unsubscribe me, please remove me.", subject="Hello"),
        "a no under our subject": mail(victim.contact, "Unsubscribe me, please remove me."),
        "our id on a stranger's mail": mail(victim.contact, "Remove me.", Message_ID=victim.header_id),
    }


NAMES = [
    "bounce that names no letter",
    "bounce with a guessed id",
    "bounce with a guessed envelope",
    "bounce about another's letter",
    "bounce with the subject alone",
    "complaint without our letter",
    "token of another key",
    "token of one bit else",
    "no token",
    "a no from elsewhere",
    "a no outside the thread",
    "a no under our subject",
    "our id on a stranger's mail",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_forgery_bans_nobody(name: str, post: Post) -> None:
    """Nor does it count as a fact; it is kept, and at the most its contact waits for a person; whoever says no in
    plain words under our subject is written to no more."""
    raw = forgeries(post)[name]
    if name == "bounce about another's letter":
        post.connection.execute("UPDATE message SET mailbox_id = %s", [post.sent[0].mailbox_id])
    post.take(raw, post.sent[0].mailbox_id)
    state = post.state
    events = 1 if name == "bounce with the subject alone" else 0  # soft: a fact without weight
    ended = 1 if name == "a no under our subject" else 0
    assert (state["mails"], state["bans"], state["holds"], state["ended"], state["events"]) == (1, 0, 0, ended, events)
    assert post.one("SELECT count(*) FROM event WHERE is_hard") == 0
    assert state["paused"] <= 1


def test_every_forgery_is_tried() -> None:
    """The list above names them all."""
    assert len(set(NAMES)) == len(NAMES) == 13


def test_a_stranger_with_our_message_id_as_its_own_is_nothing(post: Post) -> None:
    """Whatever it says and however it is addressed."""
    letter = post.sent[0]
    taken = post.take(mail(letter.contact, "Yes!", Message_ID=letter.header_id), letter.mailbox_id)
    assert (taken.kind, taken.message_id) == (MailKind.OTHER, None)
    assert_harmless(post)


def test_a_bounce_counts_only_in_the_mailbox_that_wrote(post: Post) -> None:
    """Reports come to the envelope's sender, and to nobody else."""
    letter = post.sent[0]
    other = next(sent.mailbox_id for sent in post.sent if sent.mailbox_id != letter.mailbox_id)
    post.take(people.make_bounce(letter.original, NOW), other)
    assert_harmless(post)


def test_a_report_of_another_address_waits_for_a_person(post: Post) -> None:
    """Our letter was forwarded, and its end is dead: a question, for the contact's address may be good."""
    letter = post.sent[0]
    raw = report("forwarded@else.test", **HARD, letter=[f"Message-ID: {letter.header_id}"])
    post.take(raw, letter.mailbox_id)
    assert_harmless(post, paused=1)
    assert post.mail()["question"]


BOMB = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
BAD = {
    "a NUL inside the sender": b"From: =?utf-8?q?=22a=00b=22=40else=2Etest?=\r\nSubject: Hello\r\n\r\nText\r\n",
    "half a sign inside the sender": b"From: =?utf-7?q?=22a+2AA-b=22=40else=2Etest?=\r\nSubject: Hello\r\n\r\nText\r\n",
    "empty": b"",
    "no head": b"\r\n\r\nbody",
    "noise": bytes(range(256)) * 200,
    "nul": mail("a\0b@x.test", "text\0text", subject="Re: a\0b", X_Nul="\0"),
    "broken charset": mail(
        "x@x.test", "", subject="=?utf-99?B?////?= =?utf-8?Q?=FF=FE?=", Content_Type="text/plain; charset=klingon"
    )
    + b"\xff\xfe\x00\xd8",
    "half a character": mail("x@x.test", "", subject="=?utf-16?B?2AA=?=", Content_Type='text/plain; charset="utf-16"')
    + b"\x00\xd8\x00\xd8",
    "head without end": b"From: x@x.test\r\n" + b"X-Filler: y\r\n" * 200_000,
    "a field without end": b"Subject: Re: " + b"x" * 3_000_000,
    "mime bomb": b"From: x@x.test\r\n" + b"".join(BOMB % (n, n) for n in range(3000)),
    "many parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000,
    "html bomb": b"Content-Type: text/html\r\n\r\n" + b"<div>" * 100_000,
    "references without end": mail("x@x.test", References="<a@b> " * 100_000),
    "recipients without end": mail("x@x.test", to=", ".join(f"a{n}@x.test" for n in range(50_000))),
    "dates of other ages": mail("x@x.test", "Back on 31.02.9999", subject="Out of office", Date="Mon, 99 Foo 99999"),
    "json": json.dumps(
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [{"emailAddress": "\0@x"}]}}
    ).encode(),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_mail_is_kept_and_harms_nobody(name: str, post: Post) -> None:
    """Whatever its bytes: it is in the table, once, and stops nothing."""
    box = post.sent[0].mailbox_id
    assert post.take(BAD[name], box).is_new
    assert not post.take(BAD[name], box).is_new
    assert_harmless(post)


def test_a_mail_of_50_mb_costs_no_more_than_what_is_read_of_it(post: Post) -> None:
    """The watcher gives a bounded part; even all of it is walked within bounds, and answers as it should."""
    letter = post.sent[0]
    raw = people.make_reply(letter.original, "Yes.", NOW) + b"A" * 50_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    post.take(raw, letter.mailbox_id)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
    assert post.enrollment(letter) == ("stopped", "replied")


@pytest.mark.parametrize("at", [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("number", [0, 1])
def test_a_server_s_wrong_year_keeps_no_mail_from_being_read(at: datetime, number: int, post: Post) -> None:
    """INTERNALDATE is whatever a mail was moved with: later than now it is now, and never too early for a date."""
    letter = post.sent[0]
    assert (
        post.take(people.make_auto_reply(letter.original, number, NOW), letter.mailbox_id, at=at).kind == "auto_reply"
    )
    assert "fault" not in post.mail()["details"]
    assert post.take(people.make_reply(letter.original, "Yes.", NOW), letter.mailbox_id, at=at).stopped.ended == 1


class Lying(bytes):
    """A mail that our code fails at: its parts cannot be read."""

    def __getitem__(self, place: slice) -> bytes:  # type: ignore[override]
        if place.stop == MAX_BYTES:
            raise RuntimeError("read me not")
        return super().__getitem__(place)


def test_a_mail_that_our_code_fails_at_is_kept_and_shown(post: Post) -> None:
    """As other, with the reason, in the list of what belongs to no letter: a person looks, the next mail is read."""
    letter = post.sent[0]
    taken = post.take(Lying(people.make_reply(letter.original, "Yes.", NOW)), letter.mailbox_id)
    assert (taken.kind, taken.message_id) == (MailKind.OTHER, None)
    kept = post.mail()
    assert (kept["details"], kept["decided_at"]) == ({"fault": "RuntimeError"}, None)
    assert_harmless(post)


def test_what_a_provider_says_with_a_nul_is_stored_without_it(post: Post) -> None:
    """PostgreSQL's text holds none: a hold is placed all the same."""
    letter = post.sent[0]
    said = "550 5.1.90 Your message can't be sent because you've reached your daily limit\0 for message recipients"
    raw = report(letter.contact, status="5.1.90", said=said, letter=[f"Message-ID: {letter.header_id}"])
    post.take(raw.replace(b"MAILER-DAEMON@mx.", b"MicrosoftExchange@outlook."), letter.mailbox_id)
    assert post.one("SELECT count(*) FROM hold WHERE reason LIKE '%%daily limit%%'") == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.binary(max_size=300),
    kind=st.sampled_from(["reply", "bounce", "complaint", "opt_out"]),
    data=st.data(),
)
def test_no_noise_in_a_true_mail_breaks_taking(noise: bytes, kind: str, data: st.DataObject, post: Post) -> None:
    """Bytes thrown into mails of each kind, anywhere: each is taken once, and only its own contact can be banned."""
    letter = post.sent[0]
    whole = {
        "reply": people.make_reply(letter.original, "Yes.", NOW),
        "bounce": people.make_bounce(letter.original, NOW),
        "complaint": people.make_complaint(letter.original, NOW),
        "opt_out": people.make_opt_out(letter.original, NOW),
    }[kind]
    place = data.draw(st.integers(0, len(whole)))
    raw = whole[:place] + noise + whole[place:]
    post.take(raw, letter.mailbox_id)
    assert not post.take(raw, letter.mailbox_id).is_new
    assert {address for address, _ in post.banned()} <= {letter.contact}
