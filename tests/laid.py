"""A fleet laid straight into a database, as a file of mailboxes, contacts and a campaign would lay it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mailfleet.base.db import Connection, connect
from mailfleet.base.secrets import Keyring
from mailfleet.base.settings import Settings
from mailfleet.outbox.tunables import SETTING, Tunables
from mailfleet.outbox.vault import Vault, open_vault
from mailfleet.providers.sandbox.config import Security
from mailfleet.providers.sandbox.fleet import SandboxContact, SandboxFleet, make_contacts
from mailfleet.providers.sandbox.server import Ports

TEXT = "Hello {{ contact.first_name }},\n\non {{ contact.topic }}.\n\n{{ mailbox.signature }}\n\n{{ opt_out_url }}\n"


@dataclass(frozen=True, slots=True)
class Laid:
    """What a test needs to go on: the vault that sealed, and where."""

    conninfo: str
    settings: Settings
    vault: Vault


def settings_of(home: Path, conninfo: str) -> Settings:
    return Settings(home=home, database_url=conninfo, keys=None, log_level="critical", allow_insecure=False)


def lay(
    conninfo: str,
    home: Path,
    fleet: SandboxFleet,
    ports: Ports,
    *,
    contacts: int = 20,
    steps: int = 1,
    wait: timedelta = timedelta(seconds=1),
    pace_seconds: int = 0,
    tunables: Tunables = Tunables(),
    limits: Sequence[tuple[str, str | None, int, int]] = (),
    seed: int = 1,
) -> Laid:
    """A fleet that is past its ramp, contacts, and one running campaign of `steps` letters.

    `limits`: (scope kind, scope key or None, rolling seconds, maximum).
    """
    settings = settings_of(home, conninfo)
    with connect(conninfo, name="test") as connection, connection.transaction():
        vault = open_vault(connection, settings)
        connection.execute(
            "INSERT INTO setting (name, value) VALUES (%s, %s)", [SETTING, json.dumps(tunables.as_record())]
        )
        for kind, key, seconds, maximum in limits:
            connection.execute(
                "INSERT INTO sending_limit (scope_kind, scope_key, window_kind, window_seconds, maximum)"
                " VALUES (%s, %s, 'rolling', %s, %s)",
                [kind, key, seconds, maximum],
            )
        _lay_fleet(connection, vault.keyring, fleet, ports, pace_seconds)
        _lay_campaigns(connection, vault, fleet, list(make_contacts(seed, contacts)), steps, wait)
    return Laid(conninfo, settings, vault)


def _lay_fleet(connection: Connection, keyring: Keyring, fleet: SandboxFleet, ports: Ports, pace_seconds: int) -> None:
    identities = {
        name: _one(
            connection,
            "INSERT INTO identity (name, legal_name, postal_address, contact_email,"
            " opt_out_base_url) VALUES (%s, %s, '1 Road, Town', 'hello@example.com',"
            " 'https://stop.example.com/o') RETURNING id",
            [name, name],
        )
        for name in fleet.identities
    }
    providers = {
        name: _one(connection, "INSERT INTO provider (name, dialect) VALUES (%s, %s) RETURNING id", [name, dialect])
        for name, dialect in fleet.providers.items()
    }
    accounts = {
        name: _one(
            connection,
            "INSERT INTO account (provider_id, name) VALUES (%s, %s) RETURNING id",
            [providers[provider], name],
        )
        for name, provider in fleet.accounts.items()
    }
    domains: dict[str, int] = {}
    for box in fleet.mailboxes:
        if box.domain not in domains:
            domains[box.domain] = _one(
                connection,
                "INSERT INTO domain (name, identity_id) VALUES (%s, %s) RETURNING id",
                [box.domain, identities[box.identity]],
            )
        security, port = _safest(ports[box.provider]["smtp"])
        imap_security, imap_port = _safest(ports[box.provider].get("imap", {"none": 0}))
        mailbox = _one(
            connection,
            "INSERT INTO mailbox (address, display_name, signature, domain_id, account_id, smtp_host, smtp_port,"
            " smtp_security, imap_host, imap_port, imap_security, login, secret, pace_seconds, daily_limit)"
            " VALUES (%s, %s, %s, %s, %s, '127.0.0.1', %s, %s, %s, %s, %s, %s, %s, %s, 1000) RETURNING id",
            [
                box.address,
                box.display_name,
                box.signature,
                domains[box.domain],
                accounts[box.account],
                port,
                security,
                "127.0.0.1" if imap_port else "",
                imap_port,
                imap_security,
                box.login,
                keyring.seal(box.password),
                pace_seconds,
            ],
        )
        connection.execute("INSERT INTO lease (mailbox_id) VALUES (%s)", [mailbox])
        connection.execute(
            "INSERT INTO ramp (mailbox_id, sending_days, last_on) VALUES (%s, 200, current_date - 1)", [mailbox]
        )


def _safest(offered: Mapping[Security, int]) -> tuple[Security, int]:
    return next((kind, offered[kind]) for kind in ("tls", "starttls", "none") if kind in offered)


def _lay_campaigns(
    connection: Connection,
    vault: Vault,
    fleet: SandboxFleet,
    contacts: list[SandboxContact],
    steps: int,
    wait: timedelta,
) -> None:
    """One campaign for each identity; contacts in turn."""
    for number, identity in enumerate(fleet.identities):
        campaign = _one(
            connection,
            "INSERT INTO campaign (name, identity_id, state, \"window\", zone) SELECT %s, id, 'running', %s, 'UTC'"
            " FROM identity WHERE name = %s RETURNING id",
            [f"campaign-{number}", json.dumps({"weekdays": list(range(1, 8)), "hours": ["00:00-24:00"]}), identity],
        )
        for step in range(1, steps + 1):
            step_id = _one(
                connection,
                "INSERT INTO step (campaign_id, number, wait) VALUES (%s, %s, %s) RETURNING id",
                [campaign, step, wait if step > 1 else timedelta()],
            )
            for name in ("a", "b"):
                connection.execute(
                    "INSERT INTO variant (step_id, name, subject, text) VALUES (%s, %s, %s, %s)",
                    [step_id, name, f"Hello {name}" if step == 1 else "", TEXT],
                )
        for contact in contacts[number :: len(fleet.identities)]:
            enroll(connection, vault, campaign, contact)


def enroll(connection: Connection, vault: Vault, campaign: int, contact: SandboxContact) -> int:
    from mailfleet.mail.addresses import parse_address

    address = parse_address(contact.email)
    row = _one(
        connection,
        "INSERT INTO contact (address, address_key, domain, digests, first_name, last_name, company, attributes,"
        " lawful_basis) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'consent') RETURNING id",
        [
            address.original,
            address.normalised,
            address.domain_ascii,
            vault.digester.all_of(address.normalised, address.domain_ascii),
            contact.first_name,
            contact.last_name,
            contact.company,
            json.dumps({"topic": contact.topic}),
        ],
    )
    return _one(
        connection,
        "INSERT INTO enrollment (campaign_id, contact_id, next_at) VALUES (%s, %s, clock_timestamp()) RETURNING id",
        [campaign, row],
    )


def _one(connection: Connection, query: str, values: Sequence[object] | Mapping[str, object]) -> int:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])
