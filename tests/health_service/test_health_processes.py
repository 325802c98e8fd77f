"""Real processes of the service: one leads, another takes over, and death at any point leaves nothing half-done."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alert_servers import hook
from dns_servers import nsd
from doomed_health import POINTS
from health_scene import GOOD_ZONE, POLICY, Scene, lay_scene

from mailfleet.base.db import connect
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.health.alerts.store import add_target
from mailfleet.health.dns.store import hold_unchecked
from mailfleet.health.service import JUDGE_LOCK
from mailfleet.model.schema import migrate
from stage import DEADLINE, end, wait_until

DOOMED = Path(__file__).with_name("doomed_health.py")

LEADING = f"""
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.objid = {JUDGE_LOCK} AND l.granted AND d.datname = current_database()
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


@contextmanager
def processes(scene: Scene) -> Iterator[Start]:
    """Starts services over the scene's database; they end with it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(point: str = "never", **more: str) -> "subprocess.Popen[bytes]":
        environment = {
            **os.environ,
            "MAILFLEET_HOME": str(scene.laid.settings.home),
            "MAILFLEET_DATABASE_URL": scene.laid.conninfo,
            **more,
        }
        command = [sys.executable, str(DOOMED), point]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment))
        return started[-1]

    try:
        yield start
    finally:
        end(started)


@pytest.fixture
def start(scene: Scene) -> Iterator[Start]:
    with processes(scene) as start:
        yield start


def lay_trouble(scene: Scene) -> None:
    """A domain that burns, and one that no check has looked at yet; judged again after a second."""
    hurry = "INSERT INTO setting (name, value) VALUES ('health', '{\"judge_after\": 1}')"
    scene.connection.execute(hurry)
    burning = scene.mailboxes[0]
    for receiver in ("a.example", "b.example"):
        scene.provider(receiver, receiver[0])
        scene.write(burning, 48, receiver=receiver)
        scene.write(burning, 2, receiver=receiver, **POLICY)
        for other in scene.mailboxes:
            if scene.domain_of(other) != scene.domain_of(burning):
                scene.write(other, 60, receiver=receiver)
    fresh = "UPDATE domain SET name = 'missing.com' WHERE id = (SELECT max(id) FROM domain)"
    scene.connection.execute(fresh)
    scene.connection.execute("UPDATE mailbox SET smtp_host = 'smtp.missing.com' WHERE domain_id = 2")


def settled(scene: Scene) -> bool:
    """Held, checked, and told of both."""
    told = "SELECT count(*) FROM incident WHERE told = severity AND closed_at IS NULL"
    return bool(scene.one(told) == 2 and scene.one("SELECT dns_verdict FROM domain WHERE id = 2") == "blocks")


@pytest.mark.parametrize("point", POINTS)
def test_a_service_killed_at_any_point_leaves_nothing_half_done(point: str, scene: Scene, start: Start) -> None:
    """SIGKILL at each commit and between: the next service counts each letter once, holds what burns once, opens each
    incident once, and tells it: at most once more than it was told."""
    lay_trouble(scene)
    letters = scene.one("SELECT count(*) FROM attempt")
    with hook() as web, nsd({"A else.com": ["9.9.9.9"]}) as resolver:
        add_target(scene.connection, scene.laid.vault.keyring, "web", web.url)
        asks = {"MAILFLEET_RESOLVER": f"{resolver.address}:{resolver.port}"}
        doomed = start(point, **asks)
        assert doomed.wait(DEADLINE) == -signal.SIGKILL, doomed.stderr.read()
        scene.connection.execute("UPDATE incident SET told_at = told_at - interval '1 hour'")
        healthy = start(**asks)
        shift = "UPDATE incident SET told_at = told_at - interval '1 hour' WHERE told_at > now() - interval '1 minute'"
        wait_until(lambda: scene.one(LEADING), "the next service to lead")
        wait_until(lambda: scene.connection.execute(shift) and settled(scene), "the next service's verdict")
        healthy.send_signal(signal.SIGTERM)
        assert healthy.wait(DEADLINE) == 0
        notices = len(web.taken)
    assert sorted(scene.holds()) == [("domain", 1, "policy"), ("domain", 2, "dns")]
    assert scene.one("SELECT count(*) FROM hold") == 2
    assert scene.one("SELECT count(*) FROM counted_letter") == letters
    assert scene.limits() == [("domain", 1, 5)]
    assert scene.one("SELECT count(*) FROM incident") == 2
    assert notices <= (3 if point == "after a notice" else 2)


def test_a_service_killed_while_it_frees_a_domain_keeps_it_no_day(scene: Scene, start: Start) -> None:
    """A good check is a good standing and no hold, both or neither: else nobody looked again before the next day."""
    scene.connection.execute("UPDATE domain SET name = 'good.com' WHERE id = 2")
    scene.connection.execute("UPDATE mailbox SET smtp_host = 'smtp.good.com' WHERE domain_id = 2")
    scene.connection.execute("UPDATE identity SET opt_out_base_url = ''")
    hold_unchecked(scene.connection)
    assert scene.holds() == [("domain", 2, "dns")]
    with nsd(GOOD_ZONE) as resolver:
        asks = {"MAILFLEET_RESOLVER": f"{resolver.address}:{resolver.port}"}
        doomed = start("after a domain's standing is written", **asks)
        assert doomed.wait(DEADLINE) == -signal.SIGKILL, doomed.stderr.read()
        start(**asks)
        wait_until(lambda: scene.one("SELECT dns_verdict FROM domain WHERE id = 2") == "warns", "a good check")
    assert scene.holds() == []


def test_of_two_services_one_judges_and_the_other_takes_over(scene: Scene, start: Start) -> None:
    """Whatever the number of services, each hold and each incident is there once; when one dies, another leads, and
    sets nothing twice."""
    lay_trouble(scene)
    both = [start(), start()]
    holds = "SELECT count(*) FROM hold WHERE family = 'policy'"
    incidents = "SELECT count(*) FROM incident WHERE family = 'policy'"
    wait_until(lambda: scene.one(incidents), "a judgement")
    for ended in both:
        wait_until(lambda: scene.one(LEADING) == 1, "a leader")
        ended.kill()
        ended.wait()
        scene.write(scene.mailboxes[0], 1)
    counted = scene.one("SELECT count(*) FROM counted_letter")
    start()
    wait_until(lambda: scene.one("SELECT count(*) FROM counted_letter") > counted, "the next count")
    wait_until(
        lambda: scene.one("SELECT count(*) FROM counted_letter") == scene.one("SELECT count(*) FROM attempt"), "it"
    )
    assert (scene.one(holds), scene.one(incidents)) == (1, 1)


def test_a_lost_database_is_waited_for(home: Path) -> None:
    """PostgreSQL restarts under the service: it comes back and judges on, and says nothing at level critical."""
    with EmbeddedPostgres(home / "postgres") as server:
        server.create_database()
        migrate(server.conninfo())
        with lay_scene(server.conninfo(), home, 6, 2, 1, 1, 1) as scene, processes(scene) as start:
            service = start()
            wait_until(lambda: scene.one(LEADING), "the service to lead")
            server.restart()

            def leads_again() -> bool:
                try:
                    with connect(server.conninfo(), name="test") as connection:
                        row = connection.execute(LEADING.encode()).fetchone()
                        return bool(row and row[0])
                except psycopg.OperationalError:
                    return False

            wait_until(leads_again, "the service to lead again")
            service.send_signal(signal.SIGTERM)
            assert service.wait(DEADLINE) == 0
            assert service.stderr.read() == b""
