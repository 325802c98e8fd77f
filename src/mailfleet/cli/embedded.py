"""The embedded server, shared by the commands of one home.

While nothing runs, the first command starts it, others that come meanwhile use it too, and it stops when the last is
done. Two locks beside the data say so, each gone with the process that holds it:

    <home>/postgres/starting    held while one looks whether a server runs, and starts or stops it
    <home>/postgres/using       shared by the commands that use the server
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mailfleet.base.errors import SetupError
from mailfleet.base.postgres import DATABASE, EmbeddedPostgres, read_conninfo
from mailfleet.cli.schema import bring_up, check_database

# Root's server runs as another user, who must be able to pass through; what is in it is private by itself.
FOLDER_MODE = 0o711 if os.geteuid() == 0 else 0o700


@contextmanager
def shared(home: Path) -> Iterator[str]:
    """The conninfo of the server that runs on this home, or else of one of our own.

    1. One command at a time looks whether one runs, or starts it. 2. Each holds it while at work. 3. Our own stops when
    nobody uses it any more; who comes while it stops starts one again.
    """
    folder = home / "postgres"
    with _locks(folder) as (starting, using):
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(using, fcntl.LOCK_SH)
        if (running := read_conninfo(folder)) is not None:
            fcntl.flock(starting, fcntl.LOCK_UN)
            check_database(running)
            yield running
            return
        with _ready(folder) as server:
            fcntl.flock(starting, fcntl.LOCK_UN)
            try:
                yield server.conninfo(DATABASE)
            finally:
                _take_alone(using)


@contextmanager
def owned(home: Path) -> Iterator[EmbeddedPostgres]:
    """The server of `mailfleet up`: it starts when no command uses one of its own, and they wait until it is ready."""
    folder = home / "postgres"
    with _locks(folder) as (starting, using):
        fcntl.flock(starting, fcntl.LOCK_EX)
        _take_alone(using)
        with _ready(folder) as server:
            fcntl.flock(using, fcntl.LOCK_UN)
            fcntl.flock(starting, fcntl.LOCK_UN)
            try:
                yield server
            finally:
                fcntl.flock(starting, fcntl.LOCK_EX)


@contextmanager
def _ready(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server with our database at this version's schema."""
    with EmbeddedPostgres(folder) as server:
        server.create_database(DATABASE)
        bring_up(server.conninfo(DATABASE))
        yield server


@contextmanager
def _locks(folder: Path) -> Iterator[tuple[int, int]]:
    """The files `starting` and `using`, open and not yet locked; closing them unlocks."""
    files: list[int] = []
    try:
        try:
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            for name in ("starting", "using"):
                files.append(os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise SetupError(
                f"The home directory {folder.parent} cannot be used: {error.strerror}",
                hint="Mend its permissions, be the user who runs Mailfleet, or name another home by MAILFLEET_HOME.",
            ) from error
        yield files[0], files[1]
    finally:
        for file in files:
            os.close(file)


def _take_alone(using: int) -> None:
    """Waits, and says so, until nobody else uses the server."""
    try:
        fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        click.echo("Waiting for another command, which uses the same database, to end.", err=True)
        fcntl.flock(using, fcntl.LOCK_EX)
