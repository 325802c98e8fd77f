"""The page without its database: away, stuck, or come back with other contents."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailfleet.base.db import connect
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.mail.opt_out import make_token
from mailfleet.model.schema import migrate
from mailfleet.outbox.stops import stopping
from mailfleet.panel.opt_out.spool import Spool
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
        return Letters.of(laid, connection)


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


def test_a_letter_that_is_gone_still_opts_its_contact_out(letters: Letters, home: Path) -> None:
    """A token outlives its letter's row: the page names nobody, and its contact is banned all the same, everywhere."""
    address = letters.address(0)
    with letters.connect() as connection:
        connection.execute("DELETE FROM message WHERE id = %s", [letters.ids[0]])
    with page(home, letters.laid.conninfo) as it:
        shown = it.ask("GET", f"/o/{letters.token(0)}?lang=en")
        assert (shown.status, "Stop these emails?" in shown.text, "***" in shown.text) == (200, True, False)
        assert it.one_click(letters.token(0)).status == 200
        wait_until(lambda: letters.suppressed() == [address], "the ban")
        ended = "SELECT e.state FROM enrollment e JOIN contact c ON c.id = e.contact_id WHERE c.address_key = %s"
        assert letters.value(ended, address) == "stopped"
        assert it.stop() == ""


def test_an_address_that_is_gone_stays_banned_by_its_digest(letters: Letters, home: Path) -> None:
    """Of an erased contact nothing is left: the digest in the token is banned, and nothing of the person is kept."""
    before = datetime.now(UTC)
    with letters.connect() as connection:
        digest = letters.value("SELECT digests[1] FROM contact ORDER BY id LIMIT 1")
        connection.execute(
            "UPDATE contact SET address = '', address_key = 'erased', digests = '{}', erased_at = now()"
            " WHERE digests[1] = %s",
            [digest],
        )
    with page(home, letters.laid.conninfo) as it:
        assert it.one_click(letters.token(0)).status == it.one_click(letters.token(1)).status == 200
        letters.wait_for(1)
        assert it.stop() == ""
    with letters.connect() as connection:
        found = connection.execute("SELECT * FROM suppression WHERE digest = %s", [digest]).fetchone()
    assert found is not None
    assert (found.value, found.kind, found.source) == (None, "address", "opt_out")
    assert before <= found.created_at <= datetime.now(UTC)
    assert letters.value("SELECT count(*) FROM event") == 1, "of the erased one nothing is learned"


def test_a_reissued_id_opts_nobody_else_out(letters: Letters, home: Path) -> None:
    """A restored database gives the id of a letter that is gone to another's letter: the old token shows nothing of
    that one and leaves it alone, while whoever it was written to is banned.
    """
    left, other = letters.address(0), letters.address(1)
    with letters.connect() as connection:
        connection.execute("DELETE FROM message WHERE id = %s", [letters.ids[0]])
        connection.execute("UPDATE message SET id = %s WHERE id = %s", [letters.ids[0], letters.ids[1]])
    with page(home, letters.laid.conninfo) as it:
        shown = it.ask("GET", f"/o/{letters.token(0)}?lang=en")
        assert (shown.status, "***" in shown.text) == (200, False)
        assert it.one_click(letters.token(0)).status == it.one_click(letters.token(2)).status == 200
        letters.wait_for(2)
        assert left in letters.suppressed() and other not in letters.suppressed()
        assert letters.value("SELECT state FROM message WHERE id = %s", letters.ids[0]) == "queued"
        assert letters.value("SELECT count(*) FROM event WHERE message_id = %s", letters.ids[0]) == 0


def test_an_address_that_is_read_no_more_is_banned_by_its_digest(letters: Letters, home: Path) -> None:
    """A contact whose address this version cannot parse: the digest in the token keeps its letters back."""
    with letters.connect() as connection:
        connection.execute("UPDATE contact SET address_key = 'no address' WHERE address_key = %s", [letters.address(0)])
    with page(home, letters.laid.conninfo) as it:
        assert it.one_click(letters.token(0)).status == 200
        banned = "SELECT count(*) FROM suppression s JOIN contact c ON s.digest = c.digests[1]"
        wait_until(lambda: letters.value(banned) == 1, "the ban")
        assert it.stop() == ""


def test_an_opt_out_that_cannot_be_applied_keeps_no_other_back(letters: Letters, home: Path) -> None:
    """The database refuses what belongs to one letter: the others are applied, one critical line names it, and it
    stays and is applied when the database takes it.
    """
    with letters.connect() as connection:
        connection.execute(f"ALTER TABLE event ADD CONSTRAINT refused CHECK (message_id <> {letters.ids[0]}) NOT VALID")
    with page(home, letters.laid.conninfo) as it:
        assert it.one_click(letters.token(0)).status == it.one_click(letters.token(1)).status == 200
        letters.wait_for(0, 1)
        learned = "SELECT array_agg(message_id ORDER BY message_id) FROM event"
        wait_until(lambda: letters.value(learned) == [letters.ids[1]], "the other to be learned")
        with letters.connect() as connection:
            connection.execute("ALTER TABLE event DROP CONSTRAINT refused")
        assert it.one_click(letters.token(2)).status == 200
        wait_until(lambda: letters.value(learned) == sorted(letters.ids[:3]), "all three")
        (line,) = map(json.loads, it.stop().splitlines())
        assert (line["event"], line["letter"]) == ("opt_out_not_applied", letters.ids[0])


def test_the_token_of_another_organisation_waits_for_its_database(letters: Letters, home: Path) -> None:
    """The home's spool holds what another database's key signed: it is said, bans nobody, and stays."""
    spool = Spool.open(home / "opt_out")
    spool.keep(make_token(b"x" * 32, letters.ids[0], b"0123456789abcdef"), datetime.now(UTC)).result(5)
    spool.close()
    with page(home, letters.laid.conninfo) as it:
        assert it.one_click(letters.token(1)).status == 200
        letters.wait_for(1)
        (line,) = map(json.loads, it.stop().splitlines())
        assert line["event"] == "opt_out_of_another_database"
    assert letters.suppressed() == [letters.address(1)]
    spool = Spool.open(home / "opt_out")
    assert len(spool.waiting(0, 9)) == 1
    spool.close()


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
