"""limits, hold, lift, ambiguous, resolve: what a person decides."""

from datetime import UTC, datetime

import click
from rich.table import Table

from mailfleet.base.db import Connection
from mailfleet.base.errors import InputError
from mailfleet.cli.opening import opened
from mailfleet.cli.operators import operator_name
from mailfleet.cli.printing import cell, console
from mailfleet.intake.values import parse_duration, parse_window
from mailfleet.model.words import ScopeKind
from mailfleet.outbox.ambiguous import list_ambiguous, resolve
from mailfleet.outbox.limit_rows import OPERATOR, read_limits, set_limit
from mailfleet.outbox.limits import Window
from mailfleet.outbox.stops import hold, lift, scope_key

MOST = 2**31 - 1  # what the column holds
kind_argument = click.argument("kind", type=click.Choice([kind.value for kind in ScopeKind]))
name_argument = click.argument("name", required=False, default="")


@click.group("limits", invoke_without_command=True)
@click.option("--each", is_flag=True, help="The ramp and preset limits of each mailbox too.")
@click.pass_context
def limits_command(ctx: click.Context, each: bool) -> None:
    """Every limit, and how much of it is used; `limits set` changes one."""
    if ctx.invoked_subcommand is not None:
        return
    with opened() as it:
        rows = read_limits(it.connection, now=datetime.now(UTC), with_each=each)
    table = Table(box=None, pad_edge=False)
    for column in ("scope", "of", "window", "used", "maximum", "fullest", "source"):
        table.add_column(column, justify="right" if column in ("used", "maximum") else "left")
    for row in rows:
        of = row.scope or f"each {row.scope_kind}"
        values = (row.scope_kind, of, row.window, row.used, row.maximum, row.fullest, row.source)
        table.add_row(*map(cell, values))
    console.print(table if rows else "There are no limits yet; `mailfleet apply fleet.toml` sets them.")


window_argument = click.argument("window")
source_option = click.option("--source", default=OPERATOR, show_default=True, help="Where the number comes from.")


@limits_command.command("set")
@kind_argument
@click.argument("name")
@window_argument
@click.argument("maximum", type=click.IntRange(0, MOST))
@source_option
def limits_set(kind: str, name: str, window: str, maximum: int, source: str) -> None:
    """At most MAXIMUM letters in WINDOW ("rolling 24h", "day Europe/Berlin") for NAME, or "*" for each of the kind."""
    parsed = _window(window)
    with opened() as it:
        scope, key = _covered(it.connection, kind, name)
        set_limit(it.connection, scope, key, parsed, maximum, source=source)
    click.echo(f"Set: {kind} {name}, {maximum} in {parsed}. The smallest limit always wins.")


@limits_command.command("remove")
@kind_argument
@click.argument("name")
@window_argument
@source_option
def limits_remove(kind: str, name: str, window: str, source: str) -> None:
    """Remove the limit of NAME, or "*", with that window and source."""
    parsed = _window(window)
    with opened() as it:
        scope, key = _covered(it.connection, kind, name)
        set_limit(it.connection, scope, key, parsed, None, source=source)
    click.echo("Removed.")


def _covered(connection: Connection, kind: str, name: str) -> tuple[ScopeKind, str | None]:
    """The kind, and the key of the one of that name; None for "*"."""
    if not name.strip():
        raise InputError(f'Say which {kind}, or "*" for each.')
    scope = ScopeKind(kind)
    return scope, None if name == "*" else scope_key(connection, scope, name)


def _named(kind: str, name: str) -> ScopeKind:
    """The kind; an InputError when a name is missing, or when the fleet, which has none, is given one."""
    scope = ScopeKind(kind)
    if (scope is ScopeKind.FLEET) == bool(name.strip()):
        wrong = "The fleet has no name; leave it out." if name else f"Say which {kind}."
        raise InputError(wrong)
    return scope


def _window(text: str) -> Window:
    try:
        return parse_window(text)
    except ValueError as error:
        raise InputError(str(error)) from error


@click.command("hold")
@kind_argument
@name_argument
@click.option("--reason", required=True, help="Why; shown wherever the hold is.")
@click.option("--for", "length", help='How long, such as "2 hours"; without it until lifted.')
def hold_command(kind: str, name: str, reason: str, length: str | None) -> None:
    """Stop a mailbox, a domain, an account, or whatever else KIND names; the fleet needs no NAME."""
    scope = _named(kind, name)
    if not reason.strip():
        raise InputError("Say why: --reason is empty.")
    try:
        duration = parse_duration(length) if length else None
    except ValueError as error:
        raise InputError(str(error)) from error
    with opened() as it:
        placed = hold(it.connection, scope, name, reason=reason, set_by=operator_name(), length=duration)
    click.echo(f"Held: {kind} {name}".rstrip() + "." if placed else "It is held for as long already.")


@click.command("lift")
@kind_argument
@name_argument
def lift_command(kind: str, name: str) -> None:
    """Lift the holds of a scope. What waited is planned again, within pace, ramp and limits."""
    scope = _named(kind, name)
    with opened() as it:
        lifted = lift(it.connection, scope, name, lifted_by=operator_name())
    click.echo(f"Lifted {lifted} hold{'s' if lifted != 1 else ''}." if lifted else "Nothing was held there.")


@click.command("ambiguous")
def ambiguous_command() -> None:
    """Letters whose fate is not known; `resolve` settles one."""
    with opened() as it:
        rows = list_ambiguous(it.connection)
    if not rows:
        console.print("No letter is ambiguous.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("letter", "recipient", "mailbox", "campaign", "step", "at", "subject", "why"):
        table.add_column(column)
    for row in rows:
        values = (row.id, row.recipient, row.mailbox, row.campaign, row.step, row.reserved_at, row.subject, row.reason)
        table.add_row(*map(cell, values))
    console.print(table)
    console.print("Look into the mailbox's Sent folder, then: mailfleet resolve LETTER --sent, or --not-sent.")


@click.command("resolve")
@click.argument("letter", type=int)
@click.option("--sent", is_flag=True, help="You found it in the mailbox's Sent folder, or its recipient has it.")
@click.option("--not-sent", is_flag=True, help="You made sure that it did not leave.")
def resolve_command(letter: int, sent: bool, not_sent: bool) -> None:
    """Settle an ambiguous letter by what you found: it was sent, or it was not and is planned again."""
    if sent == not_sent:
        raise click.UsageError("Say what you found: --sent or --not-sent.")
    with opened() as it:
        resolve(it.connection, letter, was_sent=sent, by=operator_name())
    click.echo("Counted as accepted." if sent else "Planned again, in the same mailbox.")
