"""An embedded PostgreSQL: a folder, a child process, and nothing to install or to look after.

    <folder>/data           the cluster; for root perhaps a link, see postgres_install
    <folder>/pgpass         the superuser's password in libpq's format, 0600; every conninfo names this file
    <folder>/postgres.log   errors and the server's own notes, no statement, no row (postgres.log.1: the part before)
    <folder>/lock           held by the one process that runs this folder; holds its pid

The server does not outlive us: a shell that waits on a pipe from us stops it when we are gone, however we went. Should
that shell have been killed too, the next start stops what it finds running on its data. (Not PR_SET_PDEATHSIG: it fires
when the *thread* that forked ends, and needs code between fork and exec.)

Linux only: it looks into /proc. Under systemd use KillMode=mixed, so that the stop signal reaches us alone and first.
"""

import contextlib
import fcntl
import hashlib
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from mailfleet.base.errors import InvariantError, SetupError
from mailfleet.base.postgres_install import SUPERUSER, Binaries, Owner, initialise, server_error

DATABASE = "mailfleet"
SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.65535")  # unix(7): sun_path is 108 bytes with its final NUL
PORTS = range(15432, 32000)  # chosen: below Linux's ephemeral ports, so no outgoing connection takes it in a restart
START_TIME = timedelta(minutes=5)  # chosen: replays 1 GB of WAL on a slow disk
STOP_LADDER = (  # fast, then immediate shutdown (PostgreSQL manual, 18.5); chosen: times for a slow disk
    (signal.SIGINT, timedelta(seconds=60)),
    (signal.SIGQUIT, timedelta(seconds=15)),
    (signal.SIGKILL, timedelta(seconds=5)),
)
POLL_SECONDS = 0.01  # chosen: a start takes 50 ms
LOG_BYTES = 5_000_000  # chosen: some 50,000 errors, and as many in postgres.log.1

# chosen: a server with 2-4 processors and 4 GB that runs the senders too; every commit is durable
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "127.0.0.1",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "effective_cache_size": "1GB",
        "work_mem": "8MB",
        "maintenance_work_mem": "128MB",
        "random_page_cost": "1.1",
        "jit": "off",
        "fsync": "on",
        "synchronous_commit": "on",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "10min",
        # The queue is a small table whose every row changes several times: vacuum it early and often.
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
        "autovacuum_vacuum_cost_limit": "1000",
        # A sender that is frozen inside a transaction must not keep its row locks.
        "idle_in_transaction_session_timeout": "60s",
        "shared_preload_libraries": "pg_stat_statements",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "error",
        "log_checkpoints": "off",
        "log_autovacuum_min_duration": "-1",
        # A statement, and the DETAIL of an error, can hold addresses, letters and sealed secrets.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
)

# A line on the pipe means that the server was stopped; its end, that we are dead.
WATCHDOG = """
trap '' TERM
read -r _ && exit
[ "/proc/$1/cwd" -ef "$2" ] && kill -INT "$1"
"""


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What a server says of itself in postmaster.pid (src/include/utils/pidfile.h). It may be long dead."""

    pid: int
    port: int
    socket_folder: str
    is_ready: bool

    @classmethod
    def read(cls, data: Path) -> Self | None:
        """None when there is no such file, or not all of it yet."""
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 5 or not lines[0].isdigit() or not lines[3].isdigit():
            return None
        return cls(int(lines[0]), int(lines[3]), lines[4], len(lines) >= 8 and lines[7].strip() == "ready")


def _conninfo(folder: Path, socket_folder: str, port: int, dbname: str) -> str:
    passfile = str(folder / "pgpass")
    return make_conninfo("", host=socket_folder, port=port, user=SUPERUSER, dbname=dbname, passfile=passfile)


def read_conninfo(folder: Path, dbname: str = DATABASE) -> str | None:
    """How another process reaches the server that runs on this folder now; None when none runs, or not yet."""
    data = (folder / "data").resolve()
    try:
        postmaster = _Postmaster.read(data)
    except PermissionError as error:
        raise SetupError(f"{folder} may not be read by this user", hint="use the user who runs mailfleet") from error
    if postmaster is None or not postmaster.is_ready or postmaster.pid not in _server_processes(data):
        return None
    return _conninfo(folder.absolute(), postmaster.socket_folder, postmaster.port, dbname)


def _server_processes(data: Path) -> set[int]:
    """The pids of all processes of a server on this data folder (a real path): each works inside it."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == data and (process / "comm").read_text() == "postgres\n":
                found.add(int(process.name))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def _leftovers(data: Path) -> set[int]:
    """Whom to signal to end a former life's server: its postmaster, or what has outlived that."""
    processes = _server_processes(data)
    postmaster = _Postmaster.read(data)
    return {postmaster.pid} if postmaster and postmaster.pid in processes else processes


def _wait(condition: Callable[[], bool], patience: timedelta) -> bool:
    """Whether the condition came to hold within that time."""
    deadline = time.monotonic() + patience.total_seconds()
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _end(running: Callable[[], set[int]]) -> None:
    """Stop a server, politely first; `running` tells whom to signal, and nobody when it has ended."""
    for number, patience in STOP_LADDER:
        for pid in running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _wait(lambda: not running(), patience):
            return
    raise SetupError(f"PostgreSQL (pid {min(running())}) does not end, not even by SIGKILL", hint="restart the machine")


def _socket_folder(data: Path, owner: Owner) -> Path:
    """A private folder beside the data; where that path is too long for a socket, one among the temporary files."""
    name = f"mailfleet-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    for folder in (data.parent / "socket", Path(tempfile.gettempdir()) / name, Path("/tmp") / name):
        if len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES and owner.can_enter(folder.parent):
            break
    folder.mkdir(0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (owner.uid, os.geteuid()):
        raise SetupError(f"{folder} is not ours, and the server's socket belongs there", hint="remove it")
    owner.give(folder)
    return folder


def free_port() -> int:
    """One that nothing listens on now."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise SetupError(f"no free TCP port was found between {PORTS.start} and {PORTS.stop}")


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a prepared server lives, the same through every restart. `data` is a real path."""

    data: Path
    owner: Owner
    binaries: Binaries
    socket_folder: Path
    port: int

    def argv(self, settings: Mapping[str, str]) -> list[str]:
        places = {"port": str(self.port), "unix_socket_directories": f'"{self.socket_folder}"'}
        options = [f"--{name}={value}" for name, value in {**settings, **places}.items()]
        return [str(self.binaries.folder / "postgres"), "-D", str(self.data), *options]


class EmbeddedPostgres:
    """One server on one folder, for as long as this object has it started; a context manager.

    `port` is the TCP port on 127.0.0.1; without it a free one is chosen once and kept through restarts. `settings` are
    laid over SETTINGS. Every method raises SetupError with the server's last words, and is for one thread at a time.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.folder = folder.absolute()
        self._port = port
        self._settings = {**SETTINGS, **settings}
        self._log = self.folder / "postgres.log"
        self._log_start = 0
        self._locks: list[int] = []
        self._site: _Site | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The postmaster's, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def conninfo(self, dbname: str = DATABASE) -> str:
        """For libpq, over the Unix socket; holds no secret, and stays true until `stop()`."""
        if self._site is None:
            raise InvariantError(f"the PostgreSQL in {self.folder} was asked for before its start")
        return _conninfo(self.folder, str(self._site.socket_folder), self._site.port, dbname)

    def start(self) -> None:
        """Have it running and ready, whatever was before; makes the cluster the first time. Running: does nothing.

        1. Take the folder and make ready what is needed. 2. Stop what a former life left running. 3. Run, and wait.
        """
        if self.pid is not None:
            return
        try:
            self._end_process()
            self._site = site = self._site or self._prepare()
            _end(lambda: _leftovers(site.data))
            self._wait_until_ready(site, self._launch(site))
        except OSError as error:
            self.stop()
            raise SetupError(f"PostgreSQL could not be started in {self.folder}: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Clients are cut off, what they committed is kept; the folder is free for others. Stopped: does nothing."""
        self._end_process()
        if self._site:
            with contextlib.suppress(OSError):  # a killed server left its socket there
                self._site.socket_folder.rmdir()
        self._site = None
        for lock in self._locks:
            os.close(lock)
        self._locks = []

    def restart(self) -> None:
        """In place: same conninfo, and nobody else can take the folder meanwhile."""
        self._end_process()
        self.start()

    def kill(self) -> None:
        """SIGKILL to the postmaster, as in a crash; `start()` recovers. For tests of that."""
        if self._process:
            self._process.kill()
        self._end_process()

    def check(self) -> None:
        """For a supervisor, now and then: SetupError when the server has ended by itself. Bounds the log."""
        if self.pid is None:
            raise server_error(f"PostgreSQL in {self.folder} has ended", self._last_words())
        self._cut_log()

    def create_database(self, name: str = DATABASE) -> None:
        """Make an empty database, unless there is one of that name."""
        try:
            with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.errors.DuplicateDatabase:
            return
        except psycopg.Error as error:
            raise SetupError(f"the database {name} could not be made in {self.folder}: {error}") from error

    def _prepare(self) -> _Site:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock(self.folder / "lock")
        data = self.folder / "data"
        if data.is_symlink() and not data.exists():
            raise SetupError(f"the data are gone: {data} links to nothing", hint="restore them, or remove the link")
        owner = Owner.of(data)
        binaries = Binaries.found(owner)
        if not data.exists():
            initialise(self.folder, owner, binaries, durable=self._settings["fsync"] == "on")
        data = data.resolve()
        # The lock above is not enough where a copied home links to the same data.
        self._take_lock(data / "mailfleet.lock")
        binaries.check_data(data)
        return _Site(data, owner, binaries, _socket_folder(data, owner), self._port or free_port())

    def _take_lock(self, path: Path) -> None:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._locks.append(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"another mailfleet is running on this home (pid {os.read(lock, 20).decode()}): {self.folder}",
                hint="stop it first, or give this one another MAILFLEET_HOME",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)

    def _launch(self, site: _Site) -> "subprocess.Popen[bytes]":
        options = site.owner.popen_options()
        former = _Postmaster.read(site.data)
        if former:
            # We hold the lock and no server runs here, so whoever has that pid now is not ours; PostgreSQL takes it for
            # the shell above pg_ctl and does not stumble over it (CreateLockFile in miscinit.c).
            options["env"]["PG_GRANDPARENT_PID"] = str(former.pid)
        self._cut_log()
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            self._log_start = log.tell()
            process: subprocess.Popen[bytes] = subprocess.Popen(
                site.argv(self._settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
            )
        self._process = process
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "mailfleet-watchdog", str(process.pid), site.data],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **site.owner.popen_options(),
        )
        return process

    def _wait_until_ready(self, site: _Site, process: "subprocess.Popen[bytes]") -> None:
        def is_settled() -> bool:
            now = _Postmaster.read(site.data)
            return process.poll() is not None or (now is not None and now.pid == process.pid and now.is_ready)

        if not _wait(is_settled, START_TIME) or process.poll() is not None:
            raise server_error(f"PostgreSQL in {self.folder} did not start", self._last_words())

    def _end_process(self) -> None:
        _end(lambda: {pid} if (pid := self.pid) else set())
        self._process = None
        if self._watchdog:
            self._watchdog.communicate(b"\n")
            self._watchdog = None

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _cut_log(self) -> None:
        """The server appends to its open file, and so goes on in the emptied one."""
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            shutil.copyfile(self._log, self._log.with_suffix(".log.1"))
            os.truncate(self._log, 0)
            self._log_start = 0
