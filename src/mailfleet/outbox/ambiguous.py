"""Letters whose final dot left and whose reply never came (RFC 1047): shown to a person, who may know better."""

from datetime import timedelta

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError
from mailfleet.outbox.records import Row

SAFE_AFTER = timedelta(minutes=31)  # the design: 30 minutes past the lease, longer than any server waits
QUERIES = load_queries("mailfleet.outbox", "ambiguous.sql")


def list_ambiguous(connection: Connection) -> list[Row]:
    """One row a letter, oldest first: who, from where, what, and how far it came."""
    return connection.execute(QUERIES["ambiguous"]).fetchall()


def resolve(connection: Connection, message_id: int, *, was_sent: bool, by: str) -> None:
    """Settles an ambiguous letter on a person's word: accepted, or planned again in the same mailbox."""
    query = QUERIES["resolve_accepted" if was_sent else "resolve_again"]
    values = {"message": message_id, "by": by, "safe_after": SAFE_AFTER}
    if connection.execute(query, values).fetchone() is not None:
        return
    row = connection.execute(
        "SELECT reserved_at FROM attempt WHERE message_id = %s AND outcome = 'ambiguous'", [message_id]
    ).fetchone()
    if row is not None:
        safe_at = (row.reserved_at + SAFE_AFTER).astimezone()
        raise InputError(
            f"Letter {message_id} may still be at its server.",
            hint=f"Look again and say so after {safe_at:%Y-%m-%d %H:%M}; a server may take ten minutes and more.",
        )
    raise InputError(
        f"Letter {message_id} is not ambiguous (any more).", hint="`mailfleet ambiguous` lists those that are."
    )
