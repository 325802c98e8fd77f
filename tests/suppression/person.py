"""A person of whom something stands in every table that can hold it, and a look for what is left of them."""

import json
from dataclasses import dataclass

from psycopg import sql

from mailfleet.base.db import Connection
from mailfleet.mail.addresses import Address, parse_address
from outbox.queue_scene import one, rows
from suppression.scene import Scene

ADDRESS = "Zarquon.Quux@Firm.example"
KEY = "zarquon.quux@firm.example"
COLLEAGUE = "joan-zarquon.quux@firm.example"  # ends alike, and is somebody else
WORDS = ("zarquon", "quux", "vogsphere")

TOLD = """
WITH person AS (SELECT id FROM contact WHERE address_key = %(key)s),
letter AS (
    UPDATE message SET subject = 'Zarquon, a word on Vogsphere', state = 'accepted', attempts = 2, due_at = NULL,
        settled_at = clock_timestamp(), reason_code = 'x', reason = '450 <zarquon.quux@firm.example> later'
    WHERE contact_id = (SELECT id FROM person) RETURNING *
), sender AS (INSERT INTO sender (host, pid, journal) VALUES ('h', 1, gen_random_uuid()) RETURNING id),
tries AS (
    INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, limit_ids, limit_keys, outcome, settled_at,
                         code, reply)
    SELECT l.id, n, l.mailbox_id, s.id, 1, '{}', '{}', CASE n WHEN 1 THEN 'deferred' ELSE 'accepted' END,
           clock_timestamp(), CASE n WHEN 1 THEN 450 ELSE 250 END, '250 <Zarquon.Quux@firm.example> ok'
    FROM letter l, sender s, generate_series(1, 2) n RETURNING id
), heard AS (
    INSERT INTO incoming (mailbox_id, folder, uid_validity, uid, digest, header_id, sender_address, sender_name,
                          subject, received_at, kind, message_id, contact_id, text, details, question)
    SELECT l.mailbox_id, 'inbox', 1, m.uid, decode(md5(m.uid::text), 'hex'), '<1@firm.example>', m.sender, m.name,
           m.subject, clock_timestamp(), m.kind, CASE WHEN m.uid < 3 THEN l.id END,
           CASE WHEN m.uid = 1 THEN l.contact_id END, m.text, m.details::jsonb, m.question
    FROM letter l, (VALUES
        (1, 'ZARQUON.quux@firm.example', 'Zarquon Quux', 'Re: Zarquon', 'reply', 'Vogsphere says no', '{}', ''),
        (2, 'mailer-daemon@firm.example', '', 'Returned', 'bounce', 'to zarquon.quux@firm.example',
         '{"recipient": "zarquon.quux@firm.example"}', ''),
        (3, 'zarquon.quux@firm.example', 'Z. Quux', 'Hi', 'other', 'I am Zarquon', '{}', 'is it a no?'),
        (4, 'list@else.example', 'Zed', 'Minutes', 'other', 'Cc: "x" <zarquon.quux@firm.example>, zed@else.example',
         '{"cc": ["zarquon.quux@firm.example", "joan-zarquon.quux@firm.example"]}', '')
    ) AS m (uid, sender, name, subject, kind, text, details, question) RETURNING id, uid
), learned AS (
    INSERT INTO event (kind, message_id, contact_id, mailbox_id, campaign_id, incoming_id, text)
    SELECT 'reply', l.id, l.contact_id, l.mailbox_id, l.campaign_id, h.id, 'Zarquon: Vogsphere says no'
    FROM letter l, heard h WHERE h.uid = 1
), copied AS (
    INSERT INTO sent_copy (message_id, mailbox_id, content) SELECT id, mailbox_id, %(copy)s FROM letter
), held AS (
    INSERT INTO hold (scope_kind, scope_key, reason, evidence, set_by)
    SELECT 'mailbox', l.mailbox_id::text, '450 zarquon.quux@firm.example: slow down',
           jsonb_build_object('attempt', t.id, 'reply', '450 Quux', 'rule', 'r'), 'reply rule r'
    FROM letter l, (SELECT min(id) AS id FROM tries) t
), counted AS (
    INSERT INTO counted_letter (message_id, at, mailbox_id, campaign_id)
    SELECT id, clock_timestamp(), mailbox_id, campaign_id FROM letter
), trouble AS (
    INSERT INTO incident (family, scope_kind, scope_key, severity, text)
    VALUES ('bounces', 'fleet', 'fleet', 1, 'a bounce of zarquon.quux@firm.example')
), listed AS (INSERT INTO contact_list (name) VALUES ('fair') RETURNING id),
member AS (INSERT INTO list_member (contact_list_id, contact_id) SELECT listed.id, person.id FROM listed, person),
file AS (
    INSERT INTO import_run (kind, file_name) VALUES ('contacts', 'zarquon.quux@firm.example.csv') RETURNING id
)
UPDATE contact SET import_run_id = file.id FROM file WHERE address_key = %(key)s
"""


@dataclass
class Person:
    """Zarquon Quux of Vogsphere, who was written to once, answered, and stands in other people's rows."""

    scene: Scene
    contact: int

    @property
    def address(self) -> Address:
        return parse_address(ADDRESS)

    @property
    def connection(self) -> Connection:
        return self.scene.connection

    def column(self, name: str) -> object:
        query = sql.SQL("SELECT {} FROM contact WHERE id = %s").format(sql.Identifier(name))
        return one(self.connection, query, self.contact)  # type: ignore[arg-type]


def lay_person(scene: Scene) -> Person:
    """The first contact becomes the person, the second a colleague whose address ends alike."""
    first, second, *_ = [row[0] for row in rows(scene.connection, "SELECT id FROM contact ORDER BY id")]
    digests = scene.digester.all_of(KEY, "firm.example", "vogsphere")
    change = """
    UPDATE contact SET address = %s, address_key = %s, domain = 'firm.example', digests = %s, first_name = %s,
        last_name = 'Quux', company = 'Vogsphere Ltd', title = 'CEO of Vogsphere', country = 'DE',
        time_zone = 'Europe/Berlin', attributes = %s, source = 'Vogsphere fair', source_url = 'https://x.example/quux',
        collected_on = '2026-01-31'
    WHERE id = %s
    """
    notes = {"topic": "Zarquon", "boss": KEY}
    scene.connection.execute(change, [ADDRESS, KEY, digests, "Zarquon", json.dumps(notes), first])
    scene.connection.execute(
        "UPDATE contact SET address = %(a)s, address_key = %(a)s, domain = 'firm.example', attributes = %(n)s"
        " WHERE id = %(id)s",
        {
            "a": COLLEAGUE,
            "n": json.dumps({"boss": f"{KEY}, {COLLEAGUE}", "verp": "b+zarquon.quux=firm.example@x"}),
            "id": second,
        },
    )
    scene.connection.execute(TOLD, {"key": KEY, "copy": f"To: {ADDRESS}\r\n\r\nDear Zarquon".encode()})
    return Person(scene, first)


def left_of(connection: Connection, *words: str) -> list[str]:
    """Every "table.column: text" of the whole database in which one of the words stands, in any case; in bytes too."""
    columns = rows(
        connection,
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t"
        " USING (table_schema, table_name) WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"
        " AND c.data_type IN ('text', 'character varying', 'jsonb', 'json', 'bytea', 'ARRAY')",
    )
    found = []
    for table, column in columns:
        query = sql.SQL("SELECT {0}::text FROM {1} WHERE {0} IS NOT NULL").format(
            sql.Identifier(column), sql.Identifier(table)
        )
        for (text,) in rows(connection, query):  # type: ignore[arg-type]
            shown = _readable(text)
            found += [f"{table}.{column}: {shown[:200]}" for word in words if word.lower() in shown.lower()][:1]
    return found


def _readable(text: str) -> str:
    """The text; of bytes, which PostgreSQL shows as hexadecimal digits, those that are letters too."""
    if not text.startswith("\\x"):
        return text
    return text + bytes.fromhex(text[2:]).decode("latin-1")
