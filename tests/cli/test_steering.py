"""limits, hold, lift, suppress, ambiguous, resolve, as a person runs them, rightly and wrongly."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from command_runner import Commands

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.outbox.tunables import load_tunables
from mailfleet.planning.service import plan_once
from mailfleet.providers.sandbox.fleet import make_fleet

LOST = """
WITH letter AS (
    UPDATE message SET state = 'ambiguous', attempts = 1, subject = 'Hello a', reason = 'its sender ended'
    WHERE id = (SELECT min(id) FROM message) RETURNING id, mailbox_id
), sender AS (INSERT INTO sender (host, pid, journal) VALUES ('h', 1, gen_random_uuid()) RETURNING id)
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, limit_ids, limit_keys, outcome, settled_at,
                     stage, reserved_at)
SELECT letter.id, 1, mailbox_id, sender.id, 1, '{}', '{}', 'ambiguous', clock_timestamp() - interval '2 hours',
       'dot', clock_timestamp() - interval '2 hours'
FROM letter, sender RETURNING message_id
"""


@pytest.fixture
def commands(home: Path, database: str) -> Commands:
    return Commands(home, database)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture(autouse=True)
def place(home: Path, database: str, connection: Connection) -> laid.Laid:
    """Two mailboxes of two domains and one account, four contacts, planned for the hour."""
    fleet = make_fleet(1, 2, 2, 1, 1, 1)
    found = laid.lay(database, home, fleet, {name: {"smtp": {"none": 9}} for name in fleet.providers}, contacts=4)
    plan_once(connection, load_tunables(connection))
    return found


def one(connection: Connection, query: str) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def said(commands: Commands, *words: object) -> str:
    """What a command that goes well says."""
    done = commands.run(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def refused(commands: Commands, *words: object) -> str:
    """The one sentence, and the hint, of a command that does not; nothing on stdout."""
    done = commands.run(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("mailfleet: ")
    assert len(lines) <= 2
    return done.stderr


def test_a_hold_is_placed_once_and_lifted(commands: Commands, connection: Connection) -> None:
    """On a domain for two hours, with who and why; the same again adds nothing; lifting it says how many stood."""
    domain = one(connection, "SELECT name FROM domain ORDER BY id LIMIT 1")
    words = ("hold", "domain", domain, "--reason", "it burns", "--for", "2 hours")
    assert said(commands, *words) == f"Held: domain {domain}.\n"
    assert (
        said(commands, "hold", "domain", domain, "--reason", "x", "--for", "1 hour")
        == "It is held for as long already.\n"
    )
    row = connection.execute("SELECT scope_kind, scope_key, reason, until - since AS length FROM hold").fetchone()
    assert row is not None
    assert (row.scope_kind, row.scope_key, row.reason) == (
        "domain",
        one(connection, f"SELECT id FROM domain WHERE name = '{domain}'"),
        "it burns",
    )
    assert abs(row.length - timedelta(hours=2)) < timedelta(seconds=1)
    assert said(commands, "lift", "domain", domain) == "Lifted 1 hold.\n"
    assert said(commands, "lift", "domain", domain) == "Nothing was held there.\n"


def test_the_fleet_needs_no_name(commands: Commands, connection: Connection) -> None:
    """`hold fleet` stops everything until it is lifted."""
    assert said(commands, "hold", "fleet", "--reason", "holidays") == "Held: fleet.\n"
    assert one(connection, "SELECT scope_kind || scope_key || (until IS NULL) FROM hold") == "fleetfleettrue"
    assert said(commands, "lift", "fleet") == "Lifted 1 hold.\n"


KINDS = {
    "mailbox": "SELECT address FROM mailbox LIMIT 1",
    "domain": "SELECT name FROM domain LIMIT 1",
    "account": "SELECT p.name || '/' || a.name FROM account a JOIN provider p ON p.id = a.provider_id",
    "provider": "SELECT name FROM provider",
    "identity": "SELECT name FROM identity",
    "campaign": "SELECT name FROM campaign",
    "recipient_domain": "SELECT 'gmail.example'",
    "recipient_provider": "INSERT INTO recipient_domain (name, provider) VALUES ('a.test', 'aa') RETURNING provider",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_scope_can_be_held_by_its_name(kind: str, commands: Commands, connection: Connection) -> None:
    """And its planned letters go back, with the hold's reason, at the next planning run."""
    name = one(connection, KINDS[kind])
    assert said(commands, "hold", kind, name, "--reason", "it burns") == f"Held: {kind} {name}.\n"
    assert said(commands, "lift", kind, name) == "Lifted 1 hold.\n"


WRONG = [
    (("hold", "domain", "nowhere.test", "--reason", "r"), "There is no domain nowhere.test."),
    (("hold", "mailbox", "--reason", "r"), "Say which mailbox."),
    (("hold", "sender_host", "--reason", "r"), "Say which sender_host."),
    (("hold", "fleet", "everything", "--reason", "r"), "The fleet has no name"),
    (("hold", "fleet", "--reason", " "), "Say why"),
    (("lift", "domain"), "Say which domain."),
    (("limits", "set", "sender_host", "", "rolling 24h", "5"), "Say which sender_host"),
    (("hold", "account", "nobody/nothing", "--reason", "r"), "There is no account nobody/nothing."),
    (("hold", "recipient_domain", "not a domain", "--reason", "r"), "not a domain"),
    (("hold", "fleet", "--reason", "r", "--for", "a while"), '"a while" is no duration'),
    (("hold", "fleet", "--reason", "r", "--for", "999999999 days"), "is no duration"),
    (("lift", "campaign", "nothing"), "There is no campaign nothing."),
    (("suppress", "not an address@"), "address"),
    (("suppress", "-"), "-"),
    (("limits", "set", "domain", "nowhere.test", "rolling 24h", "5"), "There is no domain nowhere.test."),
    (("limits", "set", "domain", "*", "weekly", "5"), '"weekly" is no window'),
    (("limits", "set", "domain", "*", "rolling 0h", "5"), '"rolling 0h" is no window'),
    (("limits", "set", "domain", "*", "day Mars/Olympus", "5"), '"Mars/Olympus" is no IANA time zone'),
    (("limits", "remove", "domain", "*", "rolling 24h"), "There is no such limit."),
    (("resolve", "99999999999999999999", "--sent"), "Letter 99999999999999999999 is not ambiguous"),
    (("resolve", "4711", "--sent"), "Letter 4711 is not ambiguous (any more)."),
]


@pytest.mark.parametrize(("words", "line"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_is_asked_wrongly_is_refused_in_a_line(
    words: tuple[str, ...], line: str, commands: Commands, connection: Connection
) -> None:
    """An unknown name, a duration that is none, a number beyond all measure: one sentence that names it, status 1, and
    nothing is changed."""
    assert line in refused(commands, *words).splitlines()[0]
    for table in ("hold", "suppression"):
        assert one(connection, f"SELECT count(*) FROM {table}") == "0"
    assert one(connection, "SELECT count(*) FROM sending_limit WHERE source <> 'ramp'") == "0"


@pytest.mark.parametrize(
    "words",
    [
        ("hold", "planet", "earth", "--reason", "r"),
        ("hold", "fleet"),
        ("resolve", "one", "--sent"),
        ("limits", "set", "domain", "*", "rolling 24h", "many"),
        ("nothing",),
    ],
)
def test_words_that_are_none_are_refused_by_the_door(words: tuple[str, ...], commands: Commands) -> None:
    """A kind, an option, a number or a command that is none: usage and status 2."""
    done = commands.run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_a_limit_is_set_changed_listed_and_removed(commands: Commands, connection: Connection) -> None:
    """For each of a kind and for one by name; the list shows scope, window, usage and maximum; -1 removes it."""
    provider = one(connection, "SELECT name FROM provider")
    assert "The smallest limit always wins." in said(commands, "limits", "set", "domain", "*", "rolling 24h", 100)
    said(commands, "limits", "set", "provider", provider, "day Europe/Berlin", 7)
    said(commands, "limits", "set", "provider", provider, "day Europe/Berlin", 9)
    key = one(connection, "SELECT id FROM provider")
    connection.execute(
        "INSERT INTO usage (limit_id, scope_key, head, counts, used, maximum) SELECT id, %s,"
        " (current_date - date '0001-01-01') + 1000, '{4}', 4, 9 FROM sending_limit WHERE scope_kind = 'provider'",
        [key],
    )
    table = said(commands, "limits")
    [domain_row] = [line.split() for line in table.splitlines() if "each domain" in line]
    assert domain_row == ["domain", "each", "domain", "a", "rolling", "day", "0", "100", "operator"]
    [provider_row] = [line.split() for line in table.splitlines() if "Europe/Berlin" in line]
    assert provider_row[:6] == ["provider", provider, "a", "day", "(Europe/Berlin)", "4"]
    assert provider_row[6:] == ["9", provider, "operator"]
    assert said(commands, "limits", "remove", "domain", "*", "rolling 24h") == "Removed.\n"
    assert one(connection, "SELECT count(*) FROM sending_limit WHERE source <> 'ramp'") == "1"


def test_a_maximum_beyond_all_measure_is_refused(commands: Commands) -> None:
    """More than a column holds is a mistake in the command, not a broken program."""
    done = commands.run("limits", "set", "domain", "*", "rolling 24h", 99_999_999_999)
    assert done.exit_code in (1, 2)
    assert "99999999999" in done.stderr


def test_no_limits_is_said(commands: Commands, connection: Connection) -> None:
    """An empty list says how limits come to be."""
    connection.execute("DELETE FROM sending_limit")
    assert "There are no limits yet" in said(commands, "limits")


def test_suppress_says_what_it_ended(commands: Commands, connection: Connection) -> None:
    """An address of a contact: its campaign ends, its letter is cancelled; a second time nothing is left to end."""
    key = one(connection, "SELECT address_key FROM contact ORDER BY id LIMIT 1")
    assert said(commands, "suppress", key.upper(), "--reason", "wrote to us") == (
        f"Suppressed {key.upper()}: 1 campaigns of contacts ended, 1 letters cancelled.\n"
    )
    assert "0 campaigns of contacts ended" in said(commands, "suppress", key)
    assert one(connection, "SELECT reason FROM suppression") == "wrote to us"


@pytest.mark.parametrize(
    ("option", "state", "answer"),
    [
        ("--sent", "accepted", "Counted as accepted.\n"),
        ("--not-sent", "queued", "Planned again, in the same mailbox.\n"),
    ],
)
def test_an_ambiguous_letter_is_shown_and_settled(
    option: str, state: str, answer: str, commands: Commands, connection: Connection
) -> None:
    """It is listed with recipient, mailbox and subject; settled by what a person found; then no longer listed."""
    assert said(commands, "ambiguous") == "No letter is ambiguous.\n"
    letter = one(connection, LOST)
    shown = said(commands, "ambiguous")
    query = (
        "SELECT concat_ws('|', c.address, b.address) FROM message m JOIN contact c ON c.id = m.contact_id"
        " JOIN mailbox b ON b.id = m.mailbox_id WHERE m.state = 'ambiguous'"
    )
    for word in (letter, "Hello a", "campaign-0", "its sender ended", *one(connection, query).split("|")):
        assert word in shown
    assert said(commands, "resolve", letter, option) == answer
    assert one(connection, f"SELECT state FROM message WHERE id = {letter}") == state
    assert "is not ambiguous" in refused(commands, "resolve", letter, option)
    assert said(commands, "ambiguous") == "No letter is ambiguous.\n"


def test_a_letter_is_not_resolved_without_a_word(commands: Commands, connection: Connection) -> None:
    """Who says neither --sent nor --not-sent is asked for it; the letter stays as it is."""
    letter = one(connection, LOST)
    done = commands.run("resolve", letter)
    assert (done.exit_code, one(connection, f"SELECT state FROM message WHERE id = {letter}")) == (2, "ambiguous")
