"""A fleet laid into a database, letters as servers judged them, and time that passes by moving all of it back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.health.judging import Judging
from mailfleet.providers.sandbox.fleet import make_fleet

POLICY = {"outcome": "rejected", "code": 550, "reply_class": "policy_spam_block", "reply_scope": "message"}
UNKNOWN = {"outcome": "rejected", "code": 550, "reply_class": "recipient_unknown", "reply_scope": "recipient"}
LOGIN = {"outcome": "unreached", "code": 535, "stage": "auth", "reply_class": "mailbox_suspended_or_auth"}
GOOD_ZONE = {
    "A good.com": ["192.0.2.1"],
    "MX good.com": ["10 mx.good.com"],
    "A mx.good.com": ["9.9.9.9"],
    "TXT good.com": ["v=spf1 ip4:192.0.2.0/24 -all"],
    "TXT _dmarc.good.com": ["v=DMARC1; p=none"],
}

WRITE = """
WITH people AS (
    INSERT INTO contact (address, address_key, domain, digests, lawful_basis, mailbox_id)
    SELECT 'c' || n || '@' || %(receiver)s, 'c' || n || '@' || %(receiver)s, %(receiver)s, '{}', 'consent', %(mailbox)s
    FROM generate_series(%(first)s, %(first)s + %(number)s - 1) n RETURNING id
), member AS (
    INSERT INTO list_member (contact_list_id, contact_id)
    SELECT l, people.id FROM people, unnest(%(lists)s::bigint[]) l
), passage AS (
    INSERT INTO enrollment (campaign_id, contact_id, mailbox_id, state)
    SELECT %(campaign)s, id, %(mailbox)s, 'finished' FROM people RETURNING id, contact_id
), letter AS (
    INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id, header_id, state,
                         settled_at, attempts)
    SELECT p.id, s.id, %(campaign)s, p.contact_id, %(mailbox)s,
           (SELECT min(id) FROM variant v WHERE v.step_id = s.id), '<h' || p.id || '@x>', %(state)s,
           CASE WHEN %(state)s <> 'queued' THEN clock_timestamp() END, 1
    FROM passage p JOIN step s ON s.campaign_id = %(campaign)s AND s.number = 1 RETURNING id
)
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, reserved_at, limit_ids, limit_keys, outcome,
                     settled_at, stage, code, reply_class, reply_scope)
SELECT id, 1, %(mailbox)s, %(sender)s, 1, clock_timestamp() - %(ago)s, '{}', '{}', %(outcome)s, clock_timestamp(),
       %(stage)s, %(code)s, %(reply_class)s, %(reply_scope)s
FROM letter RETURNING message_id
"""
TRY_AGAIN = """
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, reserved_at, limit_ids, limit_keys, outcome,
                     settled_at, stage, code, reply_class, reply_scope)
SELECT message_id, number + 1, mailbox_id, sender_id, 1, clock_timestamp() - %(ago)s, '{}', '{}', %(outcome)s,
       clock_timestamp(), 'dot', %(code)s, '', ''
FROM attempt WHERE message_id = %(message)s ORDER BY number DESC LIMIT 1
"""
BIND = """
UPDATE attempt t SET (limit_ids, limit_keys) = (
    SELECT coalesce(array_agg(l.id), '{}'), coalesce(array_agg(l.scope_key), '{}')
    FROM message m
    JOIN contact c ON c.id = m.contact_id
    JOIN mailbox b ON b.id = m.mailbox_id
    JOIN domain d ON d.id = b.domain_id
    JOIN account a ON a.id = b.account_id
    JOIN sender s ON s.id = t.sender_id
    LEFT JOIN recipient_domain r ON r.name = c.domain
    JOIN sending_limit l ON l.source = 'half_open' AND (l.scope_kind, l.scope_key) IN (
        ('mailbox', b.id::text), ('domain', d.id::text), ('account', a.id::text), ('provider', a.provider_id::text),
        ('identity', d.identity_id::text), ('campaign', m.campaign_id::text), ('recipient_provider', r.provider),
        ('sender_host', s.host))
    WHERE m.id = t.message_id)
WHERE t.message_id = ANY(%(messages)s) AND t.limit_ids = '{}'
"""
LEARN = """
INSERT INTO event (kind, message_id, contact_id, mailbox_id, campaign_id, is_hard, reply_class, reply_scope, at)
SELECT %(kind)s, id, contact_id, mailbox_id, campaign_id, %(is_hard)s, %(reply_class)s, %(reply_scope)s,
       clock_timestamp() - %(ago)s
FROM message WHERE id = ANY(%(messages)s)
"""
MOMENTS = {
    "attempt": ("reserved_at", "settled_at"),
    "counted_letter": ("at",),
    "event": ("at",),
    "hold": ("since", "until", "lifted_at", "trial_rung_at", "trial_over_at"),
    "sending_limit": ("created_at",),
    "incident": ("opened_at", "closed_at", "told_at"),
    "reading": ("read_at", "failing_since"),
}
STATES = {"accepted": "accepted", "rejected": "rejected"}

_numbers = count(1, 100_000)


@dataclass
class Scene:
    """`mailboxes` in the order in which they were laid; the campaign of the first identity is `campaign`."""

    laid: laid.Laid
    connection: Connection
    senders: dict[str, int] = field(default_factory=dict)

    @property
    def mailboxes(self) -> list[int]:
        return [row[0] for row in self.rows("SELECT id FROM mailbox ORDER BY id")]

    @property
    def campaign(self) -> int:
        return int(self.one("SELECT min(id) FROM campaign"))

    def domain_of(self, mailbox: int) -> int:
        return int(self.one("SELECT domain_id FROM mailbox WHERE id = %s", mailbox))

    def write(
        self,
        mailbox: int,
        number: int,
        *,
        ago: timedelta = timedelta(),
        receiver: str = "r.example",
        campaign: int | None = None,
        lists: tuple[int, ...] = (),
        host: str = "host-1",
        **reply: Any,
    ) -> list[int]:
        """So many letters of a mailbox, each tried once, under the limits of trials; the ids of their messages."""
        said = {"outcome": "accepted", "code": 250, "stage": "dot", "reply_class": "", "reply_scope": "", **reply}
        values = {
            **said,
            "state": STATES.get(said["outcome"], "queued"),
            "mailbox": mailbox,
            "number": number,
            "ago": ago,
            "receiver": receiver,
            "campaign": campaign or self.campaign,
            "lists": list(lists),
            "sender": self._sender(host),
            "first": next(_numbers),
        }
        messages = [row[0] for row in self.connection.execute(WRITE, values).fetchall()]
        self.connection.execute(BIND, {"messages": messages})
        return messages

    def try_again(self, message: int, *, ago: timedelta = timedelta(), outcome: str = "accepted") -> None:
        self.connection.execute(TRY_AGAIN, {"message": message, "ago": ago, "outcome": outcome, "code": 250})
        self.connection.execute(BIND, {"messages": [message]})

    def learn(
        self,
        kind: str,
        messages: list[int],
        *,
        is_hard: bool = False,
        reply_class: str = "",
        reply_scope: str = "",
        ago: timedelta = timedelta(),
    ) -> None:
        """What came in about letters."""
        said = {"is_hard": is_hard, "reply_class": reply_class, "reply_scope": reply_scope, "ago": ago}
        self.connection.execute(LEARN, {"kind": kind, "messages": messages, **said})

    def provider(self, domain: str, name: str) -> None:
        self.connection.execute("INSERT INTO recipient_domain (name, provider) VALUES (%s, %s)", [domain, name])

    def new_list(self, name: str, campaign: int | None = None) -> int:
        number = int(self.one("INSERT INTO contact_list (name) VALUES (%s) RETURNING id", name))
        values = [campaign or self.campaign, number]
        self.connection.execute("INSERT INTO campaign_list (campaign_id, contactlist_id) VALUES (%s, %s)", values)
        return number

    def judge(self) -> None:
        """A service that has just started: it remembers nothing, counts all, and judges."""
        Judging(self.connection).take()

    def pass_time(self, length: timedelta) -> None:
        """All that has happened did so `length` earlier."""
        for table, columns in MOMENTS.items():
            moved = ", ".join(f"{column} = {column} - %(length)s" for column in columns)
            self.connection.execute(f"UPDATE {table} SET {moved}".encode(), {"length": length})

    def lift(self, *, kind: str, key: int) -> None:
        """As a person does."""
        self.connection.execute(
            "UPDATE hold SET lifted_at = clock_timestamp(), lifted_by = 'ann' WHERE lifted_at IS NULL"
            " AND (until IS NULL OR until > clock_timestamp()) AND scope_kind = %s AND scope_key = %s",
            [kind, str(key)],
        )

    def holds(self) -> list[tuple[Any, ...]]:
        """Those in force: kind, key, family."""
        return self.rows(
            "SELECT scope_kind, scope_key::bigint, family FROM hold WHERE lifted_at IS NULL"
            " AND (until IS NULL OR until > clock_timestamp()) ORDER BY id"
        )

    def limits(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT scope_kind, scope_key::bigint, maximum FROM sending_limit WHERE source = 'half_open' ORDER BY 1, 2"
        )

    def incidents(self) -> list[tuple[Any, ...]]:
        """Those open: family, kind, key, severity."""
        return self.rows(
            "SELECT family, scope_kind, scope_key::bigint, severity FROM incident WHERE closed_at IS NULL ORDER BY id"
        )

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.execute(query.encode(), values).fetchall()]

    def one(self, query: str, *values: object) -> Any:
        [(value,)] = self.rows(query, *values)
        return value

    def _sender(self, host: str) -> int:
        if host not in self.senders:
            made = "INSERT INTO sender (host, pid, journal) VALUES (%s, 1, gen_random_uuid()) RETURNING id"
            self.senders[host] = int(self.one(made, host))
        return self.senders[host]


@contextmanager
def lay_scene(
    conninfo: str, home: Path, mailboxes: int, domains: int, accounts: int, providers: int, identities: int
) -> Iterator[Scene]:
    """Mailboxes grown to 30 letters a day."""
    fleet = make_fleet(1, mailboxes, domains, accounts, providers, identities)
    place = laid.lay(conninfo, home, fleet, {name: {"smtp": {"none": 9}} for name in fleet.providers}, contacts=0)
    with connect(conninfo, name="test") as connection:
        connection.execute("UPDATE mailbox SET daily_limit = 30")
        yield Scene(place, connection)
