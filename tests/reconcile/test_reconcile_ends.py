"""From sender to ledger: connections break after the dot, real senders go on, errands settle; the ledger judges."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import scene as kills
from errand_scene import LATER, SAFE, pass_time, with_providers

import laid
from mailfleet.base.db import connect
from mailfleet.inbox.errands import due_errands, run_errands
from mailfleet.model.words import Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.config import Faults, write_config
from mailfleet.providers.sandbox.fleet import make_fleet, sandbox_config

ROUNDS = 8
AMBIGUOUS = "SELECT count(*) FROM message WHERE state = 'ambiguous'"
FIRST_OF_ITS_MAILBOX = """
SELECT count(*) FROM message m JOIN attempt a ON a.message_id = m.id AND a.outcome = 'ambiguous'
WHERE m.state = 'ambiguous' AND NOT EXISTS (
    SELECT 1 FROM attempt e
    WHERE e.mailbox_id = a.mailbox_id AND e.id < a.id AND e.outcome = 'accepted' AND e.code = 250)
"""


@contextmanager
def stage(
    conninfo: str, home: Path, *, mailboxes: int, **provider: object
) -> Iterator[tuple[kills.Scene, SandboxProcess]]:
    """The scene of the kill matrix at a provider that files a copy of every letter, and is known to."""
    fleet = make_fleet(1, mailboxes=mailboxes, domains=mailboxes, accounts=1, providers=1, identities=1)
    config, ledger = home / "sandbox.json", home / "ledger.jsonl"
    write_config(with_providers(sandbox_config(fleet, ledger), keeps_sent=True, **provider), config)
    with SandboxProcess(config) as sandbox:
        place = laid.lay(conninfo, home, fleet, sandbox.ports, contacts=kills.CONTACTS, tunables=kills.TUNABLES)
        it = kills.Scene(place, fleet, ledger, home)
        with it.connect() as connection:
            connection.execute("UPDATE provider SET sent_copy = 'server'")
            connection.execute("UPDATE mailbox SET imap_host = '127.0.0.1'")
        try:
            yield it, sandbox
        finally:
            for process in it.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
                assert process.stdin is not None
                process.stdin.close()


def run_all(it: kills.Scene, sandbox: SandboxProcess) -> None:
    """Every errand that is due."""
    with connect(it.laid.conninfo, name="test") as connection:
        boxes = {row.id: row.address for row in connection.execute("SELECT id, address FROM mailbox").fetchall()}
        for mailbox in due_errands(connection, list(boxes)):
            box = next(box for box in it.fleet.mailboxes if box.address == boxes[mailbox])
            endpoint = Endpoint("127.0.0.1", sandbox.ports[box.provider]["imap"]["none"], Security.NONE)
            with ImapSession.open(endpoint, Login(box.login, box.password)) as session:
                run_errands(connection, session, mailbox)


def reconcile(it: kills.Scene, sandbox: SandboxProcess) -> None:
    """Looks at once, when it is safe, and once more."""
    run_all(it, sandbox)
    for wait in (SAFE, LATER):
        with it.connect() as connection:
            pass_time(connection, wait)
        run_all(it, sandbox)


def test_letters_whose_reply_was_lost_leave_exactly_once(database: str, home: Path) -> None:
    """Of every three letters one is taken and its reply lost, one is lost with its reply: all are accepted once in the
    end, but for one that has no neighbour, and the ledger has none twice and misses none."""
    faults = Faults(drop_before_commit=0.3, drop_after_commit=0.3)
    with stage(database, home, mailboxes=2, faults=faults) as (it, sandbox):
        sender = it.sender()
        it.plan_until(kills.OPEN)
        it.plan_until(kills.UNSETTLED)
        assert it.count(AMBIGUOUS) > 4
        for _ in range(ROUNDS):
            reconcile(it, sandbox)
            it.plan_until(kills.OPEN)
            it.plan_until(kills.UNSETTLED)
        kills.stop(sender)
        report = it.judge()
        assert report.holds, {name: found.examples for name, found in report.laws.items() if found.count}
        waiting = it.count(AMBIGUOUS)
        assert waiting == it.count(FIRST_OF_ITS_MAILBOX) <= 2
        assert kills.CONTACTS - waiting <= report.accepted <= kills.CONTACTS
        assert it.count("SELECT count(*) FROM attempt WHERE stage = 'resolved'") > 2
        assert report.dropped > 4


@pytest.mark.parametrize(
    ("point", "is_taken"), [("after the final dot, before the reply", True), ("after the dot is journalled", False)]
)
def test_a_killed_senders_letter_is_settled_through_sent(point: str, is_taken: bool, database: str, home: Path) -> None:
    """The sender dies beside its dot: its heir calls the letter ambiguous, Sent tells, and it is accepted once."""
    with stage(database, home, mailboxes=1) as (it, sandbox):
        doomed = it.doomed(point)
        it.plan_until("SELECT 1 - count(*) FROM message")
        assert doomed.wait(kills.DEADLINE) == -signal.SIGKILL
        it.finish()
        assert it.count(AMBIGUOUS) == 1
        run_all(it, sandbox)
        settled_by_a_look = it.count(AMBIGUOUS) == 0
        reconcile(it, sandbox)
        it.finish()
        report = it.judge()
        assert report.holds, {name: found.examples for name, found in report.laws.items() if found.count}
        assert (report.accepted, it.count(AMBIGUOUS)) == (kills.CONTACTS, 0)
        assert settled_by_a_look == is_taken
