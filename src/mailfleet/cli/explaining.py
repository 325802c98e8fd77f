"""explain: what something from outside is taken for, and what would be done."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from mailfleet.base.errors import InputError
from mailfleet.mail.bounces import Recipient
from mailfleet.mail.incoming import read_incoming
from mailfleet.mail.kinds import Classified, classify
from mailfleet.mail.parts import MAX_BYTES
from mailfleet.mail.replies import explain


@click.group("explain")
def explain_command() -> None:
    """What a reply or a mail is taken for."""


@explain_command.command("reply")
@click.argument("text", required=False)
@click.option("--provider", default="", help="Who answered, as a preset or a common name.")
@click.option("--side", type=click.Choice(["submission", "mx", "dsn"]), default="submission", show_default=True)
def explain_reply(text: str | None, provider: str, side: str) -> None:
    """TEXT, or JSON lines on stdin with code, enhanced_code, text, provider, side; one JSON line out for each."""
    if text is not None:
        click.echo(json.dumps(explain({"text": text, "provider": provider, "side": side}), ensure_ascii=False))
        return
    if sys.stdin.isatty():
        raise click.UsageError("Give the reply's text, or JSON lines on stdin.")
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if line.strip():
            click.echo(
                json.dumps(explain({"provider": provider, "side": side} | _record(line, number)), ensure_ascii=False)
            )


def _record(line: bytes, number: int) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # of bytes, JSON finds out UTF-8, UTF-16 or UTF-32 by itself
        raise InputError(f"not JSON: {error}", where=f"line {number}") from error
    if not isinstance(record, dict):
        raise InputError("not a JSON object", where=f"line {number}")
    return record


@explain_command.command("mail")
@click.argument("names", metavar="FILE...", nargs=-1, required=True)
def explain_mail(names: tuple[str, ...]) -> None:
    """What each mail is: one JSON line a FILE; - is stdin. Exit status 1 when a file could not be read."""
    is_complete = True
    for name in names:
        try:
            line = _explained(name, _read(name))
        except OSError as error:
            line, is_complete = {"file": name, "error": f"cannot be read: {error.strerror or error}"}, False
        click.echo(json.dumps(line, ensure_ascii=True))
    if not is_complete:
        sys.exit(1)


def _read(name: str) -> bytes:
    """As much of a file as is ever looked at."""
    if name == "-":
        return sys.stdin.buffer.read(MAX_BYTES)
    with Path(name).open("rb") as file:
        return file.read(MAX_BYTES)


def _explained(name: str, raw: bytes) -> dict[str, object]:
    mail = read_incoming(raw)
    found = classify(mail, mail.sent_at or datetime.now(UTC))
    return {
        "file": name,
        "kind": found.kind.value,
        "recipients": _recipients(found),
        "feedback_type": found.complaint.feedback_type if found.complaint else None,
        "in_reply_to": next(iter(_answered(found) or mail.in_reply_to), None),
        "text": found.text,
    }


def _recipients(found: Classified) -> list[dict[str, object]]:
    if found.complaint:
        return [_line(address) for address in found.complaint.recipients]
    return [_judged(one) for one in found.report.recipients] if found.report else []


def _judged(one: Recipient) -> dict[str, object]:
    judged = {"class": one.verdict.reply_class.value, "scope": one.verdict.scope.value, "severity": one.severity.value}
    return _line(one.address) | {"hard": one.is_hard, "status": one.status or None} | judged


def _line(address: str) -> dict[str, object]:
    return {"address": address, "hard": False, "status": None, "class": None, "scope": None}


def _answered(found: Classified) -> tuple[str, ...]:
    """Ids of the letter that a report is about."""
    about = found.report or found.complaint
    return about.message_ids if about else ()
