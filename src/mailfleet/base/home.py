"""The home directory: one instance at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailfleet.base.errors import SetupError


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Holds the home for this process; SetupError when another one does, or the folder cannot be made."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(
            f"The home directory {home} cannot be written: {error.strerror}",
            hint="Mend its permissions, or name another by MAILFLEET_HOME.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise SetupError(
            f"Another mailfleet runs on {home} already (process {pid}).",
            hint="Stop that one, or name another home by MAILFLEET_HOME.",
        ) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)
