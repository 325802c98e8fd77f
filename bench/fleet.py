"""A fleet, contacts and a running campaign, laid into a database in bulk."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.letters import HTML, SUBJECT, TEXT
from mailfleet.base.db import Connection, connect
from mailfleet.base.settings import Settings
from mailfleet.outbox.tunables import SETTING, Tunables
from mailfleet.outbox.vault import Vault, open_vault

ROOM = 1_000_000  # chosen: no limit binds in a burst; each is counted all the same
TOPICS = ("payroll", "spare parts", "night shifts", "cold chain", "invoices", "site surveys", "training")
# Scope kind, window in seconds: the design's caps and an account's, besides the ramp's own limit on each mailbox.
LIMITS = (("mailbox", 86400), ("domain", 86400), ("account", 86400))


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """`port` on loopback takes the letters. Domains and accounts as in the design: 400 and 12 of 1,200 mailboxes.

    With `idle_seconds` of 0 a connection closes as soon as its mailbox has nothing more in hand.
    """

    mailboxes: int
    port: int
    security: str = "none"
    ca_file: str = ""
    pace_seconds: int = 0
    idle_seconds: int = 10
    tunables: Tunables = Tunables()

    @property
    def domains(self) -> int:
        return max(1, self.mailboxes // 3)

    @property
    def accounts(self) -> int:
        return max(1, min(12, self.domains))


def lay(conninfo: str, home: Path, spec: FleetSpec, *, contacts: int) -> None:
    """Enrollments are laid asleep (`next_at` null); `wake` makes them ready."""
    settings = Settings(home=home, database_url=conninfo, keys=None, log_level="critical", allow_insecure=False)
    with connect(conninfo, name="bench") as connection, connection.transaction():
        vault = open_vault(connection, settings)
        connection.execute(
            "INSERT INTO setting (name, value) VALUES (%s, %s)", [SETTING, json.dumps(spec.tunables.as_record())]
        )
        for kind, seconds in LIMITS:
            connection.execute(
                "INSERT INTO sending_limit (scope_kind, window_kind, window_seconds, maximum)"
                " VALUES (%s, 'rolling', %s, %s)",
                [kind, seconds, ROOM],
            )
        _lay_fleet(connection, vault, spec)
        _lay_campaign(connection)
        _lay_contacts(connection, vault, contacts)
    with connect(conninfo, name="bench") as connection:
        connection.execute("VACUUM ANALYZE")


def wake(connection: Connection, first: int, last: int) -> None:
    """Makes the enrollments `first` to `last` (from 1) ready."""
    connection.execute(
        "UPDATE /* bench */ enrollment SET next_at = clock_timestamp() WHERE id BETWEEN %s AND %s", [first, last]
    )


def _lay_fleet(connection: Connection, vault: Vault, spec: FleetSpec) -> None:
    connection.execute(
        "INSERT INTO identity (name, legal_name, postal_address, contact_email, website, opt_out_base_url) VALUES"
        " ('Northwind', 'Northwind Services Ltd', '12 Harbour Road, Leeds LS1 4AB, United Kingdom',"
        "  'hello@northwind.example', 'https://northwind.example', 'https://go.northwind.example/o')"
    )
    connection.execute(
        "INSERT INTO provider (name, dialect, idle_seconds)"
        " SELECT 'provider-' || n, 'postfix', %s FROM generate_series(1, 3) n",
        [spec.idle_seconds],
    )
    connection.execute(
        "INSERT INTO account (provider_id, name) SELECT 1 + n %% 3, 'account-' || n FROM generate_series(0, %s) n",
        [spec.accounts - 1],
    )
    connection.execute(
        "INSERT INTO domain (name, identity_id) SELECT 'northwind-' || n || '.test', 1 FROM generate_series(1, %s) n",
        [spec.domains],
    )
    connection.execute(
        "INSERT INTO mailbox (address, display_name, signature, domain_id, account_id, smtp_host, smtp_port,"
        " smtp_security, ca_file, login, secret, pace_seconds, daily_limit)"
        " SELECT 'anna.berg' || n || '@northwind-' || 1 + n %% %(domains)s || '.test', 'Anna Berg', 'Anna Berg',"
        " 1 + n %% %(domains)s, 1 + n %% %(domains)s %% %(accounts)s, '127.0.0.1', %(port)s, %(security)s, %(ca_file)s,"
        " 'anna' || n, %(secret)s, %(pace)s, %(room)s FROM generate_series(0, %(last)s) n",
        {
            "domains": spec.domains,
            "accounts": spec.accounts,
            "port": spec.port,
            "security": spec.security,
            "ca_file": spec.ca_file,
            "secret": vault.keyring.seal("not-a-secret"),
            "pace": spec.pace_seconds,
            "room": ROOM,
            "last": spec.mailboxes - 1,
        },
    )
    connection.execute("INSERT INTO lease (mailbox_id) SELECT id FROM mailbox")
    connection.execute(
        "INSERT INTO ramp (mailbox_id, sending_days, last_on) SELECT id, 200, current_date - 1 FROM mailbox"
    )


def _lay_campaign(connection: Connection) -> None:
    hours = json.dumps({"weekdays": list(range(1, 8)), "hours": ["00:00-24:00"]})
    connection.execute(
        "INSERT INTO campaign (name, identity_id, state, \"window\", zone) VALUES ('spring', 1, 'running', %s, 'UTC')",
        [hours],
    )
    for number, wait in ((1, timedelta()), (2, timedelta(days=3))):
        connection.execute("INSERT INTO step (campaign_id, number, wait) VALUES (1, %s, %s)", [number, wait])
        for variant in ("a", "b"):
            connection.execute(
                "INSERT INTO variant (step_id, name, subject, text, html) VALUES (%s, %s, %s, %s, %s)",
                [number, variant, SUBJECT, TEXT, HTML],
            )


def _lay_contacts(connection: Connection, vault: Vault, contacts: int) -> None:
    columns = "address, address_key, domain, digests, first_name, last_name, company, attributes, lawful_basis"
    _copy(connection, f"contact ({columns})", (_contact(number, vault) for number in range(contacts)))
    _copy(
        connection,
        "enrollment (campaign_id, contact_id)",
        ((1, row.id) for row in connection.execute("SELECT id FROM contact ORDER BY id").fetchall()),
    )


def _contact(number: int, vault: Vault) -> Sequence[Any]:
    domain = f"firm{number // 3}.example"
    address = f"maria.lund{number}@{domain}"
    attributes = json.dumps({"topic": TOPICS[number % len(TOPICS)]})
    digests = vault.digester.all_of(address, domain)
    return address, address, domain, digests, "Maria", "Lund", f"Firm {number // 3}", attributes, "legitimate_interest"


def _copy(connection: Connection, into: str, rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
