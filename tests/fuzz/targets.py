"""What is fuzzed: each target takes any bytes, and what it lets through is a fault of ours.

A target asks for everything a caller asks for, and holds the answer against what is promised of it.
"""

import base64
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from mailfleet.health.dns.facts import Answer, Facts, Handshake, Kind, Question, State, TlsQuestion, TlsState
from mailfleet.health.dns.findings import Severity
from mailfleet.health.dns.rules import DomainSetup, judge
from mailfleet.health.dns.rules_blocklist import load_blocklists
from mailfleet.mail.auto_replies import find_auto_reply
from mailfleet.mail.bounces import find_report
from mailfleet.mail.bounces.notifications import read_notification
from mailfleet.mail.complaints import find_complaint
from mailfleet.mail.incoming import read_incoming
from mailfleet.mail.kinds import classify
from mailfleet.mail.new_text import new_text, without_quotes
from mailfleet.mail.opt_out import make_token, read_token
from mailfleet.mail.parts import read_fields
from mailfleet.mail.refusals import find_refusal
from mailfleet.mail.return_dates import find_return_date
from mailfleet.model.words import MailKind
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import CursorVoid, ImapFault, ImapStage, mapped
from mailfleet.providers.imap_mail import Cursor, Head
from mailfleet.providers.imap_opening import ImapDeadlines
from mailfleet.providers.imap_wire import Client, Wire

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECONDS = 5.0  # chosen: CPU of one input under instrumentation; a hundred times what the slowest mail takes without
KEY = b"k" * 32
DIGEST = b"d" * 16


@dataclass(frozen=True, slots=True)
class Target:
    """`seeds` are where it begins besides the corpora, `words` what it mixes in."""

    run: Callable[[bytes], object]
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    longest: int
    takes_mail: bool = False


def run_bounded(run: Callable[[bytes], object], data: bytes) -> None:
    began_at = time.process_time()
    run(data)
    took = time.process_time() - began_at
    assert took < SECONDS, f"{len(data)} bytes took {took:.1f} s"


def read_mail(raw: bytes) -> None:
    """A mail as the watcher reads it."""
    mail = read_incoming(raw)
    for letter in (mail, *mail.returned):
        assert letter.sent_at is None or letter.sent_at.tzinfo is UTC
        assert isinstance(letter.message_id + letter.sender + letter.subject, str)
        assert all(letter.get_all(name) is not None for name in letter.headers)
        assert (letter.in_reply_to, letter.recipients, letter.delivered_to) is not None
    found = classify(mail, NOW)
    assert (found.kind is MailKind.BOUNCE) <= (found.report is not None)
    assert (found.kind is MailKind.COMPLAINT) == (found.complaint is not None)
    assert (found.kind is MailKind.AUTO_REPLY) == (found.auto_reply is not None)
    found.text.encode()  # as it goes into the database
    mail.subject.encode()


def read_report(raw: bytes) -> None:
    """A report on a letter, structured or in words."""
    mail = read_incoming(raw)
    report = find_report(mail)
    for recipient in report.recipients if report else ():
        assert "@" in recipient.address
        assert len(recipient.diagnostic) <= 1000
        recipient.diagnostic.encode()
    complaint = find_complaint(mail)
    assert complaint is None or repr(complaint)
    read_notification(raw.decode("utf-8", "replace"))


def read_answer(raw: bytes) -> None:
    """What a person wrote: the new text, and a no in it; the first line is the subject."""
    subject, _, text = raw.decode("utf-8", "replace").partition("\n")
    new = new_text(text)
    assert without_quotes(text) is not None
    refusal = find_refusal(subject, new)
    assert refusal is None or refusal.rule
    find_refusal(subject, text)


def read_absence(raw: bytes) -> None:
    """An automatic reply: fields, a blank line, the text."""
    fields, _, text = raw.decode("utf-8", "replace").partition("\n\n")
    headers = read_fields(fields)
    found = find_auto_reply(headers, str(headers.get("Subject", "")), text, NOW)
    assert found is None or found.until is None or found.until >= NOW.date()
    day = find_return_date(text, date(2026, 3, 2))
    assert day is None or day >= date(2026, 3, 2)


def read_opt_out(raw: bytes) -> None:
    """A token that somebody made up is none; ours is read in every setting."""
    token = raw.decode("latin-1")
    found = read_token([b"x" * 32, KEY], token)
    if found is not None:
        assert make_token(KEY, found.message_id, found.address_digest) == token
    tail = base64.urlsafe_b64encode(raw[:39].ljust(39, b"\0")).decode()
    assert read_token([KEY], "1" + tail) is None


class _Answers(dict[Question, Answer]):
    """Every question is answered."""

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: Question, default: object = None) -> Answer:  # type: ignore[override]
        return super().get(key, Answer(State.MISSING))


class _Met(dict[TlsQuestion, Handshake]):
    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: TlsQuestion, default: object = None) -> Handshake:  # type: ignore[override]
        return Handshake(TlsState.GOOD, NOW + timedelta(days=60))


# Where a line of the input stands in the zone, by its first byte.
PLACES = (
    (Kind.TXT, "example.com", ""),
    (Kind.TXT, "_dmarc.example.com", ""),
    (Kind.TXT, "s1._domainkey.example.com", ""),
    (Kind.TXT, "google._domainkey.example.com", ""),
    (Kind.TXT, "b.example", ""),
    (Kind.TXT, "c.example", ""),
    (Kind.MX, "example.com", "10 "),
    (Kind.TXT, "_dmarc.com", ""),
)


def judge_records(raw: bytes) -> bool:
    """A zone somebody else wrote: a line is a place and the record that stands there. Whether it has what it needs."""
    found: dict[Question, list[str]] = {}
    for line in raw.split(b"\n")[:40]:
        if line:
            kind, name, before = PLACES[line[0] % len(PLACES)]
            found.setdefault(Question(kind, name), []).append(before + line[1:].decode("utf-8", "replace"))
    found[Question(Kind.SOA, "example.com")] = ["ns.example.com. h.example.com. 1 2 3 4 5"]
    answers = _Answers({question: Answer(State.FOUND, tuple(values)) for question, values in found.items()})
    setup = DomainSetup("example.com", providers=("google_workspace",), opt_out_url="https://stop.example.com/o")
    report = judge(setup, list(load_blocklists().values()), Facts(answers, _Met()), NOW)
    assert isinstance(report.verdict, Severity)
    assert all(finding.seen for finding in report.findings)
    report.summary.encode()
    return {"spf_missing", "dkim_missing", "dmarc_missing"}.isdisjoint(finding.code for finding in report.findings)


_TAG = re.compile(rb"[A-P]{4}\d+")  # of imaplib


class Script:
    """A socket whose other side says what is written, `TAG` being the command's."""

    def __init__(self, said: Sequence[bytes]) -> None:
        self._said: Iterator[bytes] = iter(said)
        self._tag = b"A1"

    def settimeout(self, seconds: float) -> None:
        pass

    def send(self, data: bytes) -> int:
        first = bytes(data).split(b" ", 1)[0]
        self._tag = first if _TAG.fullmatch(first) else self._tag
        return len(data)

    def recv(self, most: int) -> bytes:
        return next(self._said, b"").replace(b"TAG", self._tag)

    def close(self) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass


PLACE = Endpoint("imap.example", 993, "tls")
OFFERED = b"* CAPABILITY IMAP4REV1 CONDSTORE SPECIAL-USE UIDPLUS\r\nTAG OK x\r\n"
GREETING = (b"* PREAUTH hi\r\n", OFFERED, OFFERED)


@cache
def _asks() -> Sequence[Callable[[ImapSession], object]]:
    head = Head(7, 1, None, 0, frozenset(), b"")
    return (
        lambda session: session.find_folders(),
        lambda session: session.look("INBOX"),
        lambda session: session.first_cursor("INBOX", date(2026, 3, 1)),
        lambda session: list(session.read_heads("INBOX", Cursor(7, 0))),
        lambda session: session.read_body("INBOX", head),
        lambda session: session.find_message("INBOX", "<1@x.example>"),
        lambda session: session.append_copy("Sent", b"a\r\n\r\nb\r\n", NOW),
    )


def _greeted(wire: Wire) -> Client:
    wire.allow(timedelta(minutes=1), 65_536)
    with mapped(ImapStage.GREETING, PLACE, wire):
        return Client(wire)


def read_imap(raw: bytes) -> bool:
    """A server's answers to one command and what it needs; the first byte says which command. `\\0` parts answers.
    Whether an answer came of it."""
    which, said = (raw[0] if raw else 0), raw[1:].split(b"\0")
    try:
        session = ImapSession(_greeted(Wire(Script([*GREETING, *said]))), PLACE, ImapDeadlines())  # type: ignore[arg-type]
        _asks()[which % len(_asks())](session)
    except (ImapFault, CursorVoid):
        return False
    return True


MAIL_WORDS = (
    b"\n\n", b"=?utf-8?b?", b"?=", b"--b\n", b"--b--", b"Subject: ", b"From: MAILER-DAEMON@c.example\n", b"\nTo: ",
    b"Content-Type: multipart/report; boundary=b; report-type=delivery-status\n", b"Content-Type: text/html\n",
    b"Content-Type: message/delivery-status\n", b"Content-Type: message/rfc822\n", b"charset=utf-7", b"charset=",
    b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n", b"Action: failed\n",
    b"Final-Recipient: rfc822; one@b.example\n", b"Status: 5.1.1\n", b"Feedback-Type: abuse\n", b"Date: ",
    b"<one@b.example>:\n550 5.1.1 User unknown\n", b"Auto-Submitted: auto-replied\n", b"In-Reply-To: <1@x>\n",
    b"Diagnostic-Code: smtp; 550 ", b'{"notificationType":"Bounce","bounce":{"bouncedRecipients":[',
)  # fmt: skip
PERSON_WORDS = (
    b"unsubscribe", b"remove me", b"please", b"not", b"stop", "отпишите".encode(), "не пишите".encode(), b"\n> ",
    b"Am 1. M\xc3\xa4rz 2026 schrieb", b" wrote:\n", b"-----Original Message-----\n", b"From: ", b"\nSent: ", b"-- \n",
    b"2026", b"until", b"10:30", b"Monday", "до 5 марта".encode(), b"bis", b"\xe2\x80\x9c", b"?", b"@", b"abmelden",
    b"d\xc3\xa9sabonner", b"darse de baja", b"out of office", b"Subject: Automatic reply", b"<", b"e-mail",
)  # fmt: skip
DNS_WORDS = (
    b"v=spf1 ", b"include:b.example ", b"redirect=c.example", b"exists:%{i}.x ", b"ip4:1.2.3.4/24 ", b"ip6:::1/128 ",
    b"a/24//64 ", b"mx ", b"ptr ", b"~all", b"-all", b"exp=", b"v=DMARC1; ", b"p=reject; ", b"sp=", b"rua=mailto:a@b.c",
    b"pct=", b"np=", b"psd=", b"t=y", b"v=DKIM1; ", b"k=rsa; ", b"k=ed25519; ", b"p=", b"h=sha256", b"t=s", b"%{d}",
    b"!10m", b";", b"=", b"%", b"//",
)  # fmt: skip
IMAP_WORDS = (
    b"TAG OK done\r\n", b"TAG NO x\r\n", b"TAG BAD x\r\n", b"* 1 FETCH (", b"UID 1 ", b"BODY[HEADER]<0> {3}\r\nabc",
    b"BODY[]<0> ", b"NIL", b"RFC822.SIZE 9 ", b'INTERNALDATE "31-Feb-9999 99:99:99 +9999" ', b"FLAGS (\\Seen)",
    b"* SEARCH 1 2 3\r\n", b"* OK [UIDVALIDITY 7] x\r\n", b"* OK [UIDNEXT 9] x\r\n", b"* 2 EXISTS\r\n", b")\r\n",
    b'* LIST (\\Junk) "/" "A&-"\r\n', b"* STATUS INBOX (UIDNEXT 1 UIDVALIDITY 7)\r\n", b"* ESEARCH ", b"{0}\r\n",
    b"* BYE x\r\n", b"+ go\r\n", b"BODY[HEADER.FIELDS (MESSAGE-ID)] ", b"\0", b"(", b'"', b"[APPENDUID 7 9]",
)  # fmt: skip
OPEN = b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 9] x\r\nTAG OK [READ-ONLY] x\r\n\0"
FOUND = b"* SEARCH 1 2\r\nTAG OK x\r\n\0"
RSA = (
    b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCz0lVRa4PzqtVEM8Mo6QUpgu1JWq9NujdpiDPTSKItxLd5Ltcc+MU9M/5GGv2Hh893dvQC"
    b"B6aluI58iFxIRkzPOWOXDMGGsVxTpFhjF0yFrU94XtSIcLjFZjacsJpsx27UKkJAv0BP8y2Jv0RhqhwBlMGNllGQe8byKFz2CKlNcwIDAQAB"
)  # public, of 1024 bits; its other half was thrown away

TARGETS: Mapping[str, Target] = {
    "mail": Target(read_mail, [b"Subject: Re: hi\nIn-Reply-To: <1@a.example>\n\nno\n"], MAIL_WORDS, 4_000, True),
    "reports": Target(
        read_report,
        [
            b'Subject: x\n\n{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"a@b.example"'
            b',"status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 unknown"}]},"mail":{"messageId":"1"}}',
        ],
        MAIL_WORDS,
        4_000,
        True,
    ),
    "answers": Target(
        read_answer,
        [
            b"Re: hi\nPlease remove me.\n\nOn Mon, 2 Mar 2026 at 10:00, Ann <a@b.example> wrote:\n> hi\n",
            "Re: привет\nНе пишите мне больше.\n-- \nИван".encode(),
            b"AW: hi\nBitte melden Sie mich ab.\n\n-----Urspr\xc3\xbcngliche Nachricht-----\nVon: a\nAn: b\nBetreff: c",
        ],
        PERSON_WORDS,
        3_000,
    ),
    "absences": Target(
        read_absence,
        [
            b"Auto-Submitted: auto-replied\nSubject: Automatic reply\n\nI am out of the office until 12 March 2026.",
            b"Subject: Abwesenheit\n\nIch bin bis 14.03. nicht im B\xc3\xbcro.",
            b"X-Apple-Criteria: enddate=2026-03-30\n\nxx",
        ],
        PERSON_WORDS,
        2_000,
    ),
    "tokens": Target(read_opt_out, [make_token(KEY, 1, DIGEST).encode(), b"1" + b"A" * 52], [b"1", b"_", b"-"], 80),
    "records": Target(
        judge_records,
        [
            b"\0v=spf1 include:b.example mx a:%{d} -all\n\4v=spf1 ip4:1.2.3.0/24 redirect=c.example\n\5v=spf1 ~all\n"
            b"\1v=DMARC1; p=reject; rua=mailto:a@b.example!10m\n\3v=DKIM1; k=rsa; p=" + RSA + b"\n\6smtp.google.com",
            b"\0v=spf1 include:_spf.google.com ~all\n\1v=DMARC1; p=none; np=reject; t=y\n"
            b"\3v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ],
        DNS_WORDS,
        1_500,
    ),
    "imap": Target(
        read_imap,
        [
            b'\0* LIST (\\HasNoChildren \\Junk) "/" "Spam"\r\n* LIST () "/" INBOX\r\nTAG OK x\r\n',
            b"\1* STATUS INBOX (UIDNEXT 9 UIDVALIDITY 7 MESSAGES 2 HIGHESTMODSEQ 5)\r\nTAG OK x\r\n",
            b"\2" + OPEN + FOUND,
            b"\3" + OPEN + FOUND + b'* 1 FETCH (UID 1 INTERNALDATE "02-Mar-2026 09:00:00 +0000" RFC822.SIZE 9 FLAGS ()'
            b" BODY[HEADER]<0> {3}\r\nabc)\r\nTAG OK x\r\n",
            b"\4" + OPEN + b"* 1 FETCH (UID 1 BODY[]<0> {3}\r\nabc)\r\nTAG OK x\r\n",
            b"\5" + OPEN + FOUND + b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (MESSAGE-ID)] {29}\r\n"
            b"Message-ID: <1@x.example>\r\n\r\n)\r\nTAG OK x\r\n",
            b"\6+ go\r\n\0TAG OK [APPENDUID 7 9] x\r\n",
        ],
        IMAP_WORDS,
        1_500,
    ),
}


def target_of(name: str) -> Any:
    """What libFuzzer calls."""
    target = TARGETS[name]
    return lambda data: run_bounded(target.run, data)
