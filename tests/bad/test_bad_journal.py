"""The sender's journal on a full disk, damaged, or left behind late: nothing is lost, and nothing leaves twice."""

import json
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kill.scene import scene
from servers import smtp_sink
from stage import OPEN, UNSETTLED, Stage, ids, one_provider_fleet, stage, wait_until

CONTACTS = 6


def set_room(process: "subprocess.Popen[bytes]", octets: int) -> None:
    """The greatest offset to which the process may write a file: 0 is a full disk, whoever runs the test."""
    _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (octets, most))


def test_with_a_full_disk_nothing_begins_and_what_is_known_settles(database: str, home: Path) -> None:
    """The disk fills while a letter waits for its reply: that is settled, no other begins and no try is counted; one
    critical line says what to do. With room again it goes on by itself, and every letter leaves once.
    """
    with (
        smtp_sink("-W", ".:1") as sink,
        stage(database, home, port=sink.port, fleet=one_provider_fleet(1), contacts=3) as it,
    ):
        sender = it.sender()
        it.plan_until("SELECT count(*) < 1 FROM attempt")
        wait_until(sink.letters, "the first letter's dot")
        set_room(sender, 0)
        it.plan_until("SELECT count(*) < 1 FROM attempt WHERE outcome = 'unreached'")
        it.plan_until(UNSETTLED)
        tries = it.value("SELECT count(*) FROM attempt")
        seen_at = it.value("SELECT seen_at FROM sender")
        it.plan_until(f"SELECT seen_at < '{seen_at}'::timestamptz + interval '2.5 seconds' FROM sender")
        assert it.states()["accepted"] == len(sink.letters()) == 1
        assert it.value("SELECT count(*) FROM attempt") == tries, "it goes on reserving what it cannot begin"
        set_room(sender, resource.RLIM_INFINITY)
        it.finish()
        said = [json.loads(line) for line in it.stop(sender).splitlines()]
        assert [line["event"] for line in said] == ["journal_failed"]
        assert "Free space on its disk" in said[0]["hint"]
        assert ids(sink.letters()) == it.accepted()
        assert len(it.accepted()) == 3


def garbage(journal: Path, log: Path) -> None:
    for file in (journal, log):
        file.write_bytes(b"this is no journal\n" * 1000)


def cut(journal: Path, log: Path) -> None:
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def flip(journal: Path, log: Path) -> None:
    """One bit, in the middle of what was committed."""
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)


@pytest.mark.parametrize("damage", [garbage, cut, flip])
def test_a_damaged_journal_concludes_nothing(damage: Callable[[Path, Path], None], database: str, home: Path) -> None:
    """The sender dies right after a letter's last dot and its journal is damaged: the file is kept aside, a critical
    line says so, what was in flight becomes ambiguous, everything else leaves, and the ledger has nothing twice.
    """
    with scene(database, home, contacts=CONTACTS) as it:
        doomed = it.doomed("after the reply, before the journal")
        it.plan_until("SELECT CASE WHEN count(*) = 0 THEN 1 ELSE 0 END FROM message")
        assert doomed.wait(60) == -signal.SIGKILL
        journal = home / "journals" / "0.sqlite"
        damage(journal, journal.with_name("0.sqlite-wal"))
        living = Stage(it.laid, home, it.processes)
        heir = living.sender()
        it.plan_until(OPEN)
        it.plan_until(UNSETTLED)
        said = living.stop(heir)
        report = it.judge()
        assert report.holds, {name: law.examples for name, law in report.laws.items() if law.count}
        assert it.count("SELECT count(*) FROM message WHERE state = 'ambiguous'") >= 1
        assert it.count("SELECT count(*) FROM message WHERE state IN ('ambiguous', 'accepted')") == CONTACTS
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["event"] for event in events] == ["journal_corrupt"]
    assert Path(events[0]["kept_as"]).exists()
    assert "mailfleet ambiguous" in events[0]["next"]


def test_the_journal_of_one_that_dies_late_is_read_by_those_who_live(database: str, home: Path) -> None:
    """A sender is frozen with a reply in its journal, its lease runs out, its letter becomes ambiguous; then it dies.
    One that has been running all the while reads the journal, and the letter is accepted.
    """
    with scene(database, home, contacts=2) as it:
        frozen = it.doomed("after the journal", 1, "SIGSTOP")
        it.plan_until("SELECT 1 - count(*) FROM attempt")
        living = it.sender()
        it.plan_until("SELECT 1 - count(*) FROM message WHERE state = 'ambiguous'")
        frozen.kill()
        it.plan_until("SELECT count(*) FROM enrollment WHERE state = 'active'")
        assert it.count("SELECT count(*) FROM message WHERE state = 'accepted'") == 2
        assert it.count("SELECT count(*) FROM message WHERE reason_code <> ''") == 0
        assert it.judge().holds
        living.send_signal(signal.SIGTERM)
        assert living.wait(60) == 0
