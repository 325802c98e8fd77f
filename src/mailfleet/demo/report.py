"""The report: what we say of ourselves, held against the ledger by the judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection
from mailfleet.demo.files import RESERVE_AHEAD
from mailfleet.model.words import ScopeKind
from mailfleet.providers.sandbox.fleet import SandboxFleet
from mailfleet.providers.sandbox.judge import Expectations, ExpectedLetter, LimitRule, OptOut, Report, Said, judge
from mailfleet.providers.sandbox.ledger import Ledger

STOP_GRACE = RESERVE_AHEAD  # a letter reserved before the no is recalled; until it is, it may leave within this

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
"""
WAITING = """
SELECT reason_code AS code, min(reason) AS example, count(*) AS contacts FROM enrollment
WHERE state = 'active' GROUP BY reason_code ORDER BY 3 DESC
"""
FAULTLESS = ("duplicates", "over_limit", "before_pace", "after_opt_out", "lost", "unknown")


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the ledger says, and what we add: letters still ambiguous, who waits and why, who said no, kills, times."""

    judged: Report
    mailboxes: int
    contacts: int
    ambiguous: int
    waiting: Sequence[Any]
    said_no: int
    kills: int
    restarts: int
    seconds: float
    slowest_stop: float

    @property
    def holds(self) -> bool:
        return self.judged.holds

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
            "waiting": sum(row.contacts for row in self.waiting),
            "kills": self.kills,
            "restarts": self.restarts,
            "seconds": round(self.seconds, 1),
            "slowest_stop_seconds": round(self.slowest_stop, 3),
        }


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


def slowest_stop(ledger: Ledger, opt_outs: Sequence[OptOut]) -> float:
    """Seconds from the commit of a no to the last first byte of a letter after it; 0 when none left after it."""
    committed = {opt_out.target: opt_out.at.timestamp() for opt_out in opt_outs}
    late = [t.mail_at - committed[t.rcpt.lower()] for t in ledger.transactions if t.rcpt.lower() in committed]
    return max([0.0, *late])


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


def moment_of(connection: Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    now: datetime = row.now
    return now
