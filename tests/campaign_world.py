"""An identity with mailboxes and a list of contacts in a database, and a campaign file about them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from laid import settings_of
from mailfleet.base.db import Connection
from mailfleet.intake.campaign_file import CampaignFile, read_campaign
from mailfleet.intake.campaign_store import save_campaign
from mailfleet.mail.addresses import parse_address
from mailfleet.outbox.vault import Vault, open_vault

CAMPAIGN = """\
name = "labs"
identity = "northwind"
list = "labs"
[pool]
tags = ["science"]
[window]
zone = "contact"
fallback_zone = "Europe/London"
[[steps]]
[[steps.variants]]
name = "a"
subject = "Drift at {{ contact.company }}"
text = "Hello {{ contact.first_name }}, {{ mailbox.signature }}"
[[steps.variants]]
name = "b"
subject = "A question"
html = "<p>Hello {{ contact.first_name }}</p>"
[[steps]]
wait = "3 days"
text = "Did my letter about {{ contact.topic }} reach you?"
"""


@dataclass(frozen=True, slots=True)
class Person:
    address: str
    first_name: str = "Ann"
    company: str = "Acme"
    basis: str = "consent"
    zone: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: {"topic": "flow cells"})


class World:
    """`connection` is autocommit."""

    def __init__(self, connection: Connection, home: Path, conninfo: str) -> None:
        self.connection, self.home = connection, home
        self.vault: Vault = open_vault(connection, settings_of(home, conninfo))
        self.lay_identity("northwind")
        for number in range(2):
            self.lay_mailbox(f"ann{number}@north.test", tags=["science"])

    def lay_identity(self, name: str, **changed: str) -> None:
        values = {
            "name": name,
            "legal": "Northwind & Sons",
            "postal": "12 Harbour Street, Bristol",
            "url": "https://out.northwind.test/o",
            **changed,
        }
        self.run(
            "INSERT INTO identity (name, legal_name, postal_address, contact_email, opt_out_base_url)"
            " VALUES (%(name)s, %(legal)s, %(postal)s, 'office@north.test', %(url)s)",
            values,
        )

    def lay_mailbox(
        self,
        address: str,
        *,
        identity: str = "northwind",
        provider: str = "harbour",
        tags: Iterable[str] = (),
        signature: str = "Ann",
    ) -> int:
        values = {
            "address": address,
            "domain": address.partition("@")[2],
            "identity": identity,
            "provider": provider,
            "tags": list(tags),
            "signature": signature,
        }
        self.run("INSERT INTO provider (name) VALUES (%(provider)s) ON CONFLICT DO NOTHING", values)
        self.run(
            "INSERT INTO account (provider_id, name) SELECT id, 'main' FROM provider WHERE name = %(provider)s"
            " ON CONFLICT DO NOTHING",
            values,
        )
        self.run(
            "INSERT INTO domain (name, identity_id) SELECT %(domain)s, id FROM identity WHERE name = %(identity)s"
            " ON CONFLICT DO NOTHING",
            values,
        )
        mailbox = self.one(
            "INSERT INTO mailbox (address, display_name, signature, domain_id, account_id, smtp_host, smtp_port,"
            " smtp_security, login, secret, tags) SELECT %(address)s, 'Ann Lee', %(signature)s, d.id, a.id,"
            " 'localhost', 25, 'none', 'ann', '', %(tags)s FROM domain d, account a"
            " JOIN provider p ON p.id = a.provider_id WHERE d.name = %(domain)s AND p.name = %(provider)s RETURNING id",
            values,
        )
        self.run("INSERT INTO lease (mailbox_id) VALUES (%s)", [mailbox])
        self.run("INSERT INTO ramp (mailbox_id) VALUES (%s)", [mailbox])
        return int(mailbox)

    def lay_contacts(self, *people: Person, on: str = "labs") -> list[int]:
        self.run("INSERT INTO contact_list (name) VALUES (%s) ON CONFLICT DO NOTHING", [on])
        return [self._lay_contact(person, on) for person in people]

    def _lay_contact(self, person: Person, on: str) -> int:
        address = parse_address(person.address)
        contact = self.one(
            "INSERT INTO contact (address, address_key, domain, digests, first_name, company, lawful_basis, time_zone,"
            " attributes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (address_key) DO UPDATE SET domain = EXCLUDED.domain RETURNING id",
            [
                address.original,
                address.normalised,
                address.domain_ascii,
                self.vault.digester.all_of(address.normalised, address.domain_ascii),
                person.first_name,
                person.company,
                person.basis,
                person.zone,
                json.dumps(dict(person.attributes)),
            ],
        )
        self.run(
            "INSERT INTO list_member (contact_list_id, contact_id) SELECT id, %s FROM contact_list WHERE name = %s",
            [contact, on],
        )
        return int(contact)

    def suppress_silently(self, address: str) -> None:
        """A ban that ends nothing by itself."""
        self.run(
            "INSERT INTO suppression (digest, kind, reason, source) VALUES (%s, 'address', 'asked', 'test')",
            [self.vault.digester.address(address)],
        )

    def file(self, *changes: tuple[str, str], text: str = CAMPAIGN) -> Path:
        """The campaign file, with texts of it changed; each must be there."""
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = self.home / "campaign.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def read(self, *changes: tuple[str, str]) -> CampaignFile:
        return read_campaign(self.file(*changes))

    def add(self, *changes: tuple[str, str]) -> CampaignFile:
        campaign = self.read(*changes)
        save_campaign(self.connection, campaign)
        return campaign

    def lay_message(self, step: int, *, variant: str = "a", state: str = "accepted", header_id: str = "<1@x>") -> int:
        """A letter of the campaign "labs" to its first enrolled contact."""
        return int(
            self.one(
                "INSERT INTO message (enrollment_id, step_id, campaign_id, contact_id, mailbox_id, variant_id,"
                " header_id, subject, state, settled_at) SELECT e.id, s.id, e.campaign_id, e.contact_id,"
                " (SELECT min(id) FROM mailbox), v.id, %(header_id)s, 'Drift', %(state)s,"
                " CASE WHEN %(state)s = 'accepted' THEN now() END"
                " FROM enrollment e JOIN step s ON s.campaign_id = e.campaign_id AND s.number = %(step)s"
                " JOIN variant v ON v.step_id = s.id AND v.name = %(variant)s ORDER BY e.id LIMIT 1 RETURNING id",
                {"step": step, "variant": variant, "state": state, "header_id": header_id},
            )
        )

    def run(self, query: str, values: Any = None) -> None:
        self.connection.execute(query, values)

    def one(self, query: str, values: Any = None) -> Any:
        row = self.connection.execute(query, values).fetchone()
        assert row is not None
        return row[0]

    def all(self, query: str, values: Any = None) -> list[Any]:
        return [row[0] if len(row) == 1 else tuple(row) for row in self.connection.execute(query, values).fetchall()]

    def enrolled(self) -> list[tuple[str, str]]:
        """(address, state) of every enrollment, by age."""
        return self.all(
            "SELECT c.address, e.state FROM enrollment e JOIN contact c ON c.id = e.contact_id ORDER BY e.id"
        )
