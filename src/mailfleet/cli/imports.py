"""import: mailboxes and contacts from CSV files."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import monotonic

import click
from rich.progress import MofNCompleteColumn, Progress

from mailfleet.base.errors import InputError
from mailfleet.cli.opening import Opened, opened
from mailfleet.cli.printing import confirm, console
from mailfleet.intake.fleet_file import FleetFile
from mailfleet.intake.fleet_plan import listed
from mailfleet.intake.fleet_store import load_fleet
from mailfleet.intake.mailbox_check import check_mailboxes
from mailfleet.intake.mailbox_import import Reviewed, review_mailboxes, to_save
from mailfleet.intake.mailbox_store import Stored, load_mailboxes, save_mailboxes
from mailfleet.intake.mailboxes import MailboxDefaults, Verdict, map_mailbox_columns
from mailfleet.intake.placing import needed_rows
from mailfleet.intake.tables import Problem, Table, open_table
from mailfleet.intake.values import parse_name

SPEAK_EVERY = 3.0  # chosen: seconds between two lines of progress where there is no terminal


class Imports(click.Group):
    """Loads `contacts` when it is called, as the door does with every command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["mailboxes", "contacts"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "contacts":
            command: click.Command = import_module("mailfleet.cli.import_contacts").contacts_command
            return command
        return super().get_command(ctx, cmd_name)


@click.group("import", cls=Imports)
def import_command() -> None:
    """Take mailboxes or contacts in from a CSV file."""


@import_command.command("mailboxes")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show the verdict on every row and save nothing.")
@click.option("--check", is_flag=True, help="Log in to SMTP and IMAP of every row first; rows that fail are not saved.")
@click.option("--provider", default="", help="Of rows that name none; else it is recognised by its servers.")
@click.option("--account", default="", help="Of rows that name none.")
@click.option("--identity", default="", help="Of new domains whose rows name none.")
@click.option("--tags", default="", help="Further tags of every row, with commas between them.")
@click.option("--yes", is_flag=True, help="Do not ask, in a terminal, before mailboxes that are there are changed.")
def mailboxes_command(file: Path, dry_run: bool, check: bool, yes: bool, tags: str, **names: str) -> None:
    """Take in mailboxes: every row's verdict first, then the good rows are saved.

    Exit status 1 when a row was refused; that never keeps the others from being saved.
    """
    given = {option: _name(option, name) for option, name in names.items()}
    defaults = MailboxDefaults(given["provider"], given["account"], given["identity"], tuple(tags.split(",")))
    with opened() as it:
        table = open_table(file)
        fleet = load_fleet(it.connection)
        reviewed = _review(it, table, defaults, fleet)
        _show(table, reviewed, every=dry_run)
        if check:
            reviewed = _checked(reviewed, fleet)
        _save(it, fleet, reviewed, dry_run=dry_run, ask=console.is_terminal and not yes)
    if any(row.verdict.kind == "refused" for row in reviewed):
        sys.exit(1)


def _name(option: str, text: str) -> str:
    try:
        return parse_name(text.strip())
    except ValueError as error:
        raise InputError(str(error), where=f"--{option}") from error


def _review(it: Opened, table: Table, defaults: MailboxDefaults, fleet: FleetFile) -> list[Reviewed]:
    defaults = replace(defaults, allow_insecure=it.settings.allow_insecure, hard_cap=fleet.settings.hard_cap)
    stored = load_mailboxes(it.connection, it.vault.keyring)
    return review_mailboxes(table, defaults, fleet, stored)


def _show(table: Table, reviewed: Sequence[Reviewed], *, every: bool) -> None:
    """Every row, or those that a person should look at; then the warnings, and how many rows there are of each kind."""
    if ignored := map_mailbox_columns(table).other:
        click.echo(f"Columns that are not used: {', '.join(ignored)}")
    verdicts = [row.verdict for row in reviewed]
    for verdict in verdicts:
        if every or verdict.kind in ("refused", "changed"):
            click.echo(_line(verdict))
    warnings = Counter(warning for verdict in verdicts for warning in verdict.warnings)
    for warning, count in warnings.items():
        click.echo(f"  ! {warning} (rows: {count:,})")
    kinds = Counter(verdict.kind for verdict in verdicts)
    counts = ", ".join(f"{kinds[kind]:,} {kind}" for kind in ("new", "changed", "unchanged", "refused"))
    click.echo(f"{table.path}: {len(verdicts):,} rows: {counts}.")


def _line(verdict: Verdict) -> str:
    details = "; ".join(map(str, verdict.changes or verdict.reasons))
    return f"  line {verdict.line:<6} {verdict.kind:<9} {verdict.address} {details}".rstrip()


def _checked(reviewed: Sequence[Reviewed], fleet: FleetFile) -> list[Reviewed]:
    """The same, with those refused whose login failed."""
    good = [row.mailbox for row in reviewed if row.mailbox is not None]
    ca_files = {provider.name: provider.ca_file for provider in fleet.providers}
    faults: dict[str, str] = {}
    with _progress(len(good)) as step:

        def hear(mailbox: Stored, fault: str) -> None:
            faults.update({mailbox["address"]: fault} if fault else {})
            step(len(faults))

        asyncio.run(check_mailboxes(good, ca_files, on_result=hear))
    after = [_failed(row, faults.get(row.verdict.address, "")) for row in reviewed]
    for row in after:
        if row.verdict.address in faults:
            click.echo(_line(row.verdict))
    click.echo(f"Logins checked: {len(good) - len(faults):,} work, {len(faults):,} fail.")
    return after


def _failed(row: Reviewed, fault: str) -> Reviewed:
    if not fault:
        return row
    verdict = row.verdict
    return Reviewed(Verdict("refused", verdict.line, verdict.address, reasons=(Problem("", fault),)))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Called after each login with the number of those that failed so far."""
    if console.is_terminal:
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True) as bar:
            task = bar.add_task("Logging in", total=total)
            yield lambda failed: bar.update(task, advance=1, description=f"Logging in, {failed} failed")
        return
    done, spoken_at = 0, monotonic()

    def step(failed: int) -> None:
        nonlocal done, spoken_at
        done += 1
        if monotonic() - spoken_at >= SPEAK_EVERY:
            spoken_at = monotonic()
            click.echo(f"  logged in to {done:,} of {total:,}, {failed:,} failed")

    yield step


def _save(it: Opened, fleet: FleetFile, reviewed: Sequence[Reviewed], *, dry_run: bool, ask: bool) -> None:
    mailboxes = list(to_save(reviewed))
    _show_needed(needed_rows(fleet, mailboxes))
    changed = sum(row.verdict.kind == "changed" for row in reviewed)
    if dry_run:
        click.echo("Dry run: nothing was saved.")
    elif not mailboxes:
        click.echo("Nothing to change.")
    else:
        if ask and changed:
            confirm(f"Change {changed:,} mailboxes that are there?")
        save_mailboxes(it.connection, it.vault.keyring, fleet, mailboxes)
        click.echo(f"Saved {len(mailboxes) - changed:,} new mailboxes, {changed:,} changed ones.")


def _show_needed(needed: FleetFile) -> None:
    for kind in ("identities", "providers", "accounts", "domains"):
        if rows := getattr(needed, kind):
            click.echo(f"  + {kind}: {listed(rows)}")
    for identity in needed.identities:
        click.echo(f'  ! "{identity.name}" starts no campaign until fleet.toml gives that identity a postal address.')
