"""inbox: what came in and waits for a person, and what the person decides."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.table import Table

from mailfleet.cli.opening import opened
from mailfleet.cli.operators import operator_name
from mailfleet.cli.printing import cell, console, moment, plain
from mailfleet.inbox.questions import Decision, decide_mail, read_one, read_waiting

SHOWN = 50  # chosen: rows of a list; what is older comes first
MAILBOXES_SHOWN = 20  # chosen: of mailboxes that are not read

_GOES_ON = "what waited for it goes on, within pace and limits"
_NOTHING_GOES_ON = "nothing was paused for it alone, and what ended stays ended"


@click.group("inbox", invoke_without_command=True)
@click.option("--most", type=click.IntRange(1), default=SHOWN, show_default=True, help="Rows of each list.")
@click.pass_context
def inbox_command(ctx: click.Context, most: int) -> None:
    """What waits for you: questions, mail that belongs to no letter, mailboxes that are not read."""
    if ctx.invoked_subcommand is not None:
        return
    with opened() as it:
        found = read_waiting(it.connection, most=most)
    now = datetime.now(UTC)
    questions = [
        (row.id, age(now, row.read_at), row.contact, row.sender_address, row.subject, row.question)
        for row in found.questions
    ]
    _print("Questions", found.question_count, ("mail", "waits", "contact", "from", "subject", "question"), questions)
    if questions:
        console.print(
            "Nothing is written to these contacts meanwhile. `mailfleet inbox show MAIL` shows the text, then"
        )
        console.print("`mailfleet inbox decide MAIL opt-out|reply|ignore`.", markup=False)
    unmatched = [
        (row.id, age(now, row.read_at), row.kind, row.mailbox, row.sender_address, row.subject)
        for row in found.unmatched
    ]
    _print(
        "Belong to no letter", found.unmatched_count, ("mail", "waits", "kind", "mailbox", "from", "subject"), unmatched
    )
    unread = [(row.address, age(now, row.read_at), row.failures, row.fault) for row in found.unread[:MAILBOXES_SHOWN]]
    _print("Not read", len(found.unread), ("mailbox", "last good read", "failures", "fault"), unread)
    if not (questions or unmatched or unread):
        console.print("Nothing waits; every mailbox is read.")
    if not found.watchers:
        console.print("No watcher runs, so nothing is read. `mailfleet up` starts one.")


@inbox_command.command("show")
@click.argument("mail", type=int)
def inbox_show(mail: int) -> None:
    """A mail as far as it is kept: who wrote, about which letter, and the new text without what it quotes."""
    with opened() as it:
        row = read_one(it.connection, mail)
    sender = f"{row.sender_name} <{row.sender_address}>".strip()
    console.print(
        f"[bold]Mail {row.id}[/], {row.kind}, came to {plain(row.mailbox)} ({row.folder}) {moment(row.received_at)}"
    )
    console.print(f"From: {plain(sender)}\nSubject: {plain(row.subject)}")
    if row.letter_id is not None:
        letter = f"letter {row.letter_id} to {row.contact}, {row.campaign}: {row.letter_subject}"
        console.print(f"About: {plain(letter)} (found by {row.matched_by})")
    if row.question:
        console.print(f"Question: {plain(row.question)}")
    if row.decided_at is not None:
        console.print(f"Decided: {plain(row.decision)}, by {plain(row.decided_by)} {moment(row.decided_at)}")
    console.print(f"\n{plain(row.text.strip())}" if row.text.strip() else "\nNo text of it is kept.")


@inbox_command.command("decide")
@click.argument("mail", type=int)
@click.argument("decision", type=click.Choice([decision.value for decision in Decision]))
@click.option("--contact", default="", help="Whom it is about, when it belongs to no letter; else its sender.")
def inbox_decide(mail: int, decision: str, contact: str) -> None:
    """Settle a mail: opt-out bans the address, reply ends what is written to the contact, ignore lets what is paused go
    on."""
    with opened() as it:
        decided = decide_mail(it.connection, it.vault, mail, Decision(decision), by=operator_name(), contact=contact)
    if decision == Decision.IGNORE:
        click.echo(f"Mail {mail} is ignored; {_GOES_ON if decided.resumed else _NOTHING_GOES_ON}.")
        return
    stopped = decided.stopped
    banned = "The address is banned for good. " if stopped.is_banned else ""
    click.echo(f"{banned}{stopped.ended} campaigns of contacts ended, {stopped.letters} letters cancelled.")


def age(now: datetime, at: datetime | None) -> str:
    """How long ago: in minutes, hours or days; "never" for no moment."""
    if at is None:
        return "never"
    passed = max(now - at, timedelta())
    if passed < timedelta(hours=1):
        return f"{passed // timedelta(minutes=1)} min"
    return f"{passed // timedelta(hours=1)} h" if passed < timedelta(days=2) else f"{passed.days} days"


def _print(title: str, count: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if not rows:
        return
    shown = f"{title} ({count})" if count == len(rows) else f"{title} ({len(rows)} of {count})"
    table = Table(title=shown, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(cell, row))
    console.print(table)
    console.print()
