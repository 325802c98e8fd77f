import re
import tomllib
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.base.errors import InputError
from mailfleet.intake.fleet_diff import diff_fleet
from mailfleet.intake.fleet_dump import dump_fleet
from mailfleet.intake.fleet_file import (
    SENT_COPIES,
    Account,
    Domain,
    FleetFile,
    FleetSettings,
    Identity,
    Limit,
    NamedPool,
    Provider,
    read_fleet,
)
from mailfleet.intake.mailboxes import MailboxDefaults, MailboxRow, map_mailbox_columns, read_mailbox_rows
from mailfleet.intake.pool import Pool, Selector
from mailfleet.intake.tables import open_table
from mailfleet.intake.toml_file import FileProblems
from mailfleet.outbox.limits import Window
from mailfleet.providers.presets import load_presets

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/fleet.toml"
DOCS = ROOT / "docs/fleet.md"
MAILBOXES = ROOT / "examples/mailboxes.csv"

NAMES = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/*"), min_size=1, max_size=12)
LINES = st.text(st.characters(exclude_categories=("C",)), max_size=30).map(str.strip)
FILLED = LINES.filter(bool)
SLUGS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z]{1,9}\.(example|test)", fullmatch=True)
ADDRESSES = st.builds("{}@{}".format, st.from_regex(r"[a-z]{2,9}", fullmatch=True), DOMAINS)
SPANS = st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
WINDOWS = st.builds(
    Window, st.just("rolling"), st.integers(1, 999_999).map(lambda s: timedelta(seconds=s))
) | st.builds(Window, st.just("calendar"), zone=ZONES)
SECURITIES = st.sampled_from(["", "tls", "starttls", "none"])
PORTS = st.none() | st.integers(1, 65535)
COUNTS = st.none() | st.integers(1, 10_000)
ACCOUNT_KEYS = st.builds("{}/{}".format, NAMES, NAMES)


def _several(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=2, unique=True).map(tuple)


SELECTORS = st.builds(
    Selector, _several(FILLED), _several(DOMAINS), _several(NAMES), _several(ACCOUNT_KEYS), _several(ADDRESSES)
)
IDENTITIES = st.builds(
    Identity,
    name=NAMES,
    legal_name=FILLED,
    postal_address=st.lists(FILLED, min_size=1, max_size=3).map("\n".join),
    contact_email=ADDRESSES,
    opt_out_base_url=st.sampled_from(["https://out.example.test/o", "http://127.0.0.1:8025", "http://localhost/x"]),
    website=st.sampled_from(["", "https://northwind.example/ü"]),
    country=st.sampled_from(["", "GB"]),
)
PROVIDERS = st.builds(
    Provider,
    name=NAMES,
    preset=st.sampled_from(sorted(load_presets())),
    smtp_host=DOMAINS | st.just(""),
    smtp_port=PORTS,
    smtp_security=SECURITIES,
    imap_host=DOMAINS | st.just(""),
    imap_port=PORTS,
    imap_security=SECURITIES,
    ca_file=st.sampled_from(["", str(EXAMPLE)]),
    dialect=LINES,
    sent_copy=st.sampled_from(["", *SENT_COPIES]),
    max_connections=COUNTS,
    max_connections_per_mailbox=COUNTS,
    idle=st.none() | SPANS,
    acknowledge_policy=LINES,
)
LIMITS = st.one_of(
    st.builds(Limit, names, st.just(scope), WINDOWS, st.integers(0, 2**31 - 1), FILLED.filter(lambda s: s != "ramp"))
    for scope, names in (
        ("mailbox", ADDRESSES | st.just("*")),
        ("account", ACCOUNT_KEYS | st.just("*")),
        ("recipient_domain", DOMAINS | st.just("*")),
        ("sender_host", NAMES | st.just("*")),
    )
)
SETTINGS = st.builds(
    FleetSettings,
    reserve_ahead=st.integers(1, 29).map(lambda seconds: timedelta(seconds=seconds)),
    lease=st.integers(60, 600).map(lambda seconds: timedelta(seconds=seconds)),
    horizon=SPANS,
    pace=SPANS,
    ramp_start=st.integers(1, 10),
    daily_limit=st.integers(10, 40),
    hard_cap=st.integers(40, 99),
    domain_daily_limit=st.integers(1, 999),
)


def _unique(rows: st.SearchStrategy[object], least: int = 0) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(rows, min_size=least, max_size=3, unique_by=lambda row: row.key).map(tuple)  # type: ignore[attr-defined]


@st.composite
def fleets(draw: st.DrawFn) -> FleetFile:
    identities, providers = draw(_unique(IDENTITIES, 1)), draw(_unique(PROVIDERS, 1))
    provider_names, identity_names = [p.name for p in providers], [i.name for i in identities]  # type: ignore[attr-defined]
    return FleetFile(
        identities=identities,  # type: ignore[arg-type]
        providers=providers,  # type: ignore[arg-type]
        accounts=draw(_unique(st.builds(Account, NAMES, st.sampled_from(provider_names)))),  # type: ignore[arg-type]
        domains=draw(_unique(st.builds(Domain, DOMAINS, st.sampled_from(identity_names)))),  # type: ignore[arg-type]
        pools=draw(_unique(st.builds(NamedPool, SLUGS, st.builds(Pool, SELECTORS, SELECTORS)))),  # type: ignore[arg-type]
        limits=draw(_unique(LIMITS)),  # type: ignore[arg-type]
        settings=draw(SETTINGS),
    )


def _read(text: str, folder: Path) -> FleetFile:
    path = folder / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return read_fleet(path)


def _problems(text: str, folder: Path) -> list[str]:
    with pytest.raises(FileProblems) as caught:
        _read(text, folder)
    return [str(problem).removeprefix(f"{folder}/fleet.toml:") for problem in caught.value.problems]


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_a_written_fleet_reads_back_to_the_same(fleet: FleetFile) -> None:
    """Export and apply are each other's inverse, whatever a fleet holds."""
    with TemporaryDirectory() as folder:
        assert _read(dump_fleet(fleet), Path(folder)) == fleet


@settings(max_examples=40, deadline=None)
@given(fleets(), fleets())
def test_the_difference_is_empty_exactly_between_equal_fleets(one: FleetFile, other: FleetFile) -> None:
    """What differs is shown; what does not, is not, and turning the comparison round turns its signs."""
    assert diff_fleet(one, one) == ()
    assert bool(diff_fleet(one, other)) == (_as_sets(one) != _as_sets(other))
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {(turned[c.kind], c.what, c.name, c.field, c.after, c.before) for c in diff_fleet(one, other)} == {
        (c.kind, c.what, c.name, c.field, c.before, c.after) for c in diff_fleet(other, one)
    }


def _as_sets(fleet: FleetFile) -> list[object]:
    return [set(rows) if isinstance(rows := getattr(fleet, f.name), tuple) else rows for f in fields(fleet)]


def test_the_difference_reads_as_one_line_a_change() -> None:
    """A person sees the sign, the row, the field, and both values as the file writes them."""
    old = read_fleet(EXAMPLE)
    new = replace(
        old,
        identities=(replace(old.identities[0], country=""),),
        domains=(*old.domains[1:], Domain("northwind.test", "northwind")),
        pools=(NamedPool("labs", Pool(old.pools[0].pool.include)),),
        limits=(replace(old.limits[0], maximum=1500), old.limits[1]),
        settings=replace(old.settings, lease=timedelta(minutes=2)),
    )
    assert [str(change) for change in diff_fleet(old, new)] == [
        '~ identity northwind: country "GB" → (none)',
        "+ domain northwind.test",
        "- domain northwind-lab.example",
        '~ pool labs: exclude.mailboxes ["director@northwind-lab.example"] → (none)',
        "~ limit account harbour/contract-1, rolling 24h, contract, annex 2: maximum 2000 → 1500",
        '~ settings: lease "1 minute" → "2 minutes"',
    ]


def test_an_empty_file_is_a_fleet_with_the_defaults_of_the_design(tmp_path: Path) -> None:
    """Nothing said means the design's numbers."""
    fleet = _read("", tmp_path)
    assert fleet == FleetFile()
    assert (fleet.settings.daily_limit, fleet.settings.hard_cap, fleet.settings.domain_daily_limit) == (30, 50, 100)
    assert (fleet.settings.ramp_start, fleet.settings.reserve_ahead) == (5, timedelta(seconds=10))


def test_every_problem_of_a_fleet_is_named_with_its_line(tmp_path: Path) -> None:
    """One reading shows all that is wrong, each with line, key and what would be right."""
    text = """\
[[identities]]
name = "a"
legal_name = "A Ltd"
postal_address = "  "
contact_email = "nobody"
opt_out_base_url = "http://out.example"
country = "Atlantis"
[[providers]]
name = "p/q"
preset = "zohoo"
smtp_port = 0
sent_copy = "me"
ca_file = "none.pem"
idle = "0 seconds"
[[providers]]
name = "big"
[[accounts]]
name = "one"
provider = "bgi"
[[accounts]]
name = "one"
provider = "bgi"
[[limits]]
scope = "mailbox"
name = "big"
window = "day Europe/Berln"
maximum = -1
[[limits]]
scope = "fleet"
window = "rolling 0h"
source = "ramp"
[settings]
reserve_ahead = "2 minutes"
daily_limit = 60
"""
    assert _problems(text, tmp_path) == [
        "4: identities[1].postal_address: is empty",
        "5: identities[1].contact_email: 'nobody' is not an e-mail address: An email address must have an @-sign.",
        "6: identities[1].opt_out_base_url: The opt-out address 'http://out.example' must be https: "
        "mailbox providers ignore http",
        '7: identities[1].country: "Atlantis" is no country: write its two letters (ISO 3166-1)',
        '9: providers[1].name: "p/q" is no name: up to 100 characters, not "*", no "/"',
        '10: providers[1].preset: there is no preset "zohoo"; did you mean zoho?',
        "11: providers[1].smtp_port: 0 is not between 1 and 65535",
        '12: providers[1].sent_copy: "me" is none of server, client, server_setting, unknown',
        f"13: providers[1].ca_file: there is no file {tmp_path}/none.pem",
        '14: providers[1].idle: "0 seconds" is no duration: write a number and seconds, minutes, hours or days, '
        'like "3 days"',
        '19: accounts[1].provider: there is no provider "bgi" in this file; did you mean big?',
        "20: accounts[2]: bgi/one is there twice",
        '22: accounts[2].provider: there is no provider "bgi" in this file; did you mean big?',
        "25: limits[1].name: 'big' is not an e-mail address: An email address must have an @-sign.",
        '26: limits[1].window: "Europe/Berln" is no IANA time zone; did you mean Europe/Berlin?',
        "27: limits[1].maximum: -1 is not between 0 and 2147483647",
        "28: limits[2]: maximum is missing",
        '29: limits[2].scope: "fleet" is none of mailbox, domain, account, provider, identity, recipient_domain, '
        "sender_host",
        '30: limits[2].window: "rolling 0h" is no window: write "rolling 24h", "rolling 10min" or "day Europe/Berlin"',
        '31: limits[2].source: the source "ramp" marks limits that Mailfleet writes itself',
        "32: settings: reserve_ahead must be shorter than lease: a sender submits what it reserved inside its lease",
        "32: settings: reserve_ahead must be shorter than 30 seconds: a letter reserved earlier is withdrawn",
        "32: settings: ramp_start must not be above daily_limit, nor daily_limit above hard_cap",
    ]


def test_names_are_held_in_the_one_form_the_database_knows(tmp_path: Path) -> None:
    """Domains become A-labels and addresses their normalised form, so two spellings are one."""
    text = (
        '[[pools]]\nname = "p"\ndomains = ["Bücher.example", "bücher.example"]\nmailboxes = "Ann@Northwind.Example"\n'
    )
    pool = _read(text, tmp_path).pools[0].pool
    assert pool.include == Selector(domains=("xn--bcher-kva.example",), mailboxes=("ann@northwind.example",))


def test_a_named_ca_file_is_found_beside_the_fleet_file(tmp_path: Path) -> None:
    """A relative path begins at the file that names it, wherever the command runs."""
    (tmp_path / "ca.pem").touch()
    fleet = _read('[[providers]]\nname = "p"\nca_file = "ca.pem"\n', tmp_path)
    assert fleet.providers[0].ca_file == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
def test_every_example_of_the_docs_is_read(block: str, tmp_path: Path) -> None:
    """What docs/fleet.md shows can be copied as it stands."""
    _read(block, tmp_path)


def test_the_docs_describe_exactly_the_keys_there_are(tmp_path: Path) -> None:
    """Every table and key of the file stands in docs/fleet.md, and nothing else does."""
    described: dict[str, set[str]] = {}
    for section in DOCS.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading = section.splitlines()[0].strip("`[]")
        rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
        described[heading] = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    selector = {field.name for field in fields(Selector)}
    kinds = {"identities": Identity, "providers": Provider, "accounts": Account, "domains": Domain, "limits": Limit}
    expected = {kind: {field.name for field in fields(row)} for kind, row in kinds.items()}
    expected["pools"] = {"name", "exclude", *selector}
    expected["settings"] = {field.name for field in fields(FleetSettings)}
    assert described == expected


def test_the_example_is_the_fleet_it_says_it_is() -> None:
    """examples/fleet.toml is read without a problem, and its rows belong together."""
    fleet = read_fleet(EXAMPLE)
    assert [account.key for account in fleet.accounts] == ["harbour/contract-1"]
    assert fleet.identities[0].postal_address.splitlines() == ["12 Harbour Street", "Bristol BS1 4XY", "United Kingdom"]
    assert fleet.limits[1] == Limit("*", "recipient_domain", Window("rolling", timedelta(hours=1)), 20)
    assert tomllib.loads(dump_fleet(fleet))["pools"][0]["exclude"] == {"mailboxes": ["director@northwind-lab.example"]}


def test_the_example_mailboxes_belong_to_the_example_fleet() -> None:
    """Every row of examples/mailboxes.csv is a mailbox in a domain and an account of examples/fleet.toml."""
    fleet, table = read_fleet(EXAMPLE), open_table(MAILBOXES)
    rows = list(read_mailbox_rows(table, map_mailbox_columns(table), MailboxDefaults(), load_presets()))
    assert {row.address.domain_ascii for row in rows if isinstance(row, MailboxRow)} == {
        domain.name for domain in fleet.domains
    }
    for row in rows:
        assert isinstance(row, MailboxRow)
        assert f"{row.provider}/{row.account}" in {account.key for account in fleet.accounts}
        assert {*row.tags} <= {*fleet.pools[0].pool.include.tags}


def test_a_file_that_is_no_toml_is_an_input_error(tmp_path: Path) -> None:
    """A slip of the pen is an input error with its line, not a crash."""
    with pytest.raises(InputError, match=r"fleet\.toml:2: is not TOML"):
        _read("[settings]\nlease = 1 minute\n", tmp_path)
