"""What taking a mail costs, on a fleet of 1,200 mailboxes that has sent 100,000 letters: plans, statements, time."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg
import pytest
from psycopg import sql

from inbox.post import Post, Sent, mail
from laid import Laid
from mailfleet.base.db import Connection, connect
from mailfleet.base.postgres import EmbeddedPostgres
from mailfleet.inbox.questions import QUERIES as QUESTIONS
from mailfleet.inbox.stopping import QUERIES
from mailfleet.mail.opt_out import make_token
from mailfleet.model.schema import migrate
from mailfleet.outbox.ambiguous import QUERIES as AMBIGUOUS
from mailfleet.providers.sandbox import persona_letters as people
from outbox.queue_scene import lay, one, rows
from outbox.test_query_plans import GROW, MAILBOXES, explain, walk

OLD, MAILS = 100_000, 50_000
BIG = {"message", "attempt", "enrollment", "contact", "incoming", "event", "mailbox"}
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MORE = """
SET session_replication_role = replica;
UPDATE contact SET address_key = 'c' || id || '@r.example', company = 'Firm ' || id % 4000
    WHERE address_key ~ '^c[0-9]+$';
UPDATE enrollment SET state = 'active', next_step = 2, next_at = clock_timestamp() + interval '1 day'
    WHERE state = 'finished';
INSERT INTO incoming (mailbox_id, folder, uid_validity, uid, digest, received_at, kind, message_id, contact_id,
                      question, decided_at)
    SELECT m.mailbox_id, 'inbox', 1, m.id, decode(md5('i' || m.id), 'hex'), now(), 'reply', m.id, m.contact_id,
           CASE WHEN m.id % 1000 = 0 THEN 'is it?' ELSE '' END, CASE WHEN m.id % 3 = 0 THEN now() END
    FROM message m WHERE state = 'accepted' LIMIT {mails};
ANALYZE
"""


@pytest.fixture(scope="module")
def big(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laid]:
    """A fleet that has written for months and has read what came back."""
    postgres.create_database("big_inbox")
    conninfo = postgres.conninfo("big_inbox")
    migrate(conninfo)
    home: Path = tmp_path_factory.mktemp("home")
    with connect(conninfo, name="test") as connection:
        it = lay(conninfo, home, connection, mailboxes=1, contacts=0, steps=2)
        for statement in (GROW.format(mailboxes=MAILBOXES, old=OLD, queued=1) + ";" + MORE.format(mails=MAILS)).split(
            ";"
        ):
            connection.execute(statement.encode())
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    yield it
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE big_inbox WITH (FORCE)"))


def post_of(place: Laid, connection: Connection, count: int) -> Post:
    """The post with some of the old letters, which nobody has answered yet."""
    query = """
        SELECT m.id, m.header_id, m.enrollment_id, m.contact_id, m.mailbox_id, b.address, c.address_key, c.digests[1]
        FROM message m JOIN mailbox b ON b.id = m.mailbox_id JOIN contact c ON c.id = m.contact_id
        JOIN enrollment e ON e.id = m.enrollment_id AND e.state = 'active'
        WHERE m.state = 'accepted' ORDER BY m.id DESC LIMIT %s
    """
    found = rows(connection, query, count)
    connection.execute(
        "UPDATE message SET subject = 'Half a day for your calibration' WHERE id = ANY(%s)", [[r[0] for r in found]]
    )
    key = place.vault.opt_out_key
    return Post(place, connection, [Sent(*row[:-1], make_token(key, row[0], bytes(row[-1]))) for row in found])


IDS = ["<1@x>", "<2@x>"]
VALUES = {
    "find_letters": {
        "mailbox": 5,
        "digest": b"d",
        "sender": "c70@r.example",
        "own_id": "<5@x>",
        "named": IDS,
        "envelopes": ["1"],
        "token_message": 7,
        "addresses": ["c70@r.example"],
        "recent": "60 days",
    },
    "colleagues": {"campaign": 1, "contact": 1, "domain": "r.example", "word": "firm", "like": "%%firm%%"},
    "end_enrollments": {"code": "c", "reason": "r", "contact": 70, "campaign": 1, "colleagues": [71, 72]},
    "pause_enrollments": {"until": "2200-01-01", "code": "c", "reason": "r", "contact": 70},
    "prove_accepted": {"message": 70, "by": "mail 1"},
    "questions": {"most": 50},
    "unmatched": {"most": 50},
    "counts": {},
    "mail": {"mail": 70},
    "settle_mail": {"decision": "reply", "by": "a", "kind": "reply", "contact": 70, "mail": 70},
    "learn_decision": {"kind": "reply", "mail": 70, "letter": 70},
    "resume": {"contact": 70, "forever": "2200-01-01"},
}
# query → its way into each big table: one index of each group is used
HOT = {
    "find_letters": [
        {"message_header_id_unique"},
        {"contact_address_unique"},
        {"message_pkey"},
        {"message_contact_id_e98ec5e1"},
        {"incoming_once"},
    ],
    "colleagues": [],
    "end_enrollments": [{"message_never_twice", "message_due"}],
    "pause_enrollments": [],
    "prove_accepted": [{"message_pkey"}, {"attempt_number_unique"}],
    "questions": [{"incoming_asked"}],
    "unmatched": [{"incoming_unmatched"}],
    "counts": [{"incoming_asked"}, {"incoming_unmatched"}],
    "mail": [{"incoming_pkey"}],
    "settle_mail": [{"incoming_pkey"}],
    "learn_decision": [{"message_pkey"}],
    "resume": [],
}
WHOLE = {"colleagues": {"contact", "enrollment"}}  # a campaign's contacts are looked through, for want of an index


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", HOT)
def test_taking_reads_no_big_table(name: str, mode: str, big: Laid) -> None:
    """With the values known and not known: by the index that the header names."""
    with connect(big.conninfo, name="test") as connection:
        connection.execute("SELECT set_config('plan_cache_mode', %s, false)", [mode])
        with connection.transaction(force_rollback=True):
            query = (QUERIES | QUESTIONS | AMBIGUOUS)[name]
            plan = one(connection, *explain(connection, query, VALUES[name]))
    nodes = list(walk(plan[0]["Plan"]))
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    assert scanned & BIG <= WHOLE.get(name, set()), plan
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert all(used & group for group in HOT[name]), used


COUNTED = """
    SELECT sum(calls)::int FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND query !~ 'pg_stat_statements|FROM ONLY'
"""


@pytest.mark.parametrize(
    ("kind", "most"),
    [("nothing", 2), ("twice", 1), ("reply", 7), ("company", 8), ("opt_out", 8), ("bounce", 8), ("soft", 2)],
)
def test_a_mail_costs_a_handful_of_statements(kind: str, most: int, big: Laid) -> None:
    """Counted by the server, transactions and all."""
    with connect(big.conninfo, name="test") as connection:
        post = post_of(big, connection, 1)
        letter = post.sent[0]
        raw = {
            "nothing": mail("news@x.test", subject="News", List_Id="<n>"),
            "twice": people.make_reply(letter.original, "Yes.", NOW),
            "reply": people.make_reply(letter.original, "Yes.", NOW),
            "company": people.make_reply(letter.original, "Yes.", NOW),
            "opt_out": people.make_opt_out(letter.original, NOW),
            "bounce": people.make_bounce(letter.original, NOW),
            "soft": people.make_bounce(letter.original, NOW)
            .replace(b"5.1.1", b"5.2.2")
            .replace(b"User unknown", b"full"),
        }[kind]
        connection.execute("UPDATE campaign SET reply_stops = %s", ["company" if kind == "company" else "contact"])
        if kind == "twice":
            post.take(raw, letter.mailbox_id)
        connection.execute("SELECT pg_stat_statements_reset()")
        post.take(raw, letter.mailbox_id)
        assert 1 <= one(connection, COUNTED) <= most


def test_a_mail_is_taken_in_a_few_milliseconds(big: Laid) -> None:
    """Answers, refusals and bounces in turn: our own time for reading and deciding, and the database's for the rest.
    The machine may be busy, so what is counted is processor time and what the server says of its statements."""
    makers = (
        lambda letter: people.make_reply(letter.original, "Yes, call me.", NOW),
        lambda letter: people.make_reply(letter.original, people.REFUSALS[0][1], NOW),
        lambda letter: people.make_bounce(letter.original, NOW),
    )
    with connect(big.conninfo, name="test") as connection:
        post = post_of(big, connection, 90)
        connection.execute("SELECT pg_stat_statements_reset()")
        took = []
        for number, letter in enumerate(post.sent):
            raw = makers[number % 3](letter)
            began = time.process_time()
            assert post.take(raw, letter.mailbox_id).stopped.ended == 1
            took.append(time.process_time() - began)
        spent = "SELECT sum(total_exec_time) FROM pg_stat_statements WHERE query !~ 'pg_stat_statements'"
        served = one(connection, spent) / len(took)
    print(f"a mail: {median(took) * 1000:.2f} ms of ours, {served:.2f} ms of the server")
    assert median(took) < 0.01
    assert served < 10
