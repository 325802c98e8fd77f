"""import: mailboxes and contacts from CSV files."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import monotonic

import click
from rich.progress import MofNCompleteColumn, Progress

from mailfleet.base.errors import InputError
from mailfleet.cli.opening import Opened, opened
from mailfleet.cli.operators import operator_name
from mailfleet.cli.printing import confirm, console
from mailfleet.health.dns.store import hold_unchecked
from mailfleet.health.newcomers import domains_to_acknowledge, record_acknowledgements
from mailfleet.intake.fleet_file import FleetFile
from mailfleet.intake.fleet_plan import listed
from mailfleet.intake.fleet_store import load_fleet
from mailfleet.intake.mailbox_check import Tokens, can_be_checked, check_mailboxes
from mailfleet.intake.mailbox_import import Reviewed, review_mailboxes, to_save
from mailfleet.intake.mailbox_store import Stored, load_mailboxes, save_mailboxes
from mailfleet.intake.mailboxes import MailboxDefaults, Verdict, map_mailbox_columns
from mailfleet.intake.placing import needed_rows
from mailfleet.intake.tables import Problem, Table, open_table
from mailfleet.intake.values import parse_name
from mailfleet.model.words import AuthKind
from mailfleet.providers.oauth.grants import Connected, load_connected
from mailfleet.providers.oauth.source import TokenSource

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
@click.option("--acknowledge", default="", help="Why new domains join an identity stopped for complaints; kept.")
@click.option("--yes", is_flag=True, help="Do not ask, in a terminal, before mailboxes that are there are changed.")
def mailboxes_command(
    file: Path, dry_run: bool, check: bool, yes: bool, tags: str, acknowledge: str, **names: str
) -> None:
    """Take in mailboxes: every row's verdict first, then the good rows are saved.

    Exit status 1 when a row was refused; that never keeps the others from being saved.
    """
    given = {option: _name(option, name) for option, name in names.items()}
    defaults = MailboxDefaults(given["provider"], given["account"], given["identity"], tuple(tags.split(",")))
    with opened() as it:
        table = open_table(file)
        fleet = load_fleet(it.connection)
        reviewed = _review(it, table, defaults, fleet)
        asked = domains_to_acknowledge(it.connection, _domains(reviewed))
        if not (why := acknowledge.strip()):
            reviewed = [_unacknowledged(row, asked) for row in reviewed]
        connected = load_connected(it.connection)
        _show(table, reviewed, every=dry_run)
        _show_unconnected(reviewed, connected)
        if check:
            reviewed = _checked(it, reviewed, fleet, connected)
        _save(it, fleet, reviewed, asked, why=why, dry_run=dry_run, ask=console.is_terminal and not yes)
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


def _domains(reviewed: Sequence[Reviewed]) -> dict[str, str]:
    """Those of mailboxes that are not refused, each with its identity."""
    return {row.mailbox["domain"]: row.mailbox["identity"] for row in reviewed if row.mailbox is not None}


def _unacknowledged(row: Reviewed, asked: Mapping[str, str]) -> Reviewed:
    """The same, refused when its domain asks for an acknowledgement that was not given."""
    why = asked.get(row.mailbox["domain"]) if row.mailbox is not None else None
    return _failed(row, f'{why} To add it: --acknowledge "why".') if why else row


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


def _show_unconnected(reviewed: Sequence[Reviewed], connected: Connected) -> None:
    """What a person must do before mailboxes without a secret can log in."""
    boxes = (row.mailbox for row in reviewed if row.mailbox is not None)
    by_token = (box for box in boxes if box["auth"] == AuthKind.XOAUTH2 and not box["password"])
    for account, count in Counter(f"{box['provider']}/{box['account']}" for box in by_token).items():
        if account not in connected.accounts:
            click.echo(f"  ! {account}: {count:,} log in by OAuth, once `mailfleet account connect {account}` was run.")


def _checked(it: Opened, reviewed: Sequence[Reviewed], fleet: FleetFile, connected: Connected) -> list[Reviewed]:
    """The same, with those refused whose login failed."""
    there = [row.mailbox for row in reviewed if row.mailbox is not None]
    good = [mailbox for mailbox in there if can_be_checked(mailbox, connected.mailboxes)]
    ca_files = {provider.name: provider.ca_file for provider in fleet.providers}
    faults: dict[str, str] = {}
    with _progress(len(good)) as step:

        def hear(mailbox: Stored, fault: str) -> None:
            faults.update({mailbox["address"]: fault} if fault else {})
            step(len(faults))

        asyncio.run(_check(it, good, ca_files, connected, hear))
    after = [_failed(row, faults.get(row.verdict.address, "")) for row in reviewed]
    for row in after:
        if row.verdict.address in faults:
            click.echo(_line(row.verdict))
    click.echo(f"Logins checked: {len(good) - len(faults):,} work, {len(faults):,} fail.")
    if unchecked := len(there) - len(good):
        click.echo(f"Not checked: {unchecked:,} that log in by OAuth; `mailfleet account check ACCOUNT --each` does.")
    return after


async def _check(
    it: Opened,
    mailboxes: Sequence[Stored],
    ca_files: Mapping[str, str],
    connected: Connected,
    hear: Callable[[Stored, str], None],
) -> None:
    source = TokenSource(it.conninfo, it.vault.keyring)
    try:
        await check_mailboxes(mailboxes, ca_files, on_result=hear, tokens=Tokens(source, connected.mailboxes))
    finally:
        await source.close()


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


def _save(
    it: Opened,
    fleet: FleetFile,
    reviewed: Sequence[Reviewed],
    asked: Mapping[str, str],
    *,
    why: str,
    dry_run: bool,
    ask: bool,
) -> None:
    mailboxes = list(to_save(reviewed))
    acknowledged = {box["domain"]: asked[box["domain"]] for box in mailboxes if box["domain"] in asked}
    _show_needed(needed_rows(fleet, mailboxes))
    changed = sum(row.verdict.kind == "changed" for row in reviewed)
    if dry_run:
        click.echo("Dry run: nothing was saved.")
    elif not mailboxes:
        click.echo("Nothing to change.")
    else:
        if ask and changed:
            confirm(f"Change {changed:,} mailboxes that are there?")
        with it.connection.transaction():
            save_mailboxes(it.connection, it.vault.keyring, fleet, mailboxes)
            held = hold_unchecked(it.connection, [mailbox["domain"] for mailbox in mailboxes])
            if acknowledged:
                record_acknowledgements(it.connection, acknowledged, why=why, by=operator_name())
        click.echo(f"Saved {len(mailboxes) - changed:,} new mailboxes, {changed:,} changed ones.")
        if acknowledged:
            click.echo(f"Kept, with your name and reason: {', '.join(sorted(acknowledged))} joined a stopped identity.")
        if held:
            click.echo(f"Domains that wait for their first good DNS check: {held:,}; `mailfleet dns` checks them now.")


def _show_needed(needed: FleetFile) -> None:
    for kind in ("identities", "providers", "accounts", "domains"):
        if rows := getattr(needed, kind):
            click.echo(f"  + {kind}: {listed(rows)}")
    for identity in needed.identities:
        click.echo(f'  ! "{identity.name}" starts no campaign until fleet.toml gives that identity a postal address.')
