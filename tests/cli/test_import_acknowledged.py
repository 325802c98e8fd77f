"""New domains of an identity that is stopped for complaints, as a person imports them."""

import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runner import Commands

from mailfleet.base.db import Connection, connect

HEADER = "email,password,smtp_host,smtp_port,smtp_tls,imap_host,imap_port\n"
HOLD = """
INSERT INTO hold (scope_kind, scope_key, reason, set_by, family, until, lifted_at, trial_over_at)
SELECT %(kind)s, CASE %(kind)s WHEN 'domain' THEN d.id ELSE d.identity_id END::text, 'complaints', 'health', %(family)s,
       CASE WHEN %(ended)s THEN clock_timestamp() - interval '1 hour' END, NULL,
       CASE WHEN %(over)s THEN clock_timestamp() END
FROM domain d WHERE d.name = 'burnt.example'
"""


def row(address: str) -> str:
    return f"{address},geheim,smtp.h.example,465,true,imap.h.example,993\n"


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mailboxes.csv"


@pytest.fixture
def commands(home: Path, database: str, path: Path) -> Commands:
    """A fleet of one mailbox."""
    commands = Commands(home, database)
    path.write_text(HEADER + row("ann@burnt.example"))
    assert commands.run("import", "mailboxes", path).exit_code == 0
    return commands


def held(connection: Connection, kind: str, family: str, *, ended: bool = False, over: bool = False) -> None:
    connection.execute(HOLD, {"kind": kind, "family": family, "ended": ended, "over": over})


def addresses(connection: Connection) -> list[str]:
    return [row.address for row in connection.execute("SELECT address FROM mailbox ORDER BY address")]


def kept(connection: Connection) -> list[dict[str, str]]:
    rows = connection.execute("SELECT value FROM setting WHERE name = 'domain_acknowledgements'").fetchall()
    return [entry for row in rows for entry in row.value]


@pytest.mark.parametrize(
    ("kind", "ended"), [("domain", False), ("identity", False), ("domain", True)], ids=["domain", "identity", "trial"]
)
def test_a_new_domain_of_a_stopped_identity_is_refused(
    kind: str, ended: bool, commands: Commands, connection: Connection, path: Path
) -> None:
    """While a domain of it, or it, is stopped for complaints or on trial after: the new domain's rows are refused with
    what was stopped and how to go on; a second mailbox of the domain that is there is saved."""
    held(connection, kind, "complaints", ended=ended)
    path.write_text(HEADER + row("bob@fresh.example") + row("cat@burnt.example"))
    result = commands.run("import", "mailboxes", path)
    assert (result.exit_code, addresses(connection)) == (1, ["ann@burnt.example", "cat@burnt.example"])
    stopped = "burnt.example" if kind == "domain" else "default"
    assert f"{stopped} was stopped for complaints. A new domain of this identity must not replace it" in result.stdout
    assert '--acknowledge "why"' in result.stdout and kept(connection) == []
    blank = commands.run("import", "mailboxes", path, "--acknowledge", "  ")
    assert (blank.exit_code, len(addresses(connection))) == (1, 2)


def test_who_acknowledges_says_why_and_that_is_kept(commands: Commands, connection: Connection, path: Path) -> None:
    """Saved with who, why and what was stopped, and only when it is saved; the next one is added, none is lost; a
    domain that was acknowledged asks no more."""
    held(connection, "domain", "complaints")
    path.write_text(HEADER + row("bob@fresh.example"))
    words = ("import", "mailboxes", path, "--acknowledge", "another product line")
    assert commands.run(*words, "--dry-run").exit_code == 0
    assert kept(connection) == []
    result = commands.run(*words)
    assert (result.exit_code, "Kept, with your name and reason: fresh.example" in result.stdout) == (0, True)
    [entry] = kept(connection)
    assert (entry["domain"], entry["why"], entry["by"]) == ("fresh.example", "another product line", getpass.getuser())
    assert entry["stopped"].startswith("burnt.example was stopped for complaints.") and entry["at"]
    path.write_text(HEADER + row("bob@fresh.example") + row("dan@fresh.example"))
    assert commands.run("import", "mailboxes", path).exit_code == 0
    path.write_text(HEADER + row("eve@third.example"))
    assert commands.run("import", "mailboxes", path, "--acknowledge", "and another").exit_code == 0
    assert [entry["domain"] for entry in kept(connection)] == ["fresh.example", "third.example"]


def test_a_domain_that_was_applied_first_asks_all_the_same(
    commands: Commands, connection: Connection, path: Path
) -> None:
    """A domain without a mailbox is new, however it came into the fleet."""
    held(connection, "domain", "complaints")
    connection.execute("INSERT INTO domain (name, identity_id) SELECT 'fresh.example', id FROM identity")
    path.write_text(HEADER + row("bob@fresh.example"))
    assert commands.run("import", "mailboxes", path).exit_code == 1
    assert addresses(connection) == ["ann@burnt.example"]


@pytest.mark.parametrize("hold", ["policy", "over", "other", "absorbed"])
def test_nothing_else_asks(hold: str, commands: Commands, connection: Connection, path: Path) -> None:
    """A stop for something else, a trial that is over, a stop of another identity, one that a wider one replaced whose
    trial is over: the new domain is simply saved."""
    if hold == "other":
        connection.execute(
            "WITH other AS (INSERT INTO identity (name, legal_name, postal_address, contact_email, opt_out_base_url)"
            " VALUES ('other', '', '', '', '') RETURNING id)"
            " INSERT INTO hold (scope_kind, scope_key, reason, set_by, family)"
            " SELECT 'identity', id::text, 'complaints', 'health', 'complaints' FROM other"
        )
    if hold == "absorbed":
        held(connection, "identity", "complaints", ended=True, over=True)
        held(connection, "domain", "complaints", ended=True)
        connection.execute("UPDATE hold SET absorbed_into_id = (SELECT min(id) FROM hold) WHERE scope_kind = 'domain'")
    held(connection, "domain", "policy")
    if hold == "over":
        held(connection, "domain", "complaints", ended=True, over=True)
    path.write_text(HEADER + row("bob@fresh.example"))
    assert commands.run("import", "mailboxes", path, "--identity", "default").exit_code == 0
    assert len(addresses(connection)) == 2 and kept(connection) == []
