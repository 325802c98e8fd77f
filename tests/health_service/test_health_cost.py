"""What a judgement of a whole fleet costs: statements, plans, and calls of our own."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest
from health_scene import Scene, lay_scene
from psycopg import sql

from mailfleet.base.db import Connection
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.health.counting import QUERIES as COUNTING
from mailfleet.health.domains import QUERIES as DOMAINS
from mailfleet.health.judging import Judging
from mailfleet.health.look import QUERIES
from mailfleet.model.schema import migrate

LETTERS = 250_000
NOW = datetime.now(UTC)

# In a week: each mailbox writes two campaigns of two lists, to five big receivers and three thousand small ones; one
# letter in a hundred bounces, one in five hundred is blocked, one in two thousand complained of.
GROW = f"""
SET session_replication_role = replica;
SELECT setseed(0.5);
INSERT INTO sender (host, pid, journal) VALUES ('host-1', 1, gen_random_uuid());
INSERT INTO contact (address, address_key, domain, digests, lawful_basis)
    SELECT 'c' || n || '@r.example', 'c' || n, 'r' || n % 3000 || '.example', '{{}}', 'consent'
    FROM generate_series(1, {LETTERS} / 5) n;
INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, state,
                     settled_at)
    SELECT c.id, 1, 1 + c.id % 3, c.id, (SELECT min(id) FROM mailbox) + c.id % 1200, 1, '<' || c.id || '@x>',
           'accepted', now()
    FROM contact c;
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, reserved_at, limit_ids, limit_keys, outcome,
                     settled_at, stage, code)
    SELECT n, 1, (SELECT min(id) FROM mailbox) + n % 1200, 1, 1, now() - n * interval '604800 seconds' / {LETTERS},
           '{{}}', '{{}}', 'accepted', now(), 'dot', 250
    FROM generate_series(1, {LETTERS}) n;
INSERT INTO counted_letter (message_id, at, mailbox_id, campaign_id, list_id, recipient_provider, bounced, blocked,
                            complained)
    SELECT a.message_id, a.reserved_at, a.mailbox_id, c.id, 2 * c.id + a.id % 2,
           CASE WHEN random() < 0.7 THEN 'big' || (random() * 4)::int ELSE 'r' || (random() * 3000)::int END,
           random() < 0.01, random() < 0.002, random() < 0.0005
    FROM attempt a CROSS JOIN LATERAL (SELECT 2 * (a.mailbox_id % 2) + a.id / 1200 % 2 AS id) AS c;
INSERT INTO event (kind, message_id, contact_id, mailbox_id, campaign_id, at)
    SELECT 'reply', m.id, m.contact_id, m.mailbox_id, m.campaign_id, now() - interval '5 days' FROM message m
    WHERE m.id % 30 = 0;
INSERT INTO reading (mailbox_id, read_at) SELECT id, now() FROM mailbox;
SET session_replication_role = DEFAULT;
ANALYZE
"""


@pytest.fixture(scope="module")
def big(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """1,200 mailboxes that wrote 250,000 letters in a week."""
    postgres.create_database("big_health")
    conninfo = postgres.conninfo("big_health")
    migrate(conninfo)
    home: Path = tmp_path_factory.mktemp("home")
    with lay_scene(conninfo, home, 1200, 400, 12, 3, 2) as scene:
        for statement in GROW.split(";"):
            scene.connection.execute(statement.encode())
        yield scene
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE big_health WITH (FORCE)"))


def test_a_judgement_takes_as_many_statements_whatever_the_fleet(big: Scene, scene: Scene) -> None:
    """Six mailboxes or 1,200: some two dozen, and none for each mailbox, letter or hold."""
    small, large = statements(scene.connection), statements(big.connection)
    assert small <= large <= small + 4 and large <= 32


def statements(connection: Connection) -> int:
    """Of the second judgement, for the first one counts what was never counted; by the server's own count."""
    judging = Judging(connection)
    judging.take()
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    connection.execute("SELECT pg_stat_statements_reset()")
    judging.judge()
    counted = """
        SELECT sum(calls)::int FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = current_database() AND query !~ 'pg_stat_statements|FROM ONLY'
    """
    row = connection.execute(counted).fetchone()
    assert row is not None
    return int(row[0])


def test_a_judgement_of_the_fleet_costs_a_few_calls_a_letter(big: Scene) -> None:
    """Of 250,000 letters, with dozens of causes among them: half a second of a processor. Calls are counted, which no
    slow machine changes."""
    judging = Judging(big.connection)
    judging.judge()
    count = 0

    def tally(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(tally)
    try:
        verdict = judging.prepare()
    finally:
        sys.setprofile(before)
    assert len(verdict.judgement.findings) > 20
    assert count < 3 * LETTERS


def ends(number: int) -> dict[str, Any]:
    """So many mailboxes, campaigns and recipient providers whose hold ended a day ago."""
    at = NOW - timedelta(days=1)
    return {
        **{name: list(range(1, number + 1)) for name in ("mailboxes", "campaigns")},
        "recipients": [f"r{place}" for place in range(number)],
        **dict.fromkeys(("mailbox_ends", "campaign_ends", "recipient_ends"), [at] * number),
    }


WEEK, HOURS = NOW - timedelta(days=7), NOW - timedelta(hours=3)
MEANINGS = {"classes": ["a"], "scopes": ["b"], "temporary": [True], "families": ["policy"]}
HOT: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    # query → its values, an index it must use, and the big tables it may scan
    "signs": ({}, {"attempt_reserved"}, set()),
    "cells": ({"family": "bounces", "since": WEEK, "pattern": 2, **ends(100)}, set(), {"counted_letter"}),
    "trial_letters": (
        {"holds": [1], "limits": [1], "sinces": [HOURS], "untils": [NOW], "since": HOURS},
        {"attempt_reserved"},
        set(),
    ),
    "attempted": ({"since": HOURS}, {"attempt_reserved"}, set()),
    "count_letters": (
        {**MEANINGS, "since": NOW - timedelta(minutes=10), "only_blocked": False},
        {"attempt_reserved"},
        {"list_member"},
    ),
    "flag_letters": ({**MEANINGS, "since": HOURS}, {"event_at", "counted_letter_pkey"}, set()),
    "forget_letters": ({"before": WEEK - timedelta(days=1)}, {"counted_letter_at"}, set()),
    "unknown_domains": (
        {"lately": NOW - timedelta(hours=1), "unknown_for": "1 day", "known_for": "30 days", "most": 20},
        {"counted_letter_at"},
        set(),
    ),
    "keep_providers": (
        {"names": ["r1.example"], "providers": ["google"], "since": NOW - timedelta(hours=25)},
        {"counted_letter_at", "counted_letter_pkey", "message_pkey", "contact_pkey"},
        set(),
    ),
}
BIG = {"counted_letter", "attempt", "message", "contact", "event"}


@pytest.mark.parametrize("name", HOT)
def test_a_query_of_every_tick_reads_no_big_table(name: str, big: Scene) -> None:
    """The index that its header names, and no scan of letters, attempts, contacts or events; but for the cells, whose
    window is nearly all that is kept."""
    values, indexes, scanned = HOT[name]
    query = (QUERIES | COUNTING | DOMAINS)[name]
    with big.connection.transaction(force_rollback=True):
        row = big.connection.execute(f"EXPLAIN (FORMAT JSON) {query}".encode(), values).fetchone()
    assert row is not None
    nodes = list(walk(row[0][0]["Plan"]))
    assert {node["Relation Name"] for node in nodes if node["Node Type"].endswith("Seq Scan")} & BIG <= scanned, nodes
    assert indexes <= {node["Index Name"] for node in nodes if "Index Name" in node}, nodes


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)
