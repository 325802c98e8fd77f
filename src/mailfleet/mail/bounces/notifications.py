"""Amazon SES: bounces, complaints and deliveries as JSON, by mail through SNS.

docs.aws.amazon.com/ses/latest/dg/notification-contents.html and event-publishing-retrieving-sns-contents.html.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mailfleet.mail.bounces.findings import Fate, Finding, Named
from mailfleet.mail.incoming import ADDRESS

Json = Mapping[str, Any]
MAX_NOTIFICATION = 300_000  # chosen: characters; SNS carries 256 kB


class Notification(NamedTuple):
    """One notification of SES."""

    kind: str
    """bounce, complaint, delivery, deliverydelay, ... in lower case."""
    findings: tuple[Finding, ...]
    feedback_type: str
    message_ids: tuple[str, ...]
    """Of the letter: as its headers say, then as SES calls it, both with brackets where they are Message-IDs."""


_FATES = {"bounce": Fate.FAILED, "complaint": Fate.DELIVERED, "delivery": Fate.DELIVERED, "deliverydelay": Fate.DELAYED}
_LISTS = {
    "bounce": ("bounce", "bouncedRecipients"),
    "complaint": ("complaint", "complainedRecipients"),
    "delivery": ("delivery", "recipients"),
    "deliverydelay": ("deliveryDelay", "delayedRecipients"),
}


def read_notification(text: str) -> Notification | None:
    """The notification a text begins with; None for all other texts. Never raises."""
    found = _first_object(text[:MAX_NOTIFICATION])
    inner = found.get("Message") if found else None
    if isinstance(inner, str):
        found = _first_object(inner)
    if not found:
        return None
    kind = str(found.get("notificationType") or found.get("eventType") or "").replace(" ", "").lower()
    if kind not in _LISTS:
        return None
    name, recipients = _LISTS[kind]
    event, mail = _object(found.get(name)), _object(found.get("mail"))
    return Notification(
        kind,
        tuple(_findings(kind, event, event.get(recipients))),
        str(event.get("complaintFeedbackType") or "abuse" if kind == "complaint" else ""),
        _message_ids(mail),
    )


def _first_object(text: str) -> Json:
    start = text.find("{")
    if start < 0 or text[:start].strip():
        return {}
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text[start:])
    except (ValueError, RecursionError):
        try:  # folded by a mailer in the middle of a string
            found, _ = json.JSONDecoder(strict=False).raw_decode(text[start:].replace("\n ", ""))
        except (ValueError, RecursionError):
            return {}
    return _object(found)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _findings(kind: str, event: Json, recipients: object) -> Iterator[Finding]:
    for recipient in recipients if isinstance(recipients, list) else []:
        fields = _object(recipient) or {"emailAddress": recipient}
        if address := ADDRESS.search(str(fields.get("emailAddress") or "")):
            said = str(fields.get("diagnosticCode") or event.get("smtpResponse") or "")
            yield Finding(
                address=address[0],
                named=Named.ORIGINAL,
                fate=_FATES[kind],
                status=str(fields.get("status") or ""),
                diagnostic=said.partition(";")[2].strip() if said.lower().startswith("smtp;") else said,
                remote=str(event.get("remoteMtaIp") or "remote"),
                reporter=str(event.get("reportingMTA") or "amazonses.com").rpartition(";")[2].strip(),
            )


def _message_ids(mail: Json) -> tuple[str, ...]:
    common = _object(mail.get("commonHeaders"))
    headers = mail.get("headers")
    named = [_object(header) for header in headers] if isinstance(headers, list) else []
    ids = [header.get("value") for header in named if str(header.get("name")).lower() == "message-id"]
    return tuple(str(one) for one in [*ids, common.get("messageId"), mail.get("messageId")] if one)
