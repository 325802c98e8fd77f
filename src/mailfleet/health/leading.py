"""Loops that one process at a time runs, whatever the number of services and hosts: who holds the lock leads."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import psycopg

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log

RECONNECT = 1.0  # chosen: seconds between two tries to reach the database


class Turn(Protocol):
    """What is done again and again over one connection."""

    def take(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Led:
    """A loop: its `name` in the log, the `lock` that one holds, `seconds` between two turns, and how a connection's
    turns are made: what they remember ends with it."""

    name: str
    lock: int
    seconds: float
    begin: Callable[[Connection], Turn]


def lead(led: Led, conninfo: str, stopping: threading.Event) -> None:
    """Takes its turns until it is stopped; a lost database is waited for. The lock goes with the session, so that who
    lost it can write nothing any more."""
    while not stopping.is_set():
        try:
            with connect(conninfo, name=f"mailfleet health {led.name}") as connection:
                _lead(led, connection, stopping)
        except (psycopg.OperationalError, SetupError) as error:
            get_log().warning("health_waits", loop=led.name, error=str(error))
            stopping.wait(RECONNECT)


def _lead(led: Led, connection: Connection, stopping: threading.Event) -> None:
    while not stopping.is_set():
        row = connection.execute("SELECT pg_try_advisory_lock(%s) AS is_ours", [led.lock]).fetchone()
        if row is not None and row.is_ours:
            turn = led.begin(connection)
            while not stopping.is_set():
                turn.take()
                stopping.wait(led.seconds)
        stopping.wait(led.seconds)


def lead_aside(led: Led, conninfo: str, stopping: threading.Event) -> threading.Thread:
    """The same in a thread of its own, whose faults stop nobody else: they are logged, and it goes on."""

    def run() -> None:
        while not stopping.is_set():
            try:
                lead(led, conninfo, stopping)
            except Exception as error:  # noqa: BLE001 - the edge: judging goes on without it
                get_log().critical("health_loop_failed", loop=led.name, error=type(error).__name__, exc_info=error)
                stopping.wait(RECONNECT)

    thread = threading.Thread(target=run, name=f"health {led.name}", daemon=True)
    thread.start()
    return thread
