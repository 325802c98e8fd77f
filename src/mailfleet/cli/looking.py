"""status and why: what happens, and why no more does."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.table import Table

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError
from mailfleet.cli.opening import opened
from mailfleet.cli.printing import cell, console, moment, plain
from mailfleet.mail.addresses import parse_address

QUERIES = load_queries("mailfleet.cli", "looking.sql")


@dataclass(frozen=True, slots=True)
class Counts:
    """The fleet in numbers; days are UTC."""

    queued: int
    late: int
    waiting_for_plan: int
    submitting: int
    ambiguous: int
    sent_today: int
    deferred_today: int
    rejected_today: int
    holds: int
    mailboxes: int
    senders: int


def read_counts(connection: Connection) -> Counts:
    row = connection.execute(QUERIES["counts"]).fetchone()
    assert row is not None
    return Counts(**row._asdict())


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status_command(as_json: bool) -> None:
    """The fleet now: what leaves, what waits, what is held, and why."""
    with opened() as it:
        counts = read_counts(it.connection)
        campaigns = _rows(it.connection, "campaigns")
        holds = _rows(it.connection, "holds")
        reasons = _rows(it.connection, "why_unplanned")
    if as_json:
        found = {"counts": asdict(counts), "campaigns": campaigns, "holds": holds, "unplanned": reasons}
        click.echo(json.dumps(found, default=str))
        return
    console.print(
        f"[bold]Today[/]  sent {counts.sent_today}, deferred {counts.deferred_today},"
        f" rejected {counts.rejected_today}\n"
        f"[bold]Queue[/]  {counts.queued} in the next hour, {counts.late} late, {counts.submitting} on their way,"
        f" {counts.ambiguous} ambiguous\n"
        f"[bold]Fleet[/]  {counts.mailboxes} mailboxes, {counts.senders} senders, {counts.holds} holds"
    )
    if not counts.senders:
        console.print("Nothing is sent: no sender runs. Start one with `mailfleet up`.")
    _print("Campaigns", campaigns, ("name", "state", "identity", "active", "ended", "accepted", "rejected", "reason"))
    _print("Holds", holds, ("scope_kind", "scope_name", "reason", "until", "set_by"))
    _print("Why contacts wait", reasons, ("enrollments", "example"))


@click.group("why")
def why_command() -> None:
    """Why a mailbox, a campaign or a contact does not write, or is not written to."""


@why_command.command("mailbox")
@click.argument("address")
def why_mailbox(address: str) -> None:
    """The limit or hold that binds a mailbox, and its last letters."""
    with opened() as it:
        rows = _rows(it.connection, "why_mailbox", {"name": address})
        if not rows:
            raise InputError(f"There is no mailbox {address}.", hint="`mailfleet export mailboxes FILE` lists them.")
        row = rows[0]
        attempts = _rows(it.connection, "last_attempts", {"mailbox": row["id"]})
    console.print(f"[bold]{plain(row['address'])}[/]: {plain(row['text'] or 'the planner has not looked at it yet')}")
    if row["retired_at"]:
        console.print(f"It is retired since {moment(row['retired_at'])}.")
    if row["used"] is not None:
        console.print(
            f"Binding: limit {row['binding']}, {row['used']} of {row['maximum']}; free {moment(row['free_at'])}."
        )
    console.print(f"Queued: {row['queued']}, next {moment(row['next_due'])}; its pace allows {moment(row['next_at'])}.")
    console.print(f"Ramp: {row['sending_days']} sending days, target {row['daily_limit']} a day.")
    _print("Last letters", attempts, ("reserved_at", "recipient", "outcome", "stage", "reply"))


@why_command.command("campaign")
@click.argument("name")
def why_campaign(name: str) -> None:
    """A campaign's contacts by the reason why they are where they are."""
    with opened() as it:
        found = _rows(it.connection, "campaign", {"name": name})
        if not found:
            raise InputError(f"There is no campaign {name}.", hint="`mailfleet campaign list` shows them.")
        rows = _rows(it.connection, "why_campaign", {"name": name})
    reason = f": {plain(found[0]['reason'])}" if found[0]["reason"] else ""
    console.print(f"[bold]{plain(name)}[/] is {found[0]['state']}{reason}.")
    _print("Contacts", rows, ("state", "enrollments", "in_queue", "reason_code", "example"))


@why_command.command("contact")
@click.argument("address")
def why_contact(address: str) -> None:
    """One contact's campaigns, letters and stops."""
    key = parse_address(address).normalised
    with opened() as it:
        rows = _rows(it.connection, "why_contact", {"name": key})
        if not rows:
            raise InputError(f"There is no contact {address}.", hint="`mailfleet import contacts` takes them in.")
        row = rows[0]
        enrollments = _rows(it.connection, "contact_enrollments", {"contact": row["id"]})
        messages = _rows(it.connection, "contact_messages", {"contact": row["id"]})
        events = _rows(it.connection, "contact_events", {"contact": row["id"]})
        questions = _rows(it.connection, "contact_questions", {"contact": row["id"]})
    mailbox = row["mailbox"] or "none yet"
    console.print(f"[bold]{plain(row['address'])}[/], lawful basis: {row['lawful_basis']}; mailbox: {mailbox}.")
    if row["suppressed"]:
        console.print(f"Suppressed since {moment(row['suppressed_at'])}: {plain(row['suppressed'])}.")
    for question in questions:
        console.print(f"Mail {question['id']} waits for your word since {moment(question['read_at'])}.")
    _print("Campaigns", enrollments, ("campaign", "state", "next_step", "next_at", "paused_until", "reason"))
    _print("Letters", messages, ("step", "state", "due_at", "settled_at", "mailbox", "attempts", "subject", "reason"))
    _print("Learned", events, ("at", "kind", "is_hard", "step", "mail", "matched_by", "enhanced", "text"))


def _rows(connection: Connection, name: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [row._asdict() for row in connection.execute(QUERIES[name], values or {}).fetchall()]


def _print(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*(cell(row[column]) for column in columns))
    console.print()
    console.print(table)
