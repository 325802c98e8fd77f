"""apply, export, keys: the fleet as a file, and the keys that seal its credentials."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mailfleet.base.errors import InputError
from mailfleet.cli.opening import opened
from mailfleet.cli.printing import confirm
from mailfleet.intake.fleet_dump import dump_fleet
from mailfleet.intake.fleet_file import FleetFile, read_fleet
from mailfleet.intake.fleet_store import apply_fleet, load_fleet, plan_fleet
from mailfleet.intake.mailbox_store import export_mailboxes
from mailfleet.intake.sealed import check_keys, prune_keys, read_keys, rotate_keys

PATH = click.Path(path_type=Path)


@click.command("apply")
@click.argument("file", type=PATH)
@click.option("--yes", is_flag=True, help="Apply without asking.")
def apply_command(file: Path, yes: bool) -> None:
    """Make the fleet what FILE says: shows the difference, asks, applies it in one transaction."""
    fleet = read_fleet(file)
    with opened() as it:
        plan = plan_fleet(it.connection, fleet)
        for note in plan.notes:
            click.echo(f"  ! {note}")
        for change in plan.changes:
            click.echo(f"  {change}")
        if not plan.changes:
            click.echo("Nothing to change.")
            return
        if not yes:
            confirm(f"Apply {_counted(len(plan.changes), 'change')}?")
        apply_fleet(it.connection, fleet, plan)
    click.echo(f"Applied {_counted(len(plan.changes), 'change')}.")


@click.group("export")
def export_command() -> None:
    """Write the fleet or its mailboxes to a file, without any secret."""


@export_command.command("fleet")
@click.argument("file", type=PATH, required=False)
def export_fleet(file: Path | None) -> None:
    """Write identities, providers, accounts, domains, pools, limits, settings as TOML, to FILE or to the terminal."""
    with opened() as it:
        fleet = load_fleet(it.connection)
    if file is None:
        click.echo(dump_fleet(fleet), nl=False)
    else:
        with _writing(file):
            file.write_text(dump_fleet(fleet), encoding="utf-8")
        click.echo(f"Wrote {file}.")
    for name in _unfinished(fleet):
        click.echo(f'The identity "{name}" has no postal address yet: fill it in before applying the file.', err=True)


@export_command.command("mailboxes")
@click.argument("file", type=PATH)
def export_mailboxes_command(file: Path) -> None:
    """Write every mailbox as CSV, without passwords; importing the file changes nothing."""
    with opened() as it:
        count = export_mailboxes(it.connection, file)
    click.echo(f"Wrote {count:,} mailboxes to {file}, without their passwords.")


@click.group("keys")
def keys_command() -> None:
    """The keys that seal passwords, tokens and grants."""


@keys_command.command("check")
def keys_check() -> None:
    """Does every sealed value open?"""
    with opened() as it:
        report = check_keys(it.connection, read_keys(it.settings))
    click.echo(f"{report.sealed:,} sealed values, {report.newest:,} by the newest of {_counted(report.keys, 'key')}.")
    for name in report.lost:
        click.echo(f"  No key opens the credential of {name}: import its password again, or connect its account again.")
    if report.lost:
        sys.exit(1)
    click.echo("All of them open.")


@keys_command.command("rotate")
def keys_rotate() -> None:
    """Make a new key and seal everything by it; the old keys stay until `keys prune`."""
    with opened() as it:
        count = rotate_keys(it.connection, it.settings)
    click.echo(
        f"Sealed {count:,} values by the newest key. Take the key file to your other hosts and into your backup."
    )


@keys_command.command("prune")
def keys_prune() -> None:
    """Drop the old keys, if nothing is sealed by them."""
    with opened() as it:
        count = prune_keys(it.connection, it.settings)
    click.echo(
        f"Dropped {_counted(count, 'old key')}; backups of the database from before the rotation need them."
        if count
        else "There is one key only; nothing to drop."
    )


def _unfinished(fleet: FleetFile) -> list[str]:
    return [identity.name for identity in fleet.identities if not identity.postal_address]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(file)) from error
