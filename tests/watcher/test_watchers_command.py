"""`mailfleet watchers`: one watcher on one more host."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from watch_scene import sandbox_scene

from mailfleet.cli.watching import watchers_command
from stage import end

COMMAND = "from mailfleet.cli.watching import watchers_command; watchers_command()"


def test_the_command_reads_until_it_is_stopped(database: str, home: Path) -> None:
    """It reads with the environment's settings, and ends in order."""
    with sandbox_scene(database, home) as it:
        it.deliver()
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            env={**os.environ, "MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": database},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            it.wait_for_mails(1)
            process.send_signal(signal.SIGTERM)
            said, complained = process.communicate(timeout=30)
        finally:
            end([process])
        assert process.returncode == 0
        assert said.decode().splitlines()[0].startswith("A watcher runs.")
        assert said.decode().splitlines()[-1] == "Stopped; nothing is left running."
        assert complained == b""
        assert it.value("SELECT watcher_id IS NULL FROM reading")


def test_it_wants_a_common_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one it says so, for an embedded database is `mailfleet up`'s."""
    monkeypatch.delenv("MAILFLEET_DATABASE_URL", raising=False)
    result = CliRunner().invoke(watchers_command, env={"MAILFLEET_HOME": str(home)})
    assert result.exit_code == 2
    assert "MAILFLEET_DATABASE_URL" in result.output


def test_the_process_says_why_it_cannot_start(home: Path) -> None:
    """`python -m mailfleet.inbox` without a database: one critical line, exit status 1."""
    done = subprocess.run(
        [sys.executable, "-m", "mailfleet.inbox"],
        env={**os.environ, "MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "watcher_cannot_start" in done.stderr
