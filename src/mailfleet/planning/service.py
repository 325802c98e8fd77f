"""The planner: looks at the fleet every few seconds and fills the next hour of the queue."""

import threading
from datetime import timedelta

import psycopg

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log
from mailfleet.outbox.service import PLANNER_LOCK, WORK_CHANNEL
from mailfleet.outbox.service import QUERIES as OUTBOX_QUERIES
from mailfleet.outbox.tunables import Tunables, load_tunables
from mailfleet.planning.rules import plan
from mailfleet.planning.snapshot import Plan
from mailfleet.planning.store import PlanStore

LOOK_AGAIN = timedelta(minutes=5)  # chosen: how long a reason may stand before it is looked at again
RECONNECT = 1.0  # chosen: seconds between two tries to reach the database


def plan_once(connection: Connection, tunables: Tunables) -> Plan:
    """One planning run.

    1. give back what needs a new plan, settle what is past its deadline. 2. set today's ramps. 3. read the snapshot.
    4. plan, with no transaction open. 5. write slots and reasons, and wake the senders. What changes between 3 and 5 is
    met by the states that the writing names, and by the gate and the limits of every reservation.
    """
    store = PlanStore(connection)
    connection.execute(OUTBOX_QUERIES["assume_accepted"], {"deadline": tunables.ambiguous_deadline})
    store.tidy(late_after=tunables.late_after)
    now = store.now()
    store.write_ramps(start=tunables.ramp_start, today=now.date())
    snapshot = store.load_snapshot()
    made = plan(snapshot, now=now, until=now + tunables.horizon, seed=int(now.timestamp()))
    with connection.transaction():
        store.write_slots(made.slots, store.domains())
        store.write_reasons(made.reasons, look_again=min(LOOK_AGAIN, 10 * tunables.reserve_ahead))
        store.write_mailbox_reasons(made.mailbox_reasons)
        if made.slots:
            connection.execute(f"NOTIFY {WORK_CHANNEL}")
    return made


class Planner:
    """The planning loop; of several, on any host, the one that holds the lock plans."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Plans until stopped; a lost database is waited for."""
        while not self._stopping.is_set():
            try:
                with connect(self._conninfo, name="mailfleet planner") as connection:
                    self._plan_while_leading(connection)
            except (psycopg.OperationalError, SetupError) as error:
                get_log().warning("database_away", error=str(error))
                self._stopping.wait(RECONNECT)

    def _plan_while_leading(self, connection: Connection) -> None:
        while not self._stopping.is_set():
            tunables = load_tunables(connection)
            row = connection.execute("SELECT pg_try_advisory_lock(%s) AS is_ours", [PLANNER_LOCK]).fetchone()
            if row is not None and row.is_ours:
                plan_once(connection, tunables)
                connection.execute("SELECT pg_advisory_unlock(%s)", [PLANNER_LOCK])
            self._stopping.wait(tunables.reserve_ahead.total_seconds())
