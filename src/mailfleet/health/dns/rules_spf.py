"""SPF (RFC 7208): there is one record, it can be evaluated, it covers the provider, and it excludes somebody.

Receivers ask for it: support.google.com/mail/answer/81126, senders.yahooinc.com/best-practices, Microsoft's 5.7.515.
"""

from collections.abc import Iterator, Sequence

from mailfleet.health.dns.facts import Facts, Kind, State
from mailfleet.health.dns.findings import Check, Finding, Record, blocks, fine, shown, unknown, warns
from mailfleet.health.dns.provider_records import ProviderRecords
from mailfleet.health.dns.rules_spf_syntax import Network, SpfRecord, expand, parse_spf
from mailfleet.health.dns.rules_spf_walk import MOST_LOOKUPS, MOST_VOIDS, SpfTally, spf_texts, walk_spf

LONGEST = 450  # RFC 7208 §3.4: with names and headers, an answer then fits in 512 octets
_RECEIVERS = "Google, Yahoo and Microsoft turn away a domain without it."


def judge_spf(domain: str, providers: Sequence[ProviderRecords], facts: Facts) -> list[Finding]:
    """Every provider of the domain must be covered, under the one record."""
    answer = facts.ask(Kind.TXT, domain)
    if answer.is_open:
        return [unknown(Check.SPF, "spf_unknown", f"The TXT records of {domain}", answer.why)]
    texts = spf_texts(answer)
    wanted = spf_record(domain, providers, facts)
    if not texts:
        seen = f"{domain} has no SPF record. {_RECEIVERS}"
        return [blocks(Check.SPF, "spf_missing", seen, "Set this record.", wanted)]
    if len(texts) > 1:
        seen = f"{domain} has {len(texts)} SPF records, which counts as none that is valid (RFC 7208 §4.5)."
        return [blocks(Check.SPF, "spf_multiple", seen, "Put this one in the place of all of them.", wanted)]
    record = parse_spf(texts[0])
    tally = walk_spf(record, domain, facts)
    findings = [
        *_errors(tally, wanted),
        *_limits(tally),
        *_reach(record, tally, domain, facts),
        *_coverage(tally, providers, wanted, facts),
        *_habits(record, tally),
    ]
    findings += [unknown(Check.SPF, "spf_open", name, found.why) for name, found in tally.open]
    return findings or [fine(Check.SPF, "spf_fine", f"{shown(texts[0])} — {tally.lookups} of {MOST_LOOKUPS} look-ups.")]


def _errors(tally: SpfTally, wanted: Record) -> Iterator[Finding]:
    if tally.errors:
        seen = (
            f"The SPF record cannot be evaluated: {shown('; '.join(tally.errors), 400)} (RFC 7208 §4.6, a permerror)."
        )
        yield blocks(Check.SPF, "spf_invalid", seen, "Mend it; the record as it should be:", wanted)


def _limits(tally: SpfTally) -> Iterator[Finding]:
    if tally.lookups > MOST_LOOKUPS:
        count = f"more than {tally.lookups - 1}" if tally.has_given_up else str(tally.lookups)
        seen = f"The SPF record needs {count} look-ups, {MOST_LOOKUPS} are allowed (RFC 7208 §4.6.4): it is not valid."
        yield blocks(Check.SPF, "spf_lookups", seen, "Take out includes of services that send no mail for the domain.")
    if tally.voids > MOST_VOIDS:
        seen = f"{tally.voids} of the SPF record's look-ups find nothing, {MOST_VOIDS} are allowed (RFC 7208 §4.6.4)."
        yield blocks(Check.SPF, "spf_voids", seen, "Take out the names that are no more.")


def _reach(record: SpfRecord, tally: SpfTally, domain: str, facts: Facts) -> Iterator[Finding]:
    qualifier = _last_word(record, domain, facts)
    if qualifier == "+":
        seen = "The SPF record ends in +all: everybody may write in the domain's name."
        yield blocks(Check.SPF, "spf_all_pass", seen, "End it in ~all.")
    elif qualifier == "?":
        yield warns(Check.SPF, "spf_all_neutral", "The SPF record excludes nobody.", "End it in ~all.")


def _last_word(record: SpfRecord, domain: str, facts: Facts) -> str:
    """The qualifier of `all` that holds in the end, "?" where there is none (§4.7), empty where it is not known."""
    at = domain
    for _ in range(MOST_LOOKUPS + 1):
        if record.all or not record.redirect:
            return record.all or "?"
        name = expand(record.redirect, domain=at, sender_domain=domain)
        texts = spf_texts(facts.ask(Kind.TXT, name)) if name else []
        if name is None or len(texts) != 1:
            return ""
        at, record = name, parse_spf(texts[0])
    return ""


def _coverage(tally: SpfTally, providers: Sequence[ProviderRecords], wanted: Record, facts: Facts) -> Iterator[Finding]:
    for provider in providers:
        if not provider.spf or not tally.names.isdisjoint(provider.spf):
            continue
        include = provider.spf[0]
        covered = _covers(tally.networks, include, facts)
        if covered is None:
            yield unknown(Check.SPF, "spf_provider_unknown", f"What {include} covers", "no answer")
        elif covered:
            seen = f"The SPF record lists the addresses of {provider.title} instead of including {include}."
            yield warns(Check.SPF, "spf_copied", seen, "Include it: the addresses change without notice.", wanted)
        else:
            seen = f"The SPF record does not cover {provider.title}, through which the domain sends."
            yield blocks(Check.SPF, "spf_provider", seen, f"Add include:{include}.", wanted)


def _covers(networks: Sequence[Network], include: str, facts: Facts) -> bool | None:
    """Whether the addresses of `include` lie in `networks`; None while that is not known."""
    if not networks:
        return False
    answer = facts.ask(Kind.TXT, include)
    if answer.is_open:
        return None
    texts = spf_texts(answer)
    if len(texts) != 1:
        return False
    theirs = walk_spf(parse_spf(texts[0]), include, facts)
    if theirs.open:
        return None
    return bool(theirs.networks) and all(_lies_in(network, networks) for network in theirs.networks)


def _lies_in(network: Network, networks: Sequence[Network]) -> bool:
    """Within one of them; an IPv6 range counts only beside others of its kind, where none of ours is named."""
    return any(type(own) is type(network) and network.subnet_of(own) for own in networks)  # type: ignore[arg-type]


def _habits(record: SpfRecord, tally: SpfTally) -> Iterator[Finding]:
    if record.ignored:
        seen = f"Part of the SPF record says nothing: {shown('; '.join(record.ignored), 300)}."
        yield warns(Check.SPF, "spf_ignored", seen, "Mend or remove it.")
    if tally.uses_ptr:
        yield warns(Check.SPF, "spf_ptr", "The SPF record uses ptr, which RFC 7208 §5.5 advises against.", "Remove it.")
    if len(record.text.encode()) > LONGEST:
        seen = f"The SPF record has {len(record.text.encode())} octets; beyond {LONGEST} answers may be cut off."
        yield warns(Check.SPF, "spf_long", seen, "Shorten it (RFC 7208 §3.4).")


def spf_record(domain: str, providers: Sequence[ProviderRecords], facts: Facts) -> Record:
    """The record as it should be: what stands there and can be understood, with each provider's include, and an end."""
    answer = facts.ask(Kind.TXT, domain)
    if answer.state is State.FAILED:
        return Record(domain, "TXT", "", "the SPF record could not be looked up")
    records = [parse_spf(text) for text in spf_texts(answer)]
    kept = dict.fromkeys(term.text for record in records for term in record.terms if term.name not in ("all", "ptr"))
    names: set[str] = set().union(*(walk_spf(record, domain, facts).names for record in records))
    for provider in providers:
        if provider.spf and names.isdisjoint(provider.spf):
            kept[f"include:{provider.spf[0]}"] = None
    return Record(domain, "TXT", " ".join(("v=spf1", *kept, _ending(records))))


def _ending(records: Sequence[SpfRecord]) -> str:
    redirect = next((record.redirect for record in records if record.redirect), "")
    if redirect and not any(record.all for record in records):
        return f"redirect={redirect}"
    return "-all" if records and all(record.all == "-" for record in records) else "~all"
