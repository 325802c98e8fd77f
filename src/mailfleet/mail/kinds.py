"""What a mail that came in is: the first of complaint, bounce, opt_out by mailto, auto_reply, opt_out by words, reply.

Machines first, for a report quotes letters and an automatic reply quotes people. Nothing is believed here: whoever
calls matches the mail to a letter of ours before anything is done about it.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from mailfleet.mail.auto_replies import AutoReply, find_auto_reply
from mailfleet.mail.bounces import Report, find_report
from mailfleet.mail.complaints import Complaint, find_complaint
from mailfleet.mail.incoming import Incoming
from mailfleet.mail.new_text import new_text
from mailfleet.mail.refusals import Refusal, find_refusal
from mailfleet.model.words import MailKind


@dataclass(frozen=True, slots=True)
class Classified:
    """A mail and what it is; of the pieces only those of its kind are there."""

    kind: MailKind
    text: str
    """Of a reply, an automatic reply or an opt-out the new text, without what it quotes; else the whole text."""
    report: Report | None = None
    """Of a bounce; and of a report of delivery, which is `other`."""
    complaint: Complaint | None = None
    auto_reply: AutoReply | None = None
    refusal: Refusal | None = None
    """The no in an opt_out; in a reply a doubtful one, for a person to look at."""
    opt_out_token: str = ""
    """Of a List-Unsubscribe mailto, unchecked; empty when the subject says no more than "unsubscribe"."""


_UNSUBSCRIBE = re.compile(r"\s*unsubscribe(?:[\s:]+(\S{1,200}))?\s*", re.IGNORECASE)
_ANSWER = re.compile(
    r"\s*(?:re|aw|antw|sv|vs|ynt|odp|отв|ответ|回复|答复|返信)\s*(?:\[\d+\]|\d+)?\s*[:：]", re.IGNORECASE
)


def classify(mail: Incoming, received_at: datetime) -> Classified:
    """Say what a mail is. `received_at` is aware; a date an automatic reply names is read from there. Never raises."""
    if complaint := find_complaint(mail):
        return Classified(MailKind.COMPLAINT, mail.text, complaint=complaint)
    if report := find_report(mail):
        return Classified(MailKind.BOUNCE if report.is_bounce else MailKind.OTHER, mail.text, report=report)
    if asked := _UNSUBSCRIBE.fullmatch(mail.subject):
        return Classified(MailKind.OPT_OUT, new_text(mail.text), opt_out_token=asked[1] or "")
    return _personal(mail, received_at)


def _personal(mail: Incoming, received_at: datetime) -> Classified:
    """What a person wrote, or a machine in a person's name."""
    text = new_text(mail.text)
    if auto_reply := find_auto_reply(mail.headers, mail.subject, mail.text, received_at):
        return Classified(MailKind.AUTO_REPLY, text, auto_reply=auto_reply)
    is_answer = bool(mail.in_reply_to) or _ANSWER.match(mail.subject) is not None
    refusal = find_refusal(mail.subject, text) if is_answer or not mail.is_bulk else None
    if refusal and refusal.is_certain:
        return Classified(MailKind.OPT_OUT, text, refusal=refusal)
    return Classified(MailKind.REPLY if is_answer or refusal else MailKind.OTHER, text, refusal=refusal)
