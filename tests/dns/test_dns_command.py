"""mailfleet dns: what it prints, writes and remembers, against a real DNS server."""

import json

import dns.rdatatype
import dns.zone
import pytest
from click.testing import CliRunner
from dns_servers import hostile_dns, nsd

import laid
from mailfleet.base.db import connect
from mailfleet.base.errors import InputError
from mailfleet.cli.dns import dns_command
from mailfleet.providers.sandbox.fleet import make_fleet

KEY = (
    "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA4aslbfO87x49Qy3uq70spE8y21YN22+PRgMjGZ6y2Tnqv/cb"
    "qeYYPqemesuTsyZNLhBNM8hzJ/RR4EDe4rpEMMWc7zyxQKO+SEkSfJyREANzDBCwLzIjQt9Vr7hQ+xpfz4m6c6bj8e7sWaH7AhacTw2nz7eqlo"
    "4K96BCc0tMmEXSYQZXdSLgT8In/Qu9qJNJw7sAuZEqIN7dNPoyRRdxEmnLaN2o8rI/IsQrfGcRCpKnpNcvPSXpe3o0/CSV3a+uSDNV8hrEWqNu"
    "nGtPNMgiq2uA+uBM4z9EL6UTgN91D6V2vRnIHlzdG1uAkiy19TB8nAfo9GZ1pOnELXpM6EnKFwIDAQAB"
)
LISTS = {
    "A dbltest.com.dbl.spamhaus.org": ["127.0.1.2"],
    "A test.surbl.org.multi.surbl.org": ["127.0.0.64"],
    "A test.uribl.com.multi.uribl.com": ["127.0.0.14"],
}
ZONE = {
    "TXT good.com": ["v=spf1 include:_spf.google.com ~all", "other"],
    "TXT _spf.google.com": ["v=spf1 ip4:35.190.247.0/24 ~all"],
    "MX good.com": ["1 smtp.google.com"],
    "A smtp.google.com": ["8.8.8.8"],
    "TXT _dmarc.good.com": ["v=DMARC1; p=reject"],
    "TXT google._domainkey.good.com": [KEY],
    "TXT bad.com": ["v=spf1 ip4:8.8.8.8 -all"],
    "A bad.com.dbl.spamhaus.org": ["127.0.1.2"],
    "A stop.good.com": ["127.0.0.1"],
    **LISTS,
}


@pytest.fixture(scope="module")
def resolver():
    with nsd(ZONE) as address:
        yield f"{address.address}:{address.port}"


@pytest.fixture
def run(home, resolver):
    def run(*arguments, database=""):
        environment = {"MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": database, "MAILFLEET_RESOLVER": resolver}
        return CliRunner().invoke(dns_command, arguments, env=environment, catch_exceptions=False)

    return run


def test_a_good_domain_is_said_to_be_fine(run):
    """With the name alone, the provider is told by the MX; the exit status is 0 and nothing is to be set."""
    ended = run("good.com")
    assert ended.exit_code == 0
    assert "good.com (Google Workspace): fine" in ended.stdout
    assert "Records to set" not in ended.stdout


def test_a_bad_domain_is_told_the_exact_records(run):
    """Every fault in words, each record by name, type and value, and exit status 1."""
    ended = run("bad.com", "--provider", "fastmail")
    assert ended.exit_code == 1
    for text in (
        "v=spf1 ip4:8.8.8.8 include:spf.messagingengine.com -all",
        "fm1.bad.com.dkim.fmhosted.com",
        "fm1._domainkey.bad.com",
        "10 in1-smtp.messagingengine.com",
        "_dmarc.bad.com",
        "v=DMARC1; p=none",
        "Spamhaus DBL lists bad.com: low reputation.",
    ):
        assert text in ended.stdout


def test_naming_a_domain_makes_no_installation(run, home):
    """No database is started, and nothing is written."""
    run("good.com")
    assert list(home.iterdir()) == []


def test_json_is_one_object_a_domain(run):
    """In the order asked for, with findings and records."""
    ended = run("bad.com", "good.com", "--json")
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(row["domain"], row["verdict"]) for row in rows] == [("bad.com", "blocks"), ("good.com", "fine")]
    assert {"check", "code", "severity", "seen", "todo", "records"} == set(rows[0]["findings"][0])


def test_the_zone_can_be_read_by_another(run):
    """What is written is a zone: the key that stands is kept, in strings of at most 255 octets."""
    ended = run("good.com", "bad.com", "--provider", "google_workspace", "--zone")
    text = ". 1 IN SOA a. b. 1 1 1 1 1\n" + ended.stdout
    zone = dns.zone.from_text(text, origin=".", relativize=False, check_origin=False)
    strings = zone.get_rdataset("google._domainkey.good.com.", dns.rdatatype.TXT)[0].strings
    assert b"".join(strings).decode() == KEY
    assert len(strings) == 2
    spf = zone.get_rdataset("bad.com.", dns.rdatatype.TXT)[0].strings
    assert spf == (b"v=spf1 ip4:8.8.8.8 include:_spf.google.com -all",)
    assert "; google._domainkey.bad.com. 3600 IN TXT … ; the value is in Google's Admin console" in ended.stdout


def test_a_selector_can_be_named(run):
    """The one in use decides, whatever is usual."""
    assert "There is no DKIM key at x._domainkey.good.com" in run("good.com", "--selector", "x").stdout
    assert run("good.com", "--selector", "google").exit_code == 0


def test_the_opt_out_host_is_checked(run):
    """Its name resolves here, and nothing answers at its port."""
    ended = run("good.com", "--opt-out", "https://stop.good.com:9/o")
    assert ended.exit_code == 1
    assert "The opt-out host stop.good.com:9 takes no TLS connection" in ended.stdout


def test_blocklists_can_be_chosen(run):
    """None, or one of them."""
    assert "lists" not in run("bad.com", "--blocklist", "none").stdout.replace("Blocklist", "")
    assert "SURBL does not list bad.com" in run("bad.com", "--blocklist", "surbl").stdout


def test_a_resolver_that_fails_condemns_nobody(run):
    """SERVFAIL for everything: unknown, and exit status 0."""
    with hostile_dns() as server:
        ended = run("servfail.com", "--resolver", f"127.0.0.1:{server.port}", "--json")
    assert ended.exit_code == 0
    assert json.loads(ended.stdout)["verdict"] == "unknown"


@pytest.mark.parametrize(
    "arguments", [("no domain",), ("x",), ("a.com", "--provider", "nobody"), ("a.com", "--resolver", "dns")]
)
def test_wrong_use_is_explained(run, arguments):
    """Before anything is asked."""
    with pytest.raises(InputError):
        run(*arguments)


@pytest.fixture
def fleet(home, database):
    """good.com and bad.com at Google, and a domain that is a trial."""
    made = make_fleet(1, 3, 3, 1, 1, 1)
    laid.lay(database, home, made, {name: {"smtp": {"none": 9}} for name in made.providers}, contacts=0)
    with connect(database, name="test") as connection:
        connection.execute("UPDATE mailbox SET smtp_host = 'smtp.gmail.com'")
        connection.execute("UPDATE provider SET preset = 'google_workspace'")
        connection.execute("UPDATE identity SET opt_out_base_url = ''")
        names = ("good.com", "bad.com", "trial.test")
        rows = connection.execute("SELECT id FROM domain ORDER BY id").fetchall()
        for name, row in zip(names, rows, strict=True):
            connection.execute("UPDATE domain SET name = %s WHERE id = %s", [name, row.id])
        yield connection


def test_the_fleet_is_checked_and_remembered(run, fleet, database):
    """Alone, the command looks at all domains, sums up, and a listed one is held at once."""
    ended = run(database=database)
    assert ended.exit_code == 1
    assert "2 domains: 1 blocks, 0 warns, 0 unknown, 1 fine" in ended.stdout
    assert "trials (reserved names, or servers on this machine): 1." in ended.stdout
    assert "bad.com is held now: a blocklist lists it." in ended.stdout
    rows = fleet.execute("SELECT name, dns_verdict FROM domain ORDER BY name").fetchall()
    assert [tuple(row) for row in rows] == [("bad.com", "blocks"), ("good.com", "fine"), ("trial.test", "")]


def test_a_domain_of_the_fleet_brings_its_provider(run, fleet, database):
    """Named, it is checked as the fleet has it."""
    fleet.execute("UPDATE provider SET preset = 'fastmail'")
    assert "does not cover Fastmail" in run("good.com", database=database).stdout


def test_the_zone_of_the_fleet_changes_nothing(run, fleet, database):
    """It is for reading; the standing stays as it is."""
    ended = run("--zone", database=database)
    assert ended.exit_code == 0
    assert {"; good.com", "; bad.com"} <= set(ended.stdout.splitlines())
    assert fleet.execute("SELECT count(*) FROM domain WHERE dns_verdict <> ''").fetchone()[0] == 0
