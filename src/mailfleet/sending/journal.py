"""The sender's own store: what it began and what came back, on its own disk, before anyone else knows.

One SQLite file a sender process, WAL and synchronous=FULL, written by one thread that commits in groups: an `await` of
`begin` or `dot` returns when the entry would survive a power cut. A lock on the file tells the living from the dead:
who holds it may say what became of the journal's earlier attempts.

Its silence about an attempt is a statement: not begun. So a journal of which anything is damaged says nothing at all.

    begin   the letter's first byte may have left
    dot     its final dot may have left: without an outcome it is ambiguous
    done    the outcome is known, and perhaps not yet settled
"""

import asyncio
import fcntl
import json
import os
import queue
import sqlite3
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log
from mailfleet.outbox.rules import Result

Phase = Literal["begin", "dot", "done"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (id TEXT NOT NULL, place TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entry (
    attempt_id INTEGER PRIMARY KEY, phase TEXT NOT NULL, began_at TEXT NOT NULL DEFAULT '', result TEXT,
    mark INTEGER NOT NULL
) WITHOUT ROWID;
"""
# One statement a group: each gives up the interpreter's lock, and a busy event loop may keep it for long.
_WRITE = """
INSERT OR REPLACE INTO entry
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?) ORDER BY key
"""
_FORGET = "DELETE FROM entry WHERE attempt_id IN (SELECT value FROM json_each(?))"
_DAMAGED = "SELECT count(*) FROM entry WHERE mark <> mark_of(attempt_id, phase, began_at, result)"
_NO_ATTEMPT = 0  # no attempt bears this id

# What a disk says, and no damage to the file: https://www.sqlite.org/rescode.html
_DISK = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """How far an attempt came; `result` when it is done."""

    phase: Phase
    began_at: str
    result: Result | None


_Row = tuple[int, Phase, str, str | None, int]  # attempt id, phase, began at, result, mark


@dataclass(frozen=True, slots=True)
class _Write:
    """What becomes of an attempt's entry: `row`, or without one it goes."""

    attempt_id: int
    row: _Row | None
    waiter: asyncio.Future[None] | None


class Journal:
    """One journal, locked by this process from `lock` to `close`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        try:
            self._database, self.id = _open_or_replace(path)
        except BaseException:
            os.close(lock)
            raise
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began_at: dict[int, str] = {}
        self.failure: SetupError | None = None
        """Why the latest write failed; None when it did not."""
        self._thread = threading.Thread(target=self._write_groups, name=f"journal {path.name}", daemon=True)
        self._thread.start()

    @classmethod
    def open_free(cls, folder: Path) -> "Journal":
        """The first journal of the folder that no living process holds; a new one when all are held."""
        folder.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            path = folder / f"{number}.sqlite"
            if (lock := _try_lock(path)) is not None:
                return cls(path, lock)
            number += 1

    @classmethod
    def open_orphans(cls, folder: Path, *, mine: Path) -> Iterator["Journal"]:
        """Journals that dead senders left, each locked; the caller closes them."""
        for path in sorted(folder.glob("*.sqlite")):
            if path != mine and (lock := _try_lock(path)) is not None:
                yield cls(path, lock)

    def begin(self, attempt_id: int, began_at: str) -> asyncio.Future[None]:
        self._began_at[attempt_id] = began_at
        return self._written(attempt_id, "begin", began_at)

    def dot(self, attempt_id: int) -> asyncio.Future[None]:
        """Of an attempt that has begun; else it writes nothing."""
        if (began_at := self._began_at.get(attempt_id)) is not None:
            return self._written(attempt_id, "dot", began_at)
        nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nothing.set_result(None)
        return nothing

    def done(self, result: Result) -> asyncio.Future[None]:
        self._began_at.pop(result.attempt_id, None)
        return self._written(result.attempt_id, "done", "", json.dumps(result.as_record()))

    def forget(self, attempt_ids: Iterable[int]) -> None:
        """Drops settled entries, some time soon: one that comes back is settled twice, which changes nothing."""
        for attempt_id in attempt_ids:
            self._began_at.pop(attempt_id, None)
            self._writes.put(_Write(attempt_id, None, None))

    async def try_again(self) -> None:
        """SetupError when it still cannot be written."""
        await self.begin(_NO_ATTEMPT, "")
        self.forget([_NO_ATTEMPT])

    def entries(self) -> dict[int, Entry]:
        """Every entry by attempt id. Read before the first write of this process."""
        rows = self._database.execute("SELECT attempt_id, phase, began_at, result FROM entry").fetchall()
        return {row[0]: Entry(row[1], row[2], Result.of_record(json.loads(row[3])) if row[3] else None) for row in rows}

    def close(self) -> None:
        """Writes what is waiting and gives the lock up."""
        self._writes.put(None)
        self._thread.join()
        self._database.close()
        os.close(self._lock)

    def _written(self, attempt_id: int, phase: Phase, began_at: str, result: str | None = None) -> asyncio.Future[None]:
        self._loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = self._loop.create_future()
        row = (attempt_id, phase, began_at, result, _mark(attempt_id, phase, began_at, result))
        self._writes.put(_Write(attempt_id, row, waiter))
        return waiter

    def _write_groups(self) -> None:
        is_open = True
        while is_open:
            group = [self._writes.get()]
            while not self._writes.empty():
                group.append(self._writes.get())
            is_open = None not in group
            self._write_group([write for write in group if write is not None])

    def _write_group(self, group: list[_Write]) -> None:
        error: SetupError | None = None
        rows = [write.row for write in group if write.row is not None]
        gone = [write.attempt_id for write in group if write.row is None]
        try:
            with self._database:
                self._database.execute("BEGIN")
                if rows:
                    self._database.execute(_WRITE, (json.dumps(rows),))
                if gone:
                    self._database.execute(_FORGET, (json.dumps(gone),))
        except sqlite3.Error as cause:
            error = SetupError(
                f"The journal {self.path} cannot be written: {cause}",
                hint="Free space on its disk. Nothing new begins until then; what is known is settled all the same.",
            )
        self.failure = error
        waiters = [write.waiter for write in group if write.waiter is not None]
        if waiters and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, waiters, error)


def _resolve(waiters: list[asyncio.Future[None]], error: SetupError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _try_lock(path: Path) -> int | None:
    """A lock that ends with this process, on a file beside the journal; none when another process holds it."""
    try:
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(
            f"The journal folder {path.parent} cannot be written: {error.strerror}",
            hint="Mend its permissions or its disk; a sender does not begin without a journal.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _open_or_replace(path: Path) -> tuple[sqlite3.Connection, UUID]:
    """The journal, or, where the file is corrupt or a copy, a new one beside the old.

    A new journal has a new id: nothing is concluded from its silence about attempts of the old one. They become
    ambiguous when their leases end, and are shown to a person.
    """
    try:
        return _open(path)
    except (sqlite3.DatabaseError, ValueError) as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DISK:
            raise SetupError(
                f"The journal {path} cannot be opened: {error}",
                hint="Free space on its disk or mend its permissions; a sender does not begin without a journal.",
            ) from error
        kept = path.with_suffix(f".corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        path.rename(kept)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        get_log().critical(
            "journal_corrupt",
            path=str(path),
            kept_as=str(kept),
            error=str(error),
            next="its letters in flight become ambiguous; see `mailfleet ambiguous`",
        )
        return _open(path)


def _open(path: Path) -> tuple[sqlite3.Connection, UUID]:
    """sqlite3.DatabaseError or ValueError when anything in it is damaged.

    1. what the last writer had committed. 2. the file's own order. 3. whether all that was committed is there still.
    4. each entry's mark. 5. whether it is the file that was written here.
    """
    committed = _committed(path)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 1000"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        with closing(database.execute("PRAGMA quick_check(1)")) as check:
            if (found := check.fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
        if committed > max(0, database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]):
            raise sqlite3.DatabaseError("the end of its write-ahead log is lost")
        database.create_function("mark_of", 4, _mark, deterministic=True)
        database.executescript(_SCHEMA)
        if database.execute(_DAMAGED).fetchone()[0]:
            raise sqlite3.DatabaseError("an entry does not bear its mark")
        row = database.execute("SELECT id, place FROM journal").fetchone()
        if row is None:
            row = (str(uuid4()), _place(path))
            database.execute("INSERT INTO journal (id, place) VALUES (?, ?)", row)
        if row[1] != _place(path):
            raise sqlite3.DatabaseError("it is a copy of another host's journal, or of an older day's")
        return database, UUID(row[0])
    except BaseException:
        database.close()
        raise


def _place(path: Path) -> str:
    """This machine and this file: a copied or restored journal says nothing of what its original's sender did since."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = ""
    return f"{machine}:{path.stat().st_ino}"


def _mark(*values: object) -> int:
    """SQLite looks after its pages' order, not after what stands in them."""
    return zlib.crc32(repr(values).encode())


def _committed(path: Path) -> int:
    """How many frames of the write-ahead log, at least, were committed.

    SQLite takes a damaged frame for the log's end and says nothing; what came after it would be lost in silence. The
    last writer's count outlives it in the log's index (https://www.sqlite.org/walformat.html, 2.1). After a power cut
    the index may be one of an earlier log, and bears another salt: then the log has one frame at least.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    found = _head(index, 96)
    if len(found) < 96 or found[:48] != found[48:] or not found[12]:
        return 0
    count = int.from_bytes(found[16:20], sys.byteorder)
    salt = _head(log, 32)[16:24]
    return count if salt in (b"", found[32:40]) else min(count, 1)


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""
