"""alerts and incidents: who is told what goes wrong, and what does."""

import sys
from typing import TextIO

import click
from rich.table import Table

from mailfleet.base.errors import InputError
from mailfleet.cli.opening import opened
from mailfleet.cli.printing import cell, console
from mailfleet.health.alerts.messenger import service_of
from mailfleet.health.alerts.notice import name_of_severity
from mailfleet.health.alerts.quiet import parse_quiet_hours, read_quiet_hours, set_quiet_hours
from mailfleet.health.alerts.service import UNSEALED, try_targets
from mailfleet.health.alerts.store import Target, add_target, list_incidents, load_targets, remove_target
from mailfleet.health.incidents import QuietHours
from mailfleet.intake.values import parse_name


@click.group("alerts")
def alerts_command() -> None:
    """Who is told of incidents: e-mail, Telegram, Slack, webhooks and others."""


@alerts_command.command("add")
@click.argument("name")
@click.option("--url-file", type=click.File(encoding="utf-8"), help="Read the address from this file.")
def alerts_add(name: str, url_file: TextIO | None) -> None:
    """Add a target. Its address, as apprise writes it, is asked for, or read from standard input or a file.

    It is a secret: no argument, which shells and lists of processes keep. It is sealed, and never shown again.
    """
    name, url = _name(name), _read_url(url_file)
    service = service_of(url)
    with opened() as it:
        add_target(it.connection, it.vault.keyring, name, url)
    click.echo(f"Added: {name} ({service}). `mailfleet alerts test {name}` sends it a notice now.")


@alerts_command.command("list")
def alerts_list() -> None:
    """Every target: its service, what is wrong with it, and the quiet hours."""
    with opened() as it:
        targets = load_targets(it.connection, it.vault.keyring)
        quiet = read_quiet_hours(it.connection)
    if not targets:
        console.print("Nobody is told of incidents; `mailfleet alerts add NAME` changes that.")
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("name", "service", "since", "fault", "at"):
            table.add_column(column)
        for target in targets:
            values = (target.name, _service(target), target.created_at, target.fault, target.fault_at)
            table.add_row(*map(cell, values))
        console.print(table)
    console.print(_quiet_sentence(quiet))


@alerts_command.command("remove")
@click.argument("name")
def alerts_remove(name: str) -> None:
    """Remove a target, and its address with it."""
    with opened() as it:
        remove_target(it.connection, name)
    click.echo(f"Removed: {name}.")


@alerts_command.command("test")
@click.argument("name", required=False)
def alerts_test(name: str | None) -> None:
    """Send a notice to NAME, or to every target. Exit status 1 when one did not take it."""
    with opened() as it:
        targets = load_targets(it.connection, it.vault.keyring)
        chosen = [target for target in targets if name in (None, target.name)]
        if not chosen:
            missing = f"There is no target {name}." if name else "There is no target."
            raise InputError(missing, hint="`mailfleet alerts add NAME` adds one.")
        faults = try_targets(it.connection, chosen)
    for target in chosen:
        fault = faults[target.name]
        click.echo(f"{target.name}: {'failed, ' + fault if fault else 'took it'}.")
    if any(faults.values()):
        sys.exit(1)


@alerts_command.command("quiet")
@click.argument("hours", required=False)
@click.argument("zone", required=False)
def alerts_quiet(hours: str | None, zone: str | None) -> None:
    """Show the quiet hours, or set them: HOURS "22:00-07:00" and ZONE "Europe/Berlin", or "off" alone."""
    with opened() as it:
        if hours == "off" and zone is None:
            set_quiet_hours(it.connection, None)
        elif hours is not None:
            if zone is None:
                raise InputError("Say in which time zone.", hint=f"As in: mailfleet alerts quiet {hours} Europe/Berlin")
            set_quiet_hours(it.connection, parse_quiet_hours(hours, zone))
        click.echo(_quiet_sentence(read_quiet_hours(it.connection)))


@click.command("incidents")
@click.option("--all", "with_closed", is_flag=True, help="Those that are over too.")
def incidents_command(with_closed: bool) -> None:
    """What is wrong: one incident a cause, with the letters a day at stake and what to do."""
    with opened() as it:
        incidents = list_incidents(it.connection, with_closed=with_closed)
    if not incidents:
        console.print("No incident is open." if not with_closed else "There was no incident yet.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("severity", "since", *(["until"] if with_closed else []), "what", "letters a day", "text"):
        table.add_column(column, justify="right" if column == "letters a day" else "left")
    for one in incidents:
        until = [one.closed_at] if with_closed else []
        values = (name_of_severity(one.severity), one.opened_at, *until, one.what, one.letters_a_day, one.text)
        table.add_row(*map(cell, values))
    console.print(table)


def _read_url(file: TextIO | None) -> str:
    if file is not None:
        text = file.read()
    elif sys.stdin.isatty():
        text = str(click.prompt("Address", hide_input=True))
    else:
        text = sys.stdin.read()
    if len(words := text.split()) != 1:
        raise InputError("An address is one line without spaces.", hint="Write a space in it as %20.")
    return words[0]


def _name(text: str) -> str:
    try:
        return parse_name(text.strip())
    except ValueError as error:
        raise InputError(str(error)) from error


def _service(target: Target) -> str:
    if target.url is None:
        return UNSEALED
    try:
        return service_of(target.url)
    except InputError:
        return "no known service"


def _quiet_sentence(quiet: QuietHours | None) -> str:
    if quiet is None:
        return "No quiet hours: everything from a warning up is told at once."
    return f"Quiet hours: {quiet.start:%H:%M} to {quiet.end:%H:%M}, {quiet.zone}. Only what is grave is told in them."
