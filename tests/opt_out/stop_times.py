"""Opt-out to stop, measured: `python tests/opt_out/stop_times.py [OPT_OUTS]`.

A fleet sends to the sandbox as fast as it is let; meanwhile people press one-click. For each: milliseconds from the
POST to its 200, to the commit of the ban (when the senders are told), and to the last first byte of a letter to that
address by the providers' ledger (0 when none left after the POST). The last figures are counts, and must be 0.
"""

import json
import statistics
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg

from kill.scene import Scene, scene, stop
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.mail.opt_out import make_token
from mailfleet.model.schema import migrate
from mailfleet.outbox.service import STOP_CHANNEL
from mailfleet.outbox.tunables import load_tunables
from mailfleet.planning.service import plan_once
from opt_out.page_scene import Page, page

MAILBOXES, CONTACTS, SENDERS = 40, 1500, 2
# Letters queued and not begun yet: their contacts say no just before their letters leave.
NEXT = """
SELECT m.id, c.address_key, c.digests[1] AS digest FROM message m JOIN contact c ON c.id = m.contact_id
WHERE m.state IN ('queued', 'submitting') AND NOT EXISTS (SELECT 1 FROM suppression s WHERE s.digest = c.digests[1])
ORDER BY random() LIMIT 1
"""


def listen(conninfo: str, moments: list[float], is_over: threading.Event) -> None:
    """The moments at which senders are told of stops."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"LISTEN {STOP_CHANNEL}")
        while not is_over.is_set():
            moments += [time.time() for _ in connection.notifies(timeout=0.2)]


def plan(it: Scene, is_over: threading.Event) -> None:
    with it.connect() as connection:
        while not is_over.wait(0.1):
            plan_once(connection, load_tunables(connection))


def press(it: Scene, site: Page, count: int) -> list[dict[str, Any]]:
    """One after another, ten a second."""
    said: list[dict[str, Any]] = []
    with it.connect() as connection:
        while len(said) < count and (row := connection.execute(NEXT).fetchone()) is not None:
            at = time.time()
            reply = site.one_click(make_token(it.laid.vault.opt_out_key, row.id, bytes(row.digest)))
            assert reply.status == 200, reply
            said.append({"address": row.address_key, "at": at, "answered": time.time()})
            time.sleep(0.1)
    return said


def figures(values: list[float]) -> dict[str, float]:
    """In milliseconds."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {
        name: round(1000 * value, 2) for name, value in (("p50", cuts[49]), ("p95", cuts[94]), ("max", max(values)))
    }


def judge(it: Scene, said: list[dict[str, Any]], told: list[float]) -> dict[str, Any]:
    with it.connect() as connection:
        banned = {row.value for row in connection.execute("SELECT value FROM suppression").fetchall()}
    begun: dict[str, list[float]] = {}
    for letter in it.ledger().transactions:
        begun.setdefault(letter.rcpt.lower(), []).append(letter.mail_at)
    ban = [min(moment for moment in told if moment >= one["at"]) - one["at"] for one in said]
    last = [max([0.0, *(moment - one["at"] for moment in begun.get(one["address"], []))]) for one in said]
    return {
        "opt_outs": len(said),
        "post_to_200_ms": figures([one["answered"] - one["at"] for one in said]),
        "post_to_ban_ms": figures(ban),
        "post_to_last_first_byte_ms": figures(last),
        "letters_begun_after_the_post": sum(moment > 0 for moment in last),
        "letters_begun_a_second_after_the_ban": sum(a > b + 1 for a, b in zip(last, ban, strict=True)),
        "not_banned": len({one["address"] for one in said} - banned),
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="mailfleet-stop-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        with EmbeddedPostgres(home / "postgres") as server:
            server.create_database()
            migrate(server.conninfo())
            print(json.dumps(run(server.conninfo(), home, count), indent=2))


def run(conninfo: str, home: Path, count: int) -> dict[str, Any]:
    told: list[float] = []
    is_over = threading.Event()
    with scene(conninfo, home, contacts=CONTACTS, mailboxes=MAILBOXES, latency=(0.02, 0.2)) as it:
        with closing(it.connect()) as connection:
            connection.execute("UPDATE sending_limit SET maximum = 100000")
            connection.execute("UPDATE mailbox SET pace_seconds = 1")
        threads = [
            threading.Thread(target=listen, args=(conninfo, told, is_over)),
            threading.Thread(target=plan, args=(it, is_over)),
        ]
        with page(home, conninfo) as site:
            for thread in threads:
                thread.start()
            senders = [it.sender() for _ in range(SENDERS)]
            while it.count("SELECT count(*) FROM message WHERE state = 'accepted'") < MAILBOXES:
                time.sleep(0.2)
            said = press(it, site, count)
            time.sleep(3)  # what would leave too late would leave by now
            is_over.set()
            for thread in threads:
                thread.join()
            for sender in senders:
                stop(sender)
        return judge(it, said, told)


if __name__ == "__main__":
    main()
