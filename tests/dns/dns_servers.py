"""Real DNS on loopback: Debian's NSD serving one root zone, so that every name is its own or NXDOMAIN; and a hostile
server of ours, whose way of failing stands in the name that is asked for.
"""

import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from mailfleet.health.dns.findings import Record
from mailfleet.health.dns.lookup import ResolverAddress
from mailfleet.health.dns.zone import zone_lines
from servers import SYSTEM_PATH, cannot, free_port

ROOT = """. 300 IN SOA ns.nic.com. host.nic.com. 1 3600 600 86400 60
. 300 IN NS ns.nic.com.
ns.nic.com. 300 IN A 127.0.0.1
"""
CONFIG = """
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  database: ""
  zonesdir: "{folder}"
  pidfile: ""
  xfrdfile: "{folder}/xfrd"
  zonelistfile: "{folder}/zones"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
"""


def records_of(zone: dict[str, Iterable[str]]) -> list[Record]:
    """{"TXT example.com": [...]} as records."""
    return [
        Record(key.split(" ", 1)[1], key.split(" ", 1)[0], value) for key, values in zone.items() for value in values
    ]


def zone_text(zone: dict[str, Iterable[str]]) -> str:
    lines = []
    for record in records_of(zone):
        if record.kind in ("A", "AAAA"):
            lines.append(f"{record.name}. 300 IN {record.kind} {record.value}")
        else:
            lines += zone_lines([record])
    return ROOT + "\n".join(lines) + "\n"


@contextmanager
def nsd(zone: dict[str, Iterable[str]]) -> Iterator[ResolverAddress]:
    """A running NSD that answers for the whole of the DNS."""
    binary = shutil.which("nsd", path=SYSTEM_PATH) or cannot("nsd is not installed: apt-get install nsd")
    with tempfile.TemporaryDirectory(prefix="mailfleet-nsd-") as name:
        folder, port = Path(name), free_port()
        (folder / "root.zone").write_text(zone_text(zone))
        (folder / "nsd.conf").write_text(CONFIG.format(port=port, folder=folder))
        command = [binary, "-d", "-c", str(folder / "nsd.conf")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if "nsd started" in line:
                    break
            else:
                raise AssertionError(f"NSD did not start: {''.join(said)}")
            yield ResolverAddress("127.0.0.1", port)
        finally:
            process.terminate()
            process.communicate()


WAYS = ("servfail", "refused", "silent", "garbage", "stranger", "nobody", "loop", "cut", "cutcut")


@dataclass
class HostileDns:
    """UDP and TCP on one port; a label of a name says what becomes of its question. `asked` counts them.

    servfail, refused, silent, garbage, stranger (another's id), nobody (answers another name), loop (of aliases),
    cut (truncated by UDP, whole by TCP), cutcut (truncated, and TCP hangs up); anything else is answered 8.8.8.8.
    """

    port: int
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket()
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._udp.bind(("127.0.0.1", self.port))
        self._tcp.bind(("127.0.0.1", self.port))
        self._tcp.listen(50)
        self._threads = [threading.Thread(target=self._serve_udp), threading.Thread(target=self._serve_tcp)]

    def __enter__(self) -> "HostileDns":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._udp.sendto(b"", ("127.0.0.1", self.port))
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()

    _is_over = False

    def _serve_udp(self) -> None:
        while True:
            data, peer = self._udp.recvfrom(4096)
            if self._is_over:
                return
            if answer := self._answer(dns.message.from_wire(data), "udp"):
                self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection:
                if self._is_over:
                    return
                size = connection.recv(2, socket.MSG_WAITALL)
                if len(size) == 2:
                    data = connection.recv(struct.unpack("!H", size)[0], socket.MSG_WAITALL)
                    if answer := self._answer(dns.message.from_wire(data), "tcp"):
                        connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, query: dns.message.Message, over: str) -> bytes:
        name = query.question[0].name
        labels = [label.decode() for label in name.labels]
        way = next((label for label in labels if label in WAYS), labels[0])
        self.asked[way, over] += 1
        reply = dns.message.make_response(query)
        if way in ("silent",) or (way == "cutcut" and over == "tcp"):
            return b""
        if way == "garbage":
            return reply.to_wire()[:2] + b"\xff" * 30
        if way in ("cut", "cutcut") and over == "udp":
            reply.flags |= dns.flags.TC
        elif way in ("servfail", "refused"):
            reply.set_rcode(dns.rcode.from_text(way.upper()))
        elif way == "loop":
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "other."))
            reply.answer.append(dns.rrset.from_text("other.", 60, "IN", "CNAME", name.to_text()))
        else:
            owner = "another.name." if way == "nobody" else name
            reply.answer.append(dns.rrset.from_text(owner, 60, "IN", "A", "8.8.8.8"))
        if way == "stranger":
            reply.id ^= 0xFFFF
        return reply.to_wire()


@contextmanager
def hostile_dns() -> Iterator[HostileDns]:
    with HostileDns(free_port()) as server:
        yield server
