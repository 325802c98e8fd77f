"""Letters whose final dot left and whose reply never came (RFC 1047): settled by what a person, or a look into the Sent
folder, found. Their sender's own word may come later: it is taken unless one of these came first.
"""

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
    settle = accept if was_sent else plan_again
    if settle(connection, message_id, f"found {'' if was_sent else 'not '}sent by {by}"):
        return
    row = connection.execute(
        "SELECT settled_at FROM attempt WHERE message_id = %s AND outcome = 'ambiguous'", [message_id]
    ).fetchone()
    if row is not None:
        safe_at = (row.settled_at + SAFE_AFTER).astimezone()
        raise InputError(
            f"Letter {message_id} may still be at its server.",
            hint=f"Look again and say so after {safe_at:%Y-%m-%d %H:%M}; a server may take ten minutes and more.",
        )
    raise InputError(
        f"Letter {message_id} is not ambiguous (any more).", hint="`mailfleet ambiguous` lists those that are."
    )


def accept(connection: Connection, message_id: int, reason: str) -> bool:
    """An ambiguous letter was accepted, and its next step follows. False: it is not ambiguous."""
    return (
        connection.execute(QUERIES["resolve_accepted"], {"message": message_id, "reason": reason}).fetchone()
        is not None
    )


def plan_again(connection: Connection, message_id: int, reason: str) -> bool:
    """An ambiguous letter was not accepted: it is planned again, in the same mailbox, under the same Message-ID. False:
    it is not ambiguous, or has been for less than `SAFE_AFTER`.
    """
    values = {"message": message_id, "reason": reason, "safe_after": SAFE_AFTER}
    return connection.execute(QUERIES["resolve_again"], values).fetchone() is not None


def prove_accepted(connection: Connection, message_id: int, *, by: str) -> bool:
    """Settles a letter as accepted on evidence: something came back that names it.

    One that a person called not sent too, if it has not left again. False: there was nothing to settle.
    """
    return connection.execute(QUERIES["prove_accepted"], {"message": message_id, "by": by}).fetchone() is not None
