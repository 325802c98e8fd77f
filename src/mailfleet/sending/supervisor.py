"""One host's processes: senders by number, and a planner. Of several hosts' planners one plans, the others wait."""

import threading
from collections.abc import Callable, Mapping

import psycopg

from mailfleet.base.children import Child
from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log
from mailfleet.sending.pool import SenderPool

TEND_SECONDS = 2.0  # chosen: how soon a process that fell is noticed


class Supervisor:
    """Keeps the processes running until `stop`; then ends each in order."""

    def __init__(
        self,
        conninfo: str,
        *,
        least: int,
        most: int,
        environment: Mapping[str, str],
        each_turn: Callable[[Connection, int], None],
        turn_seconds: float = TEND_SECONDS,
        keep_database: Callable[[], None] = lambda: None,
    ) -> None:
        """`each_turn` gets a connection and the number of senders, every few seconds; `keep_database` is called before
        each try to reach the database, and ends the run when it raises.
        """
        self._turn_seconds = turn_seconds
        self._conninfo = conninfo
        self._environment = {**environment, "MAILFLEET_DATABASE_URL": conninfo}
        self._each_turn = each_turn
        self._keep_database = keep_database
        self._stopping = threading.Event()
        self._planner: Child | None = None
        self.pool = SenderPool(least=least, most=most, environment=self._environment)

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        try:
            self.pool.start()
            while not self._stopping.is_set():
                self._tend_planner()
                self._keep_database()
                try:
                    self._tend()
                except (psycopg.Error, SetupError) as error:
                    get_log().warning("database_away", error=str(error))
                self._stopping.wait(self._turn_seconds)
        finally:
            self.pool.stop()
            if self._planner is not None:
                self._planner.ask_to_stop()
                self._planner.wait()

    def _tend(self) -> None:
        with connect(self._conninfo, name="mailfleet supervisor") as connection:
            while not self._stopping.is_set():
                self._tend_planner()
                self.pool.tend(connection)
                self._each_turn(connection, len(self.pool.senders))
                self._stopping.wait(self._turn_seconds)

    def _tend_planner(self) -> None:
        if self._planner is not None and self._planner.exit_code is not None:
            get_log().critical("planner_fell", exit_code=self._planner.wait())
            self._planner = None
        if self._planner is None:
            self._planner = Child("mailfleet.planning", environment=self._environment)
