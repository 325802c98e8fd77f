"""Real senders and Postfix's smtp-sink: every letter exactly once, by the sink's own dump."""

from pathlib import Path

import pytest

from servers import smtp_sink
from stage import ids, stage

CONTACTS = 12


@pytest.mark.parametrize(
    ("idle_seconds", "options"), [(10, ()), (0, ("-p",))], ids=["kept, pipelining", "new each time, one by one"]
)
def test_the_sink_gets_every_letter_once(
    idle_seconds: int, options: tuple[str, ...], database: str, home: Path
) -> None:
    """Two steps to each contact arrive once each, with the Message-IDs that the database holds as accepted."""
    with smtp_sink(*options) as sink, stage(database, home, port=sink.port, contacts=CONTACTS, steps=2) as it:
        it.run("UPDATE provider SET idle_seconds = %s", idle_seconds)
        sender = it.sender()
        it.finish()
        assert it.stop(sender) == ""
        letters = sink.letters()
        assert ids(letters) == it.accepted()
        assert len(letters) == len(set(ids(letters))) == 2 * CONTACTS
        written_to = it.value("SELECT array_agg(DISTINCT address_key) FROM contact")
        assert {letter.recipient for letter in letters} <= set(written_to) and len(written_to) == CONTACTS


@pytest.mark.parametrize(
    ("options", "state", "reason"),
    [
        (("-f", "RCPT", "-B", "550 5.1.1 No such user"), "rejected", "5.1.1"),
        (("-f", ".", "-B", "554 5.7.1 Spam message rejected"), "rejected", "5.7.1"),
        (("-r", "RCPT"), "rejected", "given up after 2 tries"),
        (("-q", "DATA"), "rejected", "given up after 2 tries"),
        (("-q", "."), "ambiguous", "fate is unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_the_sink_refuses_ends_with_a_reason(
    options: tuple[str, ...], state: str, reason: str, database: str, home: Path
) -> None:
    """Refused, deferred, hung up on: each letter comes to one end that says why, and none is at the sink twice."""
    with smtp_sink(*options) as sink, stage(database, home, port=sink.port, contacts=4, steps=2) as it:
        sender = it.sender()
        it.finish()
        assert it.stop(sender) == ""
        assert it.states() == {state: 4}
        assert it.value("SELECT count(*) FROM message WHERE position(%s IN reason) = 0", reason) == 0
        assert it.value("SELECT count(*) FROM suppression") == (4 if reason == "5.1.1" else 0)
        arrived = ids(sink.letters())
        assert len(arrived) == len(set(arrived))


def test_a_sink_that_dies_and_comes_back_loses_nothing(database: str, home: Path) -> None:
    """The server falls in the middle and another takes its port: what was taken stays, the rest goes on."""
    with smtp_sink("-w", "1") as sink, stage(database, home, port=sink.port, contacts=6) as it:
        sender = it.sender()
        it.plan_until("SELECT count(*) < 1 FROM message WHERE state = 'accepted'")
        sink.process.kill()
        it.plan_until("SELECT count(*) < 3 FROM hold")
        with smtp_sink(port=sink.port) as other:
            it.run("UPDATE hold SET lifted_at = clock_timestamp()")
            it.finish()
            it.stop(sender)
            arrived = ids([*sink.letters(), *other.letters()])
        assert len(arrived) == len(set(arrived)), "a letter arrived twice"
        assert set(it.accepted()) <= set(arrived)
        assert sum(it.states().values()) == 6
        assert set(it.states()) <= {"accepted", "ambiguous"}
