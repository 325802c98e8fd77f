"""Ambiguous letters are looked for in the Sent folder, and settled where that proves what became of them.

A look is no transaction; what follows from it is one, decided anew on what is known then. A death between the two
leaves the letter as it was, to be looked for again. The senders' own late words are facts all the same (see `settle`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.inbox.reconciling_sent import Likeness, SentFolder
from mailfleet.inbox.rules_reconciling import FILED_AFTER, Decision, Facts, Fate, Look, Memory, decide
from mailfleet.outbox.ambiguous import accept, plan_again
from mailfleet.outbox.records import Row

QUERIES = load_queries("mailfleet.inbox", "reconciling.sql")
ALIVE = timedelta(minutes=5)  # chosen: a sender says every 20 s that it lives, and settles within seconds
MARK = "; looked for "


def letters_due(connection: Connection, mailbox_ids: Sequence[int]) -> set[int]:
    """Mailboxes with an ambiguous letter that was never looked for, or whose next look has come."""
    return {letter.mailbox_id for letter in _letters(connection, mailbox_ids) if _is_due(letter)}


def reconcile(connection: Connection, sent: SentFolder | None, mailbox_id: int) -> None:
    """Looks for the mailbox's letters that are due. ImapFault: those not yet looked for stay due."""
    for letter in _letters(connection, [mailbox_id]):
        if _is_due(letter):
            _conclude(connection, sent, letter, _look(connection, sent, letter))


def tell_fault(connection: Connection, mailbox_id: int, fault: Exception) -> None:
    """A person reads with the letters that are due why they could not be looked for."""
    for letter in _letters(connection, [mailbox_id]):
        if _is_due(letter):
            _tell(connection, letter, f"in vain at {_shown(letter.now)}: {fault}")


def _letters(connection: Connection, mailbox_ids: Sequence[int]) -> list[Row]:
    values = {"mailboxes": list(mailbox_ids), "alive": ALIVE}
    return connection.execute(QUERIES["letters"], values).fetchall()


def _is_due(letter: Row) -> bool:
    next_at = Memory.of_record(letter.memory).next_at
    return next_at is None or next_at <= letter.now


def _facts(letter: Row) -> Facts:
    return Facts(
        letter.reserved_at,
        letter.ambiguous_at,
        letter.may_settle,
        letter.is_answered,
        letter.sent_copy == "server",
        letter.rewrites,
    )


def _look(connection: Connection, sent: SentFolder | None, letter: Row) -> Look:
    """By its id; where that is not there and may have been changed, by likeness."""
    if sent is None:
        return Look(letter.now, is_seen=False)
    if sent.holds(letter.header_id):
        return Look(letter.now, is_seen=True)
    is_telling = _facts(letter).could_prove(letter.now) and _holds_neighbours(connection, sent, letter)
    if is_telling or letter.rewrites is False or letter.has_twin:
        return Look(letter.now, is_seen=False, is_telling=is_telling)
    likeness = Likeness(letter.address, letter.subject, letter.reserved_at, letter.ambiguous_at)
    return Look(letter.now, is_seen=sent.holds_alike(likeness))


def _holds_neighbours(connection: Connection, sent: SentFolder, letter: Row) -> bool:
    """The one before must be there, for who empties a folder takes older ones too; the one after, if there is one."""
    values = {"mailbox": letter.mailbox_id, "attempt": letter.attempt_id, "filed_after": FILED_AFTER}
    neighbours = connection.execute(QUERIES["neighbours"], values).fetchall()
    return any(row.is_before for row in neighbours) and all(sent.holds(row.header_id) for row in neighbours)


def _conclude(connection: Connection, sent: SentFolder | None, letter: Row, look: Look) -> None:
    """One transaction, in the order of locks that `settle` has: the attempt, its message, its enrollment."""
    with connection.transaction():
        if connection.execute(QUERIES["lock_attempt"], {"attempt": letter.attempt_id}).fetchone() is None:
            return
        for known in _letters(connection, [letter.mailbox_id]):
            if known.attempt_id == letter.attempt_id:
                memory = Memory.of_record(known.memory)
                _act(connection, known, decide(_facts(known), memory, look), look, _place(sent))


def _act(connection: Connection, letter: Row, decision: Decision, look: Look, place: str) -> None:
    if decision.fate is Fate.ACCEPTED:
        accept(connection, letter.id, f"found in {place} at {_shown(look.at)}")
        return
    told = f"in {place}, last at {_shown(look.at)} (looks: {decision.memory.looks}): not there, {decision.why}"
    if decision.fate is Fate.AGAIN and plan_again(connection, letter.id, f"looked for {told}"):
        return
    _remember(connection, letter, decision.memory.as_record())
    _tell(connection, letter, told)


def _place(sent: SentFolder | None) -> str:
    return f"the folder {sent.name}" if sent else "the mailbox, which has no folder for what was sent"


def _remember(connection: Connection, letter: Row, memory: Mapping[str, Any]) -> None:
    values = {"mailbox": letter.mailbox_id, "attempt": letter.attempt_id, "memory": json.dumps(memory)}
    connection.execute(QUERIES["remember"], values)


def _tell(connection: Connection, letter: Row, told: str) -> None:
    connection.execute(QUERIES["tell"], {"message": letter.id, "mark": MARK, "told": told})


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
