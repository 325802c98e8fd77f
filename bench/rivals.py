"""What ours is measured beside: smtp-source (the yardstick), a Postfix relay, django-post-office."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.place import Place
from bench.processes import cpu_of_tree
from bench.servers import free_port, listens, program, wait_until

SESSIONS = 50
LETTER_BYTES = 2048
DRAIN_LIMIT = 120.0
QUEUES = ("maildrop", "incoming", "active", "deferred")

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = localhost
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
default_transport = smtp:[127.0.0.1]:{sink}
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
"""

MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
smtp      unix - - n - - smtp
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Letters handed over and what it cost; `cpu` is the client's (of a queue: all of its processes)."""

    letters: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.letters / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.letters * 1e6


def smtp_source(port: int, letters: int, *, kept: bool) -> Run:
    """Debian's load generator, 50 sessions, a letter of 2 kB ready-made; it does not pipeline."""
    command = [program("smtp-source"), *(["-d"] if kept else []), "-s", str(SESSIONS), "-l", str(LETTER_BYTES)]
    command += ["-m", str(letters), "-f", "a@northwind.test", "-t", "b@firm.example", f"127.0.0.1:{port}"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(letters, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def post_office(place: Place, port: int, letters: int) -> Run:
    with place.database(migrated=False) as (conninfo, _):
        command = [sys.executable, "-m", "bench.post_office", conninfo, str(port), str(letters)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    cpu, seconds, sent = said.split()
    if int(sent) != letters:
        raise RuntimeError(f"django-post-office sent {sent} of {letters} letters")
    return Run(letters, float(seconds), float(cpu))


@contextmanager
def postfix_relay(sink: int) -> Iterator["Relay"]:
    """A Postfix with Debian's defaults whose only way out is the sink. It starts as root alone."""
    folder = Path(tempfile.mkdtemp(prefix="mailfleet-bench-postfix-"))
    folder.chmod(0o755)
    relay = Relay(folder, free_port())
    command = [program("postfix"), "-c", str(folder / "etc")]
    try:
        for name in ("etc", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix", "postfix")
        (folder / "etc" / "main.cf").write_text(MAIN_CF.format(folder=folder, sink=sink))
        (folder / "etc" / "master.cf").write_text(MASTER_CF.format(port=relay.port))
        subprocess.run([*command, "start"], check=True, capture_output=True)
        wait_until(lambda: listens(relay.port), "Postfix to listen")
        yield relay
    finally:
        subprocess.run([*command, "stop"], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def can_run_postfix() -> bool:
    return os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class Relay:
    folder: Path
    port: int

    def run(self, letters: int) -> Run:
        """From the first letter's injection to the last one's delivery."""
        master = int((self.folder / "queue" / "pid" / "master.pid").read_text())
        before, began = cpu_of_tree(master), time.monotonic()
        smtp_source(self.port, letters, kept=True)
        wait_until(self._is_empty, "Postfix's queue to drain", limit=DRAIN_LIMIT)
        return Run(letters, time.monotonic() - began, cpu_of_tree(master) - before)

    def _is_empty(self) -> bool:
        return not any(file.is_file() for name in QUEUES for file in (self.folder / "queue" / name).rglob("*"))
