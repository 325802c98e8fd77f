"""Makes facts of what the spool holds: each no becomes a suppression, in the order in which they were said.

Dies at any point: an entry is marked when PostgreSQL has committed it, and one that is applied twice, here or from two
hosts, changes nothing. All that the spool keeps is applied once more at each start: a database that was restored from a
backup has forgotten what was said since.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from mailfleet.base.clock import monotonic, utc_now
from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError, SetupError
from mailfleet.base.log import get_log
from mailfleet.mail.opt_out import TokenFacts, read_token
from mailfleet.outbox.stops import stopping, suppress
from mailfleet.outbox.vault import Vault
from mailfleet.panel.opt_out.letters import QUERIES
from mailfleet.panel.opt_out.spool import Entry, Spool
from mailfleet.panel.opt_out.token_key import TokenKey

SOURCE = "opt_out"
BATCH = 50  # chosen: opt-outs in one stop, which keeps the senders for a tenth of a second
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
        self._spool.apply_again()
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
            self._apply_batch(connection, vault, batch)
            after = batch[-1].number

    def _apply_batch(self, connection: Connection, vault: Vault, batch: Sequence[Entry]) -> None:
        """1. What stands already needs no stop. 2. The rest, in one stop, for each waits for reservations under way.

        One that fails keeps none of the others.
        """
        said = _look_up(connection, self._ours(vault, batch))
        applied = [no.entry.number for no in said if no.is_suppressed and self._apply(connection, vault, no)]
        if new := [no for no in said if not no.is_suppressed]:
            with stopping(connection):
                applied += [no.entry.number for no in new if self._apply(connection, vault, no)]
        self._spool.applied(applied, utc_now())

    def _ours(self, vault: Vault, batch: Sequence[Entry]) -> list[tuple[Entry, TokenFacts]]:
        read = [(entry, read_token([vault.opt_out_key], entry.token)) for entry in batch]
        for entry, token in read:
            if token is None:
                self._tell(entry, "opt_out_of_another_database")
        return [(entry, token) for entry, token in read if token is not None]

    def _apply(self, connection: Connection, vault: Vault, no: "_No") -> bool:
        """1. the ban, unless it stands. 2. what was learned of the letter; should that fail, the ban stands."""
        try:
            if not no.is_suppressed:
                _ban(connection, vault, no)
            if no.has_letter:
                with connection.transaction():
                    learned = {"message": no.token.message_id, "asked_at": no.entry.asked_at}
                    connection.execute(QUERIES["learn_opt_out"], learned)
        except psycopg.Error as error:
            if connection.closed:
                raise
            letter, said = no.token.message_id, error.diag.message_primary
            self._tell(no.entry, "opt_out_not_applied", letter=letter, error=said)
            return False
        return True

    def _tell(self, entry: Entry, event: str, **facts: object) -> None:
        """Once for each entry. It stays in the spool: the database whose key signed it may come back, say."""
        if entry.number not in self._told:
            self._told.add(entry.number)
            get_log().critical(event, **facts, next="it is kept, and tried again every minute")

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


@dataclass(frozen=True, slots=True)
class _No:
    """What was said. `address` of whom the token was made for, where a contact has it; `has_letter`: its letter is
    there and went to them."""

    entry: Entry
    token: TokenFacts
    has_letter: bool
    address: str | None
    is_suppressed: bool


def _look_up(connection: Connection, said: Sequence[tuple[Entry, TokenFacts]]) -> list[_No]:
    """What is known of each, before any stop: looking for whom a letter that is gone went to takes a while."""
    wanted = {
        "messages": [token.message_id for _, token in said],
        "digests": [token.address_digest for _, token in said],
    }
    rows = {
        TokenFacts(row.asked, bytes(row.digest)): row
        for row in connection.execute(QUERIES["who_said_no"], wanted).fetchall()
    }
    found = []
    for entry, token in said:
        row = rows[token]
        address = row.address_key
        if row.id is None and not row.is_suppressed:
            gone = connection.execute(QUERIES["whose_digest"], {"digest": token.address_digest}).fetchone()
            address = gone and gone.address_key
        found.append(_No(entry, token, row.id is not None, address, row.is_suppressed))
    return found


def _ban(connection: Connection, vault: Vault, no: _No) -> None:
    """Ends the letters to an address, known or not: its digest alone keeps every later one back."""
    reason, evidence = f"opt-out of letter {no.token.message_id}", {"letter": no.token.message_id}
    at = no.entry.asked_at
    if no.address is not None:
        try:
            suppress(connection, vault.digester, no.address, reason=reason, source=SOURCE, evidence=evidence, at=at)
            return
        except InputError:
            pass  # an address that this version does not read any more
    values = {"digest": no.token.address_digest, "reason": reason, "source": SOURCE, "evidence": json.dumps(evidence)}
    with connection.transaction():
        connection.execute(QUERIES["ban_digest"], {**values, "asked_at": at})
