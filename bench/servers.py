"""Where letters go, and who else sends them: Debian's smtp-sink, smtp-source and Postfix, each on a free port."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
START_LIMIT = 20.0


def program(name: str) -> str:
    """Where Debian's program is; SystemExit with what to do when it is not there."""
    if found := shutil.which(name, path=SYSTEM_PATH):
        return found
    raise SystemExit(f"{name} is not installed. As root: apt-get install postfix")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def smtp_sink() -> Iterator[int]:
    """The port of a running smtp-sink, which takes all and keeps nothing."""
    port = free_port()
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    process = subprocess.Popen([program("smtp-sink"), *user, f"127.0.0.1:{port}", "1024"])
    try:
        wait_until(lambda: listens(port), "smtp-sink to listen")
        yield port
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_until(is_so: Callable[[], bool], what: str, *, limit: float = START_LIMIT) -> None:
    end = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {limit:g} s for {what}")
        time.sleep(0.01)
