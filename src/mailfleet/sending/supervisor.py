"""One host's processes: senders by number, and services, of each of which one runs.

Of several hosts' planners one plans, and the others wait.
"""

import threading
from collections.abc import Callable, Mapping

import psycopg

from mailfleet.base.children import Child
from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log
from mailfleet.base.services import Services
from mailfleet.sending.pool import SenderPool

TEND_SECONDS = 2.0  # chosen: how soon a process that fell is noticed

PLANNER = {"planner": "mailfleet.planning"}
EVERYTHING = {
    **PLANNER,
    "watcher": "mailfleet.inbox",
    "health": "mailfleet.health",
    "opt_out_page": "mailfleet.panel.opt_out",
}
"""The services of a host by their names in the log, and their modules, which are started and not imported."""


class Supervisor:
    """Keeps the processes running from `start` until `stop`; then ends each in order, the senders first."""

    def __init__(
        self,
        conninfo: str,
        *,
        least: int,
        most: int,
        services: Mapping[str, str],
        environment: Mapping[str, str],
        each_turn: Callable[[Connection, int], None],
        turn_seconds: float = TEND_SECONDS,
        keep_database: Callable[[], None] = lambda: None,
    ) -> None:
        """`each_turn` gets a connection and the number of senders, every few seconds; `keep_database` is called before
        each try to reach the database, and ends the run when it raises.
        """
        environment = {**environment, "MAILFLEET_DATABASE_URL": conninfo}
        self._conninfo = conninfo
        self._turn_seconds = turn_seconds
        self._each_turn = each_turn
        self._keep_database = keep_database
        self._stopping = threading.Event()
        self._services = Services(services, environment=environment, turn_seconds=turn_seconds)
        self.pool = SenderPool(least=least, most=most, environment=environment)

    def stop(self) -> None:
        self._stopping.set()

    @property
    def services(self) -> list[Child]:
        """Those that run."""
        return self._services.children

    def start(self, must_stand: Mapping[str, Callable[[], bool]] | None = None) -> None:
        """The services, then the senders. `must_stand`: services without which no letter may leave, and how each is
        seen to stand. SetupError, and nothing is left running, when one does not.
        """
        try:
            self._services.start()
            for name, stands in (must_stand or {}).items():
                self._services.wait_for(name, stands, self._stopping)
            self._services.keep()
            if not self._stopping.is_set():
                self.pool.start()
        except BaseException:
            self._end()
            raise

    def run(self) -> None:
        """After `start`, until `stop`."""
        try:
            while not self._stopping.is_set():
                self._keep_database()
                try:
                    self._tend()
                except (psycopg.Error, SetupError) as error:
                    get_log().warning("database_away", error=str(error))
                self._stopping.wait(self._turn_seconds)
        finally:
            self._end()

    def _tend(self) -> None:
        with connect(self._conninfo, name="mailfleet supervisor") as connection:
            while not self._stopping.is_set():
                self.pool.tend(connection)
                self._each_turn(connection, len(self.pool.senders))
                self._stopping.wait(self._turn_seconds)

    def _end(self) -> None:
        self.pool.stop()
        self._services.stop()
