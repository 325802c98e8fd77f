"""What a check finds, how grave it is, and which records would mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """From good to bad. UNKNOWN: could not be looked up, and counts neither for nor against the domain."""

    FINE = "fine"
    UNKNOWN = "unknown"
    WARNS = "warns"
    BLOCKS = "blocks"


class Check(StrEnum):
    DOMAIN = "domain"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    MX = "mx"
    OPT_OUT = "opt_out"
    BLOCKLIST = "blocklist"


@dataclass(frozen=True, slots=True)
class Record:
    """One record to set; an empty `value` is known to the provider's console alone, and `note` says where it stands.

    `name` is complete, without the final dot; `value` is as people write it: TXT without quotes, MX "preference host".
    """

    name: str
    kind: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check; `code` is stable, `seen` and `todo` are sentences for a person."""

    check: Check
    code: str
    severity: Severity
    seen: str
    todo: str = ""
    records: tuple[Record, ...] = ()


def fine(check: Check, code: str, seen: str) -> Finding:
    return Finding(check, code, Severity.FINE, seen)


def unknown(check: Check, code: str, what: str, why: str) -> Finding:
    todo = "Nothing to mend in the domain; it is asked again. If it stays so, look at the resolver."
    return Finding(check, code, Severity.UNKNOWN, f"{what} could not be looked up: {why}", todo)


def warns(check: Check, code: str, seen: str, todo: str, *records: Record) -> Finding:
    return Finding(check, code, Severity.WARNS, seen, todo, records)


def blocks(check: Check, code: str, seen: str, todo: str, *records: Record) -> Finding:
    return Finding(check, code, Severity.BLOCKS, seen, todo, records)


def verdict_of(findings: Iterable[Finding]) -> Severity:
    """The whole domain's: the worst finding; UNKNOWN only where what must be there could not be looked up.

    A blocklist that does not answer is no reason to wait: it is a warning.
    """
    kinds = {
        Severity.WARNS
        if finding.check is Check.BLOCKLIST and finding.severity is Severity.UNKNOWN
        else finding.severity
        for finding in findings
    }
    order = (Severity.BLOCKS, Severity.UNKNOWN, Severity.WARNS)
    return next((severity for severity in order if severity in kinds), Severity.FINE)


def shown(text: str, longest: int = 120) -> str:
    """What a stranger published, safe to print: no controls, and not too long."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"
