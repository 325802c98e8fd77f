"""Many idle connections in one thread, against a server that plays IDLE line by line."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from mailfleet.base.errors import InvariantError
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import FaultKind, ImapStage
from mailfleet.providers.imap_idle import IdleEvent, IdlePool

from .peer import LOGIN, PATIENCE, SHORT, Peer, played

Events = queue.Queue[IdleEvent[str]]


@contextmanager
def pool(**settings: timedelta) -> Iterator[tuple[IdlePool[str], Events]]:
    events: Events = queue.Queue()
    made = IdlePool(events.put, **settings)
    try:
        yield made, events
    finally:
        made.close()


def opened(endpoint: Endpoint) -> ImapSession:
    session = ImapSession.open(endpoint, LOGIN)
    session.first_cursor("INBOX")
    return session


def start(peer: Peer) -> str:
    """Up to IDLE; its tag."""
    peer.admit()
    peer.examine(messages=3)
    return peer.hear("IDLE")


def finish(peer: Peer, tag: str) -> None:
    assert peer.line() == b"DONE"
    peer.say(f"{tag} OK done")


def test_new_mail_hands_the_session_back() -> None:
    """At EXISTS with more mails than before the session comes back, once, out of IDLE and ready for a command."""

    def play(peer: Peer) -> None:
        tag = start(peer)
        peer.say("+ idling", "* OK Still here", "* 3 EXISTS", "* 2 FETCH (FLAGS (\\Seen))", "* 4 EXISTS", "* 5 EXISTS")
        finish(peer, tag)
        peer.answer("STATUS", "* STATUS Junk (UIDNEXT 2 UIDVALIDITY 7)")
        peer.rest()

    with played(play) as endpoint, pool() as (idle, events):
        session = opened(endpoint)
        idle.add("ann", session)
        event = events.get(timeout=PATIENCE)
        assert (event.key, event.session, event.has_news, event.fault) == ("ann", session, True, None)
        assert event.session.look("Junk").uid_next == 2
        assert (len(idle), events.qsize()) == (0, 0)
        session.drop()


@pytest.mark.parametrize("before", [True, False])
def test_news_before_idle_began_is_not_missed(before: bool) -> None:
    """Mail told of between IDLE and its "+" counts, and so does mail told of in the command before."""

    def play(peer: Peer) -> None:
        peer.admit()
        peer.examine(messages=3)
        peer.answer("STATUS", *(["* 4 EXISTS"] if before else []), "* STATUS Junk (UIDNEXT 2 UIDVALIDITY 7)")
        if not before:
            tag = peer.hear("IDLE")
            peer.say("* 4 EXISTS", "+ idling")
            finish(peer, tag)
        assert peer.rest() == b""

    with played(play) as endpoint, pool() as (idle, events):
        session = opened(endpoint)
        session.look("Junk")
        idle.add("ann", session)
        assert events.get(timeout=PATIENCE).has_news
        session.drop()


def test_a_mail_that_went_and_one_that_came_are_told_apart() -> None:
    """After EXPUNGE the old count is news: another mail came."""

    def play(peer: Peer) -> None:
        tag = start(peer)
        peer.say("+ idling", "* 1 EXPUNGE", "* 3 EXISTS")
        finish(peer, tag)
        peer.rest()

    with played(play) as endpoint, pool() as (idle, events):
        session = opened(endpoint)
        idle.add("ann", session)
        assert events.get(timeout=PATIENCE).has_news
        session.drop()


def test_idle_is_renewed_before_it_is_forgotten() -> None:
    """When its time is over, IDLE ends and begins anew by itself; a count that is known already is no event."""

    def play(peer: Peer) -> None:
        tag = start(peer)
        for _ in range(3):
            peer.say("+ idling", "* 3 EXISTS", "* 0 RECENT")
            finish(peer, tag)
            tag = peer.hear("IDLE")
        peer.say("+ idling", "* 4 EXISTS")
        finish(peer, tag)
        peer.rest()

    with played(play) as endpoint, pool(renew_after=timedelta(milliseconds=20)) as (idle, events):
        session = opened(endpoint)
        idle.add("ann", session)
        assert events.get(timeout=PATIENCE).has_news
        session.drop()


def test_a_session_is_taken_back() -> None:
    """`remove` brings the session back, out of IDLE, with no news; a second `remove` does nothing."""

    def play(peer: Peer) -> None:
        tag = start(peer)
        peer.say("+ idling")
        assert peer.line() == b"DONE"
        peer.say(f"{tag} OK done\r\n* BYE")
        peer.rest()

    with played(play) as endpoint, pool() as (idle, events):
        session = opened(endpoint)
        idle.add("ann", session)
        with pytest.raises(InvariantError):
            idle.add("ann", session)
        idle.remove("ann")
        event = events.get(timeout=PATIENCE)
        idle.remove("ann")
        assert (event.has_news, event.fault, event.session.is_usable) == (False, None, True)
        session.drop()


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (["+ idling", "* BYE Shutting down"], FaultKind.LOST, "Shutting down"),
        (["{tag} NO [UNAVAILABLE] Not now"], FaultKind.BUSY, "Not now"),
        (["{tag} BAD What?"], FaultKind.REFUSED, "What"),
        (["+ idling", "{tag} OK IDLE terminated"], FaultKind.PROTOCOL, "not IMAP"),
        (["+ idling", "x" * 200_000], FaultKind.PROTOCOL, "no end"),
        (["+ idling", None], FaultKind.LOST, "connection broke"),
        ([], FaultKind.LOST, "fell silent"),
    ],
)
def test_a_lost_session_comes_back_with_its_fault(said: list[str | None], kind: FaultKind, words: str) -> None:
    """Whatever ends an idle connection is one event, with a closed session and the reason."""

    def play(peer: Peer) -> None:
        tag = start(peer)
        for line in said:
            if line is None:
                return
            peer.raw(line.replace("{tag}", tag).encode() + (b"" if len(line) > 999 else b"\r\n"))
        peer.rest()

    with played(play) as endpoint, pool(answer_within=SHORT) as (idle, events):
        idle.add("ann", opened(endpoint))
        event = events.get(timeout=PATIENCE)
        assert event.fault is not None
        assert (event.fault.kind, event.fault.stage) == (kind, ImapStage.IDLE)
        assert words in str(event.fault)
        assert not event.session.is_usable


def test_one_bad_connection_leaves_the_others() -> None:
    """A session that breaks, or was closed before it came, does not disturb who waits beside it."""

    def bad(peer: Peer) -> None:
        start(peer)
        peer.raw(b"\x00\xff garbage * + \r\n\r\n")

    def closed(peer: Peer) -> None:
        peer.admit()
        peer.examine()
        peer.rest()

    def good(peer: Peer) -> None:
        tag = start(peer)
        peer.say("+ idling", "* 9 EXISTS")
        finish(peer, tag)
        peer.rest()

    with pool() as (idle, events), played(bad, closed, good) as endpoint:
        idle.add("bad", opened(endpoint))
        assert events.get(timeout=PATIENCE).fault is not None
        session = opened(endpoint)
        session.drop()
        idle.add("closed", session)
        assert events.get(timeout=PATIENCE).fault is not None
        session = opened(endpoint)
        idle.add("good", session)
        event = events.get(timeout=PATIENCE)
        assert (event.key, event.has_news) == ("good", True)
        session.drop()


def test_closing_drops_every_session() -> None:
    """At the end of the pool its sessions are closed and its thread is gone."""

    def play(peer: Peer) -> None:
        start(peer)
        peer.say("+ idling")
        peer.rest()

    with played(play) as endpoint:
        with pool() as (idle, events):
            session = opened(endpoint)
            idle.add("ann", session)
        assert (session.is_usable, events.qsize(), idle._thread.is_alive()) == (False, 0, False)
