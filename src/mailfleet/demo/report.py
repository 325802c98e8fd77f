"""The report: what we say of ourselves, held against the ledger by the judge."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from mailfleet.base.db import Connection
from mailfleet.demo.files import PACE_SECONDS, RESERVE_AHEAD, DemoFiles
from mailfleet.model.words import ScopeKind
from mailfleet.providers.sandbox.fleet import SandboxFleet
from mailfleet.providers.sandbox.judge import Expectations, ExpectedLetter, LimitRule, OptOut, Report, Said, judge
from mailfleet.providers.sandbox.ledger import Ledger
from mailfleet.providers.sandbox.personas import said_no

STOP_GRACE = RESERVE_AHEAD  # a letter reserved before the no is recalled; until it is, it may leave within this
READ_WITHIN = timedelta(seconds=25)  # chosen: 1,200 mailboxes are opened in as long; the promise is a minute
READ_IN_CHAOS = timedelta(seconds=45)  # chosen: a watcher's leases last ten seconds beyond its death

LETTERS = """
SELECT m.header_id, c.address_key, m.enrollment_id, s.number, m.state, m.reason_code
FROM message m JOIN contact c ON c.id = m.contact_id JOIN step s ON s.id = m.step_id
"""
LIMITS = """
SELECT l.scope_kind, l.scope_key, l.window_kind, l.window_seconds, l.window_zone, l.maximum,
       coalesce(b.address, d.name, a.name, p.name, i.name, l.scope_key) AS name
FROM sending_limit l
LEFT JOIN mailbox b ON l.scope_kind = 'mailbox' AND b.id::text = l.scope_key
LEFT JOIN domain d ON l.scope_kind = 'domain' AND d.id::text = l.scope_key
LEFT JOIN account a ON l.scope_kind = 'account' AND a.id::text = l.scope_key
LEFT JOIN provider p ON l.scope_kind = 'provider' AND p.id::text = l.scope_key
LEFT JOIN identity i ON l.scope_kind = 'identity' AND i.id::text = l.scope_key
WHERE l.scope_kind IN ('mailbox', 'domain', 'account', 'provider', 'identity', 'recipient_domain')
  AND l.source <> 'half_open'
"""
WAITING = """
SELECT reason_code AS code, min(reason) AS example, count(*) AS contacts FROM enrollment
WHERE state = 'active' GROUP BY reason_code ORDER BY 3 DESC
"""
STOPPED = """
SELECT c.address_key, min(e.reason_at) AS at FROM enrollment e JOIN contact c ON c.id = e.contact_id
WHERE e.state = 'stopped' AND e.reason_code IN ('replied', 'suppressed', 'opt_out') GROUP BY c.address_key
"""
HEARD = "SELECT kind, count(*) AS n FROM event GROUP BY kind"
HELD = """
SELECT h.scope_kind, coalesce(b.address, d.name) AS name, h.since, least(h.until, h.lifted_at) AS until
FROM hold h
LEFT JOIN mailbox b ON h.scope_kind = 'mailbox' AND b.id::text = h.scope_key
LEFT JOIN domain d ON h.scope_kind = 'domain' AND d.id::text = h.scope_key
WHERE h.scope_kind IN ('mailbox', 'domain')
"""
INCIDENTS = "SELECT text FROM incident ORDER BY severity DESC, opened_at"
BY_LINK = "opt_out_link"
FAULTLESS = ("duplicates", "over_limit", "before_pace", "after_opt_out", "lost", "unknown")


@dataclass(frozen=True, slots=True)
class StopTimes:
    """Seconds from a no (it lies in the mailbox, or its request was answered) to the end of all letters to its person,
    of those who had letters to come.
    """

    count: int = 0
    median: float = 0.0
    p95: float = 0.0
    worst: float = 0.0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "StopTimes":
        if not seconds:
            return cls()
        ordered = sorted(seconds)
        return cls(len(ordered), median(ordered), ordered[math.ceil(0.95 * len(ordered)) - 1], ordered[-1])


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the ledger says, and what we add: letters still ambiguous, who waits and why, what people did and what was
    heard of it, stop times, letters that left a held mailbox or domain, incidents, kills, times.
    """

    judged: Report
    mailboxes: int
    contacts: int
    ambiguous: int
    waiting: Sequence[Any]
    deeds: Mapping[str, int]
    heard: Mapping[str, int]
    by_link: StopTimes
    by_mail: StopTimes
    after_hold: int
    burning: str
    is_burning_held: bool
    incidents: Sequence[str]
    kills: int
    restarts: int
    seconds: float

    @property
    def holds(self) -> bool:
        return self.judged.holds and not self.after_hold

    def as_record(self) -> dict[str, Any]:
        """One flat object for `--json`."""
        laws = {name: self.judged.laws[name].count for name in FAULTLESS}
        return {
            "mailboxes": self.mailboxes,
            "contacts": self.contacts,
            "accepted": self.judged.accepted,
            "deferred": self.judged.deferred,
            "rejected": self.judged.rejected,
            "dropped": self.judged.dropped,
            "ambiguous": self.ambiguous,
            **laws,
            "after_hold": self.after_hold,
            "waiting": sum(row.contacts for row in self.waiting),
            **{f"did_{what}": count for what, count in sorted(self.deeds.items())},
            **{f"heard_{kind}": count for kind, count in sorted(self.heard.items())},
            **{f"stop_by_link_{name}": value for name, value in _rounded(self.by_link).items()},
            **{f"stop_by_mail_{name}": value for name, value in _rounded(self.by_mail).items()},
            "burning_held": self.is_burning_held,
            "incidents": len(self.incidents),
            "kills": self.kills,
            "restarts": self.restarts,
            "seconds": round(self.seconds, 1),
        }


def _rounded(times: StopTimes) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(times).items()}


def read_report(
    connection: Connection,
    ledger: Ledger,
    files: DemoFiles,
    *,
    contacts: int,
    kills: int,
    restarts: int,
    seconds: float,
) -> DemoReport:
    """Everything that is told at the end."""
    within = READ_IN_CHAOS if kills or restarts else READ_WITHIN
    row = connection.execute("SELECT count(*) AS n FROM message WHERE state = 'ambiguous'").fetchone()
    held = connection.execute(HELD).fetchall()
    stopped = {row.address_key: row.at for row in connection.execute(STOPPED).fetchall()}
    return DemoReport(
        judged=judge_demo(connection, ledger, files.fleet, _opt_outs(ledger, within), timedelta(seconds=PACE_SECONDS)),
        mailboxes=len(files.fleet.mailboxes),
        contacts=contacts,
        ambiguous=row.n if row is not None else 0,
        waiting=connection.execute(WAITING).fetchall(),
        deeds=Counter(event.what for event in ledger.events),
        heard={row.kind: row.n for row in connection.execute(HEARD).fetchall()},
        by_link=_stop_times(ledger, stopped, by_link=True),
        by_mail=_stop_times(ledger, stopped, by_link=False),
        after_hold=_after_hold(ledger, held),
        burning=files.burning,
        is_burning_held=any(row.name == files.burning for row in held),
        incidents=[row.text for row in connection.execute(INCIDENTS).fetchall()],
        kills=kills,
        restarts=restarts,
        seconds=seconds,
    )


def judge_demo(
    connection: Connection, ledger: Ledger, fleet: SandboxFleet, opt_outs: Sequence[OptOut], pace: timedelta
) -> Report:
    """The judge's verdict on everything the providers saw."""
    letters = [
        ExpectedLetter(row.header_id, row.address_key, str(row.enrollment_id), row.number, _said(row))
        for row in connection.execute(LETTERS).fetchall()
    ]
    return judge(
        ledger,
        Expectations(
            scopes=fleet.scopes,
            letters=letters,
            limits=[_rule(row) for row in connection.execute(LIMITS).fetchall()],
            paces={mailbox.address: pace for mailbox in fleet.mailboxes},
            opt_outs=opt_outs,
            opt_out_grace=STOP_GRACE,
        ),
    )


def _opt_outs(ledger: Ledger, within: timedelta) -> list[OptOut]:
    """Every no of the people, by the ledger. One by mail counts from when its mailbox is to have been read."""
    links = {event.contact for event in ledger.events if event.what == BY_LINK}
    return [no if no.target in links else OptOut(no.target, no.at + within) for no in said_no(ledger)]


def _stop_times(ledger: Ledger, stopped: Mapping[str, datetime], *, by_link: bool) -> StopTimes:
    first: dict[str, float] = {}
    for event in ledger.events:
        if (event.what == BY_LINK) is by_link and event.what != "auto_reply":
            first.setdefault(event.contact, event.at)
    return StopTimes.of([stopped[who].timestamp() - at for who, at in first.items() if who in stopped])


def _after_hold(ledger: Ledger, held: Sequence[Any]) -> int:
    """Letters that began while their mailbox or domain was held, beyond those reserved before."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in held:
        until = row.until.timestamp() if row.until else math.inf
        spans[row.name].append((row.since.timestamp() + STOP_GRACE.total_seconds(), until))
    return sum(
        begin < letter.mail_at < end
        for letter in ledger.transactions
        for name in (letter.mail_from, letter.mail_from.rpartition("@")[2])
        for begin, end in spans.get(name, ())
    )


def _said(row: Any) -> Said:
    if row.state in ("ambiguous", "submitting"):  # the latter only when the demo was cut short
        return "ambiguous"
    if row.state != "accepted":
        return "not_accepted"
    return "assumed" if row.reason_code == "assumed" else "accepted"


def _rule(row: Any) -> LimitRule:
    is_calendar = row.window_kind == "calendar"
    return LimitRule(
        ScopeKind(row.scope_kind).value,  # type: ignore[arg-type]
        row.maximum,
        key=row.name if row.scope_key is not None else None,
        length=None if is_calendar else timedelta(seconds=row.window_seconds),
        zone=row.window_zone if is_calendar else None,
    )
