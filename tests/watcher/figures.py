"""Measures a watcher with a fleet of sandbox mailboxes: `python tests/watcher/figures.py [MAILBOXES] [SECONDS]`.

Prints CPU as a share of one core, memory, and how long an answer takes from its delivery until it is taken in; all over
TLS, on this machine. The mailboxes that are answered idle, as far as `Rhythm.most_idle` goes.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from laid import lay  # noqa: E402 - found by the lines above
from mailfleet.base.db import Connection, connect  # noqa: E402
from mailfleet.base.postgres import EmbeddedPostgres  # noqa: E402
from mailfleet.model.schema import migrate  # noqa: E402
from mailfleet.providers.sandbox import SandboxProcess, write_config  # noqa: E402
from mailfleet.providers.sandbox.fleet import make_fleet, sandbox_config  # noqa: E402
from servers import Authority  # noqa: E402
from stage import end, wait_until  # noqa: E402

RATE = 5.0
ROUND = 300.0  # in which every mailbox is read at least once
LETTERS = """
WITH letter AS (
    INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, subject,
                         state, settled_at)
    SELECT e.id, s.id, e.campaign_id, e.contact_id, b.id, v.id, '<' || e.id || '@figures.test>', 'Hello', 'accepted',
           now()
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM enrollment) e
    JOIN (SELECT *, row_number() OVER (ORDER BY id) AS n FROM mailbox) b
        ON b.n = 1 + e.n % (SELECT count(*) FROM mailbox)
    JOIN step s ON s.campaign_id = e.campaign_id JOIN variant v ON v.step_id = s.id AND v.name = 'a'
    RETURNING id, mailbox_id
), sent_by AS (INSERT INTO sender (host, pid, journal) VALUES ('figures', 1, gen_random_uuid()) RETURNING id)
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, limit_ids, limit_keys, outcome, settled_at)
SELECT letter.id, 1, mailbox_id, sent_by.id, 1, '{}', '{}', 'accepted', now() FROM letter, sent_by
"""
READ_AT = """
UPDATE mailbox SET imap_host = '127.0.0.1', imap_port = %s, imap_security = 'tls', ca_file = %s
FROM account a JOIN provider p ON p.id = a.provider_id WHERE a.id = account_id AND p.name = %s
"""
ANSWERS = """
SELECT m.header_id, b.address AS mailbox, c.address FROM message m JOIN mailbox b ON b.id = m.mailbox_id
JOIN contact c ON c.id = m.contact_id ORDER BY m.id
"""


class Process:
    """CPU and memory of a process, from /proc."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def cpu(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name: str = "VmRSS") -> float:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

    def measure(self, what: str, until: float) -> None:
        began, cpu = time.monotonic(), self.cpu()
        time.sleep(max(0.0, until - began))
        share = (self.cpu() - cpu) / (time.monotonic() - began)
        print(f"{what}: {share:.1%} of a core, {self.memory():.0f} MB, most so far {self.memory('VmHWM'):.0f} MB")


@contextmanager
def watcher(home: Path, conninfo: str) -> Iterator[Process]:
    environment = {**os.environ, "MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": conninfo}
    process = subprocess.Popen([sys.executable, "-m", "mailfleet.inbox"], stdin=subprocess.PIPE, env=environment)
    try:
        yield Process(process.pid)
    finally:
        end([process])


def answer(sandbox: SandboxProcess, connection: Connection, seconds: float) -> int:
    """Answers at an even rate; how many."""
    began = time.monotonic()
    for number, row in enumerate(connection.execute(ANSWERS).fetchall()[: int(RATE * seconds)]):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        content = (
            f"From: {row.address}\r\nTo: {row.mailbox}\r\nSubject: Re: Hello\r\nIn-Reply-To: {row.header_id}\r\n"
            f"Message-ID: <{number}@answers.example>\r\n\r\nYes, let us talk.\r\n"
        )
        sandbox.deliver(row.mailbox, content.encode())
        connection.execute("INSERT INTO delivered VALUES (%s, clock_timestamp())", [f"<{number}@answers.example>"])
    return int(RATE * seconds)


def main(mailboxes: int, seconds: float) -> None:
    fleet = make_fleet(1, mailboxes=mailboxes, domains=max(12, mailboxes // 3))
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        Path(folder).chmod(0o711)
        home = Path(folder)
        server.create_database()
        migrate(server.conninfo())
        authority = Authority.create(home)
        pem = authority.issue("127.0.0.1")
        config = sandbox_config(fleet, home / "ledger", securities=("tls",), certificate=pem, private_key=pem)
        write_config(config, home / "sandbox.json")
        with SandboxProcess(home / "sandbox.json") as sandbox:
            lay(server.conninfo(), home, fleet, sandbox.ports, contacts=int(RATE * seconds))
            with connect(server.conninfo(), name="figures", autocommit=True) as connection:
                connection.execute("DELETE FROM setting WHERE name = 'tunables'")
                for provider, ports in sandbox.ports.items():
                    connection.execute(READ_AT, [ports["imap"]["tls"], authority.ca_file, provider])
                connection.execute(LETTERS.encode())
                connection.execute("CREATE TABLE delivered (header_id text, at timestamptz)")
                run(server.conninfo(), home, sandbox, connection, seconds)


def run(conninfo: str, home: Path, sandbox: SandboxProcess, connection: Connection, seconds: float) -> None:
    with watcher(home, conninfo) as process:
        began = time.monotonic()

        def is_read() -> bool:
            row = connection.execute("SELECT count(*) > 0 AND bool_and(read_at IS NOT NULL) AS done FROM reading")
            return bool(row.fetchone()[0])  # type: ignore[index]

        wait_until(is_read, "every mailbox to be read", within=600)
        print(f"every mailbox read for the first time after {time.monotonic() - began:.0f} s")
        process.measure("idle, five minutes", time.monotonic() + ROUND)
        cpu, began = process.cpu(), time.monotonic()
        number = answer(sandbox, connection, seconds)
        share = (process.cpu() - cpu) / (time.monotonic() - began)
        print(f"{RATE:g} answers a second: {share:.1%} of a core, {process.memory():.0f} MB")
        query = (
            "SELECT extract(epoch FROM i.read_at - d.at)::float8 AS took FROM delivered d"
            " JOIN incoming i USING (header_id)"
        )
        waits = [max(0.0, row.took) for row in connection.execute(query).fetchall()]
        if len(waits) > 1:
            cuts = quantiles(waits, n=20)
            print(f"{len(waits)} of {number} answers taken; p50 {cuts[9]:.2f} s, p95 {cuts[18]:.2f} s")
        late = connection.execute("SELECT max(clock_timestamp() - read_at) AS age FROM reading").fetchone()
        print(f"the longest since a mailbox was read: {late.age.total_seconds():.0f} s")  # type: ignore[union-attr]


if __name__ == "__main__":
    given = [*sys.argv[1:], *("1200", "60")[len(sys.argv) - 1 :]]
    main(int(given[0]), float(given[1]))
