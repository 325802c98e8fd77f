"""The page without its database: away, stuck, or come back with other contents."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailfleet.base.db import connect
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.model.schema import migrate
from mailfleet.outbox.stops import stopping
from opt_out.page_scene import Letters, page
from outbox.queue_scene import lay
from stage import heard, wait_until


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test's own, to be stopped."""
    with EmbeddedPostgres(home / "postgres", settings={"fsync": "off"}) as it:
        it.create_database("mailfleet")
        migrate(it.conninfo("mailfleet"))
        yield it


@pytest.fixture
def letters(server: EmbeddedPostgres, home: Path) -> Letters:
    conninfo = server.conninfo("mailfleet")
    with connect(conninfo, name="test") as connection:
        laid = lay(conninfo, home, connection, contacts=4)
        rows = connection.execute("SELECT id FROM message ORDER BY id").fetchall()
    return Letters(laid, [row.id for row in rows])


def test_an_opt_out_without_the_database_is_applied_on_its_return(
    letters: Letters, server: EmbeddedPostgres, home: Path
) -> None:
    """PostgreSQL stops; four say no; a page that is started meanwhile knows the tokens too, shows pages without names
    and that it is done. On the database's return all are applied, in their order and dated as they were said.
    """
    numbers = [2, 0, 3, 1]
    with page(home, letters.laid.conninfo) as it:
        wait_until((home / "opt_out" / "key").exists, "the copy of the key")
        server.kill()
        began_at = datetime.now(UTC)
        replies = [it.one_click(letters.token(number)) for number in numbers[:2]]
        it.kill()
    with page(home, letters.laid.conninfo) as it:
        replies += [it.one_click(letters.token(number)) for number in numbers[2:]]
        assert [reply.status for reply in replies] == [200] * 4
        shown = it.ask("GET", f"/o/{letters.token(2)}?lang=en")
        assert (shown.status, "Done." in shown.text, "***" in shown.text) == (200, True, False)
        ended_at = datetime.now(UTC)
        server.start()
        letters.wait_for(*numbers)
        addresses = [letters.address(number) for number in numbers]
        assert letters.suppressed() == addresses
        last_at = letters.value("SELECT max(created_at) FROM suppression")
        assert began_at <= letters.value("SELECT min(created_at) FROM suppression") <= last_at <= ended_at
        applied = (
            "SELECT array_agg(c.address_key ORDER BY e.reason_at)"
            " FROM enrollment e JOIN contact c ON c.id = e.contact_id"
        )
        assert letters.value(applied) == addresses
        assert it.stop() == ""


def test_a_database_that_is_stuck_holds_up_no_answer(letters: Letters, home: Path) -> None:
    """While a transaction of somebody else's holds every table the page reads, opt-outs are taken and pages shown."""
    with page(home, letters.laid.conninfo) as it, letters.connect() as blocker:
        with stopping(blocker):
            blocker.execute("LOCK TABLE message, contact, suppression IN ACCESS EXCLUSIVE MODE")
            assert it.one_click(letters.token(0)).status == 200
            shown = [it.ask("GET", f"/o/{letters.token(1)}?lang=en") for _ in range(6)]
            assert {reply.status for reply in shown} == {200}
            assert all("Stop these emails?" in reply.text and "***" not in reply.text for reply in shown)
        letters.wait_for(0)


def test_a_letter_that_is_gone_keeps_its_opt_out_until_it_comes_back(letters: Letters, home: Path) -> None:
    """A token outlives its letter's row: its page names nobody, its opt-out is taken, said in a critical line and kept;
    when the row is there again, from a backup say, the opt-out is applied.
    """
    address, token = letters.address(0), letters.token(0)
    with letters.connect() as connection:
        connection.execute("CREATE TABLE backup AS SELECT * FROM message WHERE id = %s", [letters.ids[0]])
        connection.execute("DELETE FROM message WHERE id = %s", [letters.ids[0]])
    with page(home, letters.laid.conninfo) as it:
        shown = it.ask("GET", f"/o/{token}?lang=en")
        assert (shown.status, "Stop these emails?" in shown.text, "***" in shown.text) == (200, True, False)
        assert it.one_click(token).status == it.one_click(letters.token(1)).status == 200
        letters.wait_for(1)
        (line,) = map(json.loads, it.stop().splitlines())
        assert (line["level"], line["event"]) == ("critical", "opt_out_without_letter")
        assert address not in letters.suppressed()
    with letters.connect() as connection:
        connection.execute("INSERT INTO message SELECT * FROM backup")
    with page(home, letters.laid.conninfo) as it:
        letters.wait_for(0)
        assert it.stop() == ""


def test_a_page_that_knows_no_key_does_not_begin(letters: Letters, server: EmbeddedPostgres, home: Path) -> None:
    """The first start of a home needs the database: without the key no token could be told from a forgery."""
    server.stop()
    with page(home, letters.laid.conninfo, waits=False) as it:
        assert it.process.wait(20) == 1
        (line,) = map(json.loads, heard(it.process).splitlines())
        assert (line["event"], "does not answer" in line["error"]) == ("opt_out_page_cannot_start", True)


def test_two_hosts_take_opt_outs_at_once(letters: Letters, home: Path) -> None:
    """Each with a home of its own, on one database: the same no on both is one suppression, at its first moment."""
    other = home / "other"
    other.mkdir()
    (other / "keys").write_bytes((home / "keys").read_bytes())
    with page(home, letters.laid.conninfo) as here, page(other, letters.laid.conninfo) as there:
        for it in (here, there, there, here):
            assert it.one_click(letters.token(0)).status == 200
        assert there.one_click(letters.token(1)).status == here.one_click(letters.token(2)).status == 200
        letters.wait_for(0, 1, 2)
        assert len(letters.suppressed()) == 3
        assert letters.suppressed()[0] == letters.address(0)
        assert here.stop() == there.stop() == ""


def test_a_second_page_on_one_home_does_not_begin(letters: Letters, home: Path) -> None:
    """Two processes never write one spool: the second says who is in its way."""
    with page(home, letters.laid.conninfo), page(home, letters.laid.conninfo, waits=False) as second:
        assert second.process.wait(20) == 1
        assert "Another opt-out page runs on this home" in heard(second.process)


def test_it_ends_with_its_parent(letters: Letters, home: Path) -> None:
    """Whoever started the page and dies, however, takes it along, in order."""
    with page(home, letters.laid.conninfo) as it:
        assert it.one_click(letters.token(0)).status == 200
        assert it.process.stdin is not None
        it.process.stdin.close()
        try:
            assert it.process.wait(20) == 0
        except subprocess.TimeoutExpired:
            raise AssertionError("the page outlives its parent") from None
