"""Runs the demo: providers, database, files in by the commands a person would type, senders, chaos, the report."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from mailfleet.base.children import Child, stop_all
from mailfleet.base.clock import monotonic
from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import SetupError
from mailfleet.base.postgres import DATABASE, EmbeddedPostgres, free_port
from mailfleet.demo.files import DemoFiles, DemoOptions, list_name, write_fleet, write_sandbox
from mailfleet.demo.progress import ProgressView, Tally, read_tally
from mailfleet.demo.report import DemoReport, read_report
from mailfleet.health.store import save_health_tunables
from mailfleet.health.tunables import HealthTunables
from mailfleet.inbox.rhythm import Rhythm, save_rhythm
from mailfleet.model.schema import migrate
from mailfleet.outbox.tunables import load_tunables, save_tunables
from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.ledger import read_ledger
from mailfleet.sending.supervisor import EVERYTHING, Supervisor

STEPS = 3
LONGEST = 300.0  # chosen: seconds after which the demo reports what it has
KILL_EVERY = 4.0  # chosen: seconds between two kills of a process; every second one is no sender
RESTART_AFTER = (10.0, 22.0)  # chosen: seconds at which PostgreSQL is restarted, then killed
LAST_WORD = 30.0  # chosen: seconds for the last journal to be settled
OPEN = """
SELECT count(*) AS n FROM enrollment e WHERE e.state = 'active'
  AND NOT EXISTS (SELECT 1 FROM message m WHERE m.enrollment_id = e.id AND m.state = 'ambiguous')
"""
UNSETTLED = "SELECT count(*) AS n FROM attempt WHERE outcome IS NULL"
STILL = 12.0  # chosen: seconds without a letter or an answer after which what waits will not leave soon
ECHO = 8.0  # chosen: seconds in which the last answers are read


class Demo:
    """One run in a folder of its own."""

    def __init__(self, options: DemoOptions, folder: Path, console: Console) -> None:
        self._options = options
        self._folder = folder
        self._console = console
        self._home = folder / "home"
        self._chance = random.Random(f"demo {options.seed}")
        self._page = f"127.0.0.1:{free_port()}"
        self._kills = self._restarts = 0
        self._chaos_at = monotonic()
        self._note = ""

    def run(self, tell: Callable[[DemoReport, Path], None]) -> DemoReport:
        """1. providers. 2. database. 3. files in, campaigns started. 4. all processes until all is sent. 5. the judge.

        `tell` gets the report and the home directory while providers and database still run.
        """
        began_at = monotonic()
        with ExitStack() as stack:
            files = write_sandbox(self._options, self._folder, f"http://{self._page}")
            self._console.print(f"Sandbox: {len(files.fleet.providers)} providers with real SMTP and IMAP on loopback.")
            sandbox = stack.enter_context(SandboxProcess(files.sandbox))
            self._postgres = stack.enter_context(EmbeddedPostgres(self._home / "postgres"))
            self._postgres.create_database(DATABASE)
            self._conninfo = self._postgres.conninfo(DATABASE)
            migrate(self._conninfo)
            write_fleet(files, self._options, sandbox.ports)
            self._take_in(files)
            self._send(files)
            report = self._judge(files, monotonic() - began_at)
            tell(report, self._home)
        return report

    def _take_in(self, files: DemoFiles) -> None:
        self._command("apply", str(files.fleet_toml), "--yes")
        self._command("import", "mailboxes", str(files.mailboxes_csv), "--yes")
        with connect(self._conninfo, name="mailfleet demo") as connection:
            _in_seconds(connection)
        for number, (name, campaign) in enumerate(files.campaigns.items()):
            self._command("import", "contacts", str(files.contacts_csv[number]), "--list", list_name(number))
            self._command("campaign", "add", str(campaign))
            self._command("campaign", "start", name, "--yes")

    def _command(self, *words: str) -> None:
        """A command as a person would type it; its own words only when it fails."""
        short = " ".join(Path(word).name if word.startswith("/") else word for word in words)
        self._console.print(f"$ mailfleet {short}")
        done = subprocess.run(
            [sys.executable, "-m", "mailfleet.cli", *words],
            env=os.environ | self._environment | {"MAILFLEET_DATABASE_URL": self._conninfo},  # the demo's own server
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SetupError(f"`mailfleet {short}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "MAILFLEET_HOME": str(self._home),
            "MAILFLEET_DATABASE_URL": "",
            "MAILFLEET_OPT_OUT_LISTEN": self._page,
        }

    def _send(self, files: DemoFiles) -> None:
        """Everything runs until nothing more will leave soon."""
        self._began_at = self._moved_at = monotonic()
        self._last = Tally()
        with ProgressView(self._console, self._options.contacts * STEPS) as view:
            self._view = view
            self._supervisor = Supervisor(
                self._conninfo,
                least=self._options.senders,
                most=self._options.senders,
                services=EVERYTHING,
                environment=self._environment,
                each_turn=self._turn,
                turn_seconds=0.5,
            )
            self._supervisor.start()
            self._supervisor.run()
        self._settle_what_was_killed()

    def _settle_what_was_killed(self) -> None:
        """The last one killed left a journal: a sender that starts settles it, and stops again."""
        sender = Child("mailfleet.sending", environment={**self._environment, "MAILFLEET_DATABASE_URL": self._conninfo})
        end = monotonic() + LAST_WORD
        with connect(self._conninfo, name="mailfleet demo") as connection:
            while monotonic() < end and (row := connection.execute(UNSETTLED).fetchone()) is not None and row.n:
                connection.execute("SELECT pg_sleep(0.1)")
        stop_all([sender])

    def _turn(self, connection: Connection, senders: int) -> None:
        tally = read_tally(connection)
        if tally != self._last:
            self._last, self._moved_at = tally, monotonic()
        self._view.show(tally, senders, self._note)
        if self._options.is_chaos:
            self._wreak()
        if self._is_over(connection):
            self._supervisor.stop()

    def _is_over(self, connection: Connection) -> bool:
        row = connection.execute(OPEN).fetchone()
        now = monotonic()
        is_still = now - self._moved_at > (ECHO if row is not None and row.n == 0 else STILL)
        return is_still or now - self._began_at > LONGEST

    def _wreak(self) -> None:
        """Kills a process every few seconds; PostgreSQL is restarted once, and killed once."""
        now = monotonic()
        due = [at for at in RESTART_AFTER[self._restarts :] if now - self._began_at >= at]
        if due:
            self._restarts += 1
            self._note = f"PostgreSQL {'restarted' if self._restarts == 1 else 'killed'}"
            if self._restarts == 1:
                self._postgres.restart()
            else:
                self._postgres.kill()
                self._postgres.start()
        elif now - self._chaos_at >= KILL_EVERY:
            self._chaos_at = now
            senders, services = self._supervisor.pool.senders, self._supervisor.services
            victims = senders if self._kills % 2 == 0 else services
            if victims:
                self._chance.choice(victims).kill()
                self._kills += 1
                self._note = f"{self._kills} processes killed"

    def _judge(self, files: DemoFiles, seconds: float) -> DemoReport:
        ledger = read_ledger(files.ledger)
        with connect(self._conninfo, name="mailfleet demo") as connection:
            return read_report(
                connection,
                ledger,
                files,
                contacts=self._options.contacts,
                kills=self._kills,
                restarts=self._restarts,
                seconds=seconds,
            )


def _in_seconds(connection: Connection) -> None:
    """The demo's hour is a minute: what was refused for now is tried again in seconds, a mailbox is read as often, and
    a domain of three mailboxes is judged by what it can write.
    """
    short = timedelta(seconds=3)
    save_tunables(connection, replace(load_tunables(connection), retry_first=short, retry_longest=short))
    save_rhythm(
        connection,
        Rhythm(
            least_wait=5 * short,
            most_wait=10 * short,
            first_retry=short,
            upkeep=short / 3,
            apart=short / 1000,
        ),
    )
    save_health_tunables(connection, HealthTunables(judge_after=short, complaint_floor=8))


@contextmanager
def demo_folder() -> Iterator[Path]:
    """A folder that every user can enter, as root's PostgreSQL must; it goes with the demo, as does what it links."""
    with tempfile.TemporaryDirectory(prefix="mailfleet-demo-") as name:
        folder = Path(name)
        postgres = folder / "home/postgres"
        postgres.mkdir(parents=True)
        for part in (folder, postgres.parent, postgres):
            part.chmod(0o711)
        try:
            yield folder
        finally:
            if (data := postgres / "data").is_symlink():  # the folder for temporary files is closed to that user
                shutil.rmtree(data.resolve().parent)
