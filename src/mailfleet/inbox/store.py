"""How the fleet is read, as the database keeps it: leases, due times, cursors, faults."""

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from mailfleet.base.db import Connection, connect, load_queries
from mailfleet.base.errors import SetupError
from mailfleet.inbox.not_read import NotRead
from mailfleet.model.words import FLEET_KEY, Family, Folder
from mailfleet.providers.imap_mail import Cursor

QUERIES = load_queries("mailfleet.inbox")
SET_BY = "watcher"
SPARE = 14  # chosen: connections that stay open: every reader uses one now and then, and a new one costs 5 ms of CPU

Row = Any
Lease = tuple[int, int]  # (mailbox id, fence)


class Fenced(Exception):
    """The mailbox is another watcher's, or nobody's: nothing was written, and nothing more may be."""


class Connections:
    """The process's connections, each used by one thread at a time; a lost one is never used again."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._free: deque[Connection] = deque()

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """Raises psycopg.OperationalError when the database is away."""
        connection = self._take()
        try:
            yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError):
            connection.close()
            raise
        finally:
            self._give_back(connection)

    def close(self) -> None:
        while self._free:
            self._free.pop().close()

    def _take(self) -> Connection:
        try:
            return self._free.pop()
        except IndexError:
            pass
        try:
            return connect(self._conninfo, name="mailfleet watcher")
        except SetupError as error:  # a mailbox may have one of its own; this is the database's
            raise psycopg.OperationalError(str(error)) from error

    def _give_back(self, connection: Connection) -> None:
        if len(self._free) < SPARE and not connection.closed:
            self._free.append(connection)
        else:
            connection.close()


@dataclass(frozen=True, slots=True)
class Census:
    """Mailboxes to read, and watchers that live, we among them."""

    mailboxes: int
    watchers: int


class WatcherStore:
    """One watcher's view of the database, over one connection. What names a lease raises Fenced when that is lost."""

    def __init__(self, connection: Connection, watcher_id: int) -> None:
        self.connection = connection
        self._watcher = watcher_id

    @staticmethod
    def register(connection: Connection, host: str) -> int:
        """A new watcher's id."""
        row = connection.execute(QUERIES["register_watcher"], {"host": host, "pid": os.getpid()}).fetchone()
        assert row is not None
        return int(row.id)

    def seen(self) -> None:
        self._run("watcher_seen")

    def stopped(self) -> None:
        self._run("watcher_stopped")

    # Leases

    def make_readings(self, *, apart: timedelta, longest: timedelta) -> None:
        """A row for each new mailbox, first due within `apart` for each of them, in all at most `longest`."""
        self._run("make_readings", apart=apart, longest=longest)

    def census(self, lease: timedelta) -> Census:
        (row,) = self._rows("census", lease=lease)
        return Census(row.mailboxes, row.watchers)

    def lease(self, room: int, length: timedelta) -> list[Lease]:
        """Up to `room` more mailboxes that nobody holds."""
        return [(row.mailbox_id, row.fence) for row in self._rows("lease_readings", room=room, lease=length)]

    def renew(self, leases: Iterable[Lease], length: timedelta) -> set[int]:
        """The mailboxes that are still ours."""
        return {row.mailbox_id for row in self._rows("renew_readings", **_columns(leases), lease=length)}

    def release(self, leases: Iterable[Lease]) -> None:
        self._run("release_readings", **_columns(leases))

    # What is to be read

    def due(self) -> list[Row]:
        """(mailbox_id, fence, host) of ours that are to be read now, longest due first."""
        return self._rows("due")

    def busy(self, *, lately: timedelta, most: int) -> set[int]:
        """Ours that wrote letters within `lately`; at most so many, those that wrote last."""
        return {row.mailbox_id for row in self._rows("busy", lately=lately, most=most)}

    def hasten(self, mailboxes: Collection[int], *, apart: timedelta) -> None:
        """Due at once, unless they were read within `apart`, or fail."""
        self._run("hasten", mailboxes=list(mailboxes), apart=apart)

    def failing(self) -> list[Row]:
        """(mailbox_id, fault_kind, failures, unread_for) of ours that cannot be read."""
        return self._rows("failing")

    def try_again(self, mailboxes: Collection[int]) -> None:
        """Due at once, whatever was refused; a refusal counts no more, and if another comes it is a new fault."""
        self._run("try_again", mailboxes=list(mailboxes))

    def families_over(self, mailboxes: Collection[int]) -> set[tuple[int, Family]]:
        """(mailbox id, family) of the holds that stand over these mailboxes."""
        rows = self._rows("families_over", mailboxes=list(mailboxes), fleet=FLEET_KEY)
        return {(row.mailbox_id, Family(row.family)) for row in rows}

    # One mailbox

    def load(self, lease: Lease) -> Row:
        return self._ours("load_reading", lease)

    def keep_cursor(self, lease: Lease, folder: Folder, name: str, cursor: Cursor) -> None:
        """To be called when all that was read up to the cursor is committed."""
        self._ours("keep_cursor", lease, folder=folder, name=name, uid_validity=cursor.uid_validity, uid=cursor.uid)

    def tell_not_read(self, lease: Lease, mail: NotRead) -> None:
        """To be called before the cursor moves past the mail."""
        self._ours("tell_not_read", lease, **mail.values())

    def read_well(self, lease: Lease, *, wait: timedelta) -> None:
        """Read to its end; due again after `wait`. Lifts the holds that a watcher set."""
        self._ours("read_well", lease, wait=wait, set_by=SET_BY)

    def read_on(self, lease: Lease) -> None:
        """Read in part; due at once."""
        self._ours("read_on", lease)

    def fail(self, lease: Lease, fault: Mapping[str, Any]) -> Row:
        """(failures, unread_for); `fault` has kind, text, refused, first, longest, chance."""
        return self._ours("fail", lease, **fault)

    def _ours(self, query: str, lease: Lease, **values: Any) -> Row:
        mailbox, fence = lease
        rows = self._rows(query, mailbox=mailbox, fence=fence, **values)
        if not rows:
            raise Fenced
        return rows[0]

    def _rows(self, query: str, **values: Any) -> list[Row]:
        return self.connection.execute(QUERIES[query], {"watcher": self._watcher, **values}).fetchall()

    def _run(self, query: str, **values: Any) -> None:
        self.connection.execute(QUERIES[query], {"watcher": self._watcher, **values})


def _columns(leases: Iterable[Lease]) -> dict[str, list[int]]:
    pairs = list(leases)
    return {"mailboxes": [mailbox for mailbox, _ in pairs], "fences": [fence for _, fence in pairs]}
