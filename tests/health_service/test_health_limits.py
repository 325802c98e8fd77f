"""The trial's limit at the senders' door: however a hold ends, a few letters leave and no more."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from queue_scene import lay, result, sender

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.health.judging import Judging
from mailfleet.health.store import save_health_tunables
from mailfleet.health.tunables import HealthTunables
from mailfleet.model.words import Family, Outcome, ScopeKind
from mailfleet.outbox.stops import hold, lift


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def place(database: str, home: Path, connection: Connection) -> laid.Laid:
    """Two mailboxes of two domains, with twenty letters due."""
    return lay(database, home, connection, mailboxes=2, contacts=20)


async def test_the_first_letters_after_a_lift_meet_the_trials_limit(place: laid.Laid, connection: Connection) -> None:
    """The limit stands before the hold ends, so nothing slips out between a person's lift and the next judgement; it
    counts what leaves from then on, and not what left before the hold."""
    [domain] = connection.execute("SELECT name FROM domain ORDER BY id LIMIT 1").fetchone()
    async with sender(place) as hand:
        await hand.lease()
        assert len(await hand.reserve(batch=4)) == 4
        hold(connection, ScopeKind.DOMAIN, domain, reason="burnt", set_by="health", family=Family.POLICY)
        Judging(connection).take()
        during = await hand.reserve()
        lift(connection, ScopeKind.DOMAIN, domain, lifted_by="ann")
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
        after = await hand.reserve()
    held = connection.execute("SELECT min(id) FROM mailbox").fetchone()[0]
    assert {letter.mailbox_id for letter in during} == {held + 1}
    assert [letter.mailbox_id for letter in after] == [held] * 5
    [said] = connection.execute("SELECT DISTINCT reason FROM message WHERE state = 'queued'").fetchone()
    assert said.startswith("domain") and "limit" in said


async def test_a_trial_that_is_over_binds_nobody(place: laid.Laid, connection: Connection) -> None:
    """Its limit goes with what it counted."""
    [domain] = connection.execute("SELECT name FROM domain ORDER BY id LIMIT 1").fetchone()
    hold(connection, ScopeKind.DOMAIN, domain, reason="burnt", set_by="health", family=Family.POLICY)
    Judging(connection).take()
    lift(connection, ScopeKind.DOMAIN, domain, lifted_by="ann")
    async with sender(place) as hand:
        await hand.take()
        connection.execute("UPDATE hold SET trial_over_at = clock_timestamp()")
        Judging(connection).take()
        assert connection.execute("SELECT count(*) FROM sending_limit WHERE source = 'half_open'").fetchone()[0] == 0
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
        assert len(await hand.reserve()) == 5


def begin_trial(connection: Connection) -> None:
    """The first domain's hold is lifted; what its letters come to is judged at once."""
    connection.execute("UPDATE mailbox SET daily_limit = 30")
    save_health_tunables(connection, HealthTunables(trial_settle_bounces=timedelta(0)))
    [domain] = connection.execute("SELECT name FROM domain ORDER BY id LIMIT 1").fetchone()
    hold(connection, ScopeKind.DOMAIN, domain, reason="burnt", set_by="health", family=Family.POLICY)
    Judging(connection).take()
    lift(connection, ScopeKind.DOMAIN, domain, lifted_by="ann")


def judged_limit(connection: Connection) -> int:
    """The trial's limit after a judgement; every letter is due again."""
    Judging(connection).take()
    connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
    [maximum] = connection.execute("SELECT maximum FROM sending_limit WHERE source = 'half_open'").fetchone()
    return int(maximum)


@pytest.mark.parametrize("outcome", [Outcome.DEFERRED, Outcome.REJECTED, Outcome.AMBIGUOUS])
async def test_a_letter_that_no_server_took_keeps_no_rung(
    outcome: Outcome, place: laid.Laid, connection: Connection
) -> None:
    """It used up its part of the limit, so the rung counts it, whatever came of it; the next letters leave at once, and
    not when the day is over."""
    begin_trial(connection)
    async with sender(place) as hand:
        await hand.lease()
        for maximum in (5, 10):
            assert judged_limit(connection) == maximum
            left = [one for one in await hand.reserve() if one.mailbox_id == min(hand.fences)]
            assert len(left) == 5
            await hand.outbox.settle(
                [result(left[0], outcome)] + [result(one, Outcome.ACCEPTED, code=250) for one in left[1:]]
            )
        assert judged_limit(connection) == 20


async def test_a_rung_counts_neither_what_came_back_nor_what_is_under_way(
    place: laid.Laid, connection: Connection
) -> None:
    """A letter that left nobody gives its room back, and another takes it; the rung waits for what is not settled."""
    begin_trial(connection)
    async with sender(place) as hand:
        await hand.lease()
        assert judged_limit(connection) == 5
        left = [one for one in await hand.reserve() if one.mailbox_id == min(hand.fences)]
        await hand.outbox.settle(
            [result(left[0], Outcome.UNREACHED)] + [result(one, Outcome.ACCEPTED, code=250) for one in left[1:]]
        )
        assert (len(left), judged_limit(connection)) == (5, 5)
        [again] = await hand.reserve()
        assert judged_limit(connection) == 5
        await hand.outbox.settle([result(again, Outcome.ACCEPTED, code=250)])
        assert judged_limit(connection) == 10
