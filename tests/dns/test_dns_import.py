"""Domains that come into the fleet by the commands: their selectors, and the hold until their first good check."""

import pytest
from dns_servers import nsd
from test_dns_command import KEY, LISTS, ZONE

from cli.command_runner import Commands
from mailfleet.base.db import connect
from mailfleet.health.dns.rules_dkim import Selector
from mailfleet.health.dns.rules_hold import NOT_CHECKED
from mailfleet.health.dns.store import load_domains

HEADER = "email,password,smtpHost,smtpPort,smtpTls,imapHost,imapPort\n"
ROWS = (
    "ann@good.com,x,smtp.gmail.com,465,true,imap.gmail.com,993\n"
    "ben@good.com,x,smtp.gmail.com,465,true,imap.gmail.com,993\n"
    "ann@trial.test,x,smtp.gmail.com,465,true,imap.gmail.com,993\n"
    "ann@loop.com,x,127.0.0.1,2525,true,127.0.0.1,1430\n"
)
FLEET = """
[[identities]]
name = "default"
legal_name = "Northwind"
postal_address = "1 Road"
contact_email = "office@northwind.example"
opt_out_base_url = "http://127.0.0.1:8320/o"

[[domains]]
name = "good.com"
identity = "default"
dkim_selectors = ["S1", "k._domainkey.Other.com"]
"""
HELD = (
    "SELECT d.name, h.reason, h.set_by FROM hold h JOIN domain d ON d.id::text = h.scope_key"
    " WHERE h.scope_kind = 'domain' AND h.lifted_at IS NULL"
)


@pytest.fixture
def commands(home, database):
    return Commands(home, database)


@pytest.fixture
def connection(database):
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def mailboxes(tmp_path):
    path = tmp_path / "mailboxes.csv"
    path.write_text(HEADER + ROWS)
    return path


def held(connection):
    return [tuple(row) for row in connection.execute(HELD).fetchall()]


def test_a_domain_is_held_with_its_first_mailbox(commands, connection, mailboxes):
    """Once, and told; trials are not: reserved names, servers on this machine. A second import holds nothing anew."""
    said = commands.run("import", "mailboxes", mailboxes).stdout
    assert "Domains that wait for their first good DNS check: 1; `mailfleet dns` checks them now." in said
    assert held(connection) == [("good.com", NOT_CHECKED, "dns")]
    mailboxes.write_text(HEADER + ROWS.replace("ben@", "cat@"))
    assert "wait for their first" not in commands.run("import", "mailboxes", mailboxes).stdout
    assert len(held(connection)) == 1


def test_no_mailbox_is_there_before_the_hold(commands, connection, mailboxes):
    """One transaction: where the hold cannot be set, no mailbox came in that could write without it."""
    connection.execute("ALTER TABLE hold ADD CONSTRAINT refused CHECK (set_by <> 'dns')")
    with pytest.raises(Exception, match="refused"):
        commands.run("import", "mailboxes", mailboxes)
    assert connection.execute("SELECT count(*) FROM mailbox").fetchone()[0] == 0


def test_a_trial_that_grows_up_is_held(commands, connection, mailboxes):
    """A domain whose mailbox moves from this machine to a provider is to be checked from then on."""
    commands.run("import", "mailboxes", mailboxes)
    mailboxes.write_text(HEADER + ROWS.splitlines(keepends=True)[3].replace("127.0.0.1", "smtp.example.net"))
    commands.run("import", "mailboxes", mailboxes)
    assert sorted(name for name, _, _ in held(connection)) == ["good.com", "loop.com"]


def test_the_first_good_check_sets_it_free(commands, connection, mailboxes):
    """`mailfleet dns`, with the resolver of the settings, lifts the hold, and a person's hold stays."""
    commands.run("import", "mailboxes", mailboxes)
    connection.execute("UPDATE identity SET opt_out_base_url = ''")
    commands.run("hold", "domain", "good.com", "--reason", "by hand")
    with nsd(ZONE | LISTS) as address:
        commands.extra["MAILFLEET_RESOLVER"] = f"{address.address}:{address.port}"
        done = commands.run("dns")
    assert (done.exit_code, "good.com is free to write: its hold is lifted." in done.stdout) == (0, True)
    assert [reason for _, reason, _ in held(connection)] == ["by hand"]


def test_the_selectors_of_the_fleet_file_are_looked_at(commands, connection, mailboxes, tmp_path):
    """They are kept in lower case, written back by export, outlive an import, and the check asks for their keys."""
    (tmp_path / "fleet.toml").write_text(FLEET)
    assert commands.run("apply", tmp_path / "fleet.toml", "--yes").exit_code == 0
    assert commands.run("import", "mailboxes", mailboxes).exit_code == 0
    selectors = load_domains(connection, ["good.com"])[0].setup.selectors
    assert selectors == (Selector("s1"), Selector("k", "other.com"))
    assert 'dkim_selectors = ["s1", "k._domainkey.other.com"]' in commands.run("export", "fleet").stdout
    with nsd(ZONE | LISTS | {"TXT s1._domainkey.good.com": [KEY]}) as address:
        commands.extra["MAILFLEET_RESOLVER"] = f"{address.address}:{address.port}"
        said = commands.run("dns", "good.com").stdout
    assert "There is no DKIM key at k._domainkey.other.com" in said


@pytest.mark.parametrize("selector", ["", "a b", "s1._domainkey.", "s1._domainkey.no domain", "x" * 101, "ü"])
def test_a_selector_that_is_none_is_refused(selector, commands, tmp_path):
    """With its line, and nothing is applied."""
    (tmp_path / "fleet.toml").write_text(FLEET.replace("S1", selector))
    done = commands.run("apply", tmp_path / "fleet.toml", "--yes")
    assert (done.exit_code, "dkim_selectors" in done.stderr) == (1, True)


def test_the_key_of_the_service_reaches_the_list(commands, connection, mailboxes, tmp_path):
    """MAILFLEET_SPAMHAUS_KEY, or the file that its twin names: the list is asked by the paid service's name."""
    (tmp_path / "key").write_text("abc\n")
    commands.extra["MAILFLEET_SPAMHAUS_KEY_FILE"] = str(tmp_path / "key")
    paid = {"A dbltest.com.abc.dbl.dq.spamhaus.net": ["127.0.1.2"], "A good.com.abc.dbl.dq.spamhaus.net": ["127.0.1.4"]}
    with nsd(ZONE | paid) as address:
        commands.extra["MAILFLEET_RESOLVER"] = f"{address.address}:{address.port}"
        said = commands.run("dns", "good.com", "--provider", "google_workspace", "--blocklist", "spamhaus_dbl").stdout
    assert "Spamhaus DBL lists good.com" in said
