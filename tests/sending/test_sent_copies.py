"""Copies of what left: kept once a letter's acceptance is a fact, for mailboxes whose provider files none."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.model.words import Outcome
from mailfleet.outbox.records import Reservation
from mailfleet.outbox.sent_copies import TRIES, done, failed, waiting
from mailfleet.sending.copying import Copies
from outbox.queue_scene import lay, one, result, sender
from servers import Sink, smtp_sink
from stage import Stage, stage

OUTCOMES = [Outcome.ACCEPTED, Outcome.DEFERRED, Outcome.REJECTED, Outcome.UNREACHED, Outcome.AMBIGUOUS]


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def place(database: str, home: Path, connection: Connection) -> laid.Laid:
    place = lay(database, home, connection, mailboxes=1, contacts=5)
    connection.execute("UPDATE mailbox SET imap_host = 'imap.a.test'")
    return place


def content_of(reservation: Reservation) -> bytes:
    return b"letter %d\xff\x00" % reservation.message_id


def boxes(connection: Connection) -> list[int]:
    return [row.id for row in connection.execute("SELECT id FROM mailbox").fetchall()]


async def test_only_what_is_settled_as_accepted_is_kept(place: laid.Laid, connection: Connection) -> None:
    """Of five letters with the five outcomes one is kept, byte for byte, after its settlement and not before; once,
    even when the call is repeated."""
    copies = Copies(place.conninfo)
    async with sender(place) as hand:
        reserved = await hand.take()
        results = [result(reservation, outcome) for reservation, outcome in zip(reserved, OUTCOMES, strict=True)]
        for reservation in reserved:
            copies.reserved(reservation.attempt_id, content_of(reservation))
        await copies.keep()
        assert waiting(connection, boxes(connection)) == []
        await hand.outbox.settle(results)
        copies.settled(results)
        assert copies.came.is_set()
        for _ in range(2):
            await copies.keep()
            copies.reserved(reserved[0].attempt_id, content_of(reserved[0]))
            copies.settled(results)
    await copies.close()
    [row] = waiting(connection, boxes(connection))
    assert (row.message_id, bytes(row.content)) == (reserved[0].message_id, content_of(reserved[0]))
    assert row.header_id == one(connection, "SELECT header_id FROM message WHERE id = %s", row.message_id)


async def test_a_result_that_did_not_become_a_fact_keeps_nothing(place: laid.Laid, connection: Connection) -> None:
    """What a sender believes is not enough: the database must hold the letter as accepted."""
    copies = Copies(place.conninfo)
    async with sender(place) as hand:
        reserved = await hand.take()
        copies.reserved(reserved[0].attempt_id, b"x")
        copies.settled([result(reserved[0], Outcome.ACCEPTED)])
        await copies.keep()
    await copies.close()
    assert waiting(connection, boxes(connection)) == []


async def test_a_mailbox_that_cannot_be_read_keeps_none(place: laid.Laid, connection: Connection) -> None:
    """Without IMAP nobody could ever file the copy."""
    connection.execute("UPDATE mailbox SET imap_host = ''")
    copies = Copies(place.conninfo)
    async with sender(place) as hand:
        reserved = await hand.take()
        results = [result(reserved[0], Outcome.ACCEPTED)]
        copies.reserved(reserved[0].attempt_id, b"x")
        await hand.outbox.settle(results)
        copies.settled(results)
        await copies.keep()
    await copies.close()
    assert one(connection, "SELECT count(*) FROM sent_copy") == 0


async def test_copies_wait_while_the_database_is_away(place: laid.Laid, connection: Connection) -> None:
    """A lost connection costs no copy: the next try opens another and brings all."""
    copies = Copies(place.conninfo)
    async with sender(place) as hand:
        reserved = await hand.take()
        results = [result(reservation, Outcome.ACCEPTED) for reservation in reserved[:2]]
        await hand.outbox.settle(results)
        for each in results:
            copies.reserved(each.attempt_id, b"x")
            copies.settled([each])
            if each is results[0]:
                await copies.keep()
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO sent_copy%%'"
                )
                continue
            with pytest.raises(psycopg.OperationalError):
                await copies.keep()
            await copies.keep()
    await copies.close()
    assert len(waiting(connection, boxes(connection))) == 2


def test_a_copy_ends_filed_or_given_up(place: laid.Laid, connection: Connection) -> None:
    """Filed, it is gone; five times refused, it is given up; of other mailboxes nothing is told."""
    connection.execute(
        "INSERT INTO sent_copy (message_id, mailbox_id, content) SELECT id, mailbox_id, 'x' FROM message LIMIT 2"
    )
    first, second = (row.message_id for row in waiting(connection, boxes(connection)))
    assert waiting(connection, [0]) == []
    done(connection, first)
    for tries in range(1, TRIES):
        failed(connection, second)
        assert [(row.message_id, row.tries) for row in waiting(connection, boxes(connection))] == [(second, tries)]
    failed(connection, second)
    assert waiting(connection, boxes(connection)) == []


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink() as sink:
        yield sink


@pytest.mark.parametrize(("sent_copy", "copies"), [("client", 12), ("server", 0), ("unknown", 0)])
def test_a_real_sender_keeps_exactly_what_it_sent(
    sink: Sink, database: str, home: Path, sent_copy: str, copies: int
) -> None:
    """A provider that leaves copies to the client gets one of each letter, the bytes that the server took; another's
    letters leave no trace."""
    with stage(database, home, port=sink.port) as it:
        it.run("UPDATE provider SET sent_copy = %s", sent_copy)
        it.run("UPDATE mailbox SET imap_host = 'imap.a.test'")
        process = it.sender()
        it.finish()
        it.stop(process)
        assert kept(it) == (sorted(letter.content for letter in sink.letters()) if copies else [])
        assert len(kept(it)) == copies


def kept(it: Stage) -> list[bytes]:
    """As smtp-sink files letters: with LF."""
    with it.connect() as connection:
        rows = connection.execute("SELECT content FROM sent_copy").fetchall()
    return sorted(bytes(row.content).replace(b"\r\n", b"\n") for row in rows)
