"""`mailfleet up` and `mailfleet senders` as a person runs them: processes, signals, and what is left of them."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import laid
from mailfleet.base.postgres import read_conninfo
from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.config import Personas, write_config
from mailfleet.providers.sandbox.fleet import sandbox_config
from mailfleet.providers.sandbox.ledger import read_ledger
from servers import free_port
from stage import DEADLINE, HASTY, Stage, end, one_provider_fleet, wait_until

FLEET = one_provider_fleet(2)
CONTACTS = 6
RUNNING = "SELECT count(*) FROM sender WHERE stopped_at IS NULL AND seen_at > clock_timestamp() - interval '4 seconds'"
ENDED = "SELECT count(*) = 0 FROM enrollment WHERE state = 'active'"


class Running:
    """A command that keeps running, and the processes that belong to its home."""

    def __init__(self, home: Path, command: str, greeting: str, **environment: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailfleet.cli", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "MAILFLEET_HOME": str(home),
                "MAILFLEET_OPT_OUT_LISTEN": f"127.0.0.1:{free_port()}",
                **environment,
            },
        )
        self.said = self._read_until(greeting)

    def _read_until(self, words: str) -> str:
        """What it said up to these words."""
        assert self.process.stdout is not None
        said, until = "", time.monotonic() + DEADLINE
        while words not in said:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"waited {DEADLINE:g} s for {words!r}: {said}"
            part = os.read(self.process.stdout.fileno(), 4096).decode()
            assert part, f"{said}{self.process.stderr.read().decode() if self.process.stderr else ''}"
            said += part
        return said

    def read_on(self) -> bool:
        """Takes in what it says next."""
        assert self.process.stdout is not None
        if select.select([self.process.stdout], [], [], 0)[0]:
            self.said += os.read(self.process.stdout.fileno(), 4096).decode()
        return False

    def stop(self, number: signal.Signals = signal.SIGINT) -> str:
        """Ends it in order; all that it said since."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0, errors.decode()
        return out.decode() + errors.decode()

    def senders(self) -> set[int]:
        return self.running("mailfleet.sending")

    def running(self, module: str) -> set[int]:
        return {pid for pid, command in self.children().items() if f"-m {module} " in command}

    def children(self) -> dict[int, str]:
        """Pid → command line of every process of this home but the command itself, the database's among them."""
        return {pid: command for pid, command in processes(self.home).items() if pid != self.process.pid}


def processes(home: Path) -> dict[int, str]:
    """Those whose environment, working directory or command line names the home; a zombie names nothing."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            traces = words + (place / "environ").read_bytes() + os.fsencode((place / "cwd").readlink())
        except OSError:
            continue
        if words and (os.fsencode(home) in traces or os.fsencode((home / "postgres" / "data").resolve()) in traces):
            found[int(place.name)] = words.replace(b"\0", b" ").decode(errors="replace")
    return found


@contextmanager
def running(home: Path, command: str, greeting: str, **environment: str) -> Iterator[Running]:
    it = Running(home, command, greeting, **environment)
    try:
        yield it
    finally:
        end([it.process])


def up(home: Path, **environment: str):  # type: ignore[no-untyped-def]
    return running(home, "up", "Mailfleet is up.", **{"MAILFLEET_DATABASE_URL": "", **environment})


@pytest.fixture
def sandbox(home: Path) -> Iterator[SandboxProcess]:
    """One provider; its ledger is `ledger.jsonl`, beside the homes that the processes are known by."""
    write_config(sandbox_config(FLEET, home / "ledger.jsonl"), home / "sandbox.json")
    with SandboxProcess(home / "sandbox.json") as it:
        yield it


def lay(conninfo: str, home: Path, sandbox: SandboxProcess, wait: timedelta = timedelta(seconds=1)) -> Stage:
    """Letters enough for some seconds: one a second and mailbox."""
    place = laid.lay(
        conninfo,
        home,
        FLEET,
        sandbox.ports,
        contacts=CONTACTS,
        steps=2,
        wait=wait,
        pace_seconds=1,
        tunables=HASTY,
    )
    return Stage(place, home)


@contextmanager
def taken_port() -> Iterator[int]:
    """One at which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def assert_each_left_once(home: Path) -> None:
    letters = [letter.message_id for letter in read_ledger(home / "ledger.jsonl").transactions if letter.accepted]
    assert len(letters) == len(set(letters)) == 2 * CONTACTS


def test_up_runs_everything_and_leaves_nothing_behind(home: Path, sandbox: SandboxProcess) -> None:
    """From an empty folder to letters that left, each once, though a sender, the database and at last `up` itself are
    killed in between; Ctrl-C ends it with status 0, and neither end leaves a process.
    """
    place = home / "home"
    with up(place) as it:
        assert "Stopped; nothing is left running." in it.stop()
        assert processes(place) == {}
    with up(place) as it:
        found = read_conninfo(place / "postgres")
        assert found is not None
        there = lay(found, place, sandbox)
        wait_until(lambda: there.value("SELECT count(*) > 0 FROM message WHERE state = 'accepted'"), "a first letter")
        (sender,) = it.senders()
        os.kill(sender, signal.SIGKILL)
        wait_until(lambda: it.senders() - {sender}, "a sender in its place")
        (postmaster,) = [pid for pid, words in it.children().items() if "/postgres -D" in words]
        os.kill(postmaster, signal.SIGKILL)
        wait_until(lambda: read_conninfo(place / "postgres") == found, "the database to come back")
        it.process.kill()
        it.process.wait()
        wait_until(lambda: processes(place) == {}, "everything to end with `up`")
    with up(place) as it:
        conninfo = read_conninfo(place / "postgres")
        assert conninfo is not None
        there.laid = laid.Laid(conninfo, there.laid.settings, there.laid.vault)
        wait_until(lambda: there.value(ENDED), "the rest to leave")
        it.stop(signal.SIGTERM)
        assert processes(place) == {}
    assert_each_left_once(home)


def test_who_presses_the_link_gets_no_more_letters(home: Path) -> None:
    """At the providers everybody POSTs to the link of their first letter, as a mailbox provider does: `up` takes each
    no, learns it of that letter, and ends the contact's passage; nobody gets the second letter, and no process fell.
    """
    port = free_port()
    everybody = Personas(opt_out_link=1.0, opt_out_at=f"http://127.0.0.1:{port}")
    write_config(sandbox_config(FLEET, home / "ledger.jsonl", personas=everybody), home / "sandbox.json")
    place = home / "home"
    with (
        SandboxProcess(home / "sandbox.json") as sandbox,
        up(place, MAILFLEET_OPT_OUT_LISTEN=f"127.0.0.1:{port}") as it,
    ):
        assert f"Opt-outs are taken at 127.0.0.1:{port}." in it.said
        conninfo = read_conninfo(place / "postgres")
        assert conninfo is not None
        there = lay(conninfo, place, sandbox, wait=timedelta(hours=1))
        wait_until(lambda: there.value(ENDED), "everybody to have said no")
        learned = "SELECT count(*) FROM event e JOIN message m ON m.id = e.message_id WHERE m.state = 'accepted'"
        wait_until(lambda: there.value(f"{learned} AND e.kind = 'opt_out'") == CONTACTS, "each no to be learned")
        assert there.value("SELECT count(*) FROM enrollment WHERE reason_code = 'suppressed'") == CONTACTS
        assert there.value("SELECT count(*) FROM suppression WHERE source = 'opt_out'") == CONTACTS
        wait_until(lambda: f"opt-outs {CONTACTS}" in it.said or it.read_on(), "the line that counts them")
        said = it.stop()
        assert "_fell" not in said
    letters = read_ledger(home / "ledger.jsonl").transactions
    assert len(letters) == len({letter.rcpt for letter in letters}) == CONTACTS


def test_no_letter_leaves_without_the_opt_out_page(home: Path) -> None:
    """A port that is taken, a spool that cannot be written: `up` says so, and ends with all that it began."""
    place = home / "home"
    with taken_port() as port:
        done = run_up(place, port)
    assert f"mailfleet: The opt-out page cannot listen at 127.0.0.1:{port}" in done.stderr
    assert "MAILFLEET_OPT_OUT_LISTEN" in done.stderr
    (place / "opt_out").write_text("no folder")
    done = run_up(place, free_port())
    assert "opt_out_page_cannot_start" in done.stderr and "The service opt_out_page does not start" in done.stderr
    assert processes(place) == {}


def run_up(place: Path, port: int) -> "subprocess.CompletedProcess[str]":
    """`up`, which does not come up."""
    environment = {
        **os.environ,
        "MAILFLEET_HOME": str(place),
        "MAILFLEET_DATABASE_URL": "",
        "MAILFLEET_OPT_OUT_LISTEN": f"127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "mailfleet.cli", "up"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1 and "is up" not in done.stdout
    return done


def test_a_page_or_planner_that_falls_is_started_again(home: Path) -> None:
    """Each is killed: it is said, another takes its place, and the sender goes on."""
    with up(home) as it:
        senders = it.senders()
        fallen = {module: it.running(module) for module in ("mailfleet.panel.opt_out", "mailfleet.planning")}
        for pids in fallen.values():
            (pid,) = pids
            os.kill(pid, signal.SIGKILL)
        for module, pids in fallen.items():
            wait_until(lambda module=module, pids=pids: it.running(module) - pids, f"another {module}")
        assert it.senders() == senders
        said = it.stop()
    assert "opt_out_page_fell" in said and "planner_fell" in said and "sender_fell" not in said


def test_a_second_host_sends_from_the_same_database(database: str, home: Path, sandbox: SandboxProcess) -> None:
    """Two homes, one database, one key: both hosts' senders work side by side, and when the first is killed the second
    writes on; no letter leaves twice.
    """
    first, second = home / "first", home / "second"
    first.mkdir()
    there = lay(database, first, sandbox)
    common = {"MAILFLEET_DATABASE_URL": database, "MAILFLEET_KEYS": (first / "keys").read_text()}
    with running(first, "up", "Mailfleet is up.", **common) as one:
        wait_until(lambda: there.value("SELECT count(*) > 0 FROM message WHERE state = 'accepted'"), "a first letter")
        with running(second, "senders", "Senders run.", **common) as other:
            wait_until(lambda: there.value(RUNNING) == 2, "two senders")
            one.process.kill()
            one.process.wait()
            wait_until(lambda: one.children() == {}, "the first host to be gone")
            wait_until(lambda: there.value(ENDED), "the rest to leave")
            assert "Stopped; nothing is left running." in other.stop()
            assert other.children() == {}
    assert_each_left_once(home)
