"""The demo as a person, or a program, runs it: small, and with kills."""

import json
import subprocess
import sys

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
    assert report["accepted"] + report["ambiguous"] > 250
    assert bool(report["kills"]) is bool(chaos)
