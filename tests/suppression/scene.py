"""People who are written to, and what becomes of them."""

from dataclasses import dataclass
from typing import Any

import laid
from mailfleet.base.db import Connection
from mailfleet.base.secrets import Digester
from outbox.queue_scene import one, rows


@dataclass
class Scene:
    """Four contacts with a queued letter each, as an older version left them: with no digest of a company."""

    laid: laid.Laid
    connection: Connection

    @property
    def digester(self) -> Digester:
        return self.laid.vault.digester

    def name_companies(self, *names: str) -> list[int]:
        """Gives the contacts these companies in turn; their ids."""
        ids = [row[0] for row in rows(self.connection, "SELECT id FROM contact ORDER BY id")]
        for contact, name in zip(ids, names, strict=True):
            self.connection.execute("UPDATE contact SET company = %s WHERE id = %s", [name, contact])
        return ids

    def ended(self) -> set[int]:
        """Contacts whose enrollment ended."""
        return {row[0] for row in rows(self.connection, "SELECT contact_id FROM enrollment WHERE state = 'stopped'")}

    def cancelled(self) -> set[int]:
        return {row[0] for row in rows(self.connection, "SELECT contact_id FROM message WHERE state = 'cancelled'")}

    def bans(self) -> dict[str | None, Any]:
        """Each ban by its value."""
        return {row.value: row for row in self.connection.execute("SELECT * FROM suppression")}

    def address(self, contact: int) -> str:
        return str(one(self.connection, "SELECT address FROM contact WHERE id = %s", contact))
