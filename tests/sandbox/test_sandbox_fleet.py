"""The pretend fleet, its contacts and its files."""

import csv
from itertools import islice
from pathlib import Path

import aiosmtplib
import pytest

from mailfleet.base.errors import InputError
from mailfleet.providers.sandbox import Faults, ProviderConfig, Sandbox
from mailfleet.providers.sandbox.fleet import (
    MAILBOX_COLUMNS,
    make_contacts,
    make_fleet,
    sandbox_config,
    write_contacts_csv,
    write_mailboxes_csv,
)


def test_the_same_seed_makes_the_same_fleet() -> None:
    """Equal arguments give equal people and passwords; another seed gives others."""
    assert make_fleet(1) == make_fleet(1)
    assert make_fleet(1) != make_fleet(2)
    assert list(make_contacts(1, 50)) == list(make_contacts(1, 50)) != list(make_contacts(2, 50))


def test_a_fleet_is_as_large_as_asked_and_evenly_spread() -> None:
    """Counts are exact at every level, addresses and logins unique, every domain within one account and identity."""
    fleet = make_fleet(1)
    scopes = fleet.scopes
    assert len(scopes) == len({mailbox.login for mailbox in fleet.mailboxes}) == 1200
    assert (len(fleet.accounts), len(fleet.providers), len(fleet.identities)) == (12, 3, 2)
    for field, number in (("domain", 400), ("account", 12), ("provider", 3), ("identity", 2)):
        members = [getattr(scope, field) for scope in scopes.values()]
        sizes = {members.count(value) for value in set(members)}
        assert len(set(members)) == number
        assert max(sizes) - min(sizes) <= 1200 // number // 10
    assert len({(s.domain, s.account, s.provider, s.identity) for s in scopes.values()}) == 400


def test_no_pretend_address_can_reach_anyone() -> None:
    """Every domain of fleet and contacts ends in a top-level domain that is reserved (RFC 2606)."""
    addresses = [mailbox.address for mailbox in make_fleet(1).mailboxes] + [c.email for c in make_contacts(1, 3000)]
    assert all(address.endswith((".test", ".example")) for address in addresses)
    assert all(address.partition("@")[0].isascii() for address in addresses)


def test_contacts_are_unique_and_mixed() -> None:
    """No address twice; big shared receivers and small firms, many countries, Unicode names and some such domains."""
    contacts = list(make_contacts(1, 20_000))
    domains = [contact.email.partition("@")[2] for contact in contacts]
    assert len({contact.email.lower() for contact in contacts}) == 20_000
    assert 0.35 < sum(domain.endswith(".test") for domain in domains) / 20_000 < 0.45
    assert max(domains.count(domain) for domain in islice(set(domains), 50) if domain.endswith(".example")) <= 3
    assert any(not contact.last_name.isascii() for contact in contacts)
    assert 10 < sum(not domain.isascii() for domain in domains) < 1000
    assert len({contact.country for contact in contacts}) == 10


@pytest.mark.parametrize("counts", [(2, 3, 1, 1, 1), (5, 5, 5, 5, 1), (9, 9, 9, 1, 9), (1, 1, 1, 0, 1)])
def test_an_impossible_fleet_is_refused(counts: tuple[int, ...]) -> None:
    """A level larger than the one below it, an empty one, and more kinds than are known are InputErrors."""
    with pytest.raises(InputError):
        make_fleet(1, *counts)


async def test_the_files_log_in_to_their_sandbox(tmp_path: Path) -> None:
    """Each row of the mailbox file names a port that takes its login and password, and columns are ours."""
    fleet = make_fleet(1, mailboxes=6, domains=4, accounts=3, providers=3, identities=2)
    config = sandbox_config(fleet, tmp_path / "ledger", faults=Faults(dead=0.1))
    async with Sandbox(config) as sandbox:
        write_mailboxes_csv(fleet, sandbox.ports, tmp_path / "mailboxes.csv", daily_limit=30, pace_seconds=60)
        with (tmp_path / "mailboxes.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [tuple(row) for row in rows] == [MAILBOX_COLUMNS] * 6
        for row in rows:
            client = aiosmtplib.SMTP(hostname=row["smtp_host"], port=int(row["smtp_port"]), start_tls=False)
            async with client:
                await client.login(row["login"], row["password"])
        assert [login.mailbox for login in sandbox.read().logins if login.ok] == list(fleet.scopes)
    assert (tmp_path / "mailboxes.csv").stat().st_mode & 0o777 == 0o600
    assert "smtp_security" in rows[0]
    assert (rows[0]["smtp_security"], rows[0]["imap_security"], rows[0]["pace_seconds"]) == ("none", "none", "60")


def test_the_safest_port_is_written(tmp_path: Path) -> None:
    """A provider with several roads is written with implicit TLS."""
    fleet = make_fleet(1, mailboxes=1, domains=1, accounts=1, providers=1, identities=1)
    ports = {"gomail": {face: {"none": 1, "starttls": 2, "tls": 3} for face in ("smtp", "imap")}}
    write_mailboxes_csv(fleet, ports, tmp_path / "m.csv", daily_limit=1, pace_seconds=1)  # type: ignore[arg-type]
    with (tmp_path / "m.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["smtp_port"], row["smtp_security"], row["imap_port"]) == ("3", "tls", "3")


def test_contacts_are_written_with_their_columns(tmp_path: Path) -> None:
    """The contact file reads back to the contacts, Unicode included."""
    write_contacts_csv(make_contacts(1, 200), tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:7] == ["email", "first_name", "last_name", "company", "title", "country", "time_zone"]
    assert [row["first_name"] for row in rows] == [contact.first_name for contact in make_contacts(1, 200)]


def test_every_provider_of_a_fleet_has_a_dialect(tmp_path: Path) -> None:
    """The configuration of a fleet is complete: its providers, its users, its faults at each provider."""
    config = sandbox_config(make_fleet(3), tmp_path / "ledger", faults=Faults(dead=0.02), latency=(0.01, 0.02))
    assert len(config.users) == 1200
    assert [(p.name, p.dialect) for p in config.providers] == [
        ("gomail", "google"),
        ("offmail", "microsoft"),
        ("plainmail", "postfix"),
    ]
    assert all(isinstance(p, ProviderConfig) and p.faults.dead == 0.02 for p in config.providers)
