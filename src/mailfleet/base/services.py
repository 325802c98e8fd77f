"""Processes of which one is always to run: started, started again when they fall, stopped in order."""

import threading
from collections.abc import Callable, Mapping

from mailfleet.base.children import Child, stop_all
from mailfleet.base.clock import monotonic
from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log

STEADY = 10.0  # chosen: seconds; one that fell sooner is started again after a longer pause than the last
FIRST_PAUSE = 1.0  # chosen: seconds; doubled each time
LONGEST_PAUSE = 30.0  # chosen: seconds; what mends by itself is seen within half a minute
START_SECONDS = 60.0  # chosen: a process stands after one or two, on a loaded machine after ten
LOOK_SECONDS = 0.05  # chosen: between two looks at one that starts


class Services:
    """All services of one parent, by the names they have in its log: name → module that `python -m` runs.

    From `keep` on a thread of its own looks after them, so that one comes back though the parent is busy or stuck.
    """

    def __init__(self, modules: Mapping[str, str], *, environment: Mapping[str, str], turn_seconds: float) -> None:
        self._services = {name: _Service(name, module, environment) for name, module in modules.items()}
        self._turn_seconds = turn_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="services", daemon=True)

    def start(self) -> None:
        for service in self._services.values():
            service.start()

    def wait_for(self, name: str, stands: Callable[[], bool], stopping: threading.Event) -> None:
        """Until one stands, as `stands` sees it, or until `stopping`. SetupError when it falls, or takes too long."""
        service, end = self._services[name], monotonic() + START_SECONDS
        while not stopping.wait(LOOK_SECONDS):
            if service.has_fallen or monotonic() > end:
                raise SetupError(
                    f"The service {name} does not start, and nothing runs without it.",
                    hint="Its line in the log says why.",
                )
            if stands():
                return

    @property
    def children(self) -> list[Child]:
        """Those that run."""
        return [service.child for service in self._services.values() if service.child is not None]

    def keep(self) -> None:
        """After `start`."""
        self._thread.start()

    def stop(self) -> None:
        """Asks all at once, then waits for each."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        stop_all(self.children)

    def _tend(self) -> None:
        while not self._over.wait(self._turn_seconds):
            for service in self._services.values():
                service.tend()


class _Service:
    def __init__(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        self._name = name
        self._module = module
        self._environment = environment
        self._pause = FIRST_PAUSE
        self._start_at = 0.0
        self.child: Child | None = None

    @property
    def has_fallen(self) -> bool:
        return self.child is not None and self.child.exit_code is not None

    def start(self) -> None:
        self.child = Child(self._module, environment=self._environment)

    def tend(self) -> None:
        if self.child is not None and self.child.exit_code is not None:
            if monotonic() - self.child.started_at >= STEADY:
                self._pause = FIRST_PAUSE
            self._put_off(exit_code=self.child.wait())
            self.child = None
        if self.child is None and monotonic() >= self._start_at:
            try:
                self.start()
            except OSError as error:  # no memory or process is left: the next turn may find some
                self._put_off(error=str(error))

    def _put_off(self, **facts: object) -> None:
        get_log().critical(f"{self._name}_fell", **facts, next=f"it is started again in {self._pause:g} s")
        self._start_at = monotonic() + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
