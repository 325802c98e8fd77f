"""Complaints: a recipient pressed "spam", and the provider says so.

RFC 5965 (ARF), RFC 6591 (its reports of failed authentication), and providers who return the letter with a remark in
its own fields instead: Microsoft's JMRP. Amazon SES says it as JSON.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message

from mailfleet.mail.bounces.notifications import read_notification
from mailfleet.mail.incoming import Incoming, Letter, addresses, message_ids
from mailfleet.mail.parts import read_fields

_FIELDS_IN_TEXT = re.compile(r"^Feedback-Type:[ \t]*[a-z-]+[ \t]*$", re.IGNORECASE | re.MULTILINE)
_SUBJECT = re.compile(
    r"\s*(?:complaint about (?:message|mail)|abuse report\b|spam (?:complaint|report)\b"
    r"|email feedback report\b|feedback loop\b)",
    re.IGNORECASE,
)
# Fields that name who complained: of the report, then of the letter as Microsoft, AOL and Yahoo return it.
_RECIPIENTS = ("Original-Rcpt-To", "Removal-Recipient", "Redacted-Address", "Original-Recipient")
_RETURNED_RECIPIENTS = (
    "X-HmXmrOriginalRecipient",
    "X-Original-Rcpt-To",
    "To",
    "X-Envelope-To",
    "X-Apparently-To",
    "Delivered-To",
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A feedback report."""

    feedback_type: str
    """abuse, fraud, virus, opt-out, auth-failure, other, ... in lower case (RFC 5965 §7.3 and its registry)."""
    recipients: tuple[str, ...]
    """Who complained, as far as it is not blacked out; none twice."""
    message_ids: tuple[str, ...]
    """Ids, with brackets, of the letter that is returned."""
    envelope_ids: tuple[str, ...]
    """Original-Envelope-Id: the ENVID of our letter."""
    delivered_to: tuple[str, ...]
    """Addresses of ours the report came to; a VERP or plus token stands in one."""
    returned: Letter | None
    """Fields of the letter that is returned."""

    @property
    def is_abuse(self) -> bool:
        """Whether a person called the letter unwanted; a failed authentication is only a machine's remark."""
        return self.feedback_type not in ("auth-failure", "dmarc", "not-spam", "opt-out")


def find_complaint(mail: Incoming) -> Complaint | None:
    """Read a mail as a complaint; None when it is none. "Not spam" is none. Never raises."""
    if found := read_notification(mail.text):
        return _notified(mail, found.feedback_type, [one.address for one in found.findings], found.message_ids)
    fields = _report_fields(mail)
    if fields is None and not _is_unmarked(mail):
        return None
    complaint = _complaint(mail, Letter(fields or Message()))
    return None if complaint.feedback_type == "not-spam" else complaint


def _notified(mail: Incoming, feedback_type: str, recipients: list[str], ids: tuple[str, ...]) -> Complaint | None:
    return Complaint(feedback_type, tuple(recipients), ids, (), mail.delivered_to, None) if feedback_type else None


def _report_fields(mail: Incoming) -> Message | None:
    """The fields of the report: of its part, or of the text where the parts are broken."""
    if mail.feedback:
        return read_fields(mail.feedback[0].strip())
    if mail.report_type == "feedback-report" and (found := _FIELDS_IN_TEXT.search(mail.text)):
        start = mail.text.rfind("\n\n", 0, found.start()) + 1
        return read_fields(mail.text[start:].strip())
    return read_fields("Feedback-Type: abuse") if mail.report_type == "feedback-report" else None


def _is_unmarked(mail: Incoming) -> bool:
    """A letter returned with its recipient in a field of Microsoft's, or under the subject of a complaint."""
    if not mail.returned:
        return False
    has_mark = bool(mail.returned[0].get("X-HmXmrOriginalRecipient"))
    return has_mark or (_SUBJECT.match(mail.subject) is not None and not mail.in_reply_to and not mail.statuses)


def _complaint(mail: Incoming, report: Letter) -> Complaint:
    returned = mail.returned[0] if mail.returned else None
    return Complaint(
        feedback_type=report.get("Feedback-Type").lower() or "abuse",
        recipients=_recipients(report, returned),
        message_ids=tuple(message_ids(letter.message_id for letter in mail.returned)),
        envelope_ids=tuple(filter(None, [report.get("Original-Envelope-Id")])),
        delivered_to=mail.delivered_to,
        returned=returned,
    )


def _recipients(report: Letter, returned: Letter | None) -> tuple[str, ...]:
    named = _first(report, _RECIPIENTS)
    return tuple(dict.fromkeys(named or (_first(returned, _RETURNED_RECIPIENTS) if returned else [])))


def _first(letter: Letter, names: Iterable[str]) -> list[str]:
    """The addresses of the first field that has any."""
    return next((found for name in names if (found := addresses(letter.get_all(name)))), [])
