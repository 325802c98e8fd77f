"""Services: real processes that fall, and what is made of it."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailfleet.base.errors import SetupError
from mailfleet.base.log import configure_log
from mailfleet.base.services import Services
from stage import wait_until

STANDS = "import os, sys; open(os.environ['PLACE'], 'a').write(f'{os.getpid()}\\n'); sys.stdin.read()"
FALLS = "import os, sys, time; open(os.environ['PLACE'], 'a').write(f'{time.monotonic()}\\n'); sys.exit(3)"
NEVER = threading.Event()


class Watched:
    """One service that a text makes, and the lines that its runs wrote."""

    def __init__(self, folder: Path, text: str | None) -> None:
        self.place = folder / "runs"
        if text is not None:
            (folder / "only_for_this_test.py").write_text(text)
        environment = {"PYTHONPATH": str(folder), "PLACE": str(self.place)}
        self.services = Services({"thing": "only_for_this_test"}, environment=environment, turn_seconds=0.05)

    def runs(self) -> list[str]:
        return self.place.read_text().splitlines() if self.place.exists() else []


@contextmanager
def watched(folder: Path, text: str | None) -> Iterator[Watched]:
    configure_log("critical", process="test")
    it = Watched(folder, text)
    it.services.start()
    it.services.keep()
    try:
        yield it
    finally:
        it.services.stop()


def said(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]


def test_one_that_is_killed_is_started_again_and_stopped_in_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One critical line says it; after `stop` none is left."""
    with watched(tmp_path, STANDS) as it:
        wait_until(it.runs, "the first")
        os.kill(int(it.runs()[0]), signal.SIGKILL)
        wait_until(lambda: len(it.runs()) == 2, "the second")
    (line,) = said(capfd)
    assert (line["level"], line["event"], line["exit_code"]) == ("critical", "thing_fell", -signal.SIGKILL)
    for pid in it.runs():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_one_that_falls_at_once_is_started_again_after_a_growing_pause(tmp_path: Path) -> None:
    """It does not eat the machine: a second passes, then two."""
    with watched(tmp_path, FALLS) as it:
        wait_until(lambda: len(it.runs()) == 3, "three runs")
        first, second, third = map(float, it.runs()[:3])
    assert second - first >= 1
    assert third - second >= 2


def test_one_that_is_not_there_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A module that is missing is a service that falls, again and again, each time in a critical line."""
    lines: list[dict[str, object]] = []
    with watched(tmp_path, None):
        wait_until(lambda: lines.extend(said(capfd)) or len(lines) == 2, "two falls")
    assert {line["event"] for line in lines} == {"thing_fell"}


def test_waiting_for_one_ends_when_it_stands_or_falls_or_all_is_to_stop(tmp_path: Path) -> None:
    """It stands: no error. It falls: a SetupError that names it. It does neither and a stop is asked for: no error."""
    with watched(tmp_path, STANDS) as it:
        it.services.wait_for("thing", lambda: bool(it.runs()), NEVER)
        asked = threading.Event()
        asked.set()
        it.services.wait_for("thing", lambda: False, asked)
    falling = Watched(tmp_path, FALLS)
    falling.services.start()
    with pytest.raises(SetupError, match="thing does not start"):
        falling.services.wait_for("thing", lambda: False, NEVER)
    falling.services.stop()
