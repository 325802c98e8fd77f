"""A queue whose letters have any outcome a test wants, and the sandbox's mailboxes, in whose Sent folders it puts what
it wants; real PostgreSQL, real IMAP.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from queue_scene import lay, one, result, rows, sender

import laid
from mailfleet.base.db import Connection
from mailfleet.inbox.errands import due_errands, run_errands
from mailfleet.inbox.reconciling import MARK
from mailfleet.mail.incoming import read_incoming
from mailfleet.model.words import Outcome, Security
from mailfleet.outbox.records import Reservation
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_mail import Head
from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.config import write_config
from mailfleet.providers.sandbox.fleet import SandboxFleet, make_fleet, sandbox_config

SAFE = timedelta(minutes=32)  # past every bound of a server
LATER = timedelta(minutes=11)
SETTLED = Outcome.ACCEPTED
LOST = Outcome.AMBIGUOUS


@dataclass(frozen=True)
class Sent:
    """A letter that was reserved."""

    reservation: Reservation
    header_id: str
    address: str

    @property
    def attempt_id(self) -> int:
        return self.reservation.attempt_id

    @property
    def message_id(self) -> int:
        return self.reservation.message_id

    @property
    def mailbox_id(self) -> int:
        return self.reservation.mailbox_id


@dataclass
class ErrandScene:
    """`sandbox` shows the mailboxes of `fleet`, whose rows are in the database."""

    connection: Connection
    laid: laid.Laid
    fleet: SandboxFleet
    sandbox: SandboxProcess

    async def send(self, *outcomes: Outcome, stage: str = "dot") -> list[Sent]:
        """The letters that are due, in their order, each with an outcome; an acceptance has the server's own 250."""
        async with sender(self.laid) as hand:
            await hand.lease()
            taken = await hand.reserve(batch=len(outcomes))
            results = [
                result(it, outcome, stage=stage, code=250 if outcome is SETTLED else None)
                for it, outcome in zip(taken, outcomes, strict=True)
            ]
            await hand.outbox.settle(results)
            await hand.outbox.release(hand.fences.items())
        return [self._sent(it) for it in taken]

    def _sent(self, reservation: Reservation) -> Sent:
        query = "SELECT m.header_id, c.address FROM message m JOIN contact c ON c.id = m.contact_id WHERE m.id = %s"
        return Sent(reservation, *rows(self.connection, query, reservation.message_id)[0])

    def file(self, letter: Sent, **changed: str) -> None:
        """Its copy in Sent, as a server or a mail program would have filed it."""
        fields = {
            "From": self.address(letter.mailbox_id),
            "To": letter.address.encode("idna").decode() if not letter.address.isascii() else letter.address,
            "Subject": "Hello",
            "Message-ID": letter.header_id,
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        fields |= {name.replace("_", "-"): value for name, value in changed.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        self.sandbox.deliver(self.address(letter.mailbox_id), f"{head}\r\nHello\r\n".encode(), "sent")

    def address(self, mailbox_id: int) -> str:
        address: str = one(self.connection, "SELECT address FROM mailbox WHERE id = %s", mailbox_id)
        return address

    def open(self, mailbox_id: int) -> ImapSession:
        port, login, password = self.way(mailbox_id)
        return ImapSession.open(Endpoint("127.0.0.1", port, Security.NONE), Login(login, password))

    def way(self, mailbox_id: int) -> tuple[int, str, str]:
        """Port, login and password of its IMAP."""
        box = next(box for box in self.fleet.mailboxes if box.address == self.address(mailbox_id))
        return self.sandbox.ports[box.provider]["imap"]["none"], box.login, box.password

    def run(self, mailbox_id: int) -> None:
        with self.open(mailbox_id) as session:
            run_errands(self.connection, session, mailbox_id)

    def due(self) -> set[int]:
        return due_errands(self.connection, self.mailboxes())

    def mailboxes(self) -> list[int]:
        return [row.id for row in self.connection.execute("SELECT id FROM mailbox ORDER BY id").fetchall()]

    def in_sent(self, mailbox_id: int) -> list[str]:
        """The Message-IDs in the Sent folder, in its order."""
        return [head_id(head) for head in self.sent_heads(mailbox_id)]

    def sent_heads(self, mailbox_id: int) -> list[Head]:
        with self.open(mailbox_id) as session:
            name = session.find_folders().sent
            assert name is not None
            batches = session.read_heads(name, session.first_cursor(name, since=FIRST))
            return [head for batch in batches for head in batch.heads]

    def state(self, letter: Sent) -> tuple[str, str]:
        """Of message and attempt."""
        query = "SELECT m.state, a.outcome FROM message m JOIN attempt a ON a.message_id = m.id WHERE a.id = %s"
        [(state, outcome)] = rows(self.connection, query, letter.attempt_id)
        return state, outcome

    def told(self, letter: Sent) -> str:
        """What a person reads was looked for."""
        reason: str = one(self.connection, "SELECT reason FROM message WHERE id = %s", letter.message_id)
        return reason.partition(MARK)[2]

    def pass_time(self, length: timedelta) -> None:
        """As if everything had happened that much earlier."""
        pass_time(self.connection, length)


FIRST = date(2020, 1, 1)
Open = Callable[..., AbstractContextManager[ErrandScene]]


def head_id(head: Head) -> str:
    return read_incoming(head.header).message_id


def wait_with_copy(it: ErrandScene, letter: Sent) -> None:
    """Its copy is ours to file, as the sender keeps it."""
    content = f"Message-ID: {letter.header_id}\r\nSubject: Hello\r\n\r\nHello \u00e9\r\n".encode()
    it.connection.execute(
        "INSERT INTO sent_copy (message_id, mailbox_id, content) VALUES (%s, %s, %s)",
        [letter.message_id, letter.mailbox_id, content],
    )


def pass_time(connection: Connection, length: timedelta) -> None:
    connection.execute(
        "UPDATE attempt SET reserved_at = reserved_at - %(by)s, settled_at = settled_at - %(by)s", {"by": length}
    )
    connection.execute("UPDATE sender SET seen_at = seen_at - %s", [length])
    for row in connection.execute("SELECT name, value FROM setting WHERE name LIKE '%%/%%'").fetchall():
        connection.execute(
            "UPDATE setting SET value = %s WHERE name = %s", [Jsonb(_earlier(row.value, length)), row.name]
        )


def _earlier(value: Any, length: timedelta) -> Any:
    if isinstance(value, dict):
        return {key: _earlier(item, length) for key, item in value.items()}
    if isinstance(value, list):
        return [_earlier(item, length) for item in value]
    if isinstance(value, str):
        try:
            return (datetime.fromisoformat(value) - length).isoformat()
        except ValueError:
            return value
    return value


@contextmanager
def errand_scene(
    conninfo: str,
    home: Path,
    connection: Connection,
    *,
    mailboxes: int = 1,
    contacts: int = 4,
    steps: int = 1,
    sent_copy: str = "server",
    rewrites: bool | None = False,
    **provider: Any,
) -> Iterator[ErrandScene]:
    """One provider of that habit, whose folders are named as Postfix's; `provider` are more fields of its sandbox."""
    place = lay(conninfo, home, connection, mailboxes=mailboxes, contacts=contacts, steps=steps)
    connection.execute("UPDATE provider SET sent_copy = %s, rewrites_message_id = %s", [sent_copy, rewrites])
    connection.execute("UPDATE mailbox SET imap_host = '127.0.0.1'")
    connection.execute("UPDATE message SET due_at = now()")  # the mailboxes in turn
    with running(home, make_fleet(1, mailboxes, mailboxes, 1, 1, 1), **{"dialect": "postfix"} | provider) as it:
        yield ErrandScene(connection, place, *it)


@contextmanager
def running(home: Path, fleet: SandboxFleet, **provider: Any) -> Iterator[tuple[SandboxFleet, SandboxProcess]]:
    config, path = sandbox_config(fleet, home / "ledger.jsonl"), home / "sandbox.json"
    write_config(with_providers(config, **provider), path)
    with SandboxProcess(path) as sandbox:
        yield fleet, sandbox


def with_providers(config: Any, **fields: Any) -> Any:
    return replace(config, providers=tuple(replace(it, **fields) for it in config.providers))
