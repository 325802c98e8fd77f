"""All that is judged of one domain, and every record it should have. Pure: answers in, findings out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailfleet.health.dns.facts import Facts
from mailfleet.health.dns.findings import Check, Finding, Record, Severity, verdict_of
from mailfleet.health.dns.provider_records import ProviderRecords, guess_providers, load_providers
from mailfleet.health.dns.rules_blocklist import Blocklist, judge_blocklists
from mailfleet.health.dns.rules_dkim import Selector, dkim_records, judge_dkim
from mailfleet.health.dns.rules_dmarc import dmarc_record, judge_dmarc
from mailfleet.health.dns.rules_dmarc_records import organizational_domain
from mailfleet.health.dns.rules_mx import exchangers, judge_domain, judge_mx, mx_records
from mailfleet.health.dns.rules_opt_out import judge_opt_out, opt_out_place
from mailfleet.health.dns.rules_spf import judge_spf, spf_record


@dataclass(frozen=True, slots=True)
class DomainSetup:
    """What a domain is meant to be.

    `domain` as A-labels; `providers` through which it sends, by preset name: without any, they are guessed from its MX;
    `selectors` in use, where they are not the provider's usual ones; `opt_out_url` may be empty.
    """

    domain: str
    providers: tuple[str, ...] = ()
    selectors: tuple[Selector, ...] = ()
    opt_out_url: str = ""


@dataclass(frozen=True, slots=True)
class DomainReport:
    """`findings` from bad to good; `records` are all that the domain should have, set or not."""

    setup: DomainSetup
    providers: tuple[str, ...]
    checked_at: datetime
    verdict: Severity
    findings: tuple[Finding, ...]
    records: tuple[Record, ...]

    @property
    def is_listed(self) -> bool:
        """Whether a blocklist gives cause to stop."""
        return any(found.check is Check.BLOCKLIST and found.severity is Severity.BLOCKS for found in self.findings)

    @property
    def summary(self) -> str:
        """What is wrong, in a few words; empty when nothing is."""
        return "; ".join(found.seen for found in self.findings if found.severity is Severity.BLOCKS)


_ORDER = (Severity.BLOCKS, Severity.WARNS, Severity.UNKNOWN, Severity.FINE)


def judge(setup: DomainSetup, lists: Sequence[Blocklist], facts: Facts, now: datetime) -> DomainReport:
    """The report as far as the facts go; it is final when `facts.wanted` is empty."""
    domain = setup.domain
    providers = providers_of(setup, facts)
    names = tuple(provider.name for provider in providers)
    gone = judge_domain(domain, facts)
    if any(finding.severity is Severity.BLOCKS for finding in gone):
        return DomainReport(setup, names, now, Severity.BLOCKS, tuple(gone), ())
    findings = [
        *gone,
        *judge_spf(domain, providers, facts),
        *judge_dkim(domain, setup.selectors, providers, load_providers().common_selectors, facts),
        *judge_dmarc(domain, facts),
        *judge_mx(domain, providers, facts),
        *judge_opt_out(setup.opt_out_url, facts, now),
        *judge_blocklists(_shown_domains(setup, facts), lists, facts),
    ]
    records = (
        *mx_records(domain, providers, facts),
        spf_record(domain, providers, facts),
        *dkim_records(domain, setup.selectors, providers, facts),
        dmarc_record(domain, facts),
    )
    ordered = tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))
    return DomainReport(setup, names, now, verdict_of(findings), ordered, records)


def providers_of(setup: DomainSetup, facts: Facts) -> tuple[ProviderRecords, ...]:
    if setup.providers:
        known = load_providers().providers
        return tuple(known[name] for name in setup.providers)
    return guess_providers(exchangers(setup.domain, facts))


def _shown_domains(setup: DomainSetup, facts: Facts) -> list[str]:
    """Every name of ours that a letter shows, with its organizational domain, which is what lists know."""
    place = opt_out_place(setup.opt_out_url) if setup.opt_out_url else None
    shown = [setup.domain, *(selector.domain for selector in setup.selectors if selector.domain)]
    shown += [place[1]] if place else []
    names: dict[str, None] = {}
    for name in shown:
        names[name] = None
        if above := organizational_domain(name, facts):
            names[above] = None
    return list(names)
