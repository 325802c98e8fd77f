"""The keyring: seals credentials (Fernet: AES-128-CBC with HMAC-SHA256) and makes keyed digests.

The newest key seals, all open; `rotate` seals anew. A sealed value says nothing of what is inside, and no error of this
module carries a secret.
"""

import hashlib
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mailfleet.base.errors import SetupError

BLOCK_BYTES = 64  # of SHA-256
DIGEST_BYTES = 16  # chosen: 128 bits, no collision among any number of addresses a fleet can meet


class Keyring:
    """Keys in order, newest first; at least one."""

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise SetupError("There is no key to open the credentials with.", hint=_KEYS_HINT)
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise SetupError("A key is not of the right form (32 bytes, URL-safe base64).", hint=_KEYS_HINT) from error

    def seal(self, secret: str) -> bytes:
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes, *, what: str) -> str:
        """The secret; SetupError naming `what` (a mailbox's address, say) when no key of ours sealed it."""
        try:
            return self._fernet.decrypt(bytes(sealed)).decode()
        except InvalidToken as error:
            raise SetupError(f"No key of this home opens the credential of {what}.", hint=_KEYS_HINT) from error

    def rotate(self, sealed: bytes) -> bytes:
        """The same secret sealed by the newest key."""
        try:
            return self._fernet.rotate(bytes(sealed))
        except InvalidToken as error:
            raise SetupError("A credential was sealed by a key that is not here.", hint=_KEYS_HINT) from error


_KEYS_HINT = "Put the file `keys` back into the home directory, or name it by MAILFLEET_KEYS_FILE."


def new_key() -> str:
    return Fernet.generate_key().decode()


def read_key_file(path: Path) -> list[str]:
    """The keys of a file, newest first; none when there is no file."""
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SetupError(f"The key file {path} cannot be read: {error.strerror}", hint=_KEYS_HINT) from error


def write_key_file(path: Path, keys: list[str]) -> None:
    """Replaces the file in one step, readable by its owner alone."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("".join(f"{key}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


class Digester:
    """Keyed digests of addresses, domains and companies: they outlive erasure and say nothing without the key.

    HMAC-SHA256 (RFC 2104) with the key's two halves worked out once: an import makes millions of them.
    """

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def address(self, normalised: str) -> bytes:
        return self._digest(b"address:" + normalised.encode())

    def domain(self, ascii_name: str) -> bytes:
        return self._digest(b"domain:" + ascii_name.encode())

    def company(self, key: str) -> bytes:
        """Of a company, by what `mail.companies.company_key` makes of its name."""
        return self._digest(b"company:" + key.encode())

    @property
    def key_mark(self) -> str:
        """Tells whether two digests were made with one key, and nothing else of it."""
        return self._digest(b"key mark").hex()[:8]

    def all_of(self, normalised: str, domain_ascii: str, company_key: str = "") -> list[bytes]:
        """Every digest under which a contact can be suppressed: its address, its domain, each parent of two labels, and
        its company where one is known. That of the address comes first."""
        labels = domain_ascii.split(".")
        parents = [".".join(labels[index:]) for index in range(max(1, len(labels) - 1))]
        companies = [self.company(company_key)] if company_key else []
        return [self.address(normalised), *map(self.domain, parents), *companies]

    def _digest(self, text: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()[:DIGEST_BYTES]
