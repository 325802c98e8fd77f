"""Everything that a judgement depends on, read from the database as of one moment."""

from collections.abc import Iterable, Mapping, Sequence
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
from mailfleet.health.scopes import Place, Scope
from mailfleet.health.standing import DomainTrouble
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
    """One service's looks, over one connection. What people answered is counted once an hour, and whenever a hold for
    silence has ended."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard_at: datetime | None = None
        self._heard_since: Ends = {}
        self._heard: list[Row] = []

    def look(self, tunables: HealthTunables) -> Look:
        """One snapshot: what is committed while it is read is the next one's."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            now: datetime = self._rows("begin_look")[0].now
            mailboxes = self._rows("places", since=now - tunables.window)
            known = self._with_trials(tuple(map(place_of, mailboxes)), tunables, now)
            return Look(
                now,
                self._facts(known, tunables, now),
                tuple(map(limit_of, self._rows("trial_limits"))),
                {row.id: row.halvings for row in mailboxes if row.halvings},
                load_incidents(self._connection, since=now - tunables.reopen_within),
                tuple(map(domain_of, self._rows("domain_troubles"))),
                tuple(standing_faults(self._connection)),
                tuple(ending_grants(self._connection, now.date())),
            )

    def _with_trials(self, places: tuple[Place, ...], tunables: HealthTunables, now: datetime) -> Facts:
        rows = self._rows("trials", now=now, since=now - tunables.strike_memory)
        trials = [trial_of(row) for row in rows]
        under_way = [trial for trial in trials if not trial.is_over]
        letters = self._letters(Facts(places), under_way) if under_way else {}
        return Facts(places, trials=tuple(replace(trial, letters=letters.get(trial.hold_id, 0)) for trial in trials))

    def _letters(self, facts: Facts, trials: Sequence[Trial]) -> dict[int, int]:
        """How many letters each has written on its rung."""
        parts = [(trial, kind, key) for trial in trials for kind, key in _parts(trial.scope, facts)]
        sinces = [trial.rung_at or trial.ended_at for trial, _, _ in parts]
        if not parts:
            return {}
        rows = self._rows(
            "trial_letters",
            holds=[trial.hold_id for trial, _, _ in parts],
            kinds=[kind for _, kind, _ in parts],
            keys=[key for _, _, key in parts],
            sinces=sinces,
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
            Cell(row.mailbox_id, row.campaign_id, row.letters, row.events, row.list_id, row.recipient_provider)
            for row in rows
        )

    def _listening(
        self, known: Facts, readings: Iterable[Row], tunables: HealthTunables, now: datetime
    ) -> tuple[Listening, ...]:
        ends = _ends(known, Family.SILENCE, now - LISTENED)
        if self._heard_at is None or now - self._heard_at >= LISTEN_AGAIN or ends != self._heard_since:
            self._heard = self._rows(
                "listening",
                since=now - LISTENED,
                old=now - ANSWERED_AFTER,
                least=tunables.silence_replies,
                **_columns(ends, known),
            )
            self._heard_at, self._heard_since = now, ends
        read_at = {row.mailbox_id: row.read_at for row in readings}
        return tuple(
            Listening(row.mailbox_id, row.letters, row.replies, row.unanswered, read_at.get(row.mailbox_id))
            for row in self._heard
        )

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


def _parts(scope: Scope, facts: Facts) -> list[Scope]:
    """A scope as the letters name it: by mailboxes, unless it is a campaign or a recipient provider. A sender host's
    are those of the fleet."""
    if scope.kind in (ScopeKind.CAMPAIGN, ScopeKind.RECIPIENT_PROVIDER):
        return [scope]
    mailboxes = facts.mailboxes_of.get(scope, facts.place_of.keys())
    return [Scope(ScopeKind.MAILBOX, str(mailbox)) for mailbox in mailboxes]


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
