"""Everything that a judgement depends on, read from the database as of one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.health.causes import PATTERN
from mailfleet.health.facts import Cell, Facts, Listening, Trial
from mailfleet.health.half_open import TrialLimit
from mailfleet.health.incidents import Incident
from mailfleet.health.rows import (
    attempt_of,
    domain_of,
    hold_of,
    incident_of,
    limit_of,
    place_of,
    reading_of,
    trial_of,
)
from mailfleet.health.scopes import Scope
from mailfleet.health.standing import DomainTrouble
from mailfleet.health.trials import settle_time
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, ScopeKind
from mailfleet.providers.oauth.grants import EndingGrant, StandingFault, ending_grants, standing_faults

QUERIES = load_queries("mailfleet.health")
COUNTED = (Family.BOUNCES, Family.POLICY, Family.COMPLAINTS)
LISTENED = timedelta(days=60)  # chosen: a thousand letters of a mailbox; what was answered before is another time
ANSWERED_AFTER = timedelta(days=3)  # chosen: people answer within days, or not at all
LISTEN_AGAIN = timedelta(hours=1)  # chosen: of numbers that move by the day

Row = Any
Ends = Mapping[Scope, datetime]
"""Of scopes the latest end of a hold of one family."""


@dataclass(frozen=True, slots=True)
class Look:
    """The facts of `now`, and what stands already of that which a judgement leads to: limits of trials, halvings by
    mailbox, incidents by their ids."""

    now: datetime
    facts: Facts
    limits: tuple[TrialLimit, ...]
    halvings: Mapping[int, int]
    incidents: Mapping[int, Incident]
    domains: tuple[DomainTrouble, ...]
    faults: tuple[StandingFault, ...]
    ending: tuple[EndingGrant, ...]


class Looking:
    """One service's looks, over one connection.

    What people answered is counted once an hour, and whenever a hold for silence has ended. With the counts their
    inboxes' last reads are kept: an inbox that is read again is judged by the next count, which has what was in it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard_at: datetime | None = None
        self._heard_since: Ends = {}
        self._heard: tuple[Listening, ...] = ()

    def look(self, tunables: HealthTunables) -> Look:
        """One snapshot: what is committed while it is read is the next one's."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            now: datetime = self._rows("begin_look")[0].now
            mailboxes = self._rows("places", since=now - tunables.window)
            limits = tuple(map(limit_of, self._rows("trial_limits")))
            known = Facts(tuple(map(place_of, mailboxes)), trials=self._trials(limits, tunables, now))
            return Look(
                now,
                self._facts(known, tunables, now),
                limits,
                {row.id: row.halvings for row in mailboxes if row.halvings},
                load_incidents(self._connection, since=now - tunables.reopen_within),
                tuple(map(domain_of, self._rows("domain_troubles"))),
                tuple(standing_faults(self._connection)),
                tuple(ending_grants(self._connection, now.date())),
            )

    def _trials(self, limits: Iterable[TrialLimit], tunables: HealthTunables, now: datetime) -> tuple[Trial, ...]:
        remembered = now - tunables.strike_memory
        rows = self._rows("trials", now=now, since=min(remembered, now - LISTENED), remembered=remembered)
        trials = list(map(trial_of, rows))
        letters = self._letters(trials, limits, tunables, now)
        return tuple(replace(trial, letters=letters.get(trial.hold_id, 0)) for trial in trials)

    def _letters(
        self, trials: Iterable[Trial], limits: Iterable[TrialLimit], tunables: HealthTunables, now: datetime
    ) -> dict[int, int]:
        """How many letters of its rung each trial has had judged, of those that rates still count."""
        ids = {limit.scope: limit.id for limit in limits}
        counted = [trial for trial in trials if not trial.is_over and trial.scope in ids]
        if not counted:
            return {}
        sinces = [max(trial.rung_at or trial.ended_at, now - tunables.window) for trial in counted]
        rows = self._rows(
            "trial_letters",
            holds=[trial.hold_id for trial in counted],
            limits=[ids[trial.scope] for trial in counted],
            sinces=sinces,
            untils=[now - settle_time(trial.family, tunables) for trial in counted],
            since=min(sinces),
        )
        return {row.hold_id: row.letters for row in rows}

    def _facts(self, known: Facts, tunables: HealthTunables, now: datetime) -> Facts:
        readings = self._rows("readings")
        attempts = self._rows("attempted", since=now - tunables.failure_window)
        return Facts(
            known.places,
            {family: self._cells(family, known, tunables, now) for family in COUNTED},
            (*map(attempt_of, attempts), *filter(None, map(reading_of, readings))),
            self._listening(known, readings, tunables, now),
            tuple(map(hold_of, self._rows("holds", now=now))),
            known.trials,
        )

    def _cells(self, family: Family, known: Facts, tunables: HealthTunables, now: datetime) -> tuple[Cell, ...]:
        since = now - tunables.window_of(family)
        pattern = (
            PATTERN if family is Family.BOUNCES else 1
        )  # of a few blocks or complaints each one's receiver is told
        columns = _columns(_ends(known, family, since), known)
        rows = self._rows("cells", family=family, since=since, pattern=pattern, **columns)
        return tuple(
            Cell(
                row.mailbox_id,
                row.campaign_id,
                row.letters,
                row.events,
                row.list_id,
                row.recipient_provider,
                row.receiver,
            )
            for row in rows
        )

    def _listening(
        self, known: Facts, readings: Iterable[Row], tunables: HealthTunables, now: datetime
    ) -> tuple[Listening, ...]:
        ends = _ends(known, Family.SILENCE, now - LISTENED)
        if self._heard_at is None or now - self._heard_at >= LISTEN_AGAIN or ends != self._heard_since:
            rows = self._rows(
                "listening",
                since=now - LISTENED,
                old=now - ANSWERED_AFTER,
                least=tunables.silence_replies,
                **_columns(ends, known),
            )
            read_at = {row.mailbox_id: row.read_at for row in readings}
            self._heard = tuple(
                Listening(row.mailbox_id, row.letters, row.replies, row.unanswered, read_at.get(row.mailbox_id))
                for row in rows
            )
            self._heard_at, self._heard_since = now, ends
        return self._heard

    def _rows(self, query: str, **values: Any) -> list[Row]:
        return self._connection.execute(QUERIES[query], values).fetchall()


def load_incidents(connection: Connection, *, since: datetime | None = None) -> dict[int, Incident]:
    """By id, in the order in which they were opened: those open, and those closed after `since`."""
    return {row.id: incident_of(row) for row in connection.execute(QUERIES["incidents"], {"since": since}).fetchall()}


def load_names(connection: Connection, scopes: Iterable[Scope]) -> dict[Scope, str]:
    """What a person calls them; a scope that is gone is missing."""
    wanted = sorted(set(scopes))
    values = {"kinds": [scope.kind for scope in wanted], "keys": [scope.key for scope in wanted]}
    rows = connection.execute(QUERIES["names"], values).fetchall() if wanted else []
    return {Scope(row.kind, row.key): row.name for row in rows if row.name is not None}


def _ends(known: Facts, family: Family, since: datetime) -> dict[Scope, datetime]:
    return {
        scope: trial.ended_at
        for (scope, of), trial in known.latest_trial.items()
        if of is family and trial.ended_at > since
    }


def _columns(ends: Ends, facts: Facts) -> dict[str, list[Any]]:
    """From when on the letters of each mailbox, campaign and recipient provider count, where a hold ended."""
    mailboxes: dict[int, datetime] = {}
    for scope, at in ends.items():
        for mailbox in facts.mailboxes_of.get(scope, ()):
            mailboxes[mailbox] = max(at, mailboxes.get(mailbox, at))
    campaigns = {int(scope.key): at for scope, at in ends.items() if scope.kind == ScopeKind.CAMPAIGN}
    recipients = {scope.key: at for scope, at in ends.items() if scope.kind == ScopeKind.RECIPIENT_PROVIDER}
    return {
        "mailboxes": list(mailboxes),
        "mailbox_ends": list(mailboxes.values()),
        "campaigns": list(campaigns),
        "campaign_ends": list(campaigns.values()),
        "recipients": list(recipients),
        "recipient_ends": list(recipients.values()),
    }
