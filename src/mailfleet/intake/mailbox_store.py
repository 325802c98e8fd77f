"""The mailboxes in the database, by the field names of `MailboxRow`, their secrets opened and sealed here."""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from mailfleet.base.db import Connection, load_queries
from mailfleet.base.errors import InputError, InvariantError, SetupError
from mailfleet.base.secrets import Keyring
from mailfleet.intake.fleet_file import FleetFile
from mailfleet.intake.fleet_store import load_fleet, write_own_limits, write_rows
from mailfleet.intake.mailboxes import SYNONYMS
from mailfleet.intake.placing import needed_rows
from mailfleet.outbox.stops import stopping

QUERIES = load_queries("mailfleet.intake", "mailbox.sql")
_UNEXPORTED = {"password", "imap_password", "first_name", "last_name", "domain", "pace_minutes"}
EXPORTED = tuple(field for field in SYNONYMS if field not in _UNEXPORTED)
"""Columns of an export: no secret, and nothing that another column says."""

Stored = Mapping[str, Any]
"""One mailbox. A secret that no key of ours opens is an empty text, so that importing it again mends it."""


def load_mailboxes(connection: Connection, keyring: Keyring) -> dict[str, Stored]:
    """Every mailbox by its address."""
    return {row.address: _opened(row, keyring) for row in connection.execute(QUERIES["mailboxes"])}


def _opened(row: Any, keyring: Keyring) -> Stored:
    values: dict[str, Any] = row._asdict()
    values["password"] = _open(values.pop("secret"), row.address, keyring)
    values["imap_password"] = _open(values.pop("imap_secret"), row.address, keyring)
    values["pace"] = timedelta(seconds=values.pop("pace_seconds"))
    values["tags"] = tuple(values["tags"])
    return values


def _open(sealed: bytes | None, address: str, keyring: Keyring) -> str:
    try:
        return "" if sealed is None else keyring.open(sealed, what=address)
    except SetupError:
        return ""


def save_mailboxes(connection: Connection, keyring: Keyring, fleet: FleetFile, mailboxes: Sequence[Stored]) -> None:
    """Writes complete mailboxes, and before them the rows they need, in one transaction.

    `fleet` is the one against which they were reviewed; InputError, and nothing is saved, when it has changed since.
    """
    records = [_sealed(mailbox, keyring) | {"position": number} for number, mailbox in enumerate(mailboxes)]
    with stopping(connection):
        if load_fleet(connection) != fleet:
            raise InputError("The fleet changed meanwhile; nothing was saved.", hint="Run the command again.")
        write_rows(connection, needed_rows(fleet, mailboxes))
        row = connection.execute(QUERIES["write_mailboxes"], {"rows": json.dumps(records)}).fetchone()
        if row is None or row.written != len(records):
            raise InvariantError("a mailbox was to be saved whose account or domain is not there")
        write_own_limits(connection, fleet.settings)


def _sealed(mailbox: Stored, keyring: Keyring) -> dict[str, Any]:
    record = dict(mailbox)
    record["secret"] = keyring.seal(record.pop("password")).decode()
    imap_password = record.pop("imap_password")
    record["imap_secret"] = keyring.seal(imap_password).decode() if imap_password else None
    record["pace_seconds"] = int(record.pop("pace").total_seconds())
    return record


def export_mailboxes(connection: Connection, path: Path) -> int:
    """Writes every mailbox as CSV without its secrets; how many. Importing the file changes nothing."""
    rows = connection.execute(QUERIES["mailboxes"]).fetchall()
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(EXPORTED)
            writer.writerows([_cell(getattr(row, name)) for name in EXPORTED] for row in rows)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error
    return len(rows)


def _cell(value: object) -> object:
    return ",".join(value) if isinstance(value, list) else value
