"""A mail as the watcher read it from a folder."""

from dataclasses import dataclass
from datetime import datetime

from mailfleet.model.words import Folder


@dataclass(frozen=True, slots=True)
class Arrived:
    """`raw`: its head, or head and body, bounded; `received_at` is the server's INTERNALDATE, aware."""

    mailbox_id: int
    folder: Folder
    uid_validity: int
    uid: int
    received_at: datetime
    raw: bytes
