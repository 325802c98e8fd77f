"""demo: the whole path, at once, on pretend providers."""

import json
import signal
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailfleet.base.log import configure_log
from mailfleet.demo.files import DemoOptions
from mailfleet.demo.report import DemoReport
from mailfleet.demo.run import Demo, demo_folder

LAWS = {
    "duplicates": "letters sent twice",
    "lost": "letters lost",
    "over_limit": "letters over a limit",
    "before_pace": "letters before their mailbox's pace",
    "after_opt_out": "letters after an opt-out",
    "unknown": "letters we know nothing of",
    "after_hold": "letters from what was held",
}


INCIDENTS = 5  # chosen: the gravest; the rest would hide them
DEEDS = {
    "reply": "answered",
    "refusal": "asked to be left alone",
    "auto_reply": "were away",
    "bounce": "letters bounced",
    "odd_bounce": "bounced without a standard report",
    "complaint": "complained",
    "opt_out_link": "pressed unsubscribe",
    "opt_out_mail": "unsubscribed by mail",
}


@click.command("demo")
@click.option("--mailboxes", default=1200, show_default=True, type=click.IntRange(1, 5000))
@click.option("--contacts", default=3000, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--senders", default=2, show_default=True, type=click.IntRange(1, 16), help="Sender processes.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same people and faults.")
@click.option("--chaos", "is_chaos", is_flag=True, help="Kill senders and restart PostgreSQL meanwhile.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on the last line.")
@click.option("--exit", "leave", is_flag=True, help="End after the report; in a terminal it else waits for Enter.")
def demo_command(
    mailboxes: int, contacts: int, senders: int, seed: int, is_chaos: bool, as_json: bool, leave: bool
) -> None:
    """Send a campaign of three steps through a whole fleet on pretend providers; their ledger judges it."""
    configure_log("off" if is_chaos else "critical", process="demo")
    console = Console(stderr=as_json, highlight=False, emoji=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or else the folder would stay behind
    options = DemoOptions(mailboxes, contacts, senders, seed, is_chaos)

    def tell(report: DemoReport, home: Path) -> None:
        _print(console, report)
        if console.is_terminal and sys.stdin.isatty() and not leave:
            _linger(console, home)

    with demo_folder() as folder:
        report = Demo(options, folder, console).run(tell)
    if as_json:
        click.echo(json.dumps(report.as_record()))
    sys.exit(0 if report.holds else 1)


def _linger(console: Console, home: Path) -> None:
    console.print(f"\nThe database still runs. In another terminal: MAILFLEET_HOME={home} mailfleet status")
    console.input("Enter ends the demo and removes its folder.")


def _print(console: Console, report: DemoReport) -> None:
    record = report.as_record()
    console.print(
        f"\n[bold]The providers' ledger[/]: {record['accepted']:,} letters accepted, {record['deferred']} deferred,"
        f" {record['rejected']} rejected, {record['dropped']} connections cut, in {record['seconds']} s"
        f" ({record['accepted'] / max(1.0, report.seconds):.0f} a second with everything)."
    )
    if report.kills or report.restarts:
        console.print(
            f"{report.kills} processes were killed meanwhile, PostgreSQL restarted or killed {report.restarts} times."
        )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for name, words in LAWS.items():
        table.add_row(f"[bold {'red' if record[name] else 'green'}]{record[name]}[/]", words)
        for example in report.judged.laws[name].examples if name in report.judged.laws else ():
            table.add_row("", Text(f"  {example}"))
    console.print(table)
    console.print(
        f"{report.ambiguous} letters are ambiguous: the connection broke between the final dot and the reply"
        " (RFC 1047); they are not sent again."
    )
    for row in report.waiting:
        console.print(Text(f"{row.contacts} contacts wait: {row.example or 'their letter is in the queue'}"))
    _print_people(console, report)


def _print_people(console: Console, report: DemoReport) -> None:
    did = ", ".join(f"{count} {DEEDS[what]}" for what, count in sorted(report.deeds.items()) if what in DEEDS)
    console.print(f"\n[bold]The people[/]: {did or 'nobody did anything'}.")
    heard = ", ".join(f"{count} {kind}" for kind, count in sorted(report.heard.items()))
    console.print(f"Heard of it: {heard or 'nothing'}.")
    for words, times in (("the opt-out link", report.by_link), ("mail", report.by_mail)):
        if times.count:
            console.print(
                f"From a no by {words} to the stop of all letters: half within {times.median:.2f} s, 95 % within"
                f" {times.p95:.2f} s, the slowest {times.worst:.2f} s, of {times.count}."
            )
    for text in report.incidents[:INCIDENTS]:
        console.print(Text(f"Incident: {text}"))
    if len(report.incidents) > INCIDENTS:
        console.print(f"{len(report.incidents) - INCIDENTS} lesser incidents: `mailfleet incidents`.")
