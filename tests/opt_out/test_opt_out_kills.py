"""The opt-out page dies at each point of a no's way: what was answered with 200 is applied, with its own moment."""

import http.client
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailfleet.base.db import Connection
from mailfleet.outbox.stops import stopping
from mailfleet.panel.opt_out.spool import Spool
from opt_out.doomed_page import POINTS
from opt_out.page_scene import DOOMED, Letters, Page, page
from stage import DEADLINE, wait_until

Asked = tuple[datetime, datetime]  # before the question and after the answer


def say_no(it: Page, letters: Letters) -> dict[int, Asked]:
    """Opts each letter out in turn until the page is dead; those that heard 200, and when."""
    heard: dict[int, Asked] = {}
    for number in range(len(letters.ids)):
        before = datetime.now(UTC)
        try:
            reply = it.one_click(letters.token(number))
        except (OSError, http.client.HTTPException):
            continue
        assert reply.status == 200
        heard[number] = (before, datetime.now(UTC))
    return heard


def assert_kept(letters: Letters, heard: dict[int, Asked]) -> None:
    """Each is banned, and learned of its letter once, dated as it was said."""
    wait_until(lambda: letters.value("SELECT count(*) FROM event") >= len(heard), "what is learned")
    for number, (before, after) in heard.items():
        query = "SELECT created_at FROM suppression WHERE value = %s AND source = 'opt_out'"
        assert before <= letters.value(query, letters.address(number)) <= after
        learned = "SELECT array_agg(at) FROM event WHERE message_id = %s AND kind = 'opt_out'"
        (at,) = letters.value(learned, letters.ids[number])
        assert before <= at <= after


@pytest.mark.parametrize("point", POINTS)
def test_a_page_killed_at_any_point_loses_no_opt_out(point: str, letters: Letters, home: Path) -> None:
    """SIGKILL at each named point; the next page on the host applies all that heard 200, dated as they were said, each
    learned once, and no other; its spool is empty afterwards.
    """
    with page(home, letters.laid.conninfo, str(DOOMED), point, "2") as doomed:
        heard = say_no(doomed, letters)
        assert doomed.process.wait(DEADLINE) == -signal.SIGKILL
    with page(home, letters.laid.conninfo) as it:
        letters.wait_for(*heard)
        assert_kept(letters, heard)
        assert len(letters.suppressed()) <= len(heard) + 1, "only one was in the air"
        assert it.stop() == ""
    assert waiting(home) == 0


def test_a_page_killed_between_the_answer_and_the_ban_loses_nothing(letters: Letters, home: Path) -> None:
    """PostgreSQL does not let the ban through while the answer is given, and the page dies: the next one applies it."""
    with letters.connect() as blocker:
        with page(home, letters.laid.conninfo) as it:
            with stopping(blocker):
                heard = say_no(it, letters)
                assert len(heard) == len(letters.ids)
                wait_until(lambda: is_waiting(letters.connect()), "the applier to come to the lock")
                it.kill()
            assert letters.suppressed() == []
        with page(home, letters.laid.conninfo):
            letters.wait_for(*heard)
            assert_kept(letters, heard)


def is_waiting(connection: Connection) -> bool:
    with connection:
        query = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return connection.execute(query).fetchone() is not None


def waiting(home: Path) -> int:
    spool = Spool.open(home / "opt_out")
    try:
        return len(spool.waiting(0, 100))
    finally:
        spool.close()
