"""campaign as a person runs it, from the file to its end."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from command_runner import Commands

from campaign_world import Person, World
from mailfleet.base.db import connect
from mailfleet.mail.opt_out import read_token


@pytest.fixture
def world(database: str, home: Path) -> Iterator[World]:
    """Two mailboxes, three contacts: one fine, one without a company, one without a lawful basis."""
    with connect(database, name="test") as connection:
        world = World(connection, home, database)
        world.lay_contacts(Person("ann@a.test"), Person("hole@b.test", company=""), Person("none@c.test", basis="none"))
        yield world


@pytest.fixture
def commands(home: Path, database: str) -> Commands:
    return Commands(home, database)


def test_add_says_what_it_made_changed_or_found_the_same(world: World, commands: Commands) -> None:
    """A draft, then nothing, then the lines that differ."""
    assert "Added labs as a draft: 2 steps, 3 variants." in commands.run("campaign", "add", world.file()).stdout
    assert commands.run("campaign", "add", world.file()).stdout == "labs is as the file says; nothing changed.\n"
    changed = commands.run("campaign", "add", world.file(('"3 days"', '"4 days"')))
    assert changed.stdout == "Changed labs, which is a draft:\n  step 2: wait 3 days → 4 days\n"


def test_add_names_every_problem_with_its_line(world: World, commands: Commands) -> None:
    """Nothing is stored from a file with a problem, in the file itself or in what it names."""
    broken = commands.run("campaign", "add", world.file(('"3 days"', '"soon"'), ("[window]", "[widow]")))
    assert broken.exit_code == 1
    assert "campaign.toml:19: steps[2].wait" in broken.stderr
    assert "unknown key" in broken.stderr
    missing = commands.run("campaign", "add", world.file(('"northwind"', '"nortwind"')))
    assert (missing.exit_code, "did you mean northwind?" in missing.stderr) == (1, True)
    assert world.all("SELECT name FROM campaign") == []


@pytest.mark.parametrize("by_file", [True, False])
def test_check_prints_what_is_wrong_and_fails(world: World, commands: Commands, by_file: bool) -> None:
    """By name or by file: the contact and the variable are named, the exit status is 1."""
    path = world.file()
    if not by_file:
        commands.run("campaign", "add", path)
    checked = commands.run("campaign", "check", path if by_file else "labs")
    assert checked.exit_code == 1
    assert (
        "  1 contact: contact.company is missing or blank: not sent [step 1, variant a, subject]: hole@b.test\n"
        in checked.stdout
    )
    assert "  1 contact: no lawful basis: not enrolled: none@c.test\n" in checked.stdout
    assert "3 contacts, 2 steps, 2 mailboxes; 8 letters written on trial." in checked.stdout


def test_check_of_a_sound_campaign_ends_well(world: World, commands: Commands) -> None:
    """Nothing is wrong: exit status 0."""
    world.run("UPDATE contact SET company = 'Acme', lawful_basis = 'consent'")
    checked = commands.run("campaign", "check", world.file())
    assert (checked.exit_code, "Nothing is wrong." in checked.stdout) == (0, True)


def test_check_says_that_there_is_no_such_campaign_or_file(world: World, commands: Commands) -> None:
    """A name close to a stored one is asked back; a file that is not there is named."""
    world.add()
    assert "did you mean labs?" in commands.run("campaign", "check", "lab").stderr
    gone = commands.run("campaign", "check", world.home / "gone.toml")
    assert "gone.toml: cannot be read" in gone.stderr


def test_start_asks_first_and_shows_what_it_would_do(world: World, commands: Commands) -> None:
    """Without a yes nothing is enrolled; the question shows identity, contacts, letters, pool and capacity."""
    world.add()
    asked = commands.run("campaign", "start", "labs", answer="n\n")
    assert (asked.exit_code, world.enrolled()) == (1, [])
    for line in (
        "Writes as     northwind",
        "Contacts      2 to be enrolled, of 3 on labs",
        "Left out      1 without a lawful basis, 0 suppressed",
        "Letters       4 at most, in 2 steps, over 1 or more days",
        "Pool          2 mailboxes, 60 letters a day at most, fewer while they ramp",
    ):
        assert line in asked.stdout
    assert commands.run("campaign", "start", "labs", answer="y\n").exit_code == 0
    assert world.all("SELECT state FROM campaign") == ["running"]


def test_start_without_a_terminal_needs_yes(world: World, commands: Commands) -> None:
    """An empty stdin is no approval."""
    world.add()
    assert commands.run("campaign", "start", "labs").exit_code == 1
    assert world.enrolled() == []


def test_a_campaign_from_start_to_stop(world: World, commands: Commands) -> None:
    """start, pause, resume, stop: each moves the state and keeps the reason; stop is final."""
    world.add()
    state = "SELECT state, reason FROM campaign"
    assert commands.run("campaign", "start", "labs", "--yes").stdout.endswith("labs runs: 2 contacts enrolled.\n")
    commands.run("campaign", "pause", "labs", "--reason", "lunch")
    assert world.all(state) == [("paused", "lunch")]
    assert commands.run("campaign", "resume", "labs").stdout == "labs goes on.\n"
    assert world.one("SELECT state FROM campaign") == "running"
    assert "2 enrollments ended" in commands.run("campaign", "stop", "labs", "--reason", "budget").stdout
    assert world.all(state) == [("stopped", "budget")]
    for verb in ("start", "resume"):
        refused = commands.run("campaign", verb, "labs", "--yes")
        assert (refused.exit_code, "labs is stopped" in refused.stderr) == (1, True)


def test_resume_asks_before_it_enrolls_more(world: World, commands: Commands) -> None:
    """Contacts who came to the lists need an approval of their own."""
    world.add()
    commands.run("campaign", "start", "labs", "--yes")
    commands.run("campaign", "pause", "labs")
    world.lay_contacts(Person("new@d.test"))
    assert commands.run("campaign", "resume", "labs", answer="n\n").exit_code == 1
    assert (len(world.enrolled()), world.one("SELECT state FROM campaign")) == (2, "paused")
    assert "1 more enrolled" in commands.run("campaign", "resume", "labs", "--yes").stdout


def test_a_start_that_is_not_allowed_says_every_reason(world: World, commands: Commands) -> None:
    """All launch conditions that fail, before any question."""
    world.add()
    world.run("UPDATE identity SET postal_address = ''")
    world.run("UPDATE mailbox SET retired_at = now()")
    refused = commands.run("campaign", "start", "labs", "--yes")
    assert refused.exit_code == 1
    assert "has no postal address" in refused.stderr
    assert "no mailbox of the identity northwind" in refused.stderr
    assert world.enrolled() == []


def test_list_shows_state_and_counts_of_each_step(world: World, commands: Commands) -> None:
    """Nothing yet, then the campaign with its steps."""
    assert "There is no campaign yet" in commands.run("campaign", "list").stdout
    world.add()
    commands.run("campaign", "start", "labs", "--yes")
    lines = commands.run("campaign", "list").stdout.splitlines()
    assert lines[0].startswith("labs  running (started by ")
    assert lines[0].endswith("northwind: 2 contacts enrolled, 0 had every letter")
    assert [line.split() for line in lines[1:]] == [
        ["step", "sent", "queued", "waiting", "ended"],
        ["1", "0", "0", "2", "0"],
        ["2", "0", "0", "0", "0"],
    ]


def test_preview_prints_the_letter(world: World, commands: Commands) -> None:
    """Headers and text, by name or file; the opt-out link is not valid."""
    shown = commands.run("campaign", "preview", world.file(), "--contact", "ann@a.test")
    assert shown.stdout.startswith("From: Ann Lee <ann0@north.test>\nTo: Ann <ann@a.test>\nSubject: Drift at Acme\n")
    assert "Hello Ann, Ann\n" in shown.stdout
    assert "12 Harbour Street" in shown.stdout
    world.add()
    follow_up = commands.run("campaign", "preview", "labs", "--contact", "ann@a.test", "--step", "2")
    assert "Subject: Re: Drift at Acme\n" in follow_up.stdout
    assert "about flow cells" in follow_up.stdout


def test_preview_raw_is_the_whole_message(world: World, commands: Commands) -> None:
    """What stands on stdout is the bytes for the wire: both parts, List-Unsubscribe, no token that any key opens."""
    world.add()
    raw = commands.run("campaign", "preview", "labs", "--contact", "ann@a.test", "--variant", "b", "--raw").stdout_bytes
    letter = message_from_bytes(raw, policy=policy.default)
    assert [part.get_content_type() for part in letter.iter_parts()] == ["text/plain", "text/html"]
    token = letter["List-Unsubscribe"].partition("/o/")[2].partition(">")[0]
    assert read_token([world.vault.opt_out_key], token) is None
    assert b"\r\n" in raw


def test_preview_with_a_hole_names_the_variable(world: World, commands: Commands) -> None:
    """No letter with a hole is shown."""
    shown = commands.run("campaign", "preview", world.file(), "--contact", "hole@b.test")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "contact.company is missing or blank" in shown.stderr


def test_contacts_lists_states_and_reasons(world: World, commands: Commands) -> None:
    """One line a contact; --reason keeps those of one code."""
    world.add()
    commands.run("campaign", "start", "labs", "--yes")
    world.run(
        "UPDATE enrollment SET state = 'stopped', next_at = NULL, reason_code = 'hole', reason = 'no company'"
        " WHERE contact_id = (SELECT id FROM contact WHERE address = 'hole@b.test')"
    )
    lines = commands.run("campaign", "contacts", "labs").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [
        ["ann@a.test", "active"],
        ["hole@b.test", "stopped"],
        ["none@c.test", "not enrolled"],
    ]
    holes = commands.run("campaign", "contacts", "labs", "--reason", "hole").stdout
    assert holes == "hole@b.test\tstopped\tstep 1\t—\thole\tno company\n"
    assert "no such contact" in commands.run("campaign", "contacts", "labs", "--reason", "nope").stderr
