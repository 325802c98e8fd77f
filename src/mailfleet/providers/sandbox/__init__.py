"""Pretend providers on loopback: real SMTP and IMAP, faults where the configuration asks, and a ledger of their own.

The ledger is written by the sandbox alone, before a final dot is answered, and is the only evidence `judge` takes for
what was accepted. Nothing here reads our database, and nothing here listens beyond 127.0.0.1.
"""

from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.config import (
    Faults,
    MessageLimit,
    Personas,
    ProviderConfig,
    SandboxConfig,
    User,
    read_config,
    write_config,
)
from mailfleet.providers.sandbox.ledger import Event, Ledger, Login, Transaction, read_ledger
from mailfleet.providers.sandbox.personas import said_no
from mailfleet.providers.sandbox.server import Ports, Sandbox

__all__ = [
    "Event",
    "Faults",
    "Ledger",
    "Login",
    "MessageLimit",
    "Personas",
    "Ports",
    "ProviderConfig",
    "Sandbox",
    "SandboxConfig",
    "SandboxProcess",
    "Transaction",
    "User",
    "read_config",
    "read_ledger",
    "said_no",
    "write_config",
]
