"""An account with mailboxes that log in by OAuth, its tokens in a real database, its token server on loopback."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from token_server import TokenServer

from mailfleet.base.db import Connection
from mailfleet.base.secrets import Keyring
from mailfleet.providers.oauth.answers import Issued
from mailfleet.providers.oauth.credentials import Credential, Flow
from mailfleet.providers.oauth.forms import Client
from mailfleet.providers.oauth.grants import save_consent, save_grant

ISSUER = "robot@project.iam.gserviceaccount.com"
DOMAIN = "a.example"


@dataclass
class World:
    """`mailboxes`: the ids of box-0@a.example, box-1@a.example, …"""

    conninfo: str
    connection: Connection
    server: TokenServer
    key: str
    account: int = 0
    mailboxes: list[int] = field(default_factory=list)
    private_key: str = field(default="", repr=False)

    @property
    def keyring(self) -> Keyring:
        return Keyring([self.key])

    def lay(self, mailboxes: int, *, account: str = "tenant-1", domain: str = DOMAIN) -> None:
        """Another account of the provider, and its mailboxes."""
        one = self.connection.execute
        provider = one(
            "INSERT INTO provider (name) VALUES ('p') ON CONFLICT (name) DO UPDATE SET name = 'p' RETURNING id"
        ).fetchone()[0]
        self.account = one(
            "INSERT INTO account (provider_id, name) VALUES (%s, %s) RETURNING id", [provider, account]
        ).fetchone()[0]
        identity = one(
            "INSERT INTO identity (name, legal_name, postal_address, contact_email, opt_out_base_url)"
            " VALUES (%s, 'I', '1 Road', 'a@b.example', 'https://o.example/o') RETURNING id",
            [account],
        ).fetchone()[0]
        name = one(
            "INSERT INTO domain (name, identity_id) VALUES (%s, %s) RETURNING id", [domain, identity]
        ).fetchone()[0]
        rows = one(
            "INSERT INTO mailbox (address, domain_id, account_id, smtp_host, smtp_port, smtp_security, auth, login,"
            " secret) SELECT a, %s, %s, '127.0.0.1', 1, 'none', 'xoauth2', a, %s"
            " FROM (SELECT 'box-' || n || '@' || %s AS a FROM generate_series(0, %s) n) AS made ORDER BY a"
            " RETURNING id",
            [name, self.account, self.keyring.seal(""), domain, mailboxes - 1],
        ).fetchall()
        self.mailboxes = [row.id for row in rows]
        self.server.known.users |= {f"box-{number}@{domain}" for number in range(mailboxes)}

    def client(self, client_id: str = "client-1", *, secret: str = "s3cret-of-client", **credential: str) -> Client:
        self.server.known.secrets.setdefault(client_id, secret)
        return Client(client_id, f"{self.server.url}/token", "mail", Credential(secret, **credential))

    def connect_service_account(self) -> None:
        self.server.known.delegated.add(DOMAIN)
        client = Client("1234567890", f"{self.server.url}/token", "https://mail.google.com/", self.service_credential())
        save_grant(self.connection, self.keyring, self.account, Flow.SERVICE_ACCOUNT, client)

    def service_credential(self) -> Credential:
        key = rsa.generate_private_key(65537, 2048)
        self.server.known.service_keys[ISSUER] = key.public_key()
        self.private_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Credential("", self.private_key, "key-1", ISSUER)

    def connect_application(self) -> None:
        save_grant(self.connection, self.keyring, self.account, Flow.CLIENT_CREDENTIALS, self.client())

    def connect_consents(self, *, life: timedelta = timedelta()) -> None:
        """Every mailbox's person has agreed; the first access token lives for `life`."""
        save_grant(self.connection, self.keyring, self.account, Flow.CONSENT, self.client())
        for mailbox in self.mailboxes:
            refresh = f"1//first-{mailbox}-{secrets.token_hex(8)}"
            self.server.known.refresh[refresh] = f"mailbox {mailbox}"
            save_consent(self.connection, self.keyring, self.account, mailbox, Issued("first-access", life, refresh))

    def let_pass(self, what: str = "access") -> None:
        """The time that an access token, a claim, a rest or a fault has left is over."""
        past = {
            "access": "UPDATE oauth_token SET refresh_at = now(), expires_at = now() WHERE access_token IS NOT NULL",
            "fresh": "UPDATE oauth_token SET refresh_at = now() WHERE access_token IS NOT NULL",
            "claim": "UPDATE oauth_token SET claimed_until = now() WHERE claim IS NOT NULL",
            "rest": "UPDATE oauth_grant SET rest_until = now() WHERE rest_until IS NOT NULL",
            "fault": "UPDATE oauth_grant SET fault_until = now() WHERE fault_kind IS NOT NULL",
            "mailbox_fault": "UPDATE oauth_token SET fault_until = now() WHERE fault_kind IS NOT NULL",
            "age": "UPDATE oauth_token SET fetched_at = fetched_at - interval '10 minutes'",
        }
        self.connection.execute(past[what])

    def refresh_token(self, mailbox: int) -> str:
        row = self.connection.execute(
            "SELECT refresh_token FROM oauth_token WHERE mailbox_id = %s", [mailbox]
        ).fetchone()
        return self.keyring.open(row.refresh_token, what="a test")

    def columns(self, query: str) -> Any:
        return self.connection.execute(query).fetchone()
