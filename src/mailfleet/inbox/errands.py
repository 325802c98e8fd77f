"""What else is done while a mailbox's IMAP session is open: its ambiguous letters are looked for, copies are filed, and
it is learned who files them. All of it in the Sent folder; no transaction is open across a word to the server.
"""

from collections.abc import Sequence
from datetime import timedelta

from mailfleet.base.db import Connection
from mailfleet.inbox.reconciling import QUERIES, letters_due, reconcile, tell_fault
from mailfleet.inbox.reconciling_probe import probe, probes_due
from mailfleet.inbox.reconciling_sent import SentFolder
from mailfleet.outbox.sent_copies import done, failed, waiting
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import ImapFault

REST = timedelta(
    minutes=15
)  # chosen: after a fault; the mailbox is read meanwhile, and five tries of a copy are an hour


def due_errands(connection: Connection, mailbox_ids: Sequence[int]) -> set[int]:
    """Which of these mailboxes have something to do now; not those whose Sent folder lately failed."""
    mailboxes = list(mailbox_ids)
    due = letters_due(connection, mailboxes) | _copies_due(connection, mailboxes) | probes_due(connection, mailboxes)
    return due - _resting(connection, due) if due else due


def run_errands(connection: Connection, session: ImapSession, mailbox_id: int) -> None:
    """Does what is due in the mailbox; afterwards another folder than before may be the open one.

    ImapFault: the session is lost. What the server merely refuses is told where a person looks, and tried again later.
    """
    if not due_errands(connection, [mailbox_id]):
        return
    try:
        _run(connection, session, mailbox_id)
    except ImapFault as fault:
        tell_fault(connection, mailbox_id, fault)
        _rest(connection, mailbox_id)
        if not session.is_usable:
            raise


def _run(connection: Connection, session: ImapSession, mailbox_id: int) -> None:
    name = session.find_folders().sent
    sent = SentFolder(session, name) if name is not None else None
    reconcile(connection, sent, mailbox_id)
    if sent is None:
        _give_up_copies(connection, mailbox_id)
        return
    _file_copies(connection, sent, mailbox_id)
    probe(connection, sent, mailbox_id)


def _file_copies(connection: Connection, sent: SentFolder, mailbox_id: int) -> None:
    """A copy that lies there already was filed by a run that died before it could say so, or by the server."""
    copies = waiting(connection, [mailbox_id])
    if copies:
        connection.execute(QUERIES["note_filing"], {"mailbox": mailbox_id})
    for copy in copies:
        try:
            if not sent.holds(copy.header_id):
                sent.file(copy.content, copy.sent_at)
        except ImapFault:
            failed(connection, copy.message_id)
            raise
        done(connection, copy.message_id)


def _give_up_copies(connection: Connection, mailbox_id: int) -> None:
    """Without a folder for them there is no place; somebody may make one meanwhile."""
    for copy in waiting(connection, [mailbox_id]):
        failed(connection, copy.message_id)
    _rest(connection, mailbox_id)


def _copies_due(connection: Connection, mailbox_ids: list[int]) -> set[int]:
    rows = connection.execute(QUERIES["copies_waiting"], {"mailboxes": mailbox_ids}).fetchall()
    return {row.mailbox_id for row in rows}


def _resting(connection: Connection, mailbox_ids: set[int]) -> set[int]:
    rows = connection.execute(QUERIES["resting"], {"mailboxes": list(mailbox_ids)}).fetchall()
    return {row.id for row in rows}


def _rest(connection: Connection, mailbox_id: int) -> None:
    connection.execute(QUERIES["rest"], {"mailbox": mailbox_id, "rest": REST})
