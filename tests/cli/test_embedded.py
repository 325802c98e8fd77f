"""One home, several commands, no `mailfleet up`: they share one embedded server."""

import os
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from command_runner import Commands

from mailfleet.base.db import connect
from mailfleet.base.errors import SetupError
from mailfleet.base.postgres import read_conninfo
from mailfleet.cli.embedded import owned, shared
from mailfleet.cli.opening import opened

PATIENCE = 60.0  # seconds for what must happen
LONG_ENOUGH = 2.0  # seconds in which a server that nothing holds back stops, or starts


def in_thread(act: threading.Thread) -> threading.Thread:
    act.start()
    act.join(LONG_ENOUGH)
    return act


def test_commands_of_one_moment_share_one_server(home: Path) -> None:
    """On a new home, started together, each does its work, and when all are done nothing runs."""
    environment = {**os.environ, "MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": ""}
    words = [sys.executable, "-m", "mailfleet.cli", "status", "--json"]
    started = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    ends = [(process.communicate(timeout=PATIENCE)[1], process.returncode) for process in started]
    assert [code for _, code in ends] == [0, 0, 0, 0], ends
    assert read_conninfo(home / "postgres") is None


def test_a_server_stays_while_another_command_uses_it(home: Path) -> None:
    """The command that started it ends, at the earliest, when the last that uses it does."""
    with ExitStack() as first, ExitStack() as second:
        ours = first.enter_context(shared(home))
        assert second.enter_context(shared(home)) == ours
        ending = in_thread(threading.Thread(target=first.pop_all().close))
        assert ending.is_alive()
        connect(ours, name="test").close()
        second.close()
        ending.join(PATIENCE)
    assert read_conninfo(home / "postgres") is None


def test_up_waits_for_a_command_and_then_serves_all(home: Path) -> None:
    """`up` takes no server away from a command; those that come later use its own."""
    with ExitStack() as command, ExitStack() as up:
        command.enter_context(shared(home))
        server: AbstractContextManager[object] = owned(home)
        starting = in_thread(threading.Thread(target=up.enter_context, args=(server,)))
        assert starting.is_alive()
        command.close()
        starting.join(PATIENCE)
        with shared(home) as conninfo:
            connect(conninfo, name="test").close()
        assert read_conninfo(home / "postgres") is not None
    assert read_conninfo(home / "postgres") is None


def test_a_database_that_breaks_off_is_said_in_a_sentence(
    home: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever statement it met, the command ends with our error, which says that the rest was not done."""
    monkeypatch.setenv("MAILFLEET_HOME", str(home))
    monkeypatch.setenv("MAILFLEET_DATABASE_URL", database)
    with pytest.raises(SetupError, match="broke off in the middle") as caught, opened() as it:
        it.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert "was not done" in caught.value.hint


@pytest.mark.parametrize("command", ["status", "limits", "keys"])
def test_a_home_that_is_a_file_is_named(command: str, home: Path, tmp_path: Path) -> None:
    """One sentence, one hint, status 1."""
    place = tmp_path / "taken"
    place.write_text("")
    words = (command, "check") if command == "keys" else (command,)
    result = Commands(place, "").run(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"mailfleet: The home directory {place} cannot be used")


def test_a_full_disk_under_the_output_is_no_traceback(home: Path, database: str) -> None:
    """What cannot be written is said in two lines, with status 1."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mailfleet.cli", "status"],
            env=os.environ | Commands(home, database).environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "mailfleet: The output cannot be written: No space left on device.",
    )
