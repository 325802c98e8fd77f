"""A sandbox with a provider of each dialect, its IMAP face over TLS, and somebody to submit letters with."""

import smtplib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.sandbox import Personas, ProviderConfig, SandboxConfig, SandboxProcess, User, write_config
from mailfleet.providers.sandbox.dialects import DIALECTS
from servers import Authority

HOST = "127.0.0.1"
OPT_OUT = "https://go.a.test/o/1abc"
USERS = [User(f"ann@{dialect}.test", f"ann@{dialect}.test", "geheim", dialect, "x", "token") for dialect in DIALECTS]


class Stage:
    """`sandbox` runs as a process of its own, as it does beside the real watchers."""

    def __init__(self, sandbox: SandboxProcess, config: SandboxConfig, ca_file: str) -> None:
        self.sandbox = sandbox
        self.ledger = config.ledger
        self._ca_file = ca_file

    def endpoint(self, dialect: str = "postfix", security: Security = Security.TLS) -> Endpoint:
        port = self.sandbox.ports[dialect]["imap"][security.value]
        return Endpoint(HOST, port, security, None if security is Security.NONE else self._ca_file)

    def read(self, dialect: str = "postfix", secret: str = "geheim", kind: AuthKind = AuthKind.PASSWORD) -> ImapSession:
        return ImapSession.open(self.endpoint(dialect), Login(f"ann@{dialect}.test", secret, kind))

    def submit(self, *recipients: str, dialect: str = "postfix", step: int = 1) -> None:
        """One letter to each, as ours look."""
        with smtplib.SMTP(HOST, self.sandbox.ports[dialect]["smtp"]["none"]) as client:
            client.login(f"ann@{dialect}.test", "geheim")
            for recipient in recipients:
                letter = write_letter(recipient, dialect, step)
                client.sendmail(f"ann+m{step}@{dialect}.test", [recipient], letter)


def write_letter(recipient: str, dialect: str, step: int) -> bytes:
    message = EmailMessage()
    message["From"] = f"Ann Å <ann@{dialect}.test>"
    message["To"] = recipient
    message["Subject"] = "Grüße"
    message["Message-ID"] = f"<{step}.{recipient.partition('@')[0]}@{dialect}.test>"
    message["List-Unsubscribe"] = f"<{OPT_OUT}>, <mailto:ann+out@{dialect}.test?subject=stop%20me>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content("Shall we talk? Müller\nOn Tuesday?\n")
    return message.as_bytes().replace(b"\n", b"\r\n")


OpenStage = Callable[..., AbstractContextManager[Stage]]


@pytest.fixture
def open_stage(tmp_path: Path) -> OpenStage:
    """`with open_stage(personas, faults=…)`: fields of every provider."""
    authority = Authority.create(tmp_path)
    pem = authority.issue(HOST)

    @contextmanager
    def open_it(personas: Personas | None = None, **fields: Any) -> Iterator[Stage]:
        imap = dict.fromkeys(("none", "starttls", "tls"), 0)
        config = SandboxConfig(
            tmp_path / "ledger",
            tuple(ProviderConfig(name, {"smtp": {"none": 0}, "imap": imap}, name, **fields) for name in DIALECTS),  # type: ignore[dict-item]
            tuple(USERS),
            seed=3,
            certificate=pem,
            private_key=pem,
            personas=personas or Personas(),
        )
        write_config(config, tmp_path / "sandbox.json")
        with SandboxProcess(tmp_path / "sandbox.json") as sandbox:
            yield Stage(sandbox, config, authority.ca_file)

    return open_it
