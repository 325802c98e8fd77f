"""Whether the domain can receive: RFC 5321 §5.1 (MX), RFC 7505 (null MX), RFC 2181 §10.3 (no aliases)."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from mailfleet.health.dns.facts import Facts, Kind, State, plain_name
from mailfleet.health.dns.findings import Check, Finding, Record, blocks, fine, shown, unknown, warns
from mailfleet.health.dns.provider_records import ProviderRecords

MOST_HOSTS = 20  # chosen: more exchangers than anybody has


def judge_domain(domain: str, facts: Facts) -> list[Finding]:
    """Whether the name is there at all; a domain that ran out is NXDOMAIN, and everything else follows from it."""
    answer = facts.ask(Kind.SOA, domain)
    if answer.is_open:
        return [unknown(Check.DOMAIN, "domain_unknown", domain, answer.why)]
    if answer.state is State.MISSING:
        seen = f"{domain} does not exist in the DNS."
        return [
            blocks(Check.DOMAIN, "domain_missing", seen, "See at the registrar whether it ran out or has no servers.")
        ]
    return []


def exchangers(domain: str, facts: Facts) -> list[str]:
    """The hosts of the MX records, in the order in which they are tried; "." for a null MX."""
    values = sorted(map(_preference, facts.ask(Kind.MX, domain).values))
    return [host for _, host in values]


def _preference(value: str) -> tuple[int, str]:
    number, _, host = value.partition(" ")
    return (int(number) if number.isascii() and number.isdigit() else 0), plain_name(host) or "."


def judge_mx(domain: str, providers: Sequence[ProviderRecords], facts: Facts) -> list[Finding]:
    answer = facts.ask(Kind.MX, domain)
    wanted = mx_records(domain, providers, facts)
    if answer.is_open:
        return [unknown(Check.MX, "mx_unknown", f"The MX records of {domain}", answer.why)]
    hosts = exchangers(domain, facts)[:MOST_HOSTS]
    if not hosts:
        seen = f"{domain} has no MX record: replies, bounces and complaints do not arrive."
        return [blocks(Check.MX, "mx_missing", seen, "Set it.", *wanted)]
    if "." in hosts:
        seen = f"{domain} says by a null MX that it receives no mail (RFC 7505)."
        return [blocks(Check.MX, "mx_null", seen, "Replace it.", *wanted)]
    findings = [*_hosts(hosts, wanted, facts), *_provider(hosts, providers, wanted)]
    return findings or [fine(Check.MX, "mx_fine", f"Mail for {domain} goes to {', '.join(hosts)}.")]


def _hosts(hosts: Sequence[str], wanted: Sequence[Record], facts: Facts) -> Iterator[Finding]:
    dead: list[str] = []
    for host in hosts:
        answer, addresses = facts.addresses(host)
        if answer.is_open:
            yield unknown(Check.MX, "mx_host_unknown", shown(host), answer.why)
            continue
        if not any(map(_is_public, addresses)):
            dead.append(host)
        elif answer.canonical:
            seen = (
                f"The exchanger {shown(host)} is an alias of {shown(answer.canonical)}, which RFC 2181 §10.3 forbids."
            )
            yield warns(Check.MX, "mx_alias", seen, "Name the host itself.")
    if len(dead) == len(hosts):
        seen = f"No exchanger has an address that others can reach: {shown(', '.join(dead))}."
        yield blocks(Check.MX, "mx_dead", seen, "Mend the MX records.", *wanted)
    elif dead:
        seen = f"Exchangers without an address that others can reach: {shown(', '.join(dead))}."
        yield warns(Check.MX, "mx_part_dead", seen, "Remove them.")


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def _provider(
    hosts: Sequence[str], providers: Sequence[ProviderRecords], wanted: Sequence[Record]
) -> Iterator[Finding]:
    """Replies must reach the inboxes that are read, which the provider of the mailboxes keeps."""
    keepers = [provider for provider in providers if provider.mx_hosts]
    if keepers and not any(keeper.serves(host) for keeper in keepers for host in hosts):
        names = " or ".join(keeper.title for keeper in keepers)
        seen = f"Mail for the domain goes to {shown(', '.join(hosts))}, not to {names}, whose inboxes are read."
        todo = "Unless it is passed on to there: set the provider's."
        yield warns(Check.MX, "mx_elsewhere", seen, todo, *wanted)


def mx_records(domain: str, providers: Sequence[ProviderRecords], facts: Facts) -> tuple[Record, ...]:
    """What stands there, if it is a provider's; else that of the first provider that keeps inboxes."""
    answer = facts.ask(Kind.MX, domain)
    if answer.state is State.FAILED:
        return (Record(domain, "MX", "", "the MX records could not be looked up"),)
    hosts = exchangers(domain, facts)
    keepers = [provider for provider in providers if provider.mx_hosts]
    if not keepers or any(keeper.serves(host) for keeper in keepers for host in hosts):
        return tuple(Record(domain, "MX", value) for value in answer.values if not value.endswith(" ."))
    filled = next((keeper for keeper in keepers if keeper.mx), None)
    if filled is None:
        return (Record(domain, "MX", "", f"the value is in {keepers[0].console}"),)
    return filled.mx_records(domain)
