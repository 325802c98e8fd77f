"""What health remembers: holds with their trials, limits of trials, halvings, incidents."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailfleet.base.db import Connection, again_on_deadlock
from mailfleet.base.stored import load_setting, save_setting
from mailfleet.health.half_open import LimitChanges, WantedLimit
from mailfleet.health.incidents import Incident
from mailfleet.health.look import QUERIES, Look
from mailfleet.health.orders import Absorption, HoldOrder
from mailfleet.health.rules import Judgement
from mailfleet.health.trials import Rung
from mailfleet.health.tunables import SETTING, HealthTunables
from mailfleet.outbox.stops import stopping

Row = Any


@dataclass(frozen=True, slots=True)
class Signs:
    """`now` by the database's clock; `marks` change when there is something new."""

    now: datetime
    marks: tuple[Any, ...]


def read_signs(connection: Connection) -> Signs:
    row = connection.execute(QUERIES["signs"]).fetchone()
    assert row is not None
    return Signs(row.now, tuple(row)[1:])


def load_health_tunables(connection: Connection) -> HealthTunables:
    return load_setting(connection, SETTING, HealthTunables)


def save_health_tunables(connection: Connection, tunables: HealthTunables) -> None:
    save_setting(connection, SETTING, tunables)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement on the facts of `look`, and what of it is to be written: limits of trials, incidents."""

    look: Look
    judgement: Judgement
    limits: LimitChanges
    incidents: tuple[Incident, ...]

    @property
    def stops(self) -> bool:
        """Whether holds or limits come or go: no reservation may overlap that."""
        return bool(self.judgement.orders or self.judgement.absorptions or self.limits.comes_or_goes)


@again_on_deadlock
def write_verdict(connection: Connection, verdict: Verdict) -> None:
    """All that follows from one judgement, in one transaction.

    1. holds, and those that wider ones replace; 2. where trials stand, and their limits; 3. ramps halved; 4. incidents.
    """
    with stopping(connection) if verdict.stops else connection.transaction():
        _write(connection, verdict)


def _write(connection: Connection, verdict: Verdict) -> None:
    def run(query: str, values: Mapping[str, Any]) -> None:
        """Not at all when there are no rows to write."""
        if any(isinstance(value, list) and value for value in values.values()):
            connection.execute(QUERIES[query], values)

    look, judgement, limits = verdict.look, verdict.judgement, verdict.limits
    run("place_holds", {**_orders(judgement.orders), "now": look.now})
    run("absorb_holds", _absorptions(judgement.absorptions))
    run("write_rungs", {**_rungs(_moved(judgement.rungs, look)), "now": look.now})
    run("forget_usage", {"limits": list(limits.forgotten)})
    run("remove_limits", {"limits": list(limits.removed)})
    run("write_limits", _limits(limits.written))
    run("change_limits", {"limits": list(limits.changed), "maxima": list(limits.changed.values())})
    run("write_halvings", _halvings(judgement.halvings, look.halvings))
    ids = {incident.key: number for number, incident in look.incidents.items()}
    run("open_incidents", _opened([one for one in verdict.incidents if one.key not in ids]))
    known = [(ids[one.key], one) for one in verdict.incidents if one.key in ids]
    run("update_incidents", _updated(known, look.incidents))


def tell_incidents(connection: Connection, told: Iterable[tuple[int, Incident]]) -> None:
    """Remembers of incidents, by their ids, that somebody was told of them as they are."""
    rows = list(told)
    values = {"ids": [number for number, _ in rows], "severities": [int(incident.severity) for _, incident in rows]}
    connection.execute(QUERIES["tell_incidents"], values)


def _orders(orders: Sequence[HoldOrder]) -> dict[str, Any]:
    causes = [order.cause if order.cause != order.scope else None for order in orders]
    return {
        "scope_kinds": [str(order.scope.kind) for order in orders],
        "scope_keys": [order.scope.key for order in orders],
        "families": [str(order.family) for order in orders],
        "cause_kinds": [str(cause.kind) if cause else None for cause in causes],
        "cause_keys": [cause.key if cause else None for cause in causes],
        "reasons": [order.reason for order in orders],
        "evidences": [json.dumps(order.evidence) for order in orders],
        "untils": [order.until for order in orders],
        "strikes": [order.strikes for order in orders],
    }


def _absorptions(absorptions: Sequence[Absorption]) -> dict[str, Any]:
    return {
        "holds": [one.hold_id for one in absorptions],
        "kinds": [str(one.into.kind) for one in absorptions],
        "keys": [one.into.key for one in absorptions],
    }


def _moved(rungs: Iterable[Rung], look: Look) -> list[Rung]:
    before = {trial.hold_id: trial for trial in look.facts.trials}
    return [rung for rung in rungs if before[rung.trial.hold_id] != rung.trial]


def _rungs(rungs: Sequence[Rung]) -> dict[str, Any]:
    trials = [rung.trial for rung in rungs]
    return {
        "holds": [trial.hold_id for trial in trials],
        "rungs": [trial.rung for trial in trials],
        "rung_ats": [trial.rung_at for trial in trials],
        "overs": [trial.is_over for trial in trials],
    }


def _limits(limits: Sequence[WantedLimit]) -> dict[str, Any]:
    return {
        "kinds": [str(limit.scope.kind) for limit in limits],
        "keys": [limit.scope.key for limit in limits],
        "maxima": [limit.maximum for limit in limits],
    }


def _halvings(now: Mapping[int, int], before: Mapping[int, int]) -> dict[str, Any]:
    changed = {mailbox: now.get(mailbox, 0) for mailbox in now.keys() | before.keys()}
    changed = {mailbox: number for mailbox, number in sorted(changed.items()) if number != before.get(mailbox, 0)}
    return {"mailboxes": list(changed), "halvings": list(changed.values())}


def _opened(incidents: Sequence[Incident]) -> dict[str, Any]:
    return {
        "families": [str(one.family) for one in incidents],
        "scope_kinds": [str(one.scope.kind) for one in incidents],
        "scope_keys": [one.scope.key for one in incidents],
        "severities": [int(one.severity) for one in incidents],
        "opened_ats": [one.opened_at for one in incidents],
        "letters": [one.letters_a_day for one in incidents],
        "texts": [one.text for one in incidents],
    }


def _updated(incidents: Sequence[tuple[int, Incident]], before: Mapping[int, Incident]) -> dict[str, Any]:
    parts = [one.part_of for _, one in incidents]
    return {
        "ids": [number for number, _ in incidents],
        "severities": [int(one.severity) for _, one in incidents],
        "letters": [one.letters_a_day for _, one in incidents],
        "texts": [one.text for _, one in incidents],
        "closed_ats": [one.closed_at for _, one in incidents],
        "part_of_kinds": [str(part.kind) if part else None for part in parts],
        "part_of_keys": [part.key if part else None for part in parts],
        "news": [one.told is None and before[number].told is not None for number, one in incidents],
    }
