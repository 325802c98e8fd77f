"""Rows as the queue's callers see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """Our right to a mailbox: `expires_at` by the database's clock."""

    mailbox_id: int
    fence: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """An attempt that may begin from `start_at` on (database's clock), under the lease of that fence.

    `tries` counts the attempts that reached the provider, this one included.
    """

    attempt_id: int
    message_id: int
    tries: int
    mailbox_id: int
    fence: int
    start_at: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """A letter written and ready to be reserved: `content` is what will leave."""

    message_id: int
    mailbox_id: int
    contact_id: int
    subject: str
    recipient: str
    smtputf8: bool
    content: bytes
    due_at: datetime


Row = Any  # a named tuple with the columns of its query
