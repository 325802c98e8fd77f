"""The sender's journal: what it said is still there, after whatever end."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from mailfleet.base.errors import SetupError
from mailfleet.model.words import Family, MessageState, Outcome
from mailfleet.outbox.rules import HoldOrder, Result
from mailfleet.sending.journal import Entry, Journal

BEGAN_AT = "2026-11-24T09:00:00+00:00"
FULL = Result(
    7,
    Outcome.DEFERRED,
    MessageState.QUEUED,
    "rate_limited_account",
    '450 "slow" \N{SNOWMAN}',
    1800.0,
    "dot",
    450,
    "4.7.1",
    '450 4.7.1 "slow" \N{SNOWMAN}',
    "rate_limited_account",
    "account",
    "some-rule",
    BEGAN_AT,
    HoldOrder("account", "slow down", 3600.0, Family.RATE_LIMIT),
    True,
)
CHILD = """
import asyncio, os, sys
from pathlib import Path
from mailfleet.model.words import MessageState, Outcome
from mailfleet.outbox.rules import Result
from mailfleet.sending.journal import Journal

async def main() -> None:
    journal = Journal.open_free(Path(sys.argv[1]))
    await asyncio.gather(*(journal.begin(n, "t") for n in range(1, 6)))
    await journal.dot(2)
    await journal.done(Result(3, Outcome.ACCEPTED, MessageState.ACCEPTED))
    print(journal.id, journal.path.name, flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture
def other(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds a journal with five attempts: 1, 4 and 5 begun, 2 dotted, 3 done."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def told(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


async def test_entries_say_how_far_each_attempt_came(folder: Path) -> None:
    """Begun, dotted, done with its whole result; a forgotten one is gone; the id stays through closing."""
    journal = Journal.open_free(folder)
    await journal.begin(1, BEGAN_AT)
    await journal.begin(2, BEGAN_AT)
    await journal.dot(2)
    await journal.begin(FULL.attempt_id, BEGAN_AT)
    await journal.done(FULL)
    await journal.begin(9, BEGAN_AT)
    journal.forget([9])
    journal.close()
    again = Journal.open_free(folder)
    assert again.entries() == {
        1: Entry("begin", BEGAN_AT, None),
        2: Entry("dot", BEGAN_AT, None),
        7: Entry("done", "", FULL),
    }
    assert (again.id, again.path) == (journal.id, journal.path)
    again.close()


async def test_a_result_without_a_beginning_is_kept_too(folder: Path) -> None:
    """An outcome whose `begin` was never written, or was forgotten, is a fact all the same; a mere dot is none."""
    journal = Journal.open_free(folder)
    await journal.done(FULL)
    await journal.dot(8)
    journal.close()
    again = Journal.open_free(folder)
    assert again.entries() == {7: Entry("done", "", FULL)}
    again.close()


async def test_many_entries_share_commits(folder: Path) -> None:
    """Three hundred beginnings at once are durable together: far fewer commits than entries."""
    journal = Journal.open_free(folder)
    before = commits(journal.path)
    await asyncio.gather(*(journal.begin(number, BEGAN_AT) for number in range(1, 301)))
    assert len(journal.entries()) == 300
    assert commits(journal.path) - before < 60
    journal.close()


def commits(path: Path) -> int:
    """Commit frames in the write-ahead log (https://www.sqlite.org/fileformat.html, 4.1)."""
    log = path.with_name(f"{path.name}-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    frames = (log[start : start + 24] for start in range(32, len(log) - 23, 24 + page))
    return sum(frame[4:8] != b"\0\0\0\0" and frame[8:16] == log[16:24] for frame in frames)


def test_two_processes_never_share_a_journal(folder: Path, other: "subprocess.Popen[str]") -> None:
    """What another process holds is neither taken nor an orphan; each gets a file and an id of its own."""
    theirs, name = told(other)
    mine = Journal.open_free(folder)
    second = Journal.open_free(folder)
    assert name == "0.sqlite"
    assert [mine.path.name, second.path.name] == ["1.sqlite", "2.sqlite"]
    assert len({UUID(theirs), mine.id, second.id}) == 3
    assert list(Journal.open_orphans(folder, mine=mine.path)) == []
    second.close()
    assert [orphan.path.name for orphan in closed(Journal.open_orphans(folder, mine=mine.path))] == ["2.sqlite"]
    mine.close()


def closed(journals: Iterator[Journal]) -> list[Journal]:
    found = []
    for journal in journals:
        journal.close()
        found.append(journal)
    return found


def test_entries_survive_a_kill(folder: Path, other: "subprocess.Popen[str]") -> None:
    """SIGKILL right after the last `await` returned: every entry is there for who opens the file next."""
    theirs, _ = told(other)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    heir = Journal.open_free(folder)
    begun = Entry("begin", "t", None)
    result = Result(3, Outcome.ACCEPTED, MessageState.ACCEPTED)
    assert heir.entries() == {1: begun, 2: Entry("dot", "t", None), 3: Entry("done", "", result), 4: begun, 5: begun}
    assert heir.id == UUID(theirs)
    heir.close()


@pytest.mark.parametrize("damage", ["garbage", "page", "digit", "cut", "emptied", "schema"])
async def test_a_damaged_journal_gets_a_new_id(damage: str, folder: Path) -> None:
    """Its silence would be taken for "not begun": so what is damaged says nothing, and is kept beside the new one."""
    journal = Journal.open_free(folder)
    await asyncio.gather(*(journal.begin(number, BEGAN_AT) for number in range(1, 400)))
    journal.close()
    hurt(journal.path, damage)
    again = Journal.open_free(folder)
    assert again.id != journal.id
    assert again.entries() == {}
    await again.begin(1, BEGAN_AT)
    again.close()
    assert kept(folder) == (0 if damage == "emptied" else 1)


def kept(folder: Path) -> int:
    return sum(".corrupt-" in path.name for path in folder.iterdir())


def hurt(path: Path, damage: str) -> None:
    if damage == "schema":
        database = sqlite3.connect(path)
        database.execute("DROP TABLE entry")
        database.execute("CREATE TABLE entry (other TEXT)")
        database.commit()
        database.close()
        return
    content = bytearray(path.read_bytes())
    if damage == "garbage":
        content[:100] = b"x" * 100
    elif damage == "page":
        content[8192:12288] = b"\xff" * 4096
    elif damage == "digit":
        content[content.index(BEGAN_AT.encode()) + 3] = ord("7")
    elif damage == "cut":
        del content[8192:]
    else:
        content = bytearray()
    path.write_bytes(content)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """No journal, no sender: the error names the folder and what to do."""
    folder = tmp_path / "journals"
    folder.mkdir()
    (folder / "0.lock").mkdir()
    with pytest.raises(SetupError, match="journal folder") as raised:
        Journal.open_free(folder)
    assert "a sender does not begin without a journal" in raised.value.hint


async def test_a_write_that_fails_is_heard_and_the_next_one_may_do(folder: Path) -> None:
    """A full disk: `begin` raises, nothing of it is kept, and once there is room the journal goes on."""
    journal = Journal.open_free(folder)
    await journal.begin(1, BEGAN_AT)
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SetupError, match="cannot be written: database or disk is full"):
        await asyncio.gather(*(journal.begin(number, BEGAN_AT * 40) for number in range(2, 60)))
    journal._database.execute("PRAGMA max_page_count = 4294967294")
    await journal.begin(100, BEGAN_AT)
    journal.close()
    again = Journal.open_free(folder)
    assert again.entries().keys() >= {1, 100}
    again.close()
