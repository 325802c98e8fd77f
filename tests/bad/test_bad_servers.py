"""Mailboxes whose server cannot be used: each rests, with a reason that says what to do; the others write."""

from dataclasses import dataclass
from pathlib import Path

import laid
from mailfleet.base.secrets import Keyring, new_key
from mailfleet.providers.sandbox.child import SandboxProcess
from mailfleet.providers.sandbox.config import write_config
from mailfleet.providers.sandbox.fleet import SandboxFleet, sandbox_config
from mailfleet.providers.sandbox.ledger import read_ledger
from servers import Authority, free_port
from stage import HASTY, Stage, end, one_provider_fleet

CONTACTS = 14


@dataclass(frozen=True)
class Trouble:
    """What a mailbox is given, and what its hold then says. `has_end`: whether it is tried again by itself."""

    columns: dict[str, object]
    says: tuple[str, ...]
    has_end: bool = True


def troubles(home: Path, authority: Authority, tls_port: int, keyring: Keyring) -> list[Trouble]:
    tls = {"smtp_port": tls_port, "smtp_security": "tls"}
    another = Keyring([new_key()])
    return [
        Trouble({"smtp_port": free_port()}, ("connection was refused", "Check host and port")),
        Trouble({"smtp_host": "no-such-host.invalid"}, ("no-such-host.invalid:", "Check")),
        Trouble({**tls, "ca_file": authority.ca_file}, ("certificate has expired", "until the server's owner renews")),
        Trouble({**tls, "ca_file": ""}, ("not trusted", "ca_file")),
        Trouble({**tls, "ca_file": str(home / "missing.pem")}, ("missing.pem cannot be used", "Name a readable PEM")),
        Trouble({"secret": another.seal("geheim")}, ("No key of this home opens", "Put the file `keys` back")),
        Trouble(
            {"secret": keyring.seal("falsch")},
            ("login was refused", "Check the user name and the password"),
            has_end=False,
        ),
    ]


def start(home: Path, fleet: SandboxFleet, authority: Authority) -> SandboxProcess:
    certificate = authority.issue("127.0.0.1", expired=True)
    config = sandbox_config(
        fleet,
        home / "ledger.jsonl",
        securities=("none", "tls"),
        certificate=certificate,
        private_key=certificate,
    )
    write_config(config, home / "sandbox.json")
    return SandboxProcess(home / "sandbox.json")


def test_what_cannot_be_used_rests_and_the_others_write(database: str, home: Path) -> None:
    """Closed port, unknown host, expired or unknown certificate, missing CA file, wrong key, wrong password: one hold
    each, that says what is wrong and what to do, and ends by itself unless a login was refused; nothing is lost.
    """
    authority = Authority.create(home)
    fleet = one_provider_fleet(9)
    with start(home, fleet, authority) as sandbox:
        (ports,) = [faces["smtp"] for faces in sandbox.ports.values()]
        plain = {provider: {"smtp": {"none": ports["none"]}} for provider in fleet.providers}
        place = laid.lay(database, home, fleet, plain, contacts=CONTACTS, tunables=HASTY)
        it = Stage(place, home)
        found = dict(zip(fleet.mailboxes, troubles(home, authority, ports["tls"], place.vault.keyring), strict=False))
        for box, trouble in found.items():
            assignments = ", ".join(f"{name} = %s" for name in trouble.columns)
            it.run(f"UPDATE mailbox SET {assignments} WHERE address = %s", *trouble.columns.values(), box.address)
        try:
            sender = it.sender()
            it.plan_until(f"SELECT count(*) < {len(found)} FROM hold")
            it.finish()
            said = it.stop(sender)
        finally:
            end(it.processes)
        with it.connect() as connection:
            holds = {row.address: row for row in connection.execute(HOLDS).fetchall()}
        assert len(holds) == len(found)
        for box, trouble in found.items():
            hold = holds[box.address]
            assert all(words in hold.reason for words in trouble.says), hold.reason
            assert (hold.until is not None) == trouble.has_end, hold.reason
        assert it.states() == {"accepted": CONTACTS}
    ledger = read_ledger(home / "ledger.jsonl")
    senders = {transaction.mailbox for transaction in ledger.transactions}
    assert senders <= {box.address for box in fleet.mailboxes[len(found) :]}
    assert len(ledger.transactions) == CONTACTS
    refused = [login for login in ledger.logins if not login.ok]
    assert len(refused) == 1, "a refused login was tried again"
    assert "mailbox_unusable" in said


HOLDS = "SELECT b.address, h.reason, h.until FROM hold h JOIN mailbox b ON b.id::text = h.scope_key"
