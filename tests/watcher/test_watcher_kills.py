"""SIGKILL at each point of a visit: every mail is taken exactly once, and the cursor is where it belongs."""

import signal
from collections import Counter
from pathlib import Path

import pytest
from hasty_watcher import POINTS
from watch_scene import sandbox_scene, stop

NUMBERS = {"after the lease": (1,), "before a good reading": (1,), "after a good reading": (1,)}
CASES = [(point, number) for point in POINTS for number in NUMBERS.get(point, (1, 4))]


@pytest.mark.parametrize(("point", "number"), CASES)
def test_a_watcher_killed_at_any_point_takes_every_mail_once(
    point: str, number: int, database: str, home: Path
) -> None:
    """The next one reads on from what is committed."""
    with sandbox_scene(database, home, mailboxes=2) as it:
        wanted = [it.deliver(number=box, folder=folder) for box in range(2) for folder in ("INBOX", "junk", "INBOX")]
        doomed = it.process(point, str(number), "SIGKILL")
        assert doomed.wait(30) == -signal.SIGKILL
        wanted += [it.deliver(number=box) for box in range(2)]
        healthy = it.process()
        it.wait_for_mails(len(wanted))
        it.wait_for_reading()
        assert stop(healthy) == ""
        assert it.taken() == Counter(wanted)
        cursors = it.rows("SELECT folder, uid FROM reading_cursor ORDER BY mailbox_id, folder")
        assert [tuple(row) for row in cursors] == [("inbox", 3), ("junk", 1)] * 2
        assert it.holds() == []
