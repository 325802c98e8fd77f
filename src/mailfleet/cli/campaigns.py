"""campaign: add, list, check, start, pause, resume, stop, preview, contacts."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from math import ceil
from pathlib import Path

import click
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from mailfleet.base.db import Connection
from mailfleet.cli.opening import opened
from mailfleet.cli.operators import operator_name
from mailfleet.cli.printing import confirm, console, moment
from mailfleet.intake.campaign_check import CheckReport, Finding, check_campaign
from mailfleet.intake.campaign_file import CampaignFile, read_campaign
from mailfleet.intake.campaign_launch import LaunchPlan, check_launch, launch, pause, plan_launch, stop
from mailfleet.intake.campaign_letters import preview
from mailfleet.intake.campaign_store import (
    Saved,
    check_names,
    find_stored,
    list_campaigns,
    read_standings,
    read_stored,
    save_campaign,
)
from mailfleet.mail.compose import compose
from mailfleet.model.words import CampaignState

_SHOWN_HEADERS = ("From", "To", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "List-Unsubscribe")

name_argument = click.argument("name")
file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
reason_option = click.option("--reason", default="", help="Why; shown wherever the campaign is.")


@click.group("campaign")
def campaign_command() -> None:
    """What is written, to whom, from which mailboxes, when. docs/campaigns.md describes the file."""


@campaign_command.command("add")
@file_argument
def campaign_add(file: Path) -> None:
    """Take a campaign FILE in as a draft, or change the draft or paused campaign of its name."""
    campaign = read_campaign(file)
    with opened() as it:
        notes = check_names(it.connection, campaign, file)
        saved = save_campaign(it.connection, campaign)
    for line in (*_saved_lines(campaign, saved), *(f"Note: {note}" for note in notes)):
        click.echo(line)


def _saved_lines(campaign: CampaignFile, saved: Saved) -> Iterator[str]:
    name = campaign.name
    if saved.is_new:
        variants = sum(len(step.variants) for step in campaign.steps)
        yield f"Added {name} as a draft: {len(campaign.steps)} steps, {variants} variants."
        yield f"Next: mailfleet campaign check {name}, then mailfleet campaign start {name}."
    elif saved.changes:
        yield f"Changed {name}, which is {'a draft' if saved.state is CampaignState.DRAFT else saved.state}:"
        yield from (f"  {change}" for change in saved.changes)
        if saved.state is CampaignState.PAUSED:
            yield "Contacts who are enrolled go on; a changed wait counts from the next accepted letter."
    else:
        yield f"{name} is as the file says; nothing changed."


@campaign_command.command("list")
def campaign_list() -> None:
    """Every campaign, and where the contacts of each step stand."""
    with opened() as it:
        campaigns = list_campaigns(it.connection)
    if not campaigns:
        click.echo("There is no campaign yet; `mailfleet campaign add FILE` makes one.")
    for campaign in campaigns:
        reason = f" ({campaign.reason})" if campaign.reason else ""
        console.print(
            f"[bold]{escape(campaign.name)}[/]  {campaign.state}{escape(reason)}, {escape(campaign.identity)}:"
            f" {campaign.enrolled} contacts enrolled, {campaign.finished} had every letter"
        )
        table = Table(box=None, pad_edge=False)
        for column in ("step", "sent", "queued", "waiting", "ended"):
            table.add_column(column, justify="right")
        for step in campaign.steps:
            table.add_row(*map(str, (step.number, step.sent, step.queued, step.waiting, step.ended)))
        console.print(table)


@campaign_command.command("check")
@click.argument("name_or_file")
def campaign_check(name_or_file: str) -> None:
    """Write every letter on trial, for every contact, and say what is wrong; then the exit status is 1."""
    with opened() as it:
        found = _find(it.connection, name_or_file)
        with _progress("Writing letters on trial") as progress:
            report = check_campaign(it.connection, found.campaign, campaign_id=found.id, progress=progress)
    for line in (*found.notes, *_report_lines(found.campaign, report)):
        click.echo(line)
    if not report.is_clean:
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Found:
    """A campaign by its name, or as its file would make it; `id` None when it is not stored."""

    campaign: CampaignFile
    id: int | None
    notes: tuple[str, ...] = ()


def _find(connection: Connection, name_or_file: str) -> _Found:
    path = Path(name_or_file)
    if not path.is_file():
        if path.suffix == ".toml":
            read_campaign(path)  # says why it cannot be read
        stored = read_stored(connection, name_or_file)
        return _Found(stored.content, stored.id)
    campaign = read_campaign(path)
    notes = tuple(f"Note: {note}" for note in check_names(connection, campaign, path))
    known = find_stored(connection, campaign.name)
    return _Found(campaign, known.id if known else None, notes)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar in a terminal, nothing in a pipe."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _report_lines(campaign: CampaignFile, report: CheckReport) -> Iterator[str]:
    yield (
        f"{campaign.name}: {report.audience.contacts} contacts, {len(campaign.steps)} steps, {report.mailboxes}"
        f" mailboxes; {report.letters} letters written on trial."
    )
    if report.obstacles:
        yield "It cannot start:"
        yield from (f"  {obstacle}" for obstacle in report.obstacles)
    wrong = [finding for finding in report.findings if finding.is_wrong]
    notes = [finding for finding in report.findings if not finding.is_wrong]
    for title, findings in (("Wrong:", wrong), ("To know:", notes)):
        if findings:
            yield title
            yield from map(_finding_line, findings)
    if report.is_clean:
        yield "Nothing is wrong."


def _finding_line(finding: Finding) -> str:
    what = "mailbox" if finding.fault == "mailbox" else "contact"
    count = f"1 {what}" if finding.count == 1 else f"{finding.count} {what}{'es' if what == 'mailbox' else 's'}"
    places = f" [{'; '.join(finding.places)}]" if finding.places else ""
    more = ", …" if finding.count > len(finding.examples) else ""
    return f"  {count}: {finding.text}{places}: {', '.join(finding.examples)}{more}"


@campaign_command.command("start")
@name_argument
@yes_option
def campaign_start(name: str, yes: bool) -> None:
    """Enroll the contacts of a draft and let it run, once you approved what it would do."""
    with opened() as it:
        plan = plan_launch(it.connection, name)
        check_launch(plan, was=CampaignState.DRAFT)
        for line in _plan_lines(plan):
            click.echo(line)
        if not yes:
            confirm(f"Start {name}?")
        by = f"started by {operator_name()}"
        enrolled = launch(it.connection, plan, was=CampaignState.DRAFT, reason=by)
    click.echo(f"{name} runs: {enrolled} contacts enrolled.")


@campaign_command.command("resume")
@name_argument
@yes_option
def campaign_resume(name: str, yes: bool) -> None:
    """Let a paused campaign go on, within pace and limits; asks before it enrolls who came to its lists since."""
    with opened() as it:
        plan = plan_launch(it.connection, name)
        check_launch(plan, was=CampaignState.PAUSED)
        if plan.audience.eligible:
            for line in _plan_lines(plan):
                click.echo(line)
            if not yes:
                confirm(f"Resume {name} and enroll them?")
        by = f"resumed by {operator_name()}"
        enrolled = launch(it.connection, plan, was=CampaignState.PAUSED, reason=by)
    click.echo(f"{name} goes on" + (f": {enrolled} more enrolled." if enrolled else "."))


def _plan_lines(plan: LaunchPlan) -> Iterator[str]:
    campaign, audience = plan.stored.content, plan.audience
    days = f", over {ceil(plan.letters / plan.capacity)} or more days" if plan.capacity else ""
    yield f"Writes as     {campaign.identity}"
    yield f"Contacts      {audience.eligible} to be enrolled, of {audience.contacts} on {', '.join(campaign.lists)}"
    if audience.no_basis or audience.suppressed:
        yield f"Left out      {audience.no_basis} without a lawful basis, {audience.suppressed} suppressed"
    yield f"Letters       {plan.letters} at most, in {len(campaign.steps)} steps{days}"
    yield f"Pool          {plan.mailboxes} mailboxes, {plan.capacity} letters a day at most, fewer while they ramp"


@campaign_command.command("pause")
@name_argument
@reason_option
def campaign_pause(name: str, reason: str) -> None:
    """Let nothing more of a running campaign leave."""
    with opened() as it:
        pause(it.connection, name, reason=reason or f"paused by {operator_name()}")
    click.echo(f"{name} is paused; `mailfleet campaign resume {name}` lets it go on.")


@campaign_command.command("stop")
@name_argument
@reason_option
def campaign_stop(name: str, reason: str) -> None:
    """End a campaign for good, and the way of every contact in it."""
    with opened() as it:
        ended = stop(it.connection, name, reason=reason or f"stopped by {operator_name()}")
    click.echo(f"{name} is stopped for good: {ended} enrollments ended.")


@campaign_command.command("preview")
@click.argument("name_or_file")
@click.option("--contact", required=True, metavar="ADDRESS", help="To whom.")
@click.option("--step", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--variant", help="By name; without it the first.")
@click.option("--raw", is_flag=True, help="The whole message as it goes over the wire.")
def campaign_preview(name_or_file: str, contact: str, step: int, variant: str | None, raw: bool) -> None:
    """Print one contact's letter as it would leave. Its opt-out link is not valid."""
    with opened() as it:
        campaign = _find(it.connection, name_or_file).campaign
        shown = preview(it.connection, campaign, contact, step=step, variant=variant)
    content = compose(shown.letter)
    for note in shown.notes:
        click.echo(note, err=True)
    if raw:
        click.echo(content, nl=False)
        return
    parsed = message_from_bytes(content, policy=policy.default)
    for header in _SHOWN_HEADERS:
        if parsed[header]:
            click.echo(f"{header}: {parsed[header]}")
    click.echo(f"\n{shown.letter.text}")
    if shown.letter.html is not None:
        click.echo("(There is an HTML part beside it; --raw shows it.)")


@campaign_command.command("contacts")
@name_argument
@click.option("--reason", "code", metavar="CODE", help="Only those, such as hole, suppressed, no_lawful_basis.")
def campaign_contacts(name: str, code: str | None) -> None:
    """Each contact of a campaign, one a line: address, state, step, when, reason."""
    with opened() as it:
        stored = read_stored(it.connection, name)
        is_empty = True
        for row in read_standings(it.connection, stored.id, code=code):
            is_empty = False
            step = f"step {row.next_step}" if row.next_step else ""
            click.echo("\t".join((row.address, row.state, step, moment(row.next_at), row.code, row.reason)))
    if is_empty:
        click.echo(f"There is no such contact in {name}.", err=True)
