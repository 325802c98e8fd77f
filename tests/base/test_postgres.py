"""The embedded PostgreSQL, with real servers and real kills."""

import contextlib
import multiprocessing
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from mailfleet.base import postgres_install
from mailfleet.base.errors import InvariantError, SetupError
from mailfleet.base.postgres import LOG_BYTES, EmbeddedPostgres, _server_processes, read_conninfo
from mailfleet.base.postgres_install import Owner, _copy_binaries, find_binaries

NOBODY = 65534
PARENT = """
import sys
import tempfile
from pathlib import Path
from mailfleet.base.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root changes users; as another user there is no such case"
)


@pytest.fixture
def system_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In place of /var/lib/mailfleet, which tests leave alone. On a disk: nothing may be executed from /dev/shm."""
    with tempfile.TemporaryDirectory(prefix="mailfleet-test-") as folder:
        monkeypatch.setattr(postgres_install, "SYSTEM_FOLDER", Path(folder))
        yield Path(folder)


@pytest.fixture
def parent(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that started a server on `home`; the first line of its output is the server's pid."""
    argv = [sys.executable, "-c", PARENT, str(home)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ask(conninfo: str, query: str) -> list[object]:
    """The first column of the answer."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(query)
        return [row[0] for row in cursor] if cursor.description else []


def remember(server: EmbeddedPostgres) -> None:
    ask(server.conninfo("postgres"), "CREATE TABLE kept AS SELECT 'still here' AS word")


def remembered(server: EmbeddedPostgres) -> list[object]:
    return ask(server.conninfo("postgres"), "SELECT word FROM kept")


def identifier(server: EmbeddedPostgres) -> list[object]:
    """Differs for every run of initdb."""
    return ask(server.conninfo("postgres"), "SELECT system_identifier FROM pg_control_system()")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def watchdog_of(parent: int, home: Path) -> int:
    """The shell that this parent keeps beside the server of that home."""
    data = str((home / "data").resolve())
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (folder / "cmdline").read_text().split("\0")
            is_child = f"\nPPid:\t{parent}\n" in (folder / "status").read_text()
            if is_child and "mailfleet-watchdog" in words and data in words:
                return int(folder.name)
    raise AssertionError(f"no watchdog of {home}")


def wait_for_end(descriptor: int) -> None:
    """Until the process behind a pidfd has ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(30_000), "the process still runs after 30 seconds"
    os.close(descriptor)


def test_a_stopped_server_leaves_its_data_and_nothing_running(home: Path) -> None:
    """After a stop no process and no socket is left; after the next start the data are there, by one initdb."""
    server = EmbeddedPostgres(home)
    server.start()
    remember(server)
    first = identifier(server)
    watchdog = os.pidfd_open(watchdog_of(os.getpid(), home))
    server.stop()
    wait_for_end(watchdog)
    assert _server_processes(home / "data") == set()
    assert not (home / "socket").exists()
    server.stop()
    with server:
        assert remembered(server) == ["still here"]
        assert identifier(server) == first


def test_a_restart_keeps_the_conninfo(home: Path) -> None:
    """Who holds a conninfo can use it after a restart, of a server that is another process."""
    with EmbeddedPostgres(home) as server:
        remember(server)
        conninfo, pid = server.conninfo(), server.pid
        server.restart()
        assert server.pid not in (None, pid)
        assert server.conninfo() == conninfo
        assert remembered(server) == ["still here"]


def test_starting_what_runs_changes_nothing(postgres: EmbeddedPostgres) -> None:
    """A second start of a running server is no second server."""
    pid = postgres.pid
    postgres.start()
    assert postgres.pid == pid


def test_what_was_committed_survives_a_kill(home: Path) -> None:
    """A commit is on disk before it is answered: SIGKILL to the server loses nothing."""
    with EmbeddedPostgres(home) as server:
        conninfo = server.conninfo()
        remember(server)
        server.kill()
        assert server.pid is None
        server.start()
        assert remembered(server) == ["still here"]
        assert server.conninfo() == conninfo


def test_a_server_that_ended_by_itself_is_noticed_and_started_again(home: Path) -> None:
    """A supervisor's check fails for a dead server, and its start brings it back."""
    with EmbeddedPostgres(home) as server:
        remember(server)
        server.check()
        assert server.pid is not None
        ended = os.pidfd_open(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        wait_for_end(ended)
        with pytest.raises(SetupError, match="has ended"):
            server.check()
        server.start()
        server.check()
        assert remembered(server) == ["still here"]


def test_one_folder_has_one_server(home: Path) -> None:
    """A second instance is refused and told whose the folder is; the first one does not notice."""
    with EmbeddedPostgres(home) as server:
        with pytest.raises(SetupError, match=rf"another mailfleet is running on this home \(pid {os.getpid()}\)"):
            EmbeddedPostgres(home).start()
        assert ask(server.conninfo("postgres"), "SELECT 1") == [1]
    with EmbeddedPostgres(home):
        pass


def test_a_copied_home_that_links_to_the_same_data_is_refused(home: Path) -> None:
    """Two homes whose data are the same data cannot both run."""
    other = home / "copy"
    other.mkdir()
    with EmbeddedPostgres(home) as server:
        (other / "data").symlink_to(home / "data")
        with pytest.raises(SetupError, match="another mailfleet is running"):
            EmbeddedPostgres(other).start()
        assert ask(server.conninfo("postgres"), "SELECT 1") == [1]


def test_a_stale_pid_file_whose_pid_lives_on_as_a_stranger_is_no_obstacle(home: Path) -> None:
    """After a crash the old server's pid may be another process of the same user: it is left alone, and we start."""
    with EmbeddedPostgres(home) as server:
        server.kill()
        pid_file = home / "data" / "postmaster.pid"
        options = Owner.of(home / "data").popen_options()
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options) as stranger:
            lines = pid_file.read_text().splitlines(keepends=True)
            pid_file.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
            server.start()
            assert stranger.poll() is None
            assert ask(server.conninfo("postgres"), "SELECT 1") == [1]


def test_the_server_ends_when_its_parent_is_killed(parent: "subprocess.Popen[str]", home: Path) -> None:
    """SIGKILL to us stops the server too, and in good order: its pid file is gone."""
    ended = os.pidfd_open(int(first_line(parent)))
    parent.kill()
    wait_for_end(ended)
    assert not (home / "data" / "postmaster.pid").exists()


def test_an_orphan_is_stopped_before_the_next_start(parent: "subprocess.Popen[str]", home: Path) -> None:
    """When parent and watchdog were killed, the next start ends the old server and is the only one on the data."""
    orphan = int(first_line(parent))
    conninfo = read_conninfo(home, "postgres")
    assert conninfo is not None
    ask(conninfo, "CREATE TABLE kept AS SELECT 'still here' AS word")
    watchdog = watchdog_of(parent.pid, home)
    watchdog_ended = os.pidfd_open(watchdog)
    os.kill(watchdog, signal.SIGKILL)
    wait_for_end(watchdog_ended)
    parent.kill()
    parent.wait()
    assert orphan in _server_processes(home / "data")
    with EmbeddedPostgres(home) as server:
        assert {parent_of(pid) for pid in _server_processes(home / "data") - {server.pid}} == {server.pid}
        assert remembered(server) == ["still here"]


def test_others_find_the_server_only_while_it_runs(home: Path) -> None:
    """`read_conninfo` gives the way in while the server runs, and nothing before, after, or after a crash."""
    assert read_conninfo(home) is None
    with EmbeddedPostgres(home) as server:
        assert read_conninfo(home, "postgres") == server.conninfo("postgres")
        server.kill()
        assert (home / "data" / "postmaster.pid").exists()
        assert read_conninfo(home) is None
    assert read_conninfo(home) is None


def test_asking_for_the_way_in_before_the_start_is_a_bug(home: Path) -> None:
    """There is no conninfo before a start."""
    with pytest.raises(InvariantError):
        EmbeddedPostgres(home).conninfo()


def test_nobody_enters_without_the_password(postgres: EmbeddedPostgres) -> None:
    """Socket and TCP ask for the password; it stands in a private file alone."""
    conninfo = conninfo_to_dict(postgres.conninfo("postgres"))
    pass_file = Path(str(conninfo.pop("passfile")))
    assert pass_file.stat().st_mode & 0o777 == 0o600
    password = pass_file.read_text().strip().rpartition(":")[2]
    assert password not in postgres.conninfo()
    for host in (str(conninfo["host"]), "127.0.0.1"):
        way_in = conninfo | {"host": host}
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(**way_in, passfile="/nonexistent")
        with psycopg.connect(**way_in, password=password) as connection:
            assert connection.info.encoding == "utf-8"


def test_a_commit_waits_for_the_disk(home: Path) -> None:
    """Unless settings say otherwise, commits are durable, and statements are counted."""
    with EmbeddedPostgres(home) as server:
        names = "'fsync', 'synchronous_commit', 'full_page_writes'"
        query = f"SELECT name || ' ' || setting FROM pg_settings WHERE name IN ({names}) ORDER BY name"
        assert ask(server.conninfo("postgres"), query) == ["fsync on", "full_page_writes on", "synchronous_commit on"]
        ask(server.conninfo("postgres"), "CREATE EXTENSION pg_stat_statements")
        assert ask(server.conninfo("postgres"), "SELECT count(*) > 0 FROM pg_stat_statements") == [True]


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(postgres: EmbeddedPostgres) -> None:
    """The server is in no process group or session of ours."""
    assert postgres.pid is not None
    assert os.getsid(postgres.pid) != os.getsid(0)


def test_our_secrets_are_not_in_the_servers_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What our environment holds is not handed to the server."""
    monkeypatch.setenv("MAILFLEET_KEY", "secret")
    with EmbeddedPostgres(home) as server:
        assert b"MAILFLEET_KEY" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_the_log_tells_of_errors_and_repeats_no_data(postgres: EmbeddedPostgres, database: str) -> None:
    """A failed statement is logged, without its text and without the row."""
    ask(database, "CREATE TABLE letter (body text CONSTRAINT never_empty CHECK (body <> 'a private word'))")
    with pytest.raises(psycopg.errors.CheckViolation):
        ask(database, "INSERT INTO letter VALUES ('a private word')")
    log = (postgres.folder / "postgres.log").read_text()
    assert "never_empty" in log
    assert "private word" not in log


def test_the_log_stays_within_its_bounds(home: Path) -> None:
    """A log that has grown too long is put aside at the next check, and the server writes on."""
    log = home / "postgres.log"
    with EmbeddedPostgres(home) as server:
        with log.open("ab") as file:
            file.write(b"x" * LOG_BYTES)
        server.check()
        assert log.stat().st_size == 0
        assert (home / "postgres.log.1").stat().st_size > LOG_BYTES
        with pytest.raises(psycopg.errors.UndefinedTable):
            ask(server.conninfo("postgres"), "SELECT * FROM nowhere")
        assert "nowhere" in log.read_text()


def test_data_of_another_version_are_refused_untouched(home: Path) -> None:
    """The error names both versions and says what to do; the server is not started on them."""
    with EmbeddedPostgres(home):
        pass
    (home / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(SetupError, match="made by PostgreSQL 15") as caught:
        EmbeddedPostgres(home).start()
    assert "PG_BINDIR" in caught.value.hint
    assert not (home / "postgres.log").read_text().count("starting PostgreSQL") > 1


def test_a_port_in_use_is_named(home: Path) -> None:
    """A start that fails says why in the server's own words, and with a hint; nothing of it stays."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SetupError, match="Address already in use") as caught:
            EmbeddedPostgres(home, port=port).start()
    assert "port" in caught.value.hint
    assert _server_processes(home / "data") == set()
    with EmbeddedPostgres(home, port=port) as server:
        assert conninfo_to_dict(server.conninfo())["port"] == str(port)


def test_a_setting_that_the_server_refuses_is_named(home: Path) -> None:
    """What the server complains of at its start reaches the person."""
    with pytest.raises(SetupError, match="shared_buffers"):
        EmbeddedPostgres(home, settings={"shared_buffers": "plenty"}).start()


def test_half_a_cluster_is_never_taken_for_one(home: Path) -> None:
    """When initdb cannot write, nothing of its work stays, and with room again the next start succeeds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SetupError, match="initdb could not make a database"):
            EmbeddedPostgres(home).start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name for path in home.iterdir()} == {"lock"}
    with EmbeddedPostgres(home) as server:
        assert ask(server.conninfo("postgres"), "SELECT 1") == [1]


def test_lost_data_are_not_replaced_by_new_ones(home: Path) -> None:
    """A link to data that are gone is an error and no reason to begin with an empty database."""
    (home / "data").symlink_to(home / "gone")
    with pytest.raises(SetupError, match="data are gone"):
        EmbeddedPostgres(home).start()


def test_a_path_too_long_for_a_socket_is_no_obstacle(home: Path) -> None:
    """The socket then lies among the temporary files, for as long as the server runs."""
    folder = home / ("long" * 30)
    folder.mkdir(0o711)
    with EmbeddedPostgres(folder) as server:
        place = Path(str(conninfo_to_dict(server.conninfo())["host"]))
        assert place.stat().st_mode & 0o777 == 0o700
        assert ask(server.conninfo("postgres"), "SELECT 1") == [1]
    assert not place.exists()


def test_a_socket_folder_of_someone_else_is_not_used(home: Path) -> None:
    """What stands where our private folder belongs and is no folder of ours is refused, not followed."""
    (home / "elsewhere").mkdir()
    (home / "socket").symlink_to(home / "elsewhere")
    with pytest.raises(SetupError, match="is not ours"):
        EmbeddedPostgres(home).start()


def test_a_database_is_made_once(postgres: EmbeddedPostgres, database: str) -> None:
    """Making a database that exists leaves it as it is."""
    ask(database, "CREATE TABLE kept AS SELECT 'still here' AS word")
    postgres.create_database(str(conninfo_to_dict(database)["dbname"]))
    assert ask(database, "SELECT word FROM kept") == ["still here"]


def test_a_database_that_cannot_be_made_is_named(postgres: EmbeddedPostgres) -> None:
    """The server's refusal reaches the person as an error of the installation."""
    with pytest.raises(SetupError, match="could not be made"):
        postgres.create_database("")


def test_a_wrong_pg_bindir_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PG_BINDIR is obeyed or refused, never passed over."""
    monkeypatch.setenv("PG_BINDIR", str(tmp_path))
    with pytest.raises(SetupError, match="PG_BINDIR"):
        find_binaries()


@needs_root
def test_root_runs_a_home_that_the_server_cannot_enter(home: Path, system_folder: Path) -> None:
    """Under a private folder of root's the data lie in the system's place, the folder stays private, all else holds."""
    private = home / "private"
    private.mkdir(0o700)
    for _ in range(2):
        with EmbeddedPostgres(private / "postgres") as server:
            assert Path(f"/proc/{server.pid}").stat().st_uid != 0
            assert read_conninfo(private / "postgres") == server.conninfo()
            assert ask(server.conninfo("postgres"), "SELECT 1") == [1]
    assert private.stat().st_mode & 0o777 == 0o700
    [place] = system_folder.iterdir()
    assert (private / "postgres" / "data").resolve() == place / "data"


@needs_root
def test_root_runs_binaries_that_the_server_cannot_reach(
    home: Path, system_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binaries under a private folder of root's are copied, once, to where the server's user can run them."""
    binaries = find_binaries()
    private = home / "private"
    private.mkdir(0o700)
    package = binaries.parent.parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, private / folder.name)
    monkeypatch.setenv("PG_BINDIR", str(private / package.name / binaries.relative_to(package)))
    for name in ("first", "second"):
        with EmbeddedPostgres(home / name / "postgres") as server:
            assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(system_folder)
    assert len(list(system_folder.glob("binaries-*"))) == 1
    assert private.stat().st_mode & 0o777 == 0o700


@needs_root
def test_an_ordinary_user_needs_no_root(home: Path, system_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by an ordinary user, all is that user's and lies in that user's home."""
    monkeypatch.setenv("PG_BINDIR", str(_copy_binaries(find_binaries())))
    own = home / "own"
    own.mkdir(0o700)
    os.chown(own, NOBODY, NOBODY)
    # A fork: where the checkout is root's alone, this user could not start an interpreter of its own.
    child = multiprocessing.get_context("fork").Process(target=_run_as_nobody, args=(own,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert {path.stat().st_uid for path in own.rglob("*")} == {NOBODY}
    assert not any(path.name.startswith("home-") for path in system_folder.iterdir())


def _run_as_nobody(folder: Path) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    for _ in range(2):
        with EmbeddedPostgres(folder) as server:
            assert read_conninfo(folder, "postgres") == server.conninfo("postgres")
            assert ask(server.conninfo("postgres"), "SELECT 1") == [1]
            server.kill()
            server.start()
    assert not (folder / "data").is_symlink()
