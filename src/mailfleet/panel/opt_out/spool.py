"""Opt-outs on this host's own disk, from the moment they are said; kept for a while after PostgreSQL knows them, for it
may be restored from an older backup.

One SQLite file below the home, WAL and synchronous=FULL, written by one thread that commits in groups: what `keep`
returned for would survive a power cut. A lock beside it keeps a second page off the same home.

An entry needs no other proof than its token, which is signed: of a damaged spool all that can be read is taken over.
"""

import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log

_SCHEMA = """
CREATE TABLE IF NOT EXISTS opt_out (
    number INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, asked_at TEXT NOT NULL, applied_at TEXT
)
"""
KEPT = timedelta(days=90)  # chosen: no backup that anybody restores is older
# The first no of a letter counts; said again it waits again, for the database may have forgotten it.
_KEEP = "INSERT INTO opt_out (token, asked_at) VALUES (?, ?) ON CONFLICT (token) DO UPDATE SET applied_at = NULL"
_WAITING = "SELECT number, token, asked_at FROM opt_out WHERE applied_at IS NULL AND number > ? ORDER BY number LIMIT ?"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_HINT = "Free space on its disk or mend its permissions. Until then opt-outs are answered with 503, to be tried again."

_Asked = tuple[str, datetime, "Future[None]"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One opt-out that waits; `number` grows in the order in which they were said."""

    number: int
    token: str
    asked_at: datetime


class Spool:
    """The spool of one home, held by this process from `open` to `close`. Safe to use from any thread."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock
        try:
            self._writing = _open_or_replace(path)
            # What it marks may be undone by a power cut: it is applied twice, which changes nothing.
            self._reading = _connect(path, synchronous="NORMAL")
        except BaseException:
            os.close(lock)
            raise
        self._reading_turn = threading.Lock()
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._is_failing = False
        self._thread = threading.Thread(target=self._write_groups, name="opt-out spool", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, folder: Path) -> "Spool":
        """SetupError when another process holds it, or when the folder cannot be written."""
        path = folder / "spool.sqlite"
        return cls(path, _lock(path))

    def keep(self, token: str, asked_at: datetime) -> "Future[None]":
        """Done when the opt-out is on the disk; SetupError when it cannot be written."""
        waiter: Future[None] = Future()
        self._asked.put((token, asked_at, waiter))
        return waiter

    def holds(self, token: str) -> bool:
        """Whether it waits here, as far as the disk can tell."""
        with contextlib.suppress(sqlite3.Error):
            return bool(self._read("SELECT 1 FROM opt_out WHERE token = ? AND applied_at IS NULL", (token,)))
        return False

    def waiting(self, after: int, most: int) -> list[Entry]:
        """Up to `most` entries behind the number `after`, in order."""
        rows = self._read(_WAITING, (after, most))
        return [Entry(number, token, datetime.fromisoformat(asked_at)) for number, token, asked_at in rows]

    def applied(self, numbers: Sequence[int], now: datetime) -> None:
        """Marks what PostgreSQL has committed. On a full disk they wait on, and are applied once more."""
        with self._reading_turn, contextlib.suppress(sqlite3.OperationalError):
            marks = [(now.isoformat(), number) for number in numbers]
            self._reading.executemany("UPDATE opt_out SET applied_at = ? WHERE number = ?", marks)
            self._reading.execute("DELETE FROM opt_out WHERE applied_at < ?", ((now - KEPT).isoformat(),))

    def apply_again(self) -> None:
        """All that is kept waits once more: the database may be another than the one that knew it."""
        with self._reading_turn, contextlib.suppress(sqlite3.OperationalError):
            self._reading.execute("UPDATE opt_out SET applied_at = NULL")

    def close(self) -> None:
        """Writes what was said so far, and gives the lock up."""
        self._asked.put(None)
        self._thread.join()
        self._writing.close()
        self._reading.close()
        os.close(self._lock)

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._reading_turn:
            return self._reading.execute(query, values).fetchall()

    def _write_groups(self) -> None:
        is_open = True
        while is_open:
            group = [self._asked.get()]
            while not self._asked.empty():
                group.append(self._asked.get())
            is_open = None not in group
            self._write_group([asked for asked in group if asked is not None])

    def _write_group(self, group: list[_Asked]) -> None:
        waiters = [waiter for _, _, waiter in group if waiter.set_running_or_notify_cancel()]
        error = self._write([(token, asked_at.isoformat()) for token, asked_at, _ in group])
        for waiter in waiters:
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def _write(self, rows: list[tuple[str, str]]) -> SetupError | None:
        """Said once, in a critical line, for as long as it fails."""
        try:
            with self._writing:
                self._writing.execute("BEGIN IMMEDIATE")
                self._writing.executemany(_KEEP, rows)
        except sqlite3.Error as cause:
            error = SetupError(f"The opt-out spool {self._path} cannot be written: {cause}", hint=_HINT)
            if not self._is_failing:
                get_log().critical("opt_out_spool_failed", error=str(error), hint=error.hint)
            self._is_failing = True
            return error
        self._is_failing = False
        return None


def _lock(path: Path) -> int:
    """A lock that ends with this process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"The opt-out spool {path} cannot be opened: {error.strerror}", hint=_HINT) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SetupError(
            f"Another opt-out page runs on this home already: it holds {path}.",
            hint="`mailfleet up` runs one itself; give a second one a home of its own by MAILFLEET_HOME.",
        ) from None
    return lock


def _connect(path: Path, *, synchronous: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", f"synchronous = {synchronous}"):
            database.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        database.close()
        raise
    return database


def _open(path: Path) -> sqlite3.Connection:
    """sqlite3.DatabaseError when anything in it is damaged."""
    database = _connect(path, synchronous="FULL")
    try:
        with closing(database.execute("PRAGMA quick_check(1)")) as check:
            if (found := check.fetchone()[0]) != "ok":
                damage = sqlite3.DatabaseError(found)
                damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damage
        database.execute(_SCHEMA)
        _settle(path.parent)
    except BaseException:
        database.close()
        raise
    return database


def _settle(folder: Path) -> None:
    """A new file's name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_or_replace(path: Path) -> sqlite3.Connection:
    """The spool, or, where the file is damaged, a new one with what can be read of the old, which is kept beside it."""
    try:
        return _open(path)
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", None) not in _DAMAGED:
            raise SetupError(f"The opt-out spool {path} cannot be opened: {error}", hint=_HINT) from error
        rows = _readable(path)
        kept = path.with_suffix(f".corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        path.rename(kept)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        get_log().critical(
            "opt_out_spool_corrupt",
            kept_as=str(kept),
            error=str(error),
            taken_over=len(rows),
            next="what could be read is applied; the rest can only be looked for in the file that was kept",
        )
        database = _open(path)
        with database:
            database.execute("BEGIN")
            database.executemany(_KEEP, rows)
        return database


def _readable(path: Path) -> list[tuple[str, str]]:
    """(token, moment) of each entry up to the damage."""
    rows: list[tuple[str, str]] = []
    try:
        with closing(sqlite3.connect(path)) as database:
            for token, asked_at in database.execute("SELECT token, asked_at FROM opt_out ORDER BY number"):
                datetime.fromisoformat(asked_at)
                rows.append((token, asked_at))
    except (sqlite3.Error, ValueError, TypeError):
        pass
    return rows
