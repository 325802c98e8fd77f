"""The key of opt-out tokens while PostgreSQL is away: a copy in the home, sealed like the original.

The database is the authority. The copy lets a page that is started without it know our tokens all the same.
"""

import os
from base64 import b64decode, b64encode
from pathlib import Path

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.secrets import Keyring, read_key_file
from mailfleet.base.settings import Settings
from mailfleet.outbox.vault import Vault, open_vault


class TokenKey:
    """The key as this process knows it. `value` is replaced when the database holds another."""

    def __init__(self, settings: Settings) -> None:
        """From the copy, else from the database; SetupError when neither can be had."""
        self._settings = settings
        self._copy = settings.home / "opt_out" / "key"
        self.value = self._copied() or self._asked()

    def refresh(self, connection: Connection) -> Vault:
        """The organisation's secrets as they stand; the copy is sealed anew by the newest key."""
        vault = open_vault(connection, self._settings)
        self.value = vault.opt_out_key
        _write(self._copy, vault.keyring.seal(b64encode(vault.opt_out_key).decode()))
        return vault

    def _copied(self) -> bytes | None:
        try:
            sealed = self._copy.read_bytes()
        except OSError:
            return None
        try:
            return b64decode(self._keyring().open(sealed, what="the opt-out page"))
        except SetupError:
            return None

    def _asked(self) -> bytes:
        with connect(self._settings.named_database(), name="mailfleet opt-out starts") as connection:
            return self.refresh(connection).opt_out_key

    def _keyring(self) -> Keyring:
        keys = self._settings.keys
        return Keyring(keys.split() if keys else read_key_file(self._settings.home / "keys"))


def _write(path: Path, content: bytes) -> None:
    """Replaces the file in one step. A full disk leaves the old one, which serves as well."""
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError:
        fresh.unlink(missing_ok=True)
