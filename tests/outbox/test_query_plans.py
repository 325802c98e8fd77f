"""The hot queries' plans on a fleet of 1,200 mailboxes that has sent 100,000 letters, and the statements of a burst."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from queue_scene import lay, one, result, rows, sender

from laid import Laid
from mailfleet.base.db import Connection, connect
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.model.schema import migrate
from mailfleet.model.words import Outcome
from mailfleet.outbox.service import QUERIES
from mailfleet.planning.store import QUERIES as PLANNING

MAILBOXES, OLD, QUEUED = 1200, 100_000, 600
VALUE = re.compile(r"%\((\w+)\)s")
BIG = {"message", "attempt", "enrollment", "contact", "recipient_domain"}

GROW = """
SET session_replication_role = replica;
INSERT INTO domain (name, identity_id)
    SELECT 'd' || n || '.test', (SELECT min(id) FROM identity) FROM generate_series(1, 400) n;
INSERT INTO mailbox (address, domain_id, account_id, smtp_host, smtp_port, smtp_security, login, secret)
    SELECT 'm' || n || '@d.test', (SELECT min(id) FROM domain) + n % 400, (SELECT min(id) FROM account), 'h', 25,
           'tls', 'l', ''
    FROM generate_series(1, {mailboxes}) n;
INSERT INTO lease (mailbox_id) SELECT id FROM mailbox ON CONFLICT DO NOTHING;
INSERT INTO ramp (mailbox_id) SELECT id FROM mailbox ON CONFLICT DO NOTHING;
INSERT INTO contact (address, address_key, domain, digests, lawful_basis, mailbox_id)
    SELECT 'c' || n || '@r' || n % 5000 || '.example', 'c' || n, 'r' || n % 5000 || '.example',
           ARRAY[decode(md5('a' || n), 'hex'), decode(md5('d' || n % 5000), 'hex')], 'consent',
           CASE WHEN n <= {old} THEN (SELECT min(id) FROM mailbox) + n % {mailboxes} END
    FROM generate_series(1, {old} + 20000) n;
INSERT INTO recipient_domain (name, provider)
    SELECT 'r' || n || '.example', (ARRAY['google', 'microsoft', ''])[n % 3 + 1] FROM generate_series(0, 49999) n;
INSERT INTO enrollment (campaign_id, contact_id, state, next_step, next_at, mailbox_id)
    SELECT g.id, c.id, CASE WHEN c.mailbox_id IS NULL THEN 'active' ELSE 'finished' END, 1,
           CASE WHEN c.mailbox_id IS NULL THEN clock_timestamp() - interval '1 minute' END, c.mailbox_id
    FROM campaign g, contact c WHERE c.address_key ~ '^c[0-9]+$';
INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, state,
                     settled_at, due_at, attempts)
    SELECT e.id, s.id, e.campaign_id, e.contact_id, e.mailbox_id, v.id, '<' || e.id || '@x>', 'accepted', now(), now(),
           1
    FROM enrollment e JOIN step s ON s.campaign_id = e.campaign_id AND s.number = 1
    JOIN variant v ON v.step_id = s.id AND v.name = 'a' WHERE e.state = 'finished';
INSERT INTO sender (host, pid, journal) VALUES ('h', 1, gen_random_uuid());
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, reserved_at, limit_ids, limit_keys, outcome,
                     settled_at)
    SELECT id, 1, mailbox_id, (SELECT min(id) FROM sender), 1, now() - interval '2 days', '{{}}', '{{}}', 'accepted',
           now()
    FROM message WHERE state = 'accepted';
INSERT INTO suppression (digest, kind, reason, source)
    SELECT decode(md5('s' || n), 'hex'), 'address', 'r', 's' FROM generate_series(1, 20000) n;
INSERT INTO sending_limit (scope_kind, scope_key, window_kind, maximum, source)
    SELECT 'mailbox', id::text, 'rolling', 30, 'ramp' FROM mailbox;
WITH next AS (SELECT * FROM enrollment WHERE state = 'active' ORDER BY id LIMIT {queued}), moved AS (
    UPDATE enrollment SET next_at = NULL FROM next WHERE enrollment.id = next.id)
INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, due_at)
    SELECT e.id, s.id, e.campaign_id, e.contact_id, (SELECT min(id) FROM mailbox) + e.id % {mailboxes}, v.id,
           '<' || e.id || '@x>', clock_timestamp()
    FROM next e JOIN step s ON s.campaign_id = e.campaign_id AND s.number = 1
    JOIN variant v ON v.step_id = s.id AND v.name = 'a';
ANALYZE
"""


@pytest.fixture(scope="module")
def big(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laid]:
    """A fleet that has been writing for months, with some letters queued and tens of thousands of contacts waiting."""
    postgres.create_database("big")
    conninfo = postgres.conninfo("big")
    migrate(conninfo)
    home: Path = tmp_path_factory.mktemp("home")
    with connect(conninfo, name="test") as connection:
        it = lay(conninfo, home, connection, mailboxes=1, contacts=0, steps=2)
        for statement in GROW.format(mailboxes=MAILBOXES, old=OLD, queued=QUEUED).split(";"):
            connection.execute(statement.encode())
    yield it
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE big WITH (FORCE)"))


def values_of(name: str, connection: Connection) -> dict[str, Any]:
    """What a sender with a hundred mailboxes, or the planner, would give to a query."""
    letters = rows(connection, "SELECT id, mailbox_id FROM message WHERE state = 'queued' ORDER BY id LIMIT 100")
    ids, mailboxes = [row[0] for row in letters], [row[1] for row in letters]
    horizon = {"ahead": "10 seconds", "late_after": "5 minutes", "sender": 1}
    attempts = rows(connection, "SELECT id FROM attempt ORDER BY id DESC LIMIT 100")
    results = [{"attempt_id": row[0], "outcome": "accepted", "state": "accepted"} for row in attempts]
    pairs = {"mailboxes": mailboxes, "fences": [0] * 100, "sender": 1}
    return {
        "lease_mailboxes": {**horizon, "room": 100, "lease": "60 seconds"},
        "renew_leases": {**pairs, "lease": "60 seconds"},
        "release_leases": pairs,
        "peek_due": {**horizon, "mailboxes": mailboxes, "per_mailbox": 50, "batch": 500},
        "lock_due": {**horizon, "messages": ids, "mailboxes": mailboxes, "fences": [0] * 100},
        "gate": {"messages": ids, "host": "host-1"},
        "write_reservation": {
            **dict.fromkeys(("messages", "fences"), ids),
            **dict.fromkeys(("subjects", "limit_ids", "limit_keys"), ["{}"] * 100),
            "mailboxes": mailboxes,
            "next_ats": ["2026-11-24"] * 100,
            "today": "2026-11-24",
            "now": "2026-11-24",
            "sender": 1,
        },
        "hand_back": {"messages": ids, "codes": ["c"] * 100, "reasons": ["r"] * 100, "ends": [False] * 100},
        "settle": {"results": json.dumps(results)},
        "unstick": {"contacts": ids},
        "lock_contacts": {"contacts": ids},
        "attempts_of_journal": {"journal": "00000000-0000-0000-0000-000000000000", "known": [1, 2, 3], "sender": 1},
        "sweep_expired": {"lease": "60 seconds"},
        "open_attempts": {"sender": 1},
        "assume_accepted": {"deadline": "24 hours"},
        "tidy": {"late_after": "5 minutes"},
        "queued": {},
        "ready": {"batch": 20_000},
    }[name]


PROVIDER_OF = {"recipient_domain_pkey", "recipient_domain_name_30e7d1db_like"}  # two of one order: either is the key

# query → its way into each big table: one index of each group is used
HOT: dict[str, list[set[str]]] = {
    "lease_mailboxes": [{"message_due", "message_of_mailbox_due"}],
    "renew_leases": [{"lease_pkey", "lease_of_sender"}],
    "release_leases": [{"lease_pkey", "lease_of_sender"}],
    "peek_due": [{"message_of_mailbox_due"}, {"contact_pkey"}, {"message_never_twice"}],
    "lock_due": [
        {"message_pkey", "message_of_mailbox_due", "message_due"},
        {"contact_pkey"},
        PROVIDER_OF,
    ],
    "gate": [
        {"message_pkey"},
        {"enrollment_pkey"},
        {"contact_pkey"},
        {"suppression_pkey"},
        PROVIDER_OF,
    ],
    "write_reservation": [{"message_pkey", "message_due"}, {"contact_pkey"}, {"enrollment_pkey"}],
    "hand_back": [{"message_pkey", "message_due"}, {"enrollment_pkey"}],
    "settle": [{"attempt_pkey", "attempt_running"}, {"message_pkey"}, {"enrollment_pkey"}],
    "lock_contacts": [{"contact_pkey"}],
    "unstick": [{"contact_pkey"}, {"attempt_number_unique", "attempt_never_twice"}],
    "sweep_expired": [{"attempt_running"}, {"message_pkey", "message_in_hand"}],
    "open_attempts": [{"attempt_running"}],
    "attempts_of_journal": [{"attempt_running"}],
    "assume_accepted": [{"attempt_ambiguous"}],
    "tidy": [PROVIDER_OF],
    "queued": [{"contact_pkey"}, PROVIDER_OF],
    "ready": [{"enrollment_ready"}],
}
WHOLE = {"ready": {"contact", "message", "recipient_domain"}}  # 20,000 enrollments: much of it is read in one go


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_uses_its_index_and_reads_no_big_table(name: str, mode: str, big: Laid) -> None:
    """With the values known, and (as after its fifth call) not known: the index that the query's header names, and no
    sequential scan of messages, attempts, enrollments or contacts."""
    with connect(big.conninfo, name="test") as connection:
        query = (QUERIES | PLANNING)[name]
        values = values_of(name, connection)
        connection.execute("SELECT set_config('plan_cache_mode', %s, false)", [mode])
        with connection.transaction(force_rollback=True):
            plan = one(connection, *explain(connection, query, values))
    nodes = list(walk(plan[0]["Plan"]))
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    assert scanned & BIG <= WHOLE.get(name, set()), plan
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert all(used & group for group in HOT[name]), used


def explain(connection: Connection, query: str, values: dict[str, Any]) -> tuple[str, ...]:
    """What to ask for the plan of a query that is prepared, once its parameters have numbers."""
    names: dict[str, int] = {}
    text = VALUE.sub(lambda found: f"${names.setdefault(found[1], len(names) + 1)}", query).replace("%%", "%")
    connection.execute(f"PREPARE hot AS {text}".encode())
    given = ", ".join("%s" for _ in names)
    call = f"EXECUTE hot({given})" if names else "EXECUTE hot"
    cursor = psycopg.ClientCursor(connection)
    return (cursor.mogrify(f"EXPLAIN (FORMAT JSON) {call}".encode(), [values[name] for name in names]),)


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


async def test_a_burst_takes_a_tenth_of_a_statement_a_letter(big: Laid) -> None:
    """Five hundred letters leased, read, reserved and settled, counted by the server itself, transactions and all; what
    it asks itself for its foreign keys is no statement of ours."""
    with connect(big.conninfo, name="test") as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("UPDATE message SET due_at = clock_timestamp() WHERE state = 'queued'")
        async with sender(big) as hand:
            connection.execute("SELECT pg_stat_statements_reset()")
            await hand.lease(1200)
            found = await hand.reserve(batch=500)
            assert len(found) == 500
            await hand.outbox.settle([result(letter, Outcome.ACCEPTED) for letter in found])
        counted = """
            SELECT sum(calls)::int FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
            WHERE d.datname = current_database() AND query !~ 'pg_stat_statements|FROM ONLY'
        """
        assert 5 < one(connection, counted) <= 0.1 * len(found)
