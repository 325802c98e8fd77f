"""When a domain may begin, when it is held, and when it is looked at again. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address

from mailfleet.health.dns.facts import is_below
from mailfleet.health.dns.findings import Severity

GRACE = timedelta(hours=72)  # the design: failing longer than this is a hold
DAILY = timedelta(hours=24)  # the design: daily
FAILING = timedelta(hours=1)  # chosen: who has just mended a record wants to go on
UNANSWERED = timedelta(minutes=15)  # chosen: a resolver that is away for minutes costs a new domain no day

# Names that no public DNS holds: RFC 6761, RFC 2606. Such fleets are trials and demonstrations.
RESERVED = ("test", "example", "invalid", "localhost", "example.com", "example.net", "example.org")

NOT_CHECKED = "its DNS (SPF, DKIM, DMARC, MX) has not been checked yet"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of a domain's checks.

    `verdict` is None until one came to a conclusion, `checked_at` when the last one that did ended, `tried_at` the last
    of all. `failing_since` is set exactly while the verdict is BLOCKS. `is_held`: a hold of these checks stands.
    """

    verdict: Severity | None = None
    checked_at: datetime | None = None
    tried_at: datetime | None = None
    failing_since: datetime | None = None
    is_listed: bool = False
    is_held: bool = False


class Step(StrEnum):
    NONE = "none"
    HOLD = "hold"
    LIFT = "lift"


@dataclass(frozen=True, slots=True)
class Decision:
    """The `step` to take now and its `reason`; `may_begin`: whether a domain may write; `look_at`: the next check."""

    step: Step
    reason: str
    may_begin: bool
    look_at: datetime


def after_check(standing: Standing, verdict: Severity, *, is_listed: bool, now: datetime) -> Standing:
    """The standing after a check that ended `now`. One without a conclusion changes nothing but `tried_at`."""
    if verdict is Severity.UNKNOWN:
        return replace(standing, tried_at=now)
    failing_since = (standing.failing_since or now) if verdict is Severity.BLOCKS else None
    return Standing(verdict, now, now, failing_since, is_listed, standing.is_held)


def decide(standing: Standing, now: datetime) -> Decision:
    """A domain begins held and is set free by its first good check; once it writes, it is held after three days of
    failing, or at once when a blocklist has it. A good check lifts what these checks have set, and nothing else.
    """
    look_at = _look_at(standing, now)
    if standing.verdict is None:
        return Decision(Step.NONE if standing.is_held else Step.HOLD, NOT_CHECKED, False, look_at)
    if standing.failing_since is None:
        return Decision(Step.LIFT if standing.is_held else Step.NONE, "", True, look_at)
    reason = (
        "a blocklist lists it"
        if standing.is_listed
        else f"its DNS fails since {standing.failing_since:%Y-%m-%d %H:%M} UTC"
    )
    is_over = standing.is_listed or now - standing.failing_since >= GRACE
    return Decision(Step.HOLD if is_over and not standing.is_held else Step.NONE, reason, not is_over, look_at)


def _look_at(standing: Standing, now: datetime) -> datetime:
    if standing.tried_at is None:
        return now
    if standing.tried_at != standing.checked_at:
        return standing.tried_at + UNANSWERED
    return standing.tried_at + (FAILING if standing.failing_since else DAILY)


def needs_check(domain: str, smtp_hosts: Iterable[str]) -> bool:
    """False for a domain nobody outside can look up: a reserved name, or one that submits to this machine alone."""
    if any(is_below(domain, reserved) for reserved in RESERVED):
        return False
    hosts = list(smtp_hosts)
    return not hosts or not all(map(_is_this_machine, hosts))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return is_below(host, "localhost")
