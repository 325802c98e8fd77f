"""The sandbox as a child process: started, awaited by its line of readiness, stopped by a signal."""

import base64
import json
import select
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mailfleet.base.errors import InputError, SetupError

if TYPE_CHECKING:
    from mailfleet.providers.sandbox.server import Ports

START_SECONDS = 30  # chosen: an interpreter on a busy small machine needs 1 to 3
STOP_SECONDS = 10


class SandboxProcess:
    """`with SandboxProcess(config_path) as sandbox` runs one; `ports` as in `Sandbox`.

    It ends with us, whatever ends us: its stdin is ours to hold.
    """

    ports: "Ports"

    def __init__(self, config: Path) -> None:
        self._config = config
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """SetupError: it did not start; its own words are in the message."""
        command = [sys.executable, "-m", "mailfleet.providers.sandbox", "--config", str(self._config), "--until-eof"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        line = self._first_line()
        if not line:
            self._process.kill()
            _, said = self._process.communicate()
            raise SetupError(
                f"the sandbox with {self._config} did not start: {said.strip()[-500:] or 'it said nothing'}"
            )
        self.ports = json.loads(line)["ports"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def deliver(self, address: str, content: bytes, folder: str = "INBOX") -> int:
        """As `Sandbox.deliver`."""
        return self._ask(call="deliver", address=address, folder=folder, content=base64.b64encode(content).decode())

    def renumber(self, address: str, folder: str = "INBOX") -> int:
        """As `Sandbox.renumber`."""
        return self._ask(call="renumber", address=address, folder=folder)

    def _ask(self, **request: str) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or '{"error": "the sandbox is gone"}')
        if "error" in answer:
            raise InputError(answer["error"])
        result: int = answer["result"]
        return result

    @property
    def pid(self) -> int:
        return self._process.pid

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        return self._process.stdout.readline() if ready else ""
