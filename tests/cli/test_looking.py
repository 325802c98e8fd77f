"""status and why on a fleet that has written: every number and reason as it stands in the database."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runner import Commands

import laid
from mailfleet.base.db import Connection, connect
from mailfleet.model.words import ScopeKind
from mailfleet.outbox.stops import hold, suppress
from mailfleet.outbox.tunables import load_tunables
from mailfleet.planning.service import plan_once
from mailfleet.providers.sandbox.fleet import make_fleet

SENT = """
WITH letter AS (
    UPDATE message SET state = %(state)s, due_at = NULL, reason = %(reason)s, subject = 'Hello a', attempts = 1,
        settled_at = CASE WHEN %(state)s IN ('accepted', 'rejected') THEN clock_timestamp() END
    WHERE id = (SELECT min(id) FROM message WHERE state = 'queued' AND due_at IS NOT NULL) RETURNING id, mailbox_id
), sender AS (INSERT INTO sender (host, pid, journal) VALUES ('h', 1, gen_random_uuid()) RETURNING id)
INSERT INTO attempt (message_id, number, mailbox_id, sender_id, fence, limit_ids, limit_keys, outcome, settled_at,
                     stage, reply)
SELECT letter.id, 1, mailbox_id, sender.id, 1, '{}', '{}', %(outcome)s, clock_timestamp(), 'dot', %(reason)s
FROM letter, sender RETURNING message_id
"""


@pytest.fixture
def commands(home: Path, database: str) -> Commands:
    return Commands(home, database)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def place(home: Path, database: str, connection: Connection) -> laid.Laid:
    """Two mailboxes and six contacts, planned for the hour."""
    fleet = make_fleet(1, 2, 2, 1, 1, 1)
    found = laid.lay(database, home, fleet, {name: {"smtp": {"none": 9}} for name in fleet.providers}, contacts=6)
    plan_once(connection, load_tunables(connection))
    return found


def sent(connection: Connection, outcome: str, reason: str = "") -> int:
    """Makes the first queued letter one that came to that end."""
    state = "queued" if outcome == "deferred" else outcome
    row = connection.execute(SENT, {"state": state, "outcome": outcome, "reason": reason}).fetchone()
    assert row is not None
    return int(row[0])


def named(connection: Connection, query: str) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def test_status_counts_what_is_there(commands: Commands, connection: Connection, place: laid.Laid) -> None:
    """As JSON: the letters of today by outcome, the queue, the campaigns, the holds with the names of their scopes."""
    sent(connection, "accepted")
    sent(connection, "deferred", "451 later")
    sent(connection, "rejected", "550 no")
    sent(connection, "ambiguous", "lost")
    domain = named(connection, "SELECT name FROM domain ORDER BY id LIMIT 1")
    hold(connection, ScopeKind.DOMAIN, domain, reason="it burns", set_by="ann")
    done = commands.run("status", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    counts = found["counts"]
    assert {name: counts[name] for name in ("sent_today", "deferred_today", "rejected_today", "ambiguous")} == {
        "sent_today": 1,
        "deferred_today": 1,
        "rejected_today": 1,
        "ambiguous": 1,
    }
    assert (counts["queued"], counts["waiting_for_plan"], counts["mailboxes"], counts["holds"]) == (2, 1, 2, 1)
    assert [(g["name"], g["state"], g["accepted"], g["rejected"]) for g in found["campaigns"]] == [
        ("campaign-0", "running", 1, 1)
    ]
    assert [(h["scope_kind"], h["scope_name"], h["reason"], h["until"]) for h in found["holds"]] == [
        ("domain", domain, "it burns", None)
    ]


def test_status_is_readable_when_piped(commands: Commands, connection: Connection, place: laid.Laid) -> None:
    """Plain lines without colours; nobody sends, and it says so with what to do."""
    sent(connection, "accepted")
    connection.execute("UPDATE sender SET stopped_at = clock_timestamp()")
    done = commands.run("status")
    assert done.exit_code == 0
    assert "sent 1, deferred 0, rejected 0" in done.stdout
    assert "no sender runs. Start one with `mailfleet up`." in done.stdout
    assert "\x1b" not in done.stdout


def test_an_empty_installation_has_a_status(commands: Commands) -> None:
    """Before anything is imported: zeros, no error."""
    assert json.loads(commands.run("status", "--json").stdout)["campaigns"] == []
    assert "0 mailboxes" in commands.run("status").stdout


def test_why_mailbox_names_what_binds_it_and_its_last_letters(
    commands: Commands, connection: Connection, place: laid.Laid
) -> None:
    """The planner's stored reason after a hold, and what the server said to its letters; upper case finds it too."""
    sent(connection, "deferred", "451 4.7.1 slow down, friend")
    address = named(connection, "SELECT b.address FROM attempt a JOIN mailbox b ON b.id = a.mailbox_id")
    hold(connection, ScopeKind.MAILBOX, address, reason="it burns", set_by="ann")
    plan_once(connection, load_tunables(connection))
    done = commands.run("why", "mailbox", address.upper())
    assert done.exit_code == 0
    assert address in done.stdout
    assert "it burns" in done.stdout
    assert "451 4.7.1 slow down, friend" in done.stdout


def test_why_campaign_counts_contacts_by_reason(commands: Commands, connection: Connection, place: laid.Laid) -> None:
    """Those in the queue, and those that ended with the reason."""
    key = named(connection, "SELECT address_key FROM contact ORDER BY id LIMIT 1")
    suppress(connection, place.vault.digester, key, reason="they said no", source="test")
    done = commands.run("why", "campaign", "campaign-0")
    assert done.exit_code == 0
    assert "campaign-0 is running" in done.stdout
    assert "suppressed: they said no" in done.stdout


def test_why_contact_tells_its_whole_story(commands: Commands, connection: Connection, place: laid.Laid) -> None:
    """Mailbox, campaign, letters with subject and state, and the ban that ended it."""
    message = sent(connection, "accepted")
    query = "SELECT c.address_key FROM contact c JOIN message m ON m.contact_id = c.id WHERE m.id ="
    key = named(connection, f"{query} {message}")
    suppress(connection, place.vault.digester, key, reason="they said no", source="test")
    done = commands.run("why", "contact", key.upper())
    assert done.exit_code == 0
    for said in (key, "consent", "campaign-0", "accepted", "Hello a", "Suppressed since", "they said no"):
        assert said in done.stdout


WRONG = [
    (("why", "mailbox", "nobody@nowhere.test"), "There is no mailbox nobody@nowhere.test."),
    (("why", "campaign", "nothing"), "There is no campaign nothing."),
    (("why", "contact", "nobody@nowhere.test"), "There is no contact nobody@nowhere.test."),
    (("why", "contact", "no address"), "no address"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_is_not_there_is_said_in_a_line(words: tuple[str, ...], said: str, commands: Commands) -> None:
    """An unknown name is one sentence on stderr and status 1; nothing is printed on stdout."""
    done = commands.run(*words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("mailfleet: ")
    assert said in done.stderr.splitlines()[0]


BRACKETS = "550 [bl] see [/url] :key: [red]x[/red] [link=http://x]y"
NAMES = {
    "mailbox": "SELECT b.address FROM attempt a JOIN mailbox b ON b.id = a.mailbox_id",
    "contact": "SELECT c.address FROM message m JOIN contact c ON c.id = m.contact_id WHERE m.state = 'ambiguous'",
    "campaign": "SELECT name FROM campaign",
}


@pytest.mark.parametrize("words", ["why mailbox", "why contact", "why campaign", "status", "ambiguous"])
def test_a_servers_words_are_shown_as_they_are(
    words: str, commands: Commands, connection: Connection, place: laid.Laid
) -> None:
    """Brackets and colons in a reply, a reason or a subject are text, never style: nothing is lost, nothing breaks."""
    sent(connection, "ambiguous", BRACKETS)
    connection.execute("UPDATE enrollment SET reason_code = 'x', reason = %s, next_at = clock_timestamp()", [BRACKETS])
    hold(connection, ScopeKind.FLEET, "", reason=BRACKETS, set_by="ann")
    connection.execute("UPDATE mailbox_reason SET text = %s", [BRACKETS])
    command, _, kind = words.partition(" ")
    done = commands.run(command, *([kind, named(connection, NAMES[kind])] if kind else []))
    assert done.exit_code == 0
    assert BRACKETS in done.stdout
