"""The alerts' turn: incidents that nobody was told of, or that became graver, are told."""

from datetime import datetime

from mailfleet.base.db import Connection
from mailfleet.health.alerts.quiet import read_quiet_hours
from mailfleet.health.alerts.service import deliver
from mailfleet.health.incidents import due_notices
from mailfleet.health.look import QUERIES, load_incidents
from mailfleet.health.store import tell_incidents
from mailfleet.outbox.vault import Vault


class Alerting:
    """One connection's turns at telling. Died between a notice and its note, it tells once more: nothing is lost."""

    def __init__(self, connection: Connection, vault: Vault) -> None:
        self._connection = connection
        self._vault = vault

    def take(self) -> None:
        now = self._now()
        known = load_incidents(self._connection)
        due = due_notices(known.values(), read_quiet_hours(self._connection), now)
        if due and (taken := deliver(self._connection, self._vault, due)):
            tell_incidents(
                self._connection, [(number, one) for number, one in known.items() if one in due and one.key in taken]
            )

    def _now(self) -> datetime:
        row = self._connection.execute(QUERIES["begin_look"]).fetchone()
        assert row is not None
        now: datetime = row.now
        return now
