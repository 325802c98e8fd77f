"""The keys, and everything in the database that they seal.

A new key begins in front of the old ones, so that whatever is sealed opens at every moment, and at every kill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailfleet.base.db import Connection, again_on_deadlock, load_queries
from mailfleet.base.errors import SetupError
from mailfleet.base.secrets import Keyring, new_key, read_key_file, write_key_file
from mailfleet.base.settings import Settings
from mailfleet.outbox.tunables import load_tunables

QUERIES = load_queries("mailfleet.intake", "sealed.sql")
_PLACES = ("secret", "imap_secret", "setting", "credential", "access_token", "refresh_token", "url")
_SHOWN = 5  # chosen: enough to see which backup is missing


@dataclass(frozen=True, slots=True)
class KeyReport:
    """`keys`: how many there are. `sealed`: how many values; `newest`: those the newest key opens. `lost`: whose values
    no key opens."""

    keys: int
    sealed: int
    newest: int
    lost: tuple[str, ...]


def read_keys(settings: Settings) -> list[str]:
    """The keys of this installation, newest first."""
    return settings.keys.split() if settings.keys else read_key_file(_key_file(settings))


def check_keys(connection: Connection, keys: Sequence[str]) -> KeyReport:
    values = connection.execute(QUERIES["sealed"]).fetchall()
    any_key, newest = Keyring(list(keys)), Keyring(list(keys[:1]))
    lost = tuple(row.name for row in values if not _opens(any_key, row))
    return KeyReport(len(keys), len(values), sum(_opens(newest, row) for row in values), lost)


@again_on_deadlock
def rotate_keys(connection: Connection, settings: Settings) -> int:
    """Makes a new key and seals everything by it; how many values. A kill leaves the old keys in place, after the new.

    Keys out of the environment are a person's to change: then what is not sealed by the first of them is. One
    transaction: 1. no other rotation, and nobody writes a secret, 2. every value opens, 3. the key file has the new
    key in front, 4. the values are sealed anew.
    """
    _check_nobody_works(connection)
    with connection.transaction():
        connection.execute(QUERIES["lock"])
        keys = read_keys(settings)
        report = check_keys(connection, keys)
        _check_lost(report)
        if not settings.keys:
            keys = [new_key(), *keys]
            write_key_file(_key_file(settings), keys)
        elif report.newest == report.sealed:
            raise _keys_of_environment("Everything is sealed by the first key of MAILFLEET_KEYS already.")
        return _seal_anew(connection, Keyring(keys))


@again_on_deadlock
def prune_keys(connection: Connection, settings: Settings) -> int:
    """Drops every key but the newest, once nothing is sealed by them; how many were dropped."""
    if settings.keys:
        raise _keys_of_environment("The keys come from MAILFLEET_KEYS, which this command cannot change.")
    _check_nobody_works(connection)
    with connection.transaction():
        connection.execute(QUERIES["lock"])
        keys = read_keys(settings)
        report = check_keys(connection, keys)
        _check_lost(report)
        if report.newest != report.sealed:
            raise SetupError(
                f"{report.sealed - report.newest} credentials are sealed by an old key; no key was dropped.",
                hint="Run `mailfleet keys rotate` first.",
            )
        write_key_file(_key_file(settings), keys[:1])
    return len(keys) - 1


def _seal_anew(connection: Connection, keyring: Keyring) -> int:
    values = connection.execute(QUERIES["sealed"]).fetchall()
    for place in _PLACES:
        rows = [row for row in values if row.place == place]
        sealed = [keyring.rotate(row.sealed) for row in rows]
        connection.execute(QUERIES[f"seal_{place}"], {"keys": [row.key for row in rows], "sealed": sealed})
    return len(values)


def _opens(keyring: Keyring, row: Any) -> bool:
    try:
        keyring.open(row.sealed, what=row.name)
    except SetupError:
        return False
    return True


def _check_lost(report: KeyReport) -> None:
    if report.lost:
        raise SetupError(
            f"{len(report.lost)} credentials open with no key: {', '.join(report.lost[:_SHOWN])}; nothing was changed.",
            hint="Put the missing key into the key file; or import those mailboxes again with their passwords, connect"
            " those accounts again, name those alert targets again.",
        )


def _check_nobody_works(connection: Connection) -> None:
    """A sender or watcher keeps the keys it began with: it would hold its mailboxes back for want of the new one, and
    seal fresh tokens by an old one."""
    lease = load_tunables(connection).lease
    found = connection.execute(QUERIES["at_work"], {"lease": lease}).fetchall()[0]
    working = {"Senders": found.senders, "Watchers": found.watchers}
    for who, count in working.items():
        if count:
            raise SetupError(
                f"{who} at work with the keys of now: {count}; no key was changed.",
                hint="Stop `mailfleet up`, `mailfleet senders` and `mailfleet watchers`; wait"
                f" {lease.total_seconds():g} s if one was killed.",
            )


def _keys_of_environment(message: str) -> SetupError:
    return SetupError(
        message,
        hint="To rotate: put a new key (`openssl rand -base64 32 | tr +/ -_`) before the others in MAILFLEET_KEYS or in"
        " the file that MAILFLEET_KEYS_FILE names, on every host, and run `mailfleet keys rotate`; when that is done,"
        " take the others out.",
    )


def _key_file(settings: Settings) -> Path:
    return settings.home / "keys"
