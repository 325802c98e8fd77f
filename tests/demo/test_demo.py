"""The demo as a person, or a program, runs it: small, and with kills."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = {
    *("mailboxes", "contacts", "accepted", "deferred", "rejected", "ambiguous", "duplicates", "lost", "over_limit"),
    *("before_pace", "after_opt_out", "kills", "seconds"),
}
LAWS = ("duplicates", "lost", "over_limit", "before_pace", "after_opt_out", "unknown")


@pytest.mark.parametrize("chaos", [(), ("--chaos",)], ids=["calm", "chaos"])
def test_a_small_demo_breaks_no_law_by_the_providers_ledger(chaos: tuple[str, ...]) -> None:
    """The whole path from files to accepted letters; with --chaos senders and PostgreSQL die meanwhile."""
    command = [
        sys.executable,
        "-m",
        "mailfleet.cli",
        "demo",
        "--mailboxes",
        "60",
        "--contacts",
        "120",
        "--json",
        "--exit",
    ]
    done = subprocess.run([*command, *chaos], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert set(report) >= KEYS
    assert {law: report[law] for law in LAWS} == dict.fromkeys(LAWS, 0)
    assert report["accepted"] > 100  # how many depends on whom the health rules hold meanwhile
    assert bool(report["kills"]) is bool(chaos)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", [0o711, 0o700], ids=["open", "closed"])
def test_a_demo_that_is_stopped_leaves_nothing_behind(number: signal.Signals, mode: int, home: Path) -> None:
    """No folder, and no data that it linked to because root's PostgreSQL could not enter it."""
    home.chmod(mode)
    words = [sys.executable, "-m", "mailfleet.cli", "demo", "--mailboxes", "6", "--contacts", "6", "--exit"]
    demo = subprocess.Popen(words, env=os.environ | {"TMPDIR": str(home)}, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    while not demo.stdout.readline().startswith("$ mailfleet import contacts"):
        assert demo.poll() is None
    (data,) = (path.resolve() for path in home.glob("mailfleet-demo-*/home/postgres/data"))
    assert data.is_dir()
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert (list(home.iterdir()), data.exists(), data.parent.exists()) == ([], False, False)
