"""dns: what is wrong with the DNS of sender domains, and the exact records to set."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import click
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from mailfleet.base.db import Connection
from mailfleet.base.settings import read_settings
from mailfleet.cli.opening import opened
from mailfleet.cli.printing import cell, console, plain
from mailfleet.health.dns.checking import check_domains
from mailfleet.health.dns.findings import Record, Severity
from mailfleet.health.dns.lookup import Lookup, ResolverAddress
from mailfleet.health.dns.provider_records import find_provider, load_providers
from mailfleet.health.dns.rules import DomainReport, DomainSetup
from mailfleet.health.dns.rules_blocklist import Blocklist, load_blocklists
from mailfleet.health.dns.rules_dkim import Selector
from mailfleet.health.dns.rules_hold import Step
from mailfleet.health.dns.store import FleetDomain, load_domains, settle_report
from mailfleet.health.dns.zone import zone_lines
from mailfleet.mail.addresses import parse_domain

NO_LIST = "none"
STYLES = {Severity.BLOCKS: "bold red", Severity.WARNS: "yellow", Severity.UNKNOWN: "magenta", Severity.FINE: "green"}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which domains, in order, and what the fleet knows of them."""

    setups: tuple[DomainSetup, ...]
    fleet: Mapping[str, FleetDomain]
    connection: Connection | None


@click.command("dns")
@click.argument("domains", nargs=-1)
@click.option("--provider", "providers", multiple=True, help="Through whom the domains send; without the fleet's data.")
@click.option(
    "--selector", "selectors", multiple=True, help="A DKIM selector in use; NAME._domainkey.DOMAIN for d=DOMAIN."
)
@click.option("--opt-out", "opt_out_url", default="", help="The opt-out address in their letters.")
@click.option("--zone", "as_zone", is_flag=True, help="Write the records they should have, as lines of a zone file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each domain.")
@click.option("--resolver", help="ADDRESS[:PORT] of the DNS server to ask, instead of MAILFLEET_RESOLVER.")
@click.option("--ca-file", help="PEM file of the only authorities trusted for the opt-out host.")
@click.option(
    "--blocklist",
    "blocklists",
    multiple=True,
    type=click.Choice([*load_blocklists(), NO_LIST]),
    help="Ask this list only; all without it.",
)
def dns_command(
    domains: tuple[str, ...],
    providers: tuple[str, ...],
    selectors: tuple[str, ...],
    opt_out_url: str,
    as_zone: bool,
    as_json: bool,
    resolver: str | None,
    ca_file: str | None,
    blocklists: tuple[str, ...],
) -> None:
    """Check SPF, DKIM, DMARC, MX, opt-out host and blocklists of DOMAINS, or of the whole fleet.

    Exit status 1 when something keeps a domain from writing.
    """
    settings = read_settings()
    lists = _lists(blocklists, settings.spamhaus_key)
    resolver = resolver or settings.resolver
    address = ResolverAddress.parse(resolver) if resolver else None
    given = DomainSetup("", _providers(providers), tuple(map(Selector.parse, selectors)), opt_out_url)
    with _asked(tuple(dict.fromkeys(map(parse_domain, domains))), given) as asked:
        reports = _check(asked, address, ca_file, lists)
        if as_zone:
            _print_zone(reports)
            return
        settled = _settle(asked, reports)
        if as_json:
            _print_json(reports)
        else:
            _print_reports(asked, reports, is_fleet=not domains)
            _print_steps(settled)
    if any(report.verdict is Severity.BLOCKS for report in reports):
        sys.exit(1)


def _lists(names: Sequence[str], key: str) -> tuple[Blocklist, ...]:
    chosen = [one for name, one in load_blocklists().items() if not names or name in names]
    return tuple(one.with_key(key) if key else one for one in chosen)


def _providers(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(find_provider(name).name for name in names))


@contextmanager
def _asked(names: tuple[str, ...], given: DomainSetup) -> Iterator[Asked]:
    """What is known of the domains: what is given here, else what the fleet knows of them, if there is one."""
    is_given = bool(given.providers or given.selectors or given.opt_out_url)
    if names and (is_given or not _has_fleet()):
        yield Asked(tuple(_named(name, given) for name in names), {}, None)
        return
    with opened() as it:
        known = {domain.setup.domain: domain for domain in load_domains(it.connection, names or None)}
        wanted = names or [name for name, domain in known.items() if not domain.is_exempt]
        setups = tuple(known[name].setup if name in known else _named(name, given) for name in wanted)
        yield Asked(setups, known, it.connection)


def _has_fleet() -> bool:
    """Whether there is an installation to ask: naming a domain starts none."""
    settings = read_settings()
    return settings.database_url is not None or (settings.home / "postgres" / "data").is_dir()


def _named(name: str, given: DomainSetup) -> DomainSetup:
    return DomainSetup(name, given.providers, given.selectors, given.opt_out_url)


def _check(
    asked: Asked, address: ResolverAddress | None, ca_file: str | None, lists: Sequence[Blocklist]
) -> list[DomainReport]:
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Domains", total=len(asked.setups))
        lookup = Lookup(address, ca_file=ca_file)
        return asyncio.run(check_domains(asked.setups, lookup, lists, lambda: progress.advance(task)))


def _settle(asked: Asked, reports: Sequence[DomainReport]) -> list[tuple[str, str]]:
    """Remembers what was found of the fleet's domains. What was done: (domain, sentence)."""
    done: list[tuple[str, str]] = []
    for report in reports:
        domain = asked.fleet.get(report.setup.domain)
        if domain is None or domain.is_exempt or asked.connection is None:
            continue
        decision = settle_report(asked.connection, domain, report, datetime.now(UTC))
        if decision.step is Step.HOLD:
            done.append((report.setup.domain, f"is held now: {decision.reason}."))
        elif decision.step is Step.LIFT:
            done.append((report.setup.domain, "is free to write: its hold is lifted."))
    return done


def _print_zone(reports: Sequence[DomainReport]) -> None:
    for report in reports:
        click.echo(f"; {report.setup.domain}")
        for line in zone_lines(report.records):
            click.echo(line)


def _print_json(reports: Sequence[DomainReport]) -> None:
    for report in reports:
        record = {
            "domain": report.setup.domain,
            "providers": report.providers,
            "checked_at": report.checked_at.isoformat(),
            "verdict": report.verdict,
            "findings": [asdict(finding) for finding in report.findings],
            "records": [asdict(record) for record in report.records],
        }
        click.echo(json.dumps(record, ensure_ascii=False))


def _print_reports(asked: Asked, reports: Sequence[DomainReport], *, is_fleet: bool) -> None:
    if not is_fleet:
        for report in reports:
            _print_report(report)
        return
    exempt = sum(domain.is_exempt for domain in asked.fleet.values())
    if exempt:
        console.print(f"Not checked, for they are trials (reserved names, or servers on this machine): {exempt}.")
    counts = Counter(report.verdict for report in reports)
    console.print(f"{len(reports)} domains: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in STYLES))
    wanting = [report for report in reports if report.verdict is not Severity.FINE]
    table = Table(box=None, pad_edge=False)
    for column in ("domain", "check", "severity", "what is seen"):
        table.add_column(column)
    for report in sorted(wanting, key=lambda report: list(STYLES).index(report.verdict)):
        for found in report.findings:
            if found.severity is not Severity.FINE:
                table.add_row(report.setup.domain, found.check, found.severity, cell(found.seen))
    if wanting:
        console.print(table)
        console.print("`mailfleet dns DOMAIN` says what to set; `mailfleet dns --zone` writes all of it.")


def _print_report(report: DomainReport) -> None:
    names = " and ".join(load_providers().providers[name].title for name in report.providers) or "provider unknown"
    style = STYLES[report.verdict]
    console.print(f"[bold]{plain(report.setup.domain)}[/] ({plain(names)}): [{style}]{report.verdict}[/]")
    for found in report.findings:
        console.print(f"  [{STYLES[found.severity]}]{found.severity:<8}[/]{found.check:<10}{plain(found.seen)}")
        if found.todo:
            console.print(f"  {'':<18}→ {plain(found.todo)}")
    records = dict.fromkeys(record for found in report.findings for record in found.records)
    if records:
        console.print("\n  Records to set:")
    for record in records:
        _print_record(record)
    console.print()


def _print_record(record: Record) -> None:
    console.print(f"    name   {plain(record.name)}\n    type   {record.kind}")
    console.print(f"    value  {plain(record.value) if record.value else '—'}")
    if record.note:
        console.print(f"    note   {plain(record.note)}")
    console.print()


def _print_steps(settled: Sequence[tuple[str, str]]) -> None:
    for domain, sentence in settled:
        console.print(f"[bold]{plain(domain)}[/] {plain(sentence)}")
