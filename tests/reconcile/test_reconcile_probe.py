"""Learning who files a provider's copies: from letters that were accepted, and never against an operator."""

from datetime import timedelta

import pytest
from errand_scene import LATER, LOST, SETTLED, ErrandScene, Open, Sent, wait_with_copy
from queue_scene import one

from mailfleet.base.db import Connection
from mailfleet.inbox.errands import run_errands
from mailfleet.inbox.rules_reconciling import MISSED_ENOUGH, PROBES

WHO = "SELECT sent_copy FROM provider"
LEARNED = "SELECT value -> 'learned' FROM setting WHERE name LIKE 'sent_copy/%%'"
HOUR = timedelta(minutes=61)


async def send_everywhere(it: ErrandScene) -> list[Sent]:
    """One letter accepted in each of the three mailboxes."""
    letters = await it.send(SETTLED, SETTLED, SETTLED)
    assert len({letter.mailbox_id for letter in letters}) == 3
    return letters


def probe_everywhere(it: ErrandScene) -> int:
    """Runs what is due; how many looks there were in all."""
    for mailbox in it.due():
        it.run(mailbox)
    looks = one(
        it.connection, "SELECT sum(jsonb_array_length(value -> 'looks'))::int FROM setting WHERE value ? 'looks'"
    )
    return looks or 0


@pytest.mark.parametrize("known", ["unknown", "server_setting"])
@pytest.mark.parametrize("message_id", [None, "<other@x.example>"], ids=["our id", "another id"])
async def test_copies_seen_in_three_mailboxes_are_the_servers(
    known: str, message_id: str | None, scene: Open, connection: Connection
) -> None:
    """Not before they can lie there; then three looks learn it, whatever id the copies have, and keep when and why."""
    with scene(mailboxes=3, contacts=6, sent_copy=known, rewrites=None) as it:
        for number, letter in enumerate(await send_everywhere(it)):
            it.file(letter, **({"Message_ID": f"<{number}.{message_id[1:]}"} if message_id else {}))
        assert it.due() == set()
        it.pass_time(LATER)
        assert len(it.due()) == 3
        it.run(min(it.due()))
        it.run(min(it.due()))
        assert one(connection, WHO) == known
        it.run(min(it.due()))
        assert one(connection, WHO) == "server"
        learned = one(connection, LEARNED)
        assert (learned["sent_copy"], learned["because"]) == ("server", "3 of 3 letters looked for were in Sent")
        assert learned["at"]
        assert it.due() == set()


async def test_copies_must_be_missed_often_before_we_file_them(scene: Open, connection: Connection) -> None:
    """To append would double copies where this is wrong: six looks at six letters in three mailboxes, an hour apart."""
    with scene(mailboxes=3, contacts=9, sent_copy="unknown") as it:
        await send_everywhere(it)
        it.pass_time(LATER)
        assert probe_everywhere(it) == 3
        await send_everywhere(it)
        it.pass_time(LATER)
        assert it.due() == set(), "the last look is not an hour ago"
        it.pass_time(HOUR)
        assert one(connection, WHO) == "unknown"
        assert probe_everywhere(it) == MISSED_ENOUGH
        assert one(connection, WHO) == "client"


async def test_a_large_fleet_is_not_probed_all_at_once(scene: Open) -> None:
    """Every mailbox wrote this morning: three are looked into, then the others."""
    with scene(mailboxes=5, contacts=5, sent_copy="unknown") as it:
        await it.send(*[SETTLED] * 5)
        it.pass_time(LATER)
        first = it.due()
        assert len(first) == 3
        probe_everywhere(it)
        assert it.due() == set(it.mailboxes()) - first


@pytest.mark.parametrize("said", ["server", "client"])
async def test_an_operators_word_wins(said: str, scene: Open, connection: Connection) -> None:
    """What fleet.toml says meanwhile stands, whatever was seen."""
    with scene(mailboxes=3, contacts=3, sent_copy="unknown") as it:
        for letter in await send_everywhere(it):
            it.file(letter)
        it.pass_time(LATER)
        for mailbox in sorted(it.due())[:2]:
            it.run(mailbox)
        last = min(it.due())
        session = it.open(last)
        connection.execute("UPDATE provider SET sent_copy = %s", [said])
        with session:
            run_errands(connection, session, last)
        assert it.due() == set()
        assert one(connection, WHO) == said


async def test_what_was_learned_outlives_an_apply(scene: Open, connection: Connection) -> None:
    """`apply` writes the preset's "unknown" again: what was learned is set at once, with no new look."""
    with scene(mailboxes=3, contacts=3, sent_copy="unknown") as it:
        for letter in await send_everywhere(it):
            it.file(letter)
        it.pass_time(LATER)
        probe_everywhere(it)
        connection.execute("UPDATE provider SET sent_copy = 'unknown'")
        assert it.due() == set()
        assert one(connection, WHO) == "server"


async def test_looks_that_do_not_agree_learn_nothing_and_end(scene: Open, connection: Connection) -> None:
    """Two mailboxes file, one does not: it is a setting of each; after twelve looks a person must say it."""
    with scene(mailboxes=3, contacts=21, sent_copy="unknown") as it:
        looks = 0
        for _ in range(6):
            for letter in (await send_everywhere(it))[:2]:
                it.file(letter)
            it.pass_time(HOUR)
            looks = probe_everywhere(it)
        assert (looks, one(connection, WHO), it.due()) == (PROBES, "unknown", set())


async def test_a_copy_that_we_filed_teaches_nothing(scene: Open, connection: Connection) -> None:
    """Once the provider's word was "client" and our copies lie there: letters from before are not looked for, those
    accepted since are, and are missed."""
    with scene(mailboxes=3, contacts=6, sent_copy="client") as it:
        for letter in await send_everywhere(it):
            wait_with_copy(it, letter)
        probe_everywhere(it)
        connection.execute("UPDATE provider SET sent_copy = 'unknown'")
        it.pass_time(LATER)
        assert it.due() == set()
        await send_everywhere(it)
        it.pass_time(LATER)
        assert probe_everywhere(it) == 3
        seen = "SELECT jsonb_path_query_array(value, '$.looks[*].seen') FROM setting WHERE name LIKE 'sent_copy/%%'"
        assert one(connection, seen) == [False] * 3


async def test_only_a_servers_own_word_is_probed(scene: Open) -> None:
    """A letter that is ambiguous, or was called sent by a person, teaches nothing of the provider."""
    with scene(mailboxes=1, contacts=2, sent_copy="unknown") as it:
        told, letter = await it.send(SETTLED, LOST)
        it.connection.execute("UPDATE attempt SET code = NULL WHERE id = %s", [told.attempt_id])
        it.run(letter.mailbox_id)
        it.pass_time(timedelta(minutes=12))
        it.run(letter.mailbox_id)
        assert one(it.connection, "SELECT count(*) FROM setting WHERE name LIKE 'sent_copy/%%'") == 0


async def test_what_is_learned_lets_a_letter_be_planned_again(scene: Open) -> None:
    """A letter waits because nobody knows who files; three copies seen later, its absence proves something."""
    with scene(mailboxes=1, contacts=5, sent_copy="unknown") as it:
        known, letter = await it.send(SETTLED, LOST)
        it.file(known)
        for _ in range(3):
            it.pass_time(HOUR)
            it.run(letter.mailbox_id)
            [more] = await it.send(SETTLED)
            it.file(more)
        assert one(it.connection, WHO) == "server"
        for _ in range(2):
            it.pass_time(timedelta(hours=5))
            it.run(letter.mailbox_id)
        assert it.state(letter) == ("queued", "deferred")
