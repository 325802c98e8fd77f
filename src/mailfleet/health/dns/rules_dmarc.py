"""DMARC (RFC 9989): one record whose policy applies, and nothing in it that says something else than was meant."""

import re
from collections.abc import Iterator

from mailfleet.health.dns.facts import Facts, Kind
from mailfleet.health.dns.findings import Check, Finding, Record, blocks, fine, shown, unknown, warns
from mailfleet.health.dns.rules_dmarc_records import (
    DmarcRecord,
    dmarc_name,
    dmarc_texts,
    find_dmarc,
    is_dmarc,
    organizational_domain,
    parse_dmarc,
)

POLICIES = ("none", "quarantine", "reject")
REMOVED = ("pct", "rf", "ri")  # RFC 9989, appendix on changes from RFC 7489
VALUES = {"adkim": ("r", "s"), "aspf": ("r", "s"), "t": ("y", "n"), "psd": ("y", "n", "u")}
KNOWN = {"v", "p", "sp", "np", "rua", "ruf", "fo", *VALUES, *REMOVED}
MOST_REPORTS = 10  # chosen: more addresses than anybody names, fewer than an attacker would

_MAILTO = re.compile(r"mailto:[^@\s,!]+@([A-Za-z0-9.\-]+)(![0-9]+[kmgt]?)?(\?.*)?", re.IGNORECASE)
_ALMOST = re.compile(r"dmarc1", re.IGNORECASE)
_RECEIVERS = "Google, Yahoo and Microsoft turn away bulk mail of a domain without one."


def judge_dmarc(domain: str, facts: Facts) -> list[Finding]:
    own = facts.ask(Kind.TXT, dmarc_name(domain))
    found = find_dmarc(domain, facts)
    if found.open is not None:
        return [unknown(Check.DMARC, "dmarc_unknown", f"The DMARC record of {domain}", found.open.why)]
    texts = dmarc_texts(own)
    if len(texts) > 1:
        seen = f"{domain} has {len(texts)} DMARC records, which counts as none (RFC 9989 §4.10)."
        return [blocks(Check.DMARC, "dmarc_multiple", seen, "Leave one.", dmarc_record(domain, facts))]
    if found.policy is None:
        return [_missing(domain, own.values, facts)]
    problems = [
        *_policy(found.policy, domain, found.policy_domain, facts),
        *_tags(found.policy),
        *_reports(found.policy, found.policy_domain, facts),
    ]
    return problems or [fine(Check.DMARC, "dmarc_fine", _summary(found.policy, domain, found.policy_domain))]


def _missing(domain: str, values: tuple[str, ...], facts: Facts) -> Finding:
    wanted = dmarc_record(domain, facts)
    almost = [text for text in values if _ALMOST.search(text) and not is_dmarc(text)]
    if almost:
        seen = f"The DMARC record does not begin with v=DMARC1, and is none: {shown(almost[0])}"
        return blocks(Check.DMARC, "dmarc_invalid", seen, "Put this in its place.", wanted)
    return blocks(
        Check.DMARC, "dmarc_missing", f"{domain} has no DMARC record. {_RECEIVERS}", "Set this record.", wanted
    )


def _policy(record: DmarcRecord, domain: str, policy_domain: str, facts: Facts) -> Iterator[Finding]:
    wrong = _without_policy(record)
    if not wrong:
        if record.word("t", "n") == "y" and _applied(record, domain, policy_domain) != "none":
            yield warns(Check.DMARC, "dmarc_testing", "t=y: receivers apply the policy one step milder.", "Remove it.")
    elif any(_MAILTO.fullmatch(uri) for uri in _uris(record, "rua")):
        seen = f"The DMARC record has no valid {wrong[0]}=, and counts as p=none (RFC 9989 §4.10.1)."
        yield warns(Check.DMARC, "dmarc_policy_implied", seen, "Say none, quarantine or reject.")
    else:
        seen = (
            f"The DMARC record has no valid {wrong[0]}=, nor an address for reports: it is as good as none (§4.10.1)."
        )
        yield blocks(Check.DMARC, "dmarc_no_policy", seen, "Set this in its place.", dmarc_record(domain, facts))
    if record.word("psd", "u") == "y" and policy_domain == domain:
        seen = "psd=y says that other people's domains lie below this one; then no other name of yours aligns with it."
        yield warns(Check.DMARC, "dmarc_psd", seen, "Remove psd=y; it is for registries.")


def _without_policy(record: DmarcRecord) -> list[str]:
    """The tags for which the record counts as one without a policy: p absent or wrong, sp or np wrong (§4.10.1)."""
    defaults = {"p": "", "sp": "none", "np": "none"}
    return [tag for tag, default in defaults.items() if record.word(tag, default) not in POLICIES]


def _applied(record: DmarcRecord, domain: str, policy_domain: str) -> str:
    """The policy for `domain`, which exists: p at its own name, else sp (§4.10.1)."""
    own = record.word("p", "none")
    applied = own if domain == policy_domain else record.word("sp", own)
    return applied if applied in POLICIES else own


def _tags(record: DmarcRecord) -> Iterator[Finding]:
    wrong = [f"{tag}={record.tags[tag]}" for tag, known in VALUES.items() if record.word(tag, known[0]) not in known]
    if wrong or record.odd:
        what = shown("; ".join((*wrong, *record.odd)), 200)
        yield warns(Check.DMARC, "dmarc_ignored", f"Part of the DMARC record is not understood: {what}", "Mend it.")
    removed = [tag for tag in REMOVED if tag in record.tags]
    if removed:
        seen = f"RFC 9989 has no {', '.join(removed)} any more; newer receivers ignore it."
        todo = "Remove it." if "pct" not in removed else "Remove it; without pct the policy holds for all letters."
        yield warns(Check.DMARC, "dmarc_removed_tags", seen, todo)
    if unheard := sorted(set(record.tags) - KNOWN):
        yield warns(
            Check.DMARC, "dmarc_unknown_tags", f"Nobody knows the tags {shown(', '.join(unheard))}.", "Remove them."
        )


def _uris(record: DmarcRecord, tag: str) -> list[str]:
    return [uri.strip() for uri in record.tags.get(tag, "").split(",") if uri.strip()][:MOST_REPORTS]


def _reports(record: DmarcRecord, policy_domain: str, facts: Facts) -> Iterator[Finding]:
    for uri in dict.fromkeys((*_uris(record, "rua"), *_uris(record, "ruf"))):
        found = _MAILTO.fullmatch(uri)
        if found is None:
            yield warns(Check.DMARC, "dmarc_report_uri", f"No report can go to {shown(uri)}.", "Write mailto:ADDRESS.")
            continue
        if found[2]:
            seen = f"RFC 9990 has no size limit like {found[2]} any more."
            yield warns(Check.DMARC, "dmarc_report_size", seen, "Remove it from the address.")
        yield from _elsewhere(found[1].lower().removesuffix("."), policy_domain, facts)


def _elsewhere(receiver: str, policy_domain: str, facts: Facts) -> Iterator[Finding]:
    """RFC 9990 (before: RFC 7489 §7.1): who receives reports of another organisation must say that it wants them."""
    ours, theirs = organizational_domain(policy_domain, facts), organizational_domain(receiver, facts)
    if receiver == policy_domain or ours is None or theirs is None or ours == theirs:
        return
    name = f"{policy_domain}._report._dmarc.{receiver}"
    answer = facts.ask(Kind.TXT, name)
    if answer.is_open or dmarc_texts(answer):
        return
    seen = f"{receiver} does not say that it takes DMARC reports about {policy_domain}: none are sent to it."
    record = Record(name, "TXT", "v=DMARC1", f"in the zone of {receiver}")
    yield warns(
        Check.DMARC, "dmarc_report_refused", seen, f"Ask {receiver} to set this, or name another address.", record
    )


def _summary(record: DmarcRecord, domain: str, policy_domain: str) -> str:
    where = "" if policy_domain == domain else f", from {policy_domain}"
    return f"{shown(record.text)} — {_applied(record, domain, policy_domain)} for letters of {domain}{where}."


def dmarc_record(domain: str, facts: Facts) -> Record:
    """What stands there, if it can stay, else the least that receivers ask for."""
    answer = facts.ask(Kind.TXT, dmarc_name(domain))
    if answer.is_open:
        return Record(dmarc_name(domain), "TXT", "", "the DMARC record could not be looked up")
    texts = [text for text in dmarc_texts(answer) if not _without_policy(parse_dmarc(text))]
    return Record(dmarc_name(domain), "TXT", texts[0] if texts else "v=DMARC1; p=none")
