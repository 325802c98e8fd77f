"""Makes facts of what the spool holds: each no becomes a suppression, in the order in which they were said.

Dies at any point: an entry leaves the spool when PostgreSQL has committed it, and one that is applied twice, here or
from two hosts, changes nothing.
"""

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg

from mailfleet.base.clock import monotonic, utc_now
from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError, SetupError
from mailfleet.base.log import get_log
from mailfleet.mail.opt_out import read_token
from mailfleet.outbox.stops import suppress
from mailfleet.outbox.vault import Vault
from mailfleet.panel.opt_out.letters import QUERIES
from mailfleet.panel.opt_out.spool import Entry, Spool
from mailfleet.panel.opt_out.token_key import TokenKey

SOURCE = "opt_out"
BATCH = 200  # chosen: opt-outs looked up in one query
LOOK_AGAIN = 60.0  # chosen: seconds until what could not be applied is tried once more
REFRESH = 600.0  # chosen: seconds until the organisation's secrets are read anew, over a new connection
RECONNECT = 1.0  # chosen: seconds between two tries to reach the database
PROMISE = timedelta(minutes=1)  # within which a no stops letters over the whole fleet; later is said aloud
STOP_SECONDS = 5.0  # chosen: no act takes as long, unless the database is frozen; the spool keeps it then


class Applier:
    """One thread with a connection of its own, from `start` to `stop`."""

    def __init__(self, conninfo: str, key: TokenKey, spool: Spool) -> None:
        self._conninfo = conninfo
        self._key = key
        self._spool = spool
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._told: set[int] = set()
        self._is_late = False
        self._thread = threading.Thread(target=self._run, name="opt-out applier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something new waits."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._session()
            except (psycopg.Error, SetupError) as error:
                self._put_off(error)
            except Exception as error:  # noqa: BLE001 - the applier's edge: opt-outs are kept, and tried again
                get_log().critical("opt_out_apply_failed", exc_info=error, next="tried again; nothing is lost")
                self._stopping.wait(LOOK_AGAIN)

    def _session(self) -> None:
        """Works over one connection until it is lost, or until the secrets are to be read anew."""
        with connect(self._conninfo, name="mailfleet opt-outs") as connection:
            vault = self._key.refresh(connection)
            end = monotonic() + REFRESH
            while not self._stopping.is_set() and monotonic() < end:
                self._wake.clear()
                self._apply_all(connection, vault)
                self._is_late = False
                self._wake.wait(LOOK_AGAIN)

    def _apply_all(self, connection: Connection, vault: Vault) -> None:
        after = 0
        while not self._stopping.is_set() and (batch := self._spool.waiting(after, BATCH)):
            self._apply(connection, vault, batch)
            after = batch[-1].number

    def _apply(self, connection: Connection, vault: Vault, batch: Sequence[Entry]) -> None:
        letters = [(entry, read_token([vault.opt_out_key], entry.token)) for entry in batch]
        wanted = [message for _, message in letters if message is not None]
        found = connection.execute(QUERIES["who_said_no"], {"messages": wanted}).fetchall()
        rows = {row.id: row for row in found}
        for entry, message in letters:
            if message not in rows:
                self._tell(entry, "opt_out_without_letter", letter=message)
            elif self._suppress(connection, vault, entry, rows[message]):
                self._spool.forget([entry.number])

    def _suppress(self, connection: Connection, vault: Vault, entry: Entry, row: Any) -> bool:
        """Whether the ban stands. 1. the ban, unless it stood. 2. its moment: a death in between leaves that to do."""
        try:
            if not row.is_suppressed:
                reason = f"opt-out of letter {row.id}"
                suppress(connection, vault.digester, row.address_key, reason=reason, source=SOURCE)
        except InputError as error:
            self._tell(entry, "opt_out_of_no_address", letter=row.id, error=str(error))
            return False
        dated = {"asked_at": entry.asked_at, "digest": row.digest, "source": SOURCE}
        connection.execute(QUERIES["date_opt_out"], dated)
        return True

    def _tell(self, entry: Entry, event: str, **facts: object) -> None:
        """Once for each entry. It stays in the spool, and is looked at again: a letter may come back with a backup."""
        if entry.number not in self._told:
            self._told.add(entry.number)
            get_log().critical(event, **facts, next="it is kept, and looked at again every minute")

    def _put_off(self, error: Exception) -> None:
        """Nothing begins while the database is away, so waiting does no harm; still, a broken promise is said once."""
        get_log().warning("database_away", error=str(error))
        oldest = self._spool.waiting(0, 1)
        if oldest and not self._is_late and utc_now() - oldest[0].asked_at > PROMISE:
            self._is_late = True
            get_log().critical(
                "opt_outs_wait", since=oldest[0].asked_at.isoformat(), error=str(error), next="applied on its return"
            )
        self._stopping.wait(RECONNECT)
