"""Delivery reports: the part for machines, then words; what is doubtful is not hard, what is ours is not theirs."""

import json
import tomllib
from importlib.resources import files

import pytest
from written_reports import NO_REPORTS, WRITTEN, Written

from mailfleet.mail.bounces import Named, Report, Severity, find_report
from mailfleet.mail.bounces.delivery_status import findings_of, read_status
from mailfleet.mail.bounces.notice_words import meaning, says
from mailfleet.mail.incoming import read_incoming
from mailfleet.mail.replies import Action, ReplyClass, Scope

NOTICES: dict[str, list[dict[str, str]]] = tomllib.loads(
    files("mailfleet.mail.bounces").joinpath("notices.toml").read_text(encoding="utf-8")
)


def dsn(*blocks: str, returned: str = "", to: str = "me@a.example") -> bytes:
    """A report with a part for machines of these blocks."""
    text = "\n\n".join(("Reporting-MTA: dns; mx.c.example\nOriginal-Envelope-Id: e77", *blocks))
    attached = f"--b\nContent-Type: message/rfc822\n\n{returned}\n" if returned else ""
    return (
        f"From: MAILER-DAEMON@c.example\nTo: {to}\nSubject: Undelivered\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        f"--b\n\nSorry.\n--b\nContent-Type: message/delivery-status\n\n{text}\n{attached}--b--\n"
    ).encode()


def block(diagnostic: str, *, status: str = "5.0.0", action: str = "failed", address: str = "one@b.example") -> str:
    """The block of one recipient."""
    return (
        f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\nRemote-MTA: dns; mx.b.example\n"
        f"Diagnostic-Code: smtp; {diagnostic}"
    )


def read(raw: bytes) -> Report:
    """The report in a mail that is one."""
    report = find_report(read_incoming(raw))
    assert report is not None
    return report


def severity_of(diagnostic: str, *, status: str = "5.0.0", action: str = "failed") -> str:
    return read(dsn(block(diagnostic, status=status, action=action))).recipients[0].severity.value


@pytest.mark.parametrize("rule", NOTICES["phrases"], ids=lambda rule: f"{rule['use']}, {rule['writer']}")
def test_each_phrase_is_found_in_its_example(rule: dict[str, str]) -> None:
    """The line that stands beside the phrases shows what they show."""
    assert says(rule["use"], rule["example"])


@pytest.mark.parametrize("rule", NOTICES["meanings"], ids=lambda rule: rule["means"])
def test_each_wording_means_what_its_example_means(rule: dict[str, str]) -> None:
    """The example is translated into the reply that stands beside it."""
    assert meaning(rule["example"]) == rule["means"]


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written.name)
def test_reports_of_further_servers_are_read(written: Written) -> None:
    """Who failed, how, and what has to be mended, in the words of servers the corpus does not have."""
    report = read(written.raw)
    assert {one.address: one.severity.value for one in report.recipients} == written.recipients
    scopes = [one.verdict.scope.value for one in report.recipients]
    scopes += [report.about_us.scope.value] if report.about_us else []
    assert not written.scope or scopes[0] == written.scope
    assert report.is_bounce


@pytest.mark.parametrize("written", NO_REPORTS, ids=lambda written: written.name)
def test_who_is_no_mail_system_writes_no_report(written: Written) -> None:
    """People who answer, quote or forward reports, parcels, newsletters and receipts; a report of delivery is one."""
    report = find_report(read_incoming(written.raw))
    assert (report is not None) == bool(written.recipients)
    assert report is None or not report.is_bounce


def test_a_report_names_our_letter_in_every_way_it_can() -> None:
    """The id and fields of the returned letter, the envelope id, the token in the address it came to."""
    returned = "Message-ID: <m1@a.example>\nTo: one@b.example\nX-Campaign: 7\n\nhello"
    report = read(dsn(block("550 5.1.1 User unknown"), returned=returned, to="me+tok3n@a.example"))
    assert report.message_ids == ("<m1@a.example>",)
    assert report.envelope_ids == ("e77",)
    assert report.delivered_to == ("me+tok3n@a.example",)
    assert report.returned and report.returned.get("X-Campaign") == "7"


def test_without_a_returned_letter_what_it_answers_is_ours() -> None:
    """Exchange and Google name our letter in In-Reply-To, others in the text."""
    raw = dsn(block("550 5.1.1 User unknown")).replace(b"Subject:", b"In-Reply-To: <m1@a.example>\nSubject:", 1)
    assert read(raw).message_ids == ("<m1@a.example>",)
    quoted = dsn(block("550 5.1.1 User unknown")).replace(b"Sorry.", b"Sorry.\n  Message-id: <m2@a.example>\n")
    assert read(quoted).message_ids == ("<m2@a.example>",)


def test_a_forwarded_recipient_has_two_addresses_the_original_first() -> None:
    """We wrote to the original one; both are told apart."""
    report = read(dsn("Original-Recipient: rfc822;one@b.example\n" + block("550 No such user", address="f@g.example")))
    named = [(one.address, one.named) for one in report.recipients]
    assert named == [("one@b.example", Named.ORIGINAL), ("f@g.example", Named.FINAL)]


def test_many_recipients_keep_their_own_words() -> None:
    """Each block is judged alone, also where the writer forgot the blank line between them."""
    blocks = [
        block("550 5.1.1 User unknown", address="one@b.example"),
        block("552 5.2.2 Mailbox full", address="two@b.example"),
        block("421 4.4.2 timed out", address="three@b.example", action="delayed", status="4.4.2"),
    ]
    for raw in (dsn(*blocks), dsn("\n".join(blocks))):
        found = {one.address: one.severity for one in read(raw).recipients}
        assert list(found.values()) == [Severity.HARD, Severity.SOFT, Severity.DELAYED]


@pytest.mark.parametrize(
    ("diagnostic", "severity"),
    [
        ("550 5.1.1 User unknown", "hard"),
        ("550 no such user here", "hard"),
        ("550 5.4.4 Invalid domain", "hard"),
        ("550 5.2.1 User unknown", "hard"),
        ("450 4.1.1 User unknown", "soft"),
        ("550 5.1.8 Sender domain does not exist", "soft"),
        ("550 5.2.0 User unknown", "soft"),
        ("550 5.7.1 User unknown", "soft"),
        ("550 : User unknown", "soft"),
        ("550 Unknown user (in reply to end of DATA command)", "soft"),
        ("550 No such user (in reply to MAIL FROM command)", "soft"),
        ("552 5.2.2 Mailbox full", "soft"),
        ("550 5.2.1 This account is disabled", "soft"),
        ("554 5.7.1 Message rejected as spam", "soft"),
    ],
)
def test_hard_is_only_what_is_certain(diagnostic: str, severity: str) -> None:
    """A dead address needs words that say so and nothing that contradicts them: neither a temporary code, nor a
    status of a mailbox that is there or of a policy, nor a refusal of the sender or of the content."""
    assert severity_of(diagnostic) == severity


def test_doubt_never_suppresses() -> None:
    """Where an unknown address is doubtful, the letter is over and the address stays."""
    one = read(dsn(block("550 5.7.1 User unknown"))).recipients[0]
    assert (one.verdict.reply_class, one.verdict.action) == (ReplyClass.RECIPIENT_UNKNOWN, Action.REJECT)
    assert read(dsn(block("550 5.1.1 User unknown"))).recipients[0].verdict.action is Action.SUPPRESS


@pytest.mark.parametrize("words", ["User unknown", "Invalid final delivery userid"])
def test_words_do_not_close_what_a_temporary_reply_leaves_open(words: str) -> None:
    """A notice that explains a 4yz as an unknown user stays soft, whatever stands around the reply."""
    raw = dsn(block("451 temporary failure")).replace(b"Sorry.", f"<one@b.example>: {words}\n\nSorry.".encode())
    one = read(raw).recipients[0]
    assert (one.severity, one.verdict.permanent) == (Severity.SOFT, False)


@pytest.mark.parametrize(
    "said",
    [
        "SMTP error from remote mail server after MAIL FROM:<me@a.example> SIZE=1543:\n"
        "    host mx.b.example [192.0.2.7]: 550 Please use the server of your ISP",
        "Unable to contact the server. (#4.4.3)\nI'm not going to try again; this\nmessage has been in the queue "
        "too long.",
    ],
)
def test_a_command_and_a_farewell_are_no_reply(said: str) -> None:
    """Exim quotes MAIL FROM with its SIZE, qmail calls the time in its queue too long: no letter was too big."""
    head = "From: Mailer-Daemon@c.example\nTo: me@a.example\nSubject: Mail delivery failed\n\n<one@b.example>:\n    "
    assert read(f"{head}{said}\n".encode()).recipients[0].verdict.reply_class is not ReplyClass.MESSAGE_TOO_BIG


def test_an_alias_and_its_recipient_share_what_was_said() -> None:
    """The address we wrote to stands in brackets below the one it was forwarded to; both failed for the same reason."""
    raw = (
        "From: Mailer-Daemon@c.example\nTo: me@a.example\nSubject: Mail delivery failed\n\n  two@b.example\n"
        "    (generated from one@a.example)\n    SMTP error from remote mail server after RCPT TO:<two@b.example>:\n"
        "    host mx.b.example [192.0.2.7]: 550 5.1.1 User unknown\n\n"
        "From: me@a.example\nTo: one@a.example\nSubject: x\n"
    )
    assert [(one.address, one.is_hard) for one in read(raw.encode()).recipients] == [
        ("two@b.example", True),
        ("one@a.example", True),
    ]


def test_a_programs_exit_is_no_acceptance() -> None:
    """A local program's 255 is no reply of the 2yz kind."""
    raw = dsn("Final-Recipient: rfc822; one@b.example\nAction: failed\nStatus: 5.3.0\nDiagnostic-Code: x-unix; 255")
    assert read(raw).recipients[0].verdict.reply_class is not ReplyClass.ACCEPTED


def test_a_notice_with_recipients_without_number_is_cut() -> None:
    """Our letters have one recipient: of a thousand names in words the first twenty are read."""
    names = "\n".join(f"<u{at}@b.example>: 550 5.1.1 User unknown" for at in range(300))
    report = read(f"From: MAILER-DAEMON@c.example\nSubject: failure notice\n\n{names}\n".encode())
    assert [one.address for one in report.recipients] == [f"u{at}@b.example" for at in range(20)]


@pytest.mark.parametrize(
    ("action", "status", "severity"),
    [
        ("delayed", "4.4.1", "delayed"),
        ("Failed", "5.1.1", "hard"),
        ("relayed", "2.0.0", "delivered"),
        ("expanded", "2.1.5", "delivered"),
        ("failed (oops)", "5.1.1", "hard"),
        ("", "4.4.1", "delayed"),
        ("", "5.1.1", "hard"),
    ],
)
def test_the_action_decides_and_the_status_where_it_is_missing(action: str, status: str, severity: str) -> None:
    """RFC 3464 §2.3.3, with what writers make of it."""
    assert severity_of("User unknown", status=status, action=action) == severity


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ("Final-Recipient : rfc/822;one@b.example", "one@b.example"),
        ("Final-Recipient: <one@b.example>", "one@b.example"),
        ("final-recipient: RFC822;\n one@b.example", "one@b.example"),
        ("Final-Recipient: utf-8;\\x{436}@b.example", "ж@b.example"),
        ('Final-Recipient: rfc822;"o.ne"@b.example', '"o.ne"@b.example'),
        ("Final-Recipient: rfc822;one@mailhub0", "one@mailhub0"),
    ],
)
def test_addresses_are_read_as_they_are_written(fields: str, address: str) -> None:
    """Types, brackets, folding and blanks differ; RFC 6533 escapes characters."""
    found = findings_of(read_status(f"Reporting-MTA: dns; c.example\n\n{fields}\nAction: failed\nStatus: 5.1.1"))
    assert [one.address for one in found] == [address]


def test_a_report_without_mime_is_read_by_its_fields() -> None:
    """The same fields standing in the text of a mail system's mail."""
    raw = (
        "From: MAILER-DAEMON@c.example\nTo: me@a.example\nSubject: Delayed Mail (still being retried)\n\n"
        "Your message could not be delivered for 2 hours.\n\nReporting-MTA: dns; c.example\n\n"
        "Final-Recipient: rfc822; one@b.example\nAction: delayed\nStatus: 4.4.1\n"
    )
    assert [(one.address, one.severity.value) for one in read(raw.encode()).recipients] == [
        ("one@b.example", "delayed")
    ]


def test_what_the_part_for_machines_leaves_unsaid_is_taken_from_the_words() -> None:
    """A report whose diagnostic is empty is judged by its notice."""
    raw = dsn("Final-Recipient: rfc822; one@b.example\nAction: failed\nStatus: 5.0.0").replace(
        b"Sorry.", b"<one@b.example>: host mx.b.example said: 550 5.1.1 User unknown"
    )
    assert read(raw).recipients[0].is_hard


def test_only_our_own_provider_speaks_about_us() -> None:
    """The same words are a limit of ours when nobody else is quoted, and the recipient's when a server is."""
    words = "550 5.7.705 Access denied, tenant has exceeded threshold"
    other = read(dsn(block(words)))
    assert other.about_us is None
    ours = read(dsn(block(words)).replace(b"dns; mx.c.example", b"dns; x.prod.outlook.com"))
    assert ours.about_us and ours.about_us.scope is Scope.ACCOUNT
    full = "From: MAILER-DAEMON@b.example\nTo: me@a.example\nSubject: failure notice\n\n<one@b.example>:\n{}\n"
    theirs = read(full.format("Quota exceeded, limit of 100 messages per day").encode())
    assert theirs.about_us is None


def test_a_notice_about_us_says_nothing_against_the_address() -> None:
    """A limit of ours is never hard and never suppresses, whatever its code."""
    for written in WRITTEN:
        report = read(written.raw)
        if report.about_us:
            assert report.about_us.scope in (Scope.MAILBOX, Scope.DOMAIN, Scope.ACCOUNT)
            assert report.about_us.action in (Action.HOLD, Action.STOP)
            assert not any(one.is_hard or one.verdict.permanent for one in report.recipients)


def ses(kind: str, name: str, event: dict[str, object]) -> bytes:
    """An SNS mail."""
    mail = {"commonHeaders": {"messageId": "<m1@a.example>"}, "messageId": "0101"}
    inner = json.dumps({"notificationType": kind, name: event, "mail": mail})
    return f"From: no-reply@sns.amazonaws.com\nSubject: AWS\n\n{json.dumps({'Message': inner})}\n\n--\nfooter".encode()


def test_amazon_ses_is_read_from_json() -> None:
    """A bounce, a delay and a delivery; the letter is named by its own id first."""
    bounced = {"emailAddress": "one@b.example", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
    report = read(ses("Bounce", "bounce", {"bouncedRecipients": [bounced]}))
    assert report.recipients[0].is_hard
    assert report.message_ids == ("<m1@a.example>", "0101")
    delivery = read(ses("Delivery", "delivery", {"recipients": ["one@b.example"], "smtpResponse": "250 ok"}))
    assert (delivery.recipients[0].severity, delivery.is_bounce) == (Severity.DELIVERED, False)
    delayed = read(ses("DeliveryDelay", "deliveryDelay", {"delayedRecipients": [{"emailAddress": "one@b.example"}]}))
    assert delayed.recipients[0].severity is Severity.DELAYED


@pytest.mark.parametrize("event", [{}, {"bouncedRecipients": 7}, {"bouncedRecipients": [None, 7, {"emailAddress": 1}]}])
def test_broken_json_names_nobody(event: dict[str, object]) -> None:
    """Fields of other types than promised are borne."""
    assert read(ses("Bounce", "bounce", event)).recipients == ()


def test_a_report_inside_a_gateways_frame_is_found() -> None:
    """A gateway that says nothing itself and attaches the report: the inner one counts, for our address."""
    inner = dsn(block("550 5.1.1 User unknown"), to="inner@a.example").decode()
    outer = (
        "From: MAILER-DAEMON@g.example\nTo: me@a.example\nSubject: Returned mail: User unknown\n"
        "Content-Type: multipart/mixed; boundary=z\n\n--z\n\n--- The following addresses had permanent errors ---\n"
        f"--z\nContent-Type: message/rfc822\n\n{inner}\n--z--\n"
    )
    report = read(outer.encode())
    assert [one.address for one in report.recipients] == ["one@b.example"]
    assert report.delivered_to == ("me@a.example",)
