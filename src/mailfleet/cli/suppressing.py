"""suppress, suppressions: who must never be written to again."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from mailfleet.base.errors import InputError
from mailfleet.cli.opening import Opened, opened
from mailfleet.cli.operators import operator_name
from mailfleet.cli.printing import cell, confirm, console
from mailfleet.intake.suppression_rows import open_suppressions
from mailfleet.intake.suppressions import (
    SuppressionCounts,
    count_suppressions,
    find_suppressions,
    import_suppressions,
    write_suppressions,
)
from mailfleet.mail.public_domains import is_public
from mailfleet.model.words import SuppressionKind
from mailfleet.outbox.stops import CompanyBan, Stopped, read_target, suppress, suppress_companies, suppress_company_of

FAULTS_SHOWN = 20  # chosen: as many as a person reads; the rest goes into the report
ROWS_SHOWN = 50  # chosen: a screen or two
PATH = click.Path(path_type=Path)


@click.command("suppress")
@click.argument("target")
@click.option(
    "--company", "is_company", is_flag=True, help="Everybody of a company: TARGET is its name, or an address."
)
@click.option("--reason", default="asked not to be written to", show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask before a public mail provider's domain is banned.")
def suppress_command(target: str, is_company: bool, reason: str, yes: bool) -> None:
    """Never write to TARGET again: an address, or a domain with all below it. No command takes it back.

    With --company: everybody of a company, by its name however it is written. If TARGET is an address: by the company
    of that contact, and by its domain unless that is a public mail provider's.
    """
    if not is_company and not yes:
        _ask_about(target)
    with opened() as it:
        _suppress(it, target, is_company=is_company, reason=reason)


def _ask_about(target: str) -> None:
    kind, value = read_target(target)
    if kind is SuppressionKind.DOMAIN and is_public(value):
        confirm(f"{value} belongs to a public mail provider: everybody there is banned, for good. Go on?")


def _suppress(it: Opened, target: str, *, is_company: bool, reason: str) -> None:
    source = f"operator {operator_name()}"
    names: tuple[str, ...] = ()
    if not is_company:
        stopped = suppress(it.connection, it.vault.digester, target, reason=reason, source=source)
    elif "@" in target:
        stopped, names = suppress_company_of(it.connection, it.vault.digester, target, reason=reason, source=source)
    else:
        stopped = suppress_companies(it.connection, it.vault.digester, [CompanyBan(target, reason, source)])
    click.echo(f"Suppressed {', '.join((target, *names))}: {_ended(stopped)}.")


def _ended(done: Stopped | SuppressionCounts) -> str:
    return f"{done.enrollments:,} campaigns of contacts ended, {done.messages:,} letters cancelled"


@click.group("suppressions")
def suppressions_command() -> None:
    """Who must never be written to again: lists of them in and out."""


@suppressions_command.command("import")
@click.argument("file", type=PATH)
@click.option("--report", type=PATH, help="Where every row that was refused is listed.")
def suppressions_import(file: Path, report: Path | None) -> None:
    """Take in a list of bans: CSV with a column address, domain or company; or one address or domain a line.

    Every good row is banned at once and for good, whatever is wrong with others; the same file again changes nothing.
    Columns reason, source and date are kept. Exit status 1 when every row was refused.
    """
    source = open_suppressions(file)
    with opened() as it, _faults(report) as faults, _progress() as on_progress:
        counts = import_suppressions(
            it.connection, it.vault.digester, source, by=operator_name(), note=faults.note, on_progress=on_progress
        )
    _show(file, counts, faults)
    if counts.rows and counts.refused == counts.rows:
        raise click.exceptions.Exit(1)


@suppressions_command.command("export")
@click.argument("file", type=PATH)
def suppressions_export(file: Path) -> None:
    """Write every ban as CSV. Erased ones stand there by their digest alone; an import reads all of it back."""
    with opened() as it:
        count = write_suppressions(it.connection, it.vault.digester, file)
    click.echo(f"Wrote {count:,} suppressions to {file}.")


@suppressions_command.command("list")
@click.option("--search", default="", help="A part of an address, domain, company or reason; an address finds all.")
def suppressions_list(search: str) -> None:
    """The newest bans; with --search those that bear on an address, a domain, a company or a reason."""
    with opened() as it:
        rows = find_suppressions(it.connection, it.vault.digester, search.strip(), ROWS_SHOWN)
        bans, erased = count_suppressions(it.connection)
    table = Table(box=None, pad_edge=False)
    for column in ("kind", "of", "since", "reason", "source"):
        table.add_column(column)
    for row in rows:
        of = "(erased)" if row.value is None else row.value
        table.add_row(*map(cell, (row.kind, of, row.created_at, row.reason, row.source)))
    if rows:
        console.print(table)
    shown = f"{len(rows):,} of them shown" if rows else "none of them meets the search" if search else "none"
    console.print(f"{bans:,} suppressions, {erased:,} of them erased; {shown}.")


@dataclass
class _Faults:
    """The first rows that are wrong are shown, all of them are written where a report is wanted."""

    count: int = 0
    shown: list[str] = field(default_factory=list)
    writer: Any = None

    def note(self, line: int, reason: str) -> None:
        self.count += 1
        if self.writer is not None:
            self.writer.writerow((line, reason))
        if len(self.shown) < FAULTS_SHOWN:
            self.shown.append(f"line {line}: {reason}")


@contextmanager
def _faults(report: Path | None) -> Iterator[_Faults]:
    with ExitStack() as stack:
        faults = _Faults()
        if report is not None:
            try:
                file = stack.enter_context(report.open("x", encoding="utf-8", newline=""))
            except OSError as error:
                raise InputError(f"the report cannot be written: {error.strerror}", where=str(report)) from error
            faults.writer = csv.writer(file)
            faults.writer.writerow(("line", "reason"))
        yield faults


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar in a terminal; in a pipe its name alone."""
    with click.progressbar(length=1, label="Suppressions") as bar:

        def show(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield show


def _show(file: Path, counts: SuppressionCounts, faults: _Faults) -> None:
    for fault in faults.shown:
        click.echo(f"  {fault}", err=True)
    if (more := faults.count - len(faults.shown)) > 0:
        click.echo(f"  … and {more:,} more; --report FILE lists them all.", err=True)
    kinds = f"{counts.addresses:,} addresses, {counts.domains:,} domains, {counts.companies:,} companies"
    click.echo(f"{file}: {counts.rows:,} rows: {kinds}, {counts.refused:,} refused.")
    click.echo(f"{counts.new:,} are new, {counts.known:,} were banned already; {_ended(counts)}.")
