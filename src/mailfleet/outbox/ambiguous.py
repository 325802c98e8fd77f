"""Letters whose final dot left and whose reply never came (RFC 1047): shown to a person, who may know better."""

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError
from mailfleet.outbox.records import Row

QUERIES = load_queries("mailfleet.outbox", "ambiguous.sql")


def list_ambiguous(connection: Connection) -> list[Row]:
    """One row a letter, oldest first: who, from where, what, and how far it came."""
    return connection.execute(QUERIES["ambiguous"]).fetchall()


def resolve(connection: Connection, message_id: int, *, was_sent: bool, by: str) -> None:
    """Settles an ambiguous letter on a person's word: accepted, or planned again in the same mailbox."""
    query = QUERIES["resolve_accepted" if was_sent else "resolve_again"]
    if connection.execute(query, {"message": message_id, "by": by}).fetchone() is None:
        raise InputError(
            f"Letter {message_id} is not ambiguous (any more).", hint="`mailfleet ambiguous` lists those that are."
        )
