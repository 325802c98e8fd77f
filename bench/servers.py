"""Where letters go, and who else sends them: Debian's smtp-sink, smtp-source and Postfix, each on a free port."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme

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
    process = subprocess.Popen([program("smtp-sink"), *user, "-m", "4000", f"127.0.0.1:{port}", "4000"])
    try:
        wait_until(lambda: listens(port), "smtp-sink to listen")
        yield port
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class TlsFront:
    """A port with TLS at once, before an smtp-sink; the certificate is an ECDSA one for 127.0.0.1."""

    port: int
    ca_file: str

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)


@contextmanager
def tls_front(folder: Path, sink: int) -> Iterator[TlsFront]:
    authority = trustme.CA()
    ca_file, pem = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    ca_file.chmod(0o644)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.tls_front", str(port), str(sink), str(pem)])
    try:
        wait_until(lambda: listens(port), "the TLS front to listen")
        yield TlsFront(port, str(ca_file))
    finally:
        process.terminate()
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
