"""Copies of what left, for the Sent folders of mailboxes whose provider files none.

The sender keeps a letter's bytes once its acceptance is settled; a watcher appends them. A death in between loses the
copy and nothing else: the letter is a fact before it. One between append and `done` leaves the copy waiting, so who
appends looks for the Message-ID first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mailfleet.base.db import AsyncConnection, Connection, load_queries

QUERIES = load_queries("mailfleet.outbox", "sent_copies.sql")
TRIES = 5  # chosen: a folder that took no copy five times will not take the sixth
BATCH = 50  # chosen: copies read at once; some megabytes at most

Row = Any


async def keep(connection: AsyncConnection, copies: Mapping[int, bytes]) -> None:
    """Attempt → the letter's exact bytes. Of one that is not settled as accepted, or went to an erased person,
    nothing is kept; may be repeated."""
    values = {"attempts": list(copies), "contents": list(copies.values())}
    await connection.execute(QUERIES["keep"], values)


def waiting(connection: Connection, mailbox_ids: Sequence[int]) -> list[Row]:
    """message_id, mailbox_id, content, sent_at, tries, header_id of these mailboxes' copies, at most `BATCH`, the
    oldest first."""
    return connection.execute(QUERIES["waiting"], {"mailboxes": list(mailbox_ids), "most": BATCH}).fetchall()


def done(connection: Connection, message_id: int) -> None:
    """The copy lies in the folder."""
    connection.execute(QUERIES["done"], {"message": message_id})


def failed(connection: Connection, message_id: int) -> None:
    """It could not be appended; after `TRIES` such words the copy is given up."""
    connection.execute(QUERIES["failed"], {"message": message_id, "most": TRIES})
