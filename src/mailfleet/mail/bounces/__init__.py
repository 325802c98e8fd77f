"""Bounces: what reports say of our letters, whether they follow RFC 3464 or not.

    report = find_report(mail)          # None: the mail is no delivery report
    report.recipients                   # whom it names, each judged
    report.message_ids, ...             # by what to find our letter

Order: SES notifications, the part for machines (RFC 3464), the same fields standing in the text, then words. Nothing is
believed here: a report acts only once it is matched to a letter of ours to that recipient.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mailfleet.mail.bounces.delivery_status import StatusReport, findings_of, read_status
from mailfleet.mail.bounces.findings import Fate, Finding, Named
from mailfleet.mail.bounces.marks import is_report
from mailfleet.mail.bounces.notice import Notice, find_recipients, split_notice, status_text
from mailfleet.mail.bounces.notifications import Notification, read_notification
from mailfleet.mail.bounces.verdicts import Recipient, Severity, judge
from mailfleet.mail.incoming import Incoming, Letter, addresses, message_ids, read_incoming
from mailfleet.mail.replies import Verdict

__all__ = ["Named", "Recipient", "Report", "Severity", "find_report"]

_ENVELOPE_ID = re.compile(r"\S{1,200}")
_ID_IN_TEXT = re.compile(r"^[ \t]*message-id:[ \t]*(<[^<>\s]{1,500}>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Report:
    """A delivery report: of failure, delay or delivery."""

    recipients: tuple[Recipient, ...]
    """Whom it names, none twice; empty only for a notice about our own mailbox or account that names nobody."""
    message_ids: tuple[str, ...]
    """Ids, with brackets, that may be our letter's: of the returned letter first, then what the report answers."""
    envelope_ids: tuple[str, ...]
    """Original-Envelope-Id (RFC 3464 §2.2.1): the ENVID of our letter."""
    delivered_to: tuple[str, ...]
    """Addresses of ours the report came to; a VERP or plus token stands in one."""
    returned: Letter | None
    """Fields of the letter that is returned."""
    about_us: Verdict | None = None
    """What it says of our own mailbox, domain or account: a limit or a ban, to be held, never a dead address."""

    @property
    def is_bounce(self) -> bool:
        """Whether anything failed or waits; a report of delivery is none."""
        return self.about_us is not None or any(one.severity is not Severity.DELIVERED for one in self.recipients)


def find_report(mail: Incoming) -> Report | None:
    """Read a mail as a delivery report; None when it is none. Never raises."""
    if (found := read_notification(mail.text)) and found.kind != "complaint":
        return _notified(mail, found)
    notice = split_notice(mail.text, mail.subject)
    reports = [read_status(text) for text in mail.statuses]
    findings = [finding for report in reports for finding in findings_of(report)]
    worded = find_recipients(
        notice, _ours(mail), addresses(mail.get_all("X-Failed-Recipients")), _letters(mail, notice)
    )
    if findings:
        return _report(mail, notice, reports, _explained(findings, worded))
    if not is_report(mail, notice, [one.address for one in worded if one.named is Named.NOTICE]):
        return None
    if (inner := status_text(mail.text)) and (fields := findings_of(read_status(inner))):
        return _report(mail, notice, [read_status(inner)], _explained(fields, worded))
    is_named = any(one.named is Named.NOTICE for one in worded)
    return (
        (None if is_named else _enclosed(mail)) or _report(mail, notice, reports, worded) or _notice_to_us(mail, notice)
    )


def _notified(mail: Incoming, found: Notification) -> Report:
    judged = tuple(judge(finding, writer="amazonses.com") for finding in found.findings)
    return Report(judged, found.message_ids, (), mail.delivered_to, None)


def _ours(mail: Incoming) -> list[str]:
    """Whom the report is addressed to and who wrote it: never its recipients, unless nothing else is said."""
    return [*mail.recipients, *addresses(mail.get_all("From")), *addresses(mail.get_all("Sender"))]


def _letters(mail: Incoming, notice: Notice) -> list[Letter]:
    return [*mail.returned, *([notice.returned] if notice.returned else [])]


def _explained(findings: Sequence[Finding], worded: Sequence[Finding]) -> list[Finding]:
    """What the part for machines leaves unsaid is taken from the words for people."""
    said = {finding.address.lower(): finding.diagnostic for finding in worded}
    alone = next(iter(said.values()), "") if len(said) == 1 else ""
    found = []
    for finding in findings:
        words = said.get(finding.address.lower(), alone)
        found.append(replace(finding, diagnostic="\n\n".join(filter(None, [finding.diagnostic, words]))))
    return found


def _report(
    mail: Incoming, notice: Notice, reports: Sequence[StatusReport], findings: Sequence[Finding]
) -> Report | None:
    unique = {finding.address.lower(): finding for finding in reversed(findings)}
    judged = tuple(judge(finding, writer=mail.sender) for finding in reversed(unique.values()))
    if not judged:
        return None
    letters = _letters(mail, notice)
    return Report(
        recipients=judged,
        message_ids=_message_ids(mail, letters),
        envelope_ids=tuple(
            found[0]
            for report in reports
            if (found := _ENVELOPE_ID.search(report.letter.get("original-envelope-id", "")))
        ),
        delivered_to=mail.delivered_to,
        returned=letters[0] if letters else None,
        about_us=next((one.verdict for one in judged if one.is_ours), None),
    )


def _notice_to_us(mail: Incoming, notice: Notice) -> Report | None:
    """A provider's notice about our own mailbox or account that names no recipient."""
    said = judge(Finding("", Named.NOTICE, Fate.FAILED, "", notice.text, "", ""), writer=mail.sender)
    if not said.is_ours:
        return None
    return Report((), _message_ids(mail, _letters(mail, notice)), (), mail.delivered_to, None, said.verdict)


def _message_ids(mail: Incoming, letters: Iterable[Letter]) -> tuple[str, ...]:
    returned = [letter.message_id for letter in letters if letter.message_id]
    quoted = message_ids(_ID_IN_TEXT.findall(mail.text))
    return tuple(dict.fromkeys([*returned, *quoted, *mail.in_reply_to]))


def _enclosed(mail: Incoming) -> Report | None:
    """A gateway that wraps a report of another: the inner one counts."""
    for attached in mail.returned[:1]:
        inner = read_incoming(attached.raw)
        if inner.statuses and (found := find_report(inner)):
            return replace(found, delivered_to=mail.delivered_to)
    return None
