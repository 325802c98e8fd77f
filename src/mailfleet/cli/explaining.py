"""explain: what something from outside is taken for, and what would be done."""

import json
import sys

import click

from mailfleet.base.errors import InputError
from mailfleet.mail.replies import explain


@click.group("explain")
def explain_command() -> None:
    """What a reply is taken for, and what would be done about it."""


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
