"""Who files the copies of a provider of whom that is not known: learned from letters that it accepted.

What an operator says in fleet.toml is never overruled. What was seen, what was learned, when and why is kept in the
setting `sent_copy/PROVIDER`.
"""

from collections.abc import Sequence

from mailfleet.base.db import Connection
from mailfleet.inbox.reconciling import QUERIES
from mailfleet.inbox.reconciling_sent import Likeness, SentFolder
from mailfleet.inbox.rules_reconciling import FILED_AFTER, PROBE_EVERY, PROBED_MAILBOXES, PROBES, Probe, learned
from mailfleet.outbox.records import Row


def probes_due(connection: Connection, mailbox_ids: Sequence[int]) -> set[int]:
    """Mailboxes with an accepted letter that can be looked for, at a provider of whom it is not known who files."""
    connection.execute(QUERIES["learn"])
    return {letter.mailbox_id for letter in _letters(connection, mailbox_ids)}


def probe(connection: Connection, sent: SentFolder, mailbox_id: int) -> None:
    """Looks for the mailbox's newest accepted letter, by its id and by likeness, and learns what follows."""
    for letter in _letters(connection, [mailbox_id]):
        likeness = Likeness(letter.address, letter.subject, letter.reserved_at, letter.settled_at)
        is_seen = sent.holds(letter.header_id) or sent.holds_alike(likeness)
        with connection.transaction():
            _learn(connection, letter, is_seen)


def _letters(connection: Connection, mailbox_ids: Sequence[int]) -> list[Row]:
    values = {
        "mailboxes": list(mailbox_ids),
        "filed_after": FILED_AFTER,
        "every": PROBE_EVERY,
        "most": PROBES,
        "at_once": PROBED_MAILBOXES,
    }
    return connection.execute(QUERIES["probes"], values).fetchall()


def _learn(connection: Connection, letter: Row, is_seen: bool) -> None:
    values = {"provider": letter.provider_id, "mailbox": letter.mailbox_id, "message": letter.message_id}
    for row in connection.execute(QUERIES["note_probe"], {**values, "seen": is_seen}).fetchall():
        probes = [Probe(look["mailbox"], look["seen"]) for look in row.looks]
        known = learned(probes, row.mailboxes)
        if known is not None:
            because = f"{sum(it.is_seen for it in probes)} of {len(probes)} letters looked for were in Sent"
            noted = {"provider": letter.provider_id, "learned": known, "because": because}
            connection.execute(QUERIES["note_learned"], noted)
            connection.execute(QUERIES["learn"])
