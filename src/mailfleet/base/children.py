"""Our processes as children of one: started directly, stopped by their id, gone when their parent is.

A child's stdin is a pipe from its parent: when that ends, however the parent went, the child stops in order.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from mailfleet.base.clock import monotonic

STOP_SECONDS = 75.0  # chosen: longer than a sender takes at most to end its letters and settle them


class Child:
    """One process of ours, `python -m module`; `started_at` by the monotonic clock.

    What it must know comes by its environment, which, unlike its arguments, others cannot read.
    """

    def __init__(
        self,
        module: str,
        *,
        environment: Mapping[str, str],
        log: IO[bytes] | None = None,
    ) -> None:
        self.started_at = monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """At once, as a crash would."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code; killed when it does not end in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return self._process.returncode


def stop_all(children: Sequence[Child]) -> None:
    """Asks all at once, then waits for each."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.wait()


def on_stop(stop: Callable[[], object], *, with_parent: bool) -> None:
    """Calls `stop` on SIGTERM and SIGINT; `with_parent`: and when our stdin, a pipe from our parent, ends."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    if with_parent:
        threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()


def _wait_for_end(stop: Callable[[], object]) -> None:
    while os.read(0, 1024):
        pass
    stop()
