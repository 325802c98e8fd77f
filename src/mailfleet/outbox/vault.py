"""The organisation's own secrets, sealed in the database: the key of digests and the key of opt-out tokens.

They are made once, with the first keyring, and stay for good: a digest outlives every key rotation. A keyring that does
not open them is the wrong one, and nothing starts.
"""

import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass

from mailfleet.base.db import Connection
from mailfleet.base.errors import SetupError
from mailfleet.base.secrets import Digester, Keyring, new_key, read_key_file, write_key_file
from mailfleet.base.settings import Settings

KEY_BYTES = 32
_SECRETS = ("digest_key", "opt_out_key")


@dataclass(frozen=True, slots=True)
class Vault:
    keyring: Keyring
    digester: Digester
    opt_out_key: bytes


def open_vault(connection: Connection, settings: Settings) -> Vault:
    """Opens the organisation's secrets; makes them in an empty installation. SetupError for a missing or wrong key."""
    stored = _stored(connection)
    keyring = Keyring(_keys(settings, is_new=not stored))
    if len(stored) < len(_SECRETS):
        stored = _make(connection, keyring)
    opened = {name: b64decode(keyring.open(stored[name].encode(), what="this organisation")) for name in _SECRETS}
    return Vault(keyring, Digester(opened["digest_key"]), opened["opt_out_key"])


def _make(connection: Connection, keyring: Keyring) -> dict[str, str]:
    """All of them in one statement: whoever comes first wins, and there is never one without the other."""
    made = [keyring.seal(b64encode(secrets.token_bytes(KEY_BYTES)).decode()).decode() for _ in _SECRETS]
    connection.execute(
        "INSERT INTO setting (name, value) SELECT n, to_jsonb(v) FROM unnest(%s::text[], %s::text[]) AS t (n, v)"
        " ON CONFLICT DO NOTHING",
        [list(_SECRETS), made],
    )
    return _stored(connection)


def _stored(connection: Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, value FROM setting WHERE name = ANY(%s)", [list(_SECRETS)]).fetchall()
    return {row.name: row.value for row in rows}


def _keys(settings: Settings, *, is_new: bool) -> list[str]:
    if settings.keys:
        return settings.keys.split()
    path = settings.home / "keys"
    keys = read_key_file(path)
    if not keys and is_new:
        settings.home.mkdir(parents=True, exist_ok=True)
        keys = [new_key()]
        write_key_file(path, keys)
    if not keys:
        raise SetupError(
            f"The key file {path} is missing, and the database holds credentials sealed by its keys.",
            hint="Put the file back from your backup, or name it by MAILFLEET_KEYS_FILE.",
        )
    return keys
