"""What history costs: the same burst over an empty past and over a past of old letters."""

from collections.abc import Iterator

from bench.burst import Burst, run_burst
from bench.fleet import FleetSpec
from bench.place import Place
from bench.report import Figure
from bench.servers import smtp_sink
from mailfleet.base.db import Connection

MAILBOXES = 200
FLAT = 1.25  # chosen: more than two equal bursts differ by

# Old letters: one accepted first step each, of contacts, enrollments and attempts of their own, months ago.
PAST = """
INSERT INTO contact (address, address_key, domain, digests, lawful_basis, mailbox_id, created_at)
SELECT a, a, 'past' || n / 3 || '.example', ARRAY[decode(md5(a), 'hex')], 'consent', 1 + n %% %(mailboxes)s,
       now() - interval '90 days'
FROM (SELECT n, 'old' || n || '@past' || n / 3 || '.example' AS a FROM generate_series(1, %(count)s) n) AS t;
INSERT INTO enrollment (campaign_id, contact_id, state, next_step, mailbox_id)
SELECT 1, id, 'finished', 3, mailbox_id FROM contact WHERE domain LIKE 'past%%';
INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, subject, state,
                     due_at, attempts, settled_at, created_at)
SELECT e.id, 1, 1, e.contact_id, e.mailbox_id, 1, '<' || e.id || '@old.test>', 'An old letter', 'accepted',
       now() - interval '60 days', 1, now() - interval '60 days', now() - interval '60 days'
FROM enrollment e WHERE e.state = 'finished';
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, reserved_at, limit_ids, limit_keys, outcome,
                     settled_at, began_at, stage, code, reply)
SELECT id, 1, mailbox_id, s.sender, 1, due_at, '{1}', '{1}', 'accepted', due_at, due_at, 'dot', 250, '250 2.0.0 Ok'
FROM message, (SELECT min(id) AS sender FROM old_sender) AS s WHERE state = 'accepted'
"""


def growth(place: Place, *, letters: int, past: int) -> Iterator[Figure]:
    part = f"the same burst after {past:,} old letters"
    with smtp_sink() as port:
        spec = FleetSpec(MAILBOXES, port)
        empty = run_burst(place, spec, letters=letters)
        full = run_burst(place, spec, letters=letters, prepare=lambda connection: lay_past(connection, past))
    for name, what in (("senders", "senders"), ("planner", "planner"), ("postgres", "PostgreSQL")):
        yield Figure(part, f"CPU of {what}, without", empty.cpu_us(name), "µs")
        yield Figure(part, f"CPU of {what}, with", full.cpu_us(name), "µs")
    yield Figure(part, "all CPU, with beside without", _whole(full) / _whole(empty), "x", at_most=FLAT)


def lay_past(connection: Connection, count: int) -> None:
    """Foreign keys are not looked up while it is laid: it would take an hour."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "CREATE TEMPORARY TABLE old_sender ON COMMIT DROP AS"
            " WITH made AS (INSERT INTO sender (host, pid, journal, stopped_at)"
            " VALUES ('old', 1, gen_random_uuid(), now()) RETURNING id) SELECT id FROM made"
        )
        for statement in PAST.split(";"):
            connection.execute(statement, {"count": count, "mailboxes": MAILBOXES})
    connection.execute("VACUUM ANALYZE")


def _whole(burst: Burst) -> float:
    return burst.cpu_us("senders", "planner", "postgres")
