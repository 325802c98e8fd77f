"""Errands whose process is killed at each point between server and database: done again, nothing doubles."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from errand_scene import LATER, LOST, SAFE, SETTLED, ErrandScene, Open, wait_with_copy
from queue_scene import one

DOOMED = Path(__file__).with_name("doomed_errands.py")
DEADLINE = 60


def kill_at(point: str, it: ErrandScene, mailbox: int) -> None:
    way = [str(word) for word in it.way(mailbox)]
    command = [sys.executable, str(DOOMED), point, it.laid.conninfo, str(mailbox), *way]
    assert subprocess.run(command, timeout=DEADLINE).returncode == -signal.SIGKILL


async def test_a_death_between_append_and_done_files_no_copy_twice(scene: Open) -> None:
    """The copy lies there and still waits: the next run finds it, and says done."""
    with scene(sent_copy="client") as it:
        [letter] = await it.send(SETTLED)
        wait_with_copy(it, letter)
        kill_at("between append and done", it, letter.mailbox_id)
        assert it.in_sent(letter.mailbox_id) == [letter.header_id]
        assert one(it.connection, "SELECT count(*) FROM sent_copy") == 1
        it.run(letter.mailbox_id)
        assert it.in_sent(letter.mailbox_id) == [letter.header_id]
        assert one(it.connection, "SELECT count(*) FROM sent_copy") == 0


@pytest.mark.parametrize("point", ["between look and settlement", "before the commit of an acceptance"])
async def test_a_death_after_a_letter_was_seen_leaves_it_to_be_seen_again(point: str, scene: Open) -> None:
    """Nothing is half settled; the next run settles it."""
    with scene() as it:
        [letter] = await it.send(LOST)
        it.file(letter)
        kill_at(point, it, letter.mailbox_id)
        assert it.state(letter) == ("ambiguous", "ambiguous")
        assert it.due() == {letter.mailbox_id}
        it.run(letter.mailbox_id)
        assert it.state(letter) == ("accepted", "accepted")


@pytest.mark.parametrize("point", ["between look and settlement", "before the commit of planning again"])
async def test_a_death_after_a_letter_was_missed_looks_again(point: str, scene: Open) -> None:
    """The look that would have decided is lost with its process; one more decides, and the letter is planned once. What
    was filed meanwhile would have been seen."""
    with scene() as it:
        known, letter = await it.send(SETTLED, LOST)
        it.file(known)
        it.pass_time(SAFE)
        it.run(letter.mailbox_id)
        it.pass_time(LATER)
        kill_at(point, it, letter.mailbox_id)
        assert it.state(letter) == ("ambiguous", "ambiguous")
        it.run(letter.mailbox_id)
        assert it.state(letter) == ("queued", "deferred")
        assert one(it.connection, "SELECT count(*) FROM attempt WHERE message_id = %s", letter.message_id) == 1
