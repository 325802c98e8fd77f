"""One mailbox's lane against a scripted server: its connection, its pace, its lease, its provider's cap."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from lane_scene import DEADLINE, Play, desk, farewell, server, take, until, welcome

from mailfleet.model.words import Security
from mailfleet.outbox.rules import Refusal
from mailfleet.providers.endpoint import Endpoint
from mailfleet.sending.lane import Lane
from providers.scripted import Peer

NOWHERE = Endpoint("127.0.0.1", 9, Security.NONE)


async def accept_one(peer: Peer) -> None:
    await welcome(peer)
    await take(peer)
    await farewell(peer)


def accept(letters: int) -> Play:
    async def play(peer: Peer) -> None:
        await welcome(peer)
        for _ in range(letters):
            await take(peer)
        await farewell(peer)

    return play


async def run(lane: Lane) -> None:
    async with asyncio.timeout(DEADLINE):
        await lane.run()


async def test_letters_go_one_after_the_other_over_one_connection(tmp_path: Path) -> None:
    """Three letters, one login; each is journalled as done before it is reported."""
    async with desk(tmp_path) as it, server(accept(3)) as endpoint:
        lane = it.lane(endpoint, idle=0)
        for _ in range(3):
            it.work(lane)
        await run(lane)
        assert it.said == [(n, "accepted", "") for n in (1, 2, 3)]
        assert all(result.began_at for result in it.results)
        assert {n: entry.phase for n, entry in it.journal.entries().items()} == {1: "done", 2: "done", 3: "done"}
        assert not lane.is_running


async def test_a_kept_connection_that_was_closed_costs_the_letter_nothing(tmp_path: Path) -> None:
    """The server hangs up between two letters: the second was not begun by anyone's account; it goes over a new
    connection, or goes back with its usage, and the mailbox is not held for it."""
    closed = asyncio.Event()

    async def hang_up(peer: Peer) -> None:
        await welcome(peer)
        await take(peer)
        peer.writer.transport.abort()
        closed.set()

    async with desk(tmp_path) as it, server(hang_up, accept_one) as endpoint:
        lane = it.lane(endpoint, idle=5)
        it.work(lane)
        task = asyncio.create_task(run(lane))
        await asyncio.wait_for(closed.wait(), DEADLINE)
        await until(lambda: lane._session is not None and not lane._session.usable)
        it.work(lane)
        await until(lambda: len(it.results) == 2)
        lane.stop()
        await task
        assert it.said == [(1, "accepted", ""), (2, "accepted", "")]


async def test_a_closing_server_says_so_only_after_mail(tmp_path: Path) -> None:
    """421 to the next MAIL, then a close: the letter waits and is tried again, its usage counts; the next one connects
    anew."""

    async def shut(peer: Peer) -> None:
        await welcome(peer)
        await take(peer)
        await peer.hear("MAIL FROM:")
        await peer.say("421 4.3.2 closing")

    async with desk(tmp_path) as it, server(shut, accept_one) as endpoint:
        lane = it.lane(endpoint, idle=0)
        for _ in range(3):
            it.work(lane)
        await run(lane)
        assert [(outcome, n) for n, outcome, _ in it.said] == [("accepted", 1), ("deferred", 2), ("accepted", 3)]


async def test_a_providers_cap_is_kept_by_all_its_mailboxes(tmp_path: Path) -> None:
    """Five mailboxes, two connections at most: never more than two at once, and everyone's letter leaves."""
    now, most = 0, 0

    async def count(peer: Peer) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await welcome(peer)
        await take(peer)
        await farewell(peer)
        now -= 1

    async with desk(tmp_path) as it, server(*[count] * 5) as endpoint:
        lanes = [it.lane(endpoint, number=number, cap=2, idle=0) for number in range(1, 6)]
        for lane in lanes:
            it.work(lane)
        await asyncio.gather(*map(run, lanes))
        assert most == 2
        assert sorted(it.said) == [(n, "accepted", "") for n in range(1, 6)]


@pytest.mark.parametrize(("cap", "senders", "room"), [(6, 3, 2), (2, 3, 1), (7, 2, 3)])
async def test_a_cap_is_shared_with_the_other_senders(cap: int, senders: int, room: int, tmp_path: Path) -> None:
    """Each of the living senders keeps to its part of a provider's cap, one connection at least; who waits gets the
    first that is given up."""
    async with desk(tmp_path) as it, AsyncExitStack() as mine:
        it.caps.senders = senders
        mailbox = it.lane(NOWHERE, cap=cap).mailbox
        held = it.caps.slot(mailbox)
        await held.__aenter__()
        for _ in range(room - 1):
            await mine.enter_async_context(it.caps.slot(mailbox))
        late = asyncio.create_task(mine.enter_async_context(it.caps.slot(mailbox)))
        assert not (await asyncio.wait([late], timeout=0.05))[0]
        assert it.caps.wanted(mailbox).is_set()
        await held.__aexit__(None, None, None)
        await asyncio.wait_for(late, DEADLINE)
        assert not it.caps.wanted(mailbox).is_set()


async def test_without_a_cap_nobody_waits(tmp_path: Path) -> None:
    """Fifty connections to one provider at once."""
    async with desk(tmp_path) as it, AsyncExitStack() as mine, asyncio.timeout(DEADLINE):
        for _ in range(50):
            await mine.enter_async_context(it.caps.slot(it.lane(NOWHERE).mailbox))


async def test_an_idle_mailbox_makes_room_for_another(tmp_path: Path) -> None:
    """With one connection for two mailboxes the first, though it may keep its own for long, closes it when the other
    waits."""
    async with desk(tmp_path) as it, server(accept_one, accept_one) as endpoint:
        first, second = (it.lane(endpoint, number=number, cap=1, idle=3600) for number in (1, 2))
        it.work(first)
        running = asyncio.create_task(run(first))
        await until(lambda: len(it.results) == 1)
        it.work(second)
        other = asyncio.create_task(run(second))
        await running
        await until(lambda: len(it.results) == 2)
        second.stop()
        await other
        assert it.said == [(1, "accepted", ""), (2, "accepted", "")]


REFUSALS = [
    ("recalled", {}, {}),
    ("lease_over", {"lease": timedelta(seconds=1)}, {}),
    ("late", {}, {"reserved_ago": 31.0}),
]


@pytest.mark.parametrize(("code", "lane_options", "work_options"), REFUSALS)
async def test_what_may_no_longer_leave_does_not_even_connect(
    code: str, lane_options: dict[str, timedelta], work_options: dict[str, float], tmp_path: Path
) -> None:
    """A letter called back, one whose lease is nearly over, one whose moment passed: withdrawn, nothing journalled."""
    async with desk(tmp_path) as it, server() as endpoint:
        lane = it.lane(endpoint, idle=0, **lane_options)
        it.work(lane, **work_options)
        if code == "recalled":
            lane.recall({1: Refusal("recalled", "suppressed: no", ends=True)})
        await run(lane)
        assert it.said == [(1, "unreached", code)]
        assert it.journal.entries() == {}


async def test_a_recall_reaches_a_letter_that_waits_for_its_moment(tmp_path: Path) -> None:
    """Connected and waiting, it is called back: not one byte of it leaves; the next letter is not touched."""
    waiting = asyncio.Event()

    async def play(peer: Peer) -> None:
        await welcome(peer)
        waiting.set()
        await take(peer)
        await farewell(peer)

    async with desk(tmp_path) as it, server(play) as endpoint:
        lane = it.lane(endpoint, idle=0)
        it.work(lane, due_in=0.4)
        it.work(lane, due_in=0.4)
        task = asyncio.create_task(run(lane))
        await asyncio.wait_for(waiting.wait(), DEADLINE)
        lane.recall({1: Refusal("suppressed", "suppressed: no", ends=True)})
        await task
        assert it.said == [(1, "unreached", "suppressed"), (2, "accepted", "")]


async def test_a_lease_that_ends_in_the_content_keeps_the_dot_back(tmp_path: Path) -> None:
    """The last look is right before the dot: past its lease the sender hangs up without it, and the letter is not
    ambiguous."""
    async with desk(tmp_path) as it:
        lane: Lane

        async def play(peer: Peer) -> None:
            await welcome(peer)
            await peer.begin("250 ok", "250 ok")
            await peer.hear("DATA")
            lane._lease_until = 0.0
            await peer.say("354 go")
            assert not (await peer.rest()).endswith(b"\r\n.\r\n")

        async with server(play) as endpoint:
            lane = it.lane(endpoint, idle=0)
            it.work(lane)
            await run(lane)
        [result] = it.results
        assert (result.outcome, result.state, result.reason) == (
            "deferred",
            "queued",
            "the lease ended before the final dot",
        )


async def test_a_lost_answer_to_the_dot_is_ambiguous(tmp_path: Path) -> None:
    """All of it left, nothing was heard: nobody guesses."""

    async def play(peer: Peer) -> None:
        await welcome(peer)
        await peer.begin()
        await peer.reader.readuntil(b"\r\n.\r\n")

    async with desk(tmp_path) as it, server(play) as endpoint:
        lane = it.lane(endpoint, idle=0)
        it.work(lane)
        await run(lane)
        assert it.said == [(1, "ambiguous", "ambiguous")]
        assert it.journal.entries()[1].result == it.results[0]


async def test_letters_of_a_mailbox_are_a_pace_apart(tmp_path: Path) -> None:
    """The pace counts from the end of the letter before, whatever the reservation said."""
    ends: list[float] = []
    loop = asyncio.get_running_loop()

    async def play(peer: Peer) -> None:
        await welcome(peer)
        for _ in range(2):
            await peer.hear("MAIL FROM:")
            ends.append(loop.time())
            await peer.say("250 ok")
            await peer.hear("RCPT TO:")
            await peer.say("250 ok")
            await peer.hear("DATA")
            await peer.say("354 go")
            await peer.take()
            ends.append(loop.time())
        await farewell(peer)

    async with desk(tmp_path) as it, server(play) as endpoint:
        lane = it.lane(endpoint, pace=1, idle=2)
        it.work(lane)
        it.work(lane)
        task = asyncio.create_task(run(lane))
        await until(lambda: len(it.results) == 2)
        lane.stop()
        await task
    assert ends[2] - ends[1] >= 0.99


async def test_a_refused_login_gives_all_waiting_letters_back_and_holds_the_mailbox(tmp_path: Path) -> None:
    """One login is tried, not one a letter: the first letter carries the hold, the others only go back."""

    async def refuse(peer: Peer) -> None:
        await welcome(peer, "535 5.7.8 bad password")
        await peer.rest()

    async with desk(tmp_path) as it, server(refuse) as endpoint:
        lane = it.lane(endpoint, idle=0)
        for _ in range(4):
            it.work(lane)
        await run(lane)
        assert sorted(n for n, outcome, _ in it.said if outcome == "unreached") == [1, 2, 3, 4]
        [hold] = [result.hold for result in it.results if result.hold is not None]
        assert (hold.scope_kind, hold.seconds) == ("mailbox", None)
        assert "bad password" in hold.reason
        assert it.journal.entries() == {}


async def test_an_unusable_ca_file_stops_its_mailbox_and_not_the_sender(tmp_path: Path) -> None:
    """A file that went missing is a fault of the installation: the mailbox rests, its letters go back, the lane ends
    as any other."""
    async with desk(tmp_path) as it:
        lane = it.lane(Endpoint("127.0.0.1", 9, Security.TLS, str(tmp_path / "missing.pem")), idle=0)
        it.work(lane)
        it.work(lane)
        await run(lane)
        assert [(n, outcome) for n, outcome, _ in it.said] == [(1, "unreached"), (2, "unreached")]
        assert it.results[0].hold is not None
        assert "missing.pem" in it.results[0].hold.reason


async def test_stopping_finishes_the_letter_in_hand_and_gives_the_rest_back(tmp_path: Path) -> None:
    """The letter whose content is leaving is taken to its end; the one behind it was never begun."""
    async with desk(tmp_path) as it:
        lane: Lane

        async def play(peer: Peer) -> None:
            await welcome(peer)
            await peer.begin()
            lane.stop()
            await peer.take()
            await farewell(peer)

        async with server(play) as endpoint:
            lane = it.lane(endpoint, idle=5)
            it.work(lane)
            it.work(lane)
            await run(lane)
        assert it.said == [(1, "accepted", ""), (2, "unreached", "stopping")]


async def test_a_journal_that_cannot_be_written_begins_nothing(tmp_path: Path) -> None:
    """Every letter is kept back before its first byte; the server hears of none; usage comes back."""

    async def play(peer: Peer) -> None:
        await welcome(peer)
        await farewell(peer)

    async with desk(tmp_path) as it, server(play) as endpoint:
        it.journal._database.execute("PRAGMA query_only = ON")
        lane = it.lane(endpoint, idle=0)
        it.work(lane)
        await run(lane)
        assert it.said == [(1, "unreached", "journal")]


async def test_a_letter_that_our_own_code_fails_at_stops_no_other(tmp_path: Path) -> None:
    """A letter with a bare line feed never reaches the wire; the one behind it leaves over a new connection."""

    async def nothing(peer: Peer) -> None:
        await welcome(peer)
        assert await peer.rest() == b""

    async with desk(tmp_path) as it, server(nothing, accept_one) as endpoint:
        lane = it.lane(endpoint, idle=0)
        it.work(lane, content=b"Subject: x\n\nHi\r\n")
        it.work(lane)
        await run(lane)
        assert [(n, outcome) for n, outcome, _ in it.said] == [(1, "deferred"), (2, "accepted")]
        assert "InvariantError" in it.results[0].reason
