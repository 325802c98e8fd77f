"""The spool: a full disk, a damaged file."""

import json
import resource
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailfleet.base.errors import SetupError
from mailfleet.panel.opt_out.spool import KEPT, Spool
from opt_out.page_scene import Letters, page

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def set_room(pid: int, octets: int) -> None:
    """The greatest offset to which the process may write a file: 0 is a full disk, whoever runs the test."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (octets, most))


def test_on_a_full_disk_the_provider_is_asked_to_try_again(letters: Letters, home: Path) -> None:
    """No 200 without the disk: 503 with Retry-After, one critical line that says what to do, and pages as ever; with
    room again the same opt-out is taken.
    """
    with page(home, letters.laid.conninfo) as it:
        set_room(it.process.pid, 0)
        for _ in range(3):
            reply = it.one_click(letters.token(0))
            assert (reply.status, int(reply.headers["retry-after"]) > 0) == (503, True)
        assert "Not yet saved" in it.ask("POST", f"/o/{letters.token(0)}?lang=en", b"").text
        assert it.ask("GET", f"/o/{letters.token(0)}").status == 200
        set_room(it.process.pid, resource.RLIM_INFINITY)
        assert it.one_click(letters.token(0)).status == 200
        letters.wait_for(0)
        (line,) = map(json.loads, it.stop().splitlines())
        assert (line["level"], line["event"]) == ("critical", "opt_out_spool_failed")
        assert "Free space on its disk" in line["hint"]


def test_what_was_kept_is_read_again_in_order_and_once(home: Path) -> None:
    """A no said twice is kept once, at its first moment. What was applied waits no more, unless it is said again
    or all is to be applied again, for as long as a backup may be old.
    """
    spool = Spool.open(home)
    for number in (3, 1, 2, 1):
        spool.keep(f"token-{number}", AT + timedelta(seconds=number)).result(5)
    spool.keep("token-3", AT + timedelta(days=1)).result(5)
    spool.close()
    spool = Spool.open(home)
    entries = spool.waiting(0, 10)
    assert [(entry.token, entry.asked_at - AT) for entry in entries] == [
        (f"token-{number}", timedelta(seconds=number)) for number in (3, 1, 2)
    ]
    assert [entry.token for entry in spool.waiting(entries[0].number, 1)] == ["token-1"]
    spool.applied([entries[0].number], AT)
    assert (spool.holds("token-3"), spool.holds("token-1")) == (False, True)
    assert [entry.token for entry in spool.waiting(0, 10)] == ["token-1", "token-2"]
    spool.apply_again()
    assert spool.waiting(0, 10) == entries
    spool.applied([entry.number for entry in entries[:2]], AT)
    spool.keep("token-3", AT + timedelta(days=2)).result(5)
    assert [entry.token for entry in spool.waiting(0, 10)] == ["token-3", "token-2"]
    spool.applied([entries[2].number], AT + KEPT + timedelta(seconds=1))
    spool.apply_again()
    assert [entry.token for entry in spool.waiting(0, 10)] == ["token-3", "token-2"]
    spool.close()


def test_keeping_returns_only_what_is_on_the_disk(home: Path) -> None:
    """When `keep` is done, another process that opens the file finds the entry: it is committed, and synchronously."""
    spool = Spool.open(home)
    spool.keep("token", AT).result(5)
    with sqlite3.connect(home / "spool.sqlite") as database:
        assert database.execute("SELECT token FROM opt_out").fetchall() == [("token",)]
    database.close()
    assert spool._writing.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert spool._writing.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    spool.close()


def damage_end(file: Path) -> None:
    """The last page of the table is overwritten."""
    content = file.read_bytes()
    file.write_bytes(content[:-4096] + b"\xff" * 4096)


def damage_all(file: Path) -> None:
    file.write_bytes(b"this is no database\n" * 1000)


@pytest.mark.parametrize(("damage", "is_readable"), [(damage_end, True), (damage_all, False)])
def test_a_damaged_spool_is_set_aside_and_what_can_be_read_of_it_is_taken_over(
    damage: object, is_readable: bool, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The page begins all the same: the old file is kept for a person, what can be read of it is in the new one."""
    file = home / "spool.sqlite"
    spool = Spool.open(home)
    for waiter in [spool.keep(f"token-{number:04}" + "x" * 30, AT) for number in range(500)]:
        waiter.result(5)
    spool.close()
    damage(file)  # type: ignore[operator]
    spool = Spool.open(home)
    entries = spool.waiting(0, 1000)
    assert (len(entries) > 100) is is_readable
    assert all(entry.asked_at == AT for entry in entries)
    spool.keep("another", AT).result(5)
    assert spool.holds("another")
    spool.close()
    assert len(list(home.glob("spool.corrupt-*"))) == 1
    assert "opt_out_spool_corrupt" in "".join(capfd.readouterr())


def test_a_folder_that_cannot_be_made_is_said(home: Path) -> None:
    """A file stands where the folder should be: a SetupError names it."""
    (home / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be opened"):
        Spool.open(home / "file")
