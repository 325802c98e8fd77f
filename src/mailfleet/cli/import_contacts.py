"""import contacts: a file's people into a list."""

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Any, Self

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mailfleet.base.clock import utc_now
from mailfleet.base.errors import SetupError
from mailfleet.cli.opening import Opened, opened
from mailfleet.cli.printing import console
from mailfleet.intake.contact_store import ContactCounts, ImportProgress, Remark, import_contacts, parse_list_name
from mailfleet.intake.contacts import ContactDefaults, read_defaults
from mailfleet.intake.tables import Table, open_table

SPEAK_EVERY = 3.0  # chosen: seconds between two lines of progress where there is no terminal
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())


@click.command("contacts")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--list", "list_name", required=True, help="The list they join; made when there is none of that name.")
@click.option("--lawful-basis", default="", help="consent, existing_customer or legitimate_interest.")
@click.option("--source", default="", help="Where these people are known from.")
@click.option("--source-url", default="", help="The page they are known from.")
@click.option("--collected-on", default="", help="The day that was, as 2026-01-31.")
@click.option("--country", default="", help="Two letters, such as DE.")
@click.option("--time-zone", default="", help="Such as Europe/Berlin.")
@click.option("--report", type=click.Path(path_type=Path), help="Where refused and other rows are listed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and keep nothing.")
def contacts_command(file: Path, list_name: str, report: Path | None, dry_run: bool, **said: str) -> None:
    """Take in contacts. What an option says holds for the rows that say nothing themselves.

    Every good row of the file is taken in, or, when the import breaks off, none. Known contacts are merged: what is not
    empty wins, a lawful basis is never lowered. Suppressed addresses are left out. Exit status 1 when every row was
    refused.
    """
    name = parse_list_name(list_name)
    defaults = read_defaults(**said)
    table = open_table(file)
    with opened() as it, _Report(report or it.settings.home / "reports" / _report_name()) as remarks:
        counts = _import(it, table, remarks, list_name=name, defaults=defaults, dry_run=dry_run)
    _show(counts, table.path, name)
    if remarks.is_written:
        click.echo(f"Every such row, with its line and reason: {remarks.path}")
    if dry_run:
        click.echo("Dry run: nothing was kept.")
    if counts.rows and counts.refused == counts.rows:
        sys.exit(1)


def _import(
    it: Opened, table: Table, remarks: "_Report", *, list_name: str, defaults: ContactDefaults, dry_run: bool
) -> ContactCounts:
    with _progress() as on_progress:
        return import_contacts(
            it.connection,
            it.vault.digester,
            table,
            list_name=list_name,
            defaults=defaults,
            dry_run=dry_run,
            note=remarks.note,
            on_progress=on_progress,
        )


class _Report:
    """A CSV file of line, remark and reason, made with its first row. It repeats no cell: it is nobody's data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_written = False
        self._file: IO[str] | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            with self._failures_named("Its end is missing; the contacts were dealt with all the same."):
                self._file.close()

    def note(self, line: int, remark: Remark, reason: str) -> None:
        with self._failures_named("No contact was kept."):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("x", encoding="utf-8", newline="")
                self._writer = csv.writer(self._file)
                self._writer.writerow(("line", "remark", "reason"))
                self.is_written = True
            self._writer.writerow((line, remark, reason))

    @contextmanager
    def _failures_named(self, then: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"The report {self.path} cannot be written: {error.strerror}. {then}"
            raise SetupError(reason, hint="Name another file by --report.") from error


def _report_name() -> str:
    return f"contacts-{utc_now():%Y%m%dT%H%M%S.%fZ}.csv"


@contextmanager
def _progress() -> Iterator[Callable[[ImportProgress], None]]:
    """A bar in a terminal, a line now and then in a pipe: rows, rows a second, time left."""
    began_at = spoken_at = monotonic()
    if console.is_terminal:
        with Progress(*_COLUMNS, console=console, transient=True) as bar:
            task = bar.add_task("Contacts")
            yield lambda at: bar.update(task, completed=at.read, total=at.total, description=_so_far(at, began_at))
        return

    def speak(at: ImportProgress) -> None:
        nonlocal spoken_at
        if monotonic() - spoken_at >= SPEAK_EVERY or at.stage == "waiting":
            spoken_at = monotonic()
            click.echo(f"  {_so_far(at, began_at)}{_time_left(at, began_at)}")

    yield speak


def _so_far(at: ImportProgress, began_at: float) -> str:
    if at.stage == "waiting":
        return "waiting for another import to end"
    if at.stage == "merging":
        return f"{at.rows:,} rows read, merging those that are known"
    return f"{at.rows:,} rows, {at.rows / max(monotonic() - began_at, 0.001):,.0f} a second"


def _time_left(at: ImportProgress, began_at: float) -> str:
    if at.stage != "reading" or not at.read:
        return ""
    return f", {(monotonic() - began_at) * (at.total - at.read) / at.read:.0f} s left"


def _show(counts: ContactCounts, path: Path, name: str) -> None:
    kinds = ("new", "changed", "unchanged", "duplicate", "suppressed", "refused")
    told = ", ".join(f"{getattr(counts, kind):,} {kind}" for kind in kinds)
    click.echo(f"{path}: {counts.rows:,} rows: {told}.")
    click.echo(f'{counts.joined:,} contacts joined the list "{name}".')
    if counts.left_out:
        click.echo(f"{counts.left_out:,} cells were not understood and left out.")
    if counts.not_sendable:
        click.echo(f"{counts.not_sendable:,} contacts of the list have no lawful basis: no letter may go to them.")
        click.echo("  → Import the file again with --lawful-basis, or with a column lawful_basis.")
