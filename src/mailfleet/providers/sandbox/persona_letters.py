"""What those who were written to send back: mails as they come, made from the letter they answer. Pure.

The forms: RFC 3464 and 3462 (bounce), 5965 (complaint), 3834 (auto-reply), 2369 and 6068 (opt-out by mail).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_bytes
from email.header import Header, decode_header, make_header
from email.message import Message
from email.utils import format_datetime, formataddr, getaddresses, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

_LINK = re.compile(r"<(https?://[^<>\s]+)>", re.I)
_MAILTO = re.compile(r"<(mailto:[^<>\s]+)>", re.I)
QUOTED = 2000  # chosen: characters of the letter that a reply quotes

REPLIES = (
    ("en", "Thanks for your note. Could you send some figures? Tuesday afternoon would suit us for a call."),
    ("ru", "Здравствуйте! Интересно, пришлите, пожалуйста, подробности и цены."),
    ("de", "Danke für Ihre Nachricht. Das klingt interessant, rufen Sie mich gern am Donnerstag an."),
    ("fr", "Merci pour votre message. Pouvez-vous m'envoyer une documentation ?"),
    ("es", "Gracias por su mensaje. ¿Podemos hablar la semana que viene?"),
)
REFUSALS = (
    ("en", "Please remove me from your list and do not write to me again."),
    ("ru", "Не пишите мне больше. Отпишите меня от рассылки."),
    ("de", "Bitte nehmen Sie mich aus Ihrem Verteiler und schreiben Sie mir nicht mehr."),
    ("fr", "Merci de me désinscrire de votre liste et de ne plus m'écrire."),
    ("es", "Por favor, elimíneme de su lista y no me escriba más."),
)
_ABSENCES = (
    ("Out of office", "I am out of the office until {date} and will answer your mail after that."),
    ("Автоответ: меня нет на месте", "Меня не будет до {date}. Отвечу после возвращения."),
    ("Abwesenheitsnotiz", "Ich bin bis zum {date} nicht im Büro und lese Ihre Nachricht danach."),
)


@dataclass(frozen=True, slots=True)
class Original:
    """The letter answered: `answer_to` is its Reply-To or From, `link` and `mailto` its List-Unsubscribe, or empty."""

    mail_from: str
    rcpt: str
    content: bytes
    message_id: str
    references: str
    subject: str
    answer_to: str
    answer_name: str
    link: str
    mailto: str
    text: str


def read_original(mail_from: str, rcpt: str, content: bytes) -> Original:
    letter = message_from_bytes(content)
    ((name, answer_to), *_) = getaddresses([str(letter.get("Reply-To") or letter.get("From") or "")]) or [("", "")]
    leave = str(letter.get("List-Unsubscribe", ""))
    link, mailto = _LINK.search(leave), _MAILTO.search(leave)
    return Original(
        mail_from=mail_from,
        rcpt=rcpt,
        content=content,
        message_id=str(letter.get("Message-ID", "")).strip(),
        references=" ".join(str(letter.get("References", "")).split()),
        subject=str(letter.get("Subject", "")),
        answer_to=answer_to,
        answer_name=str(make_header(decode_header(name))),
        link=link[1] if link else "",
        mailto=mailto[1] if mailto else "",
        text=_text(letter),
    )


def _text(letter: Message) -> str:
    for part in letter.walk():
        if part.get_content_type() == "text/plain":
            payload = part.get_payload(decode=True)
            return payload.decode("utf-8", "replace")[:QUOTED] if isinstance(payload, bytes) else ""
    return ""


def make_reply(original: Original, words: str, now: datetime) -> bytes:
    """Above what it answers to, which is quoted, as mail programs do."""
    quoted = "\n".join(f"> {line}" for line in original.text.splitlines())
    about = f"On {now:%a, %d %b %Y at %H:%M}, {original.answer_name or original.answer_to} wrote:"
    return _letter(original, f"Re: {original.subject.removeprefix('Re: ')}", f"{words}\n\n{about}\n{quoted}\n", now)


def make_auto_reply(original: Original, number: int, now: datetime) -> bytes:
    """Every second one says what it is (RFC 3834 §5); the others are known by their words alone."""
    subject, words = _ABSENCES[number % len(_ABSENCES)]
    until = f"{now + timedelta(days=5):%d.%m.%Y}"
    marks = () if number % 2 else ("Auto-Submitted: auto-replied", "Precedence: bulk")
    return _letter(original, f"{subject}: {original.subject}", words.format(date=until) + "\n", now, marks)


def make_opt_out(original: Original, now: datetime) -> bytes:
    """To the address of List-Unsubscribe, with the subject and body that stand there (RFC 6068)."""
    asked = {name.lower(): values[0] for name, values in parse_qs(urlsplit(original.mailto).query).items()}
    return _mail(original.rcpt, mailto_address(original), asked.get("subject", ""), asked.get("body", "") + "\n", now)


def mailto_address(original: Original) -> str:
    return unquote(urlsplit(original.mailto).path)


def make_bounce(original: Original, now: datetime) -> bytes:
    """RFC 3464, as Postfix words it."""
    domain = original.rcpt.rpartition("@")[2]
    status = (
        f"Reporting-MTA: dns; mx.{domain}\r\nArrival-Date: {format_datetime(now)}\r\n\r\n"
        f"Final-Recipient: rfc822; {original.rcpt}\r\nOriginal-Recipient: rfc822;{original.rcpt}\r\n"
        f"Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.{domain}\r\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{original.rcpt}>: Recipient address rejected: User unknown\r\n"
    )
    told = f"The mail could not be delivered to one recipient.\r\n\r\n<{original.rcpt}>: user unknown\r\n"
    parts = [
        ("text/plain; charset=us-ascii", told.encode()),
        ("message/delivery-status", status.encode()),
        ("text/rfc822-headers", _head(original.content)),
    ]
    head = (f"From: Mail Delivery System <MAILER-DAEMON@{domain}>", "Auto-Submitted: auto-replied")
    return _report(original, "delivery-status", "Undelivered Mail Returned to Sender", head, parts, now)


def make_odd_bounce(original: Original, now: datetime) -> bytes:
    """A text of its own, in the manner of Exim and qmail: no report, no code but in its words."""
    domain = original.rcpt.rpartition("@")[2]
    words = (
        "This message was created automatically by mail delivery software.\n\n"
        "A message that you sent could not be delivered to the following address:\n\n"
        f"  {original.rcpt}\n    No such user here; this is a permanent error. I've given up.\n\n"
        "------ This is a copy of the message's headers. ------\n\n"
        f"{_head(original.content).decode('utf-8', 'replace')}"
    )
    return _mail(
        f"mailer-daemon@{domain}", original.mail_from, "Mail delivery failed: returning message to sender", words, now
    )


def make_complaint(original: Original, now: datetime) -> bytes:
    """RFC 5965, with the whole letter."""
    domain = original.rcpt.rpartition("@")[2]
    feedback = (
        "Feedback-Type: abuse\r\nUser-Agent: Sandbox/1.0\r\nVersion: 1\r\n"
        f"Original-Mail-From: <{original.mail_from}>\r\nOriginal-Rcpt-To: <{original.rcpt}>\r\n"
        f"Arrival-Date: {format_datetime(now)}\r\n"
    )
    told = f"This is an abuse report for a mail to {original.rcpt}.\r\n"
    parts = [
        ("text/plain; charset=us-ascii", told.encode()),
        ("message/feedback-report", feedback.encode()),
        ("message/rfc822", original.content),
    ]
    return _report(original, "feedback-report", "Abuse report", (f"From: Feedback <feedback@{domain}>",), parts, now)


def _letter(original: Original, subject: str, text: str, now: datetime, marks: Sequence[str] = ()) -> bytes:
    chain = f"{original.references} {original.message_id}".strip()
    thread = (f"In-Reply-To: {original.message_id}", f"References: {chain}") if original.message_id else ()
    return _mail(original.rcpt, original.answer_to, subject, text, now, (*thread, *marks))


def _mail(sender: str, recipient: str, subject: str, text: str, now: datetime, more: Sequence[str] = ()) -> bytes:
    name = sender.partition("@")[0].replace(".", " ").title()
    subject = subject if "=?" in subject else Header(subject).encode()
    lines = [
        f"From: {formataddr((name, sender))}",
        *_addressed(recipient, subject, now),
        *more,
        'Content-Type: text/plain; charset="utf-8"',
        "Content-Transfer-Encoding: 8bit",
    ]
    return "\r\n".join([*lines, "", *text.splitlines(), ""]).encode()


def _addressed(recipient: str, subject: str, now: datetime) -> tuple[str, ...]:
    return (
        f"To: {recipient}",
        f"Subject: {subject}",
        f"Date: {format_datetime(now)}",
        f"Message-ID: {make_msgid(domain='sandbox.example')}",
        "MIME-Version: 1.0",
    )


def _report(
    original: Original,
    kind: str,
    subject: str,
    head: Sequence[str],
    parts: Sequence[tuple[str, bytes]],
    now: datetime,
) -> bytes:
    """multipart/report (RFC 3462) to the envelope's sender."""
    boundary = f"report-of-{len(original.content)}-octets"
    lines = [
        *head,
        *_addressed(original.mail_from, subject, now),
        f'Content-Type: multipart/report; report-type={kind}; boundary="{boundary}"',
    ]
    body = b"".join(f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + part for kind, part in parts)
    return "\r\n".join([*lines, ""]).encode() + body + f"\r\n--{boundary}--\r\n".encode()


def _head(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[0] + b"\r\n"
