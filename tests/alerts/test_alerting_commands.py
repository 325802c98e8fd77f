"""alerts and incidents, as a person runs them."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from alert_servers import hook
from click import Command
from click.testing import CliRunner, Result

from mailfleet.base.db import Connection, connect
from mailfleet.base.errors import InputError
from mailfleet.cli.alerting import alerts_command, incidents_command
from mailfleet.health.alerts.quiet import parse_quiet_hours, read_quiet_hours
from mailfleet.health.incidents import QuietHours

URL = "json://ann:s3cret@127.0.0.1/hidden-path"


class Door:
    """Runs the commands in this process, against one home and one database."""

    def __init__(self, home: Path, database: str) -> None:
        self.environment = {"MAILFLEET_HOME": str(home), "MAILFLEET_DATABASE_URL": database}

    def alerts(self, *words: object, answer: str = "") -> Result:
        return self._run(alerts_command, words, answer)

    def incidents(self, *words: object) -> Result:
        return self._run(incidents_command, words, "")

    def _run(self, command: Command, words: tuple[object, ...], answer: str) -> Result:
        return CliRunner().invoke(
            command, [str(word) for word in words], input=answer, env=self.environment, catch_exceptions=False
        )


@pytest.fixture
def door(home: Path, database: str) -> Door:
    return Door(home, database)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_target_is_added_listed_and_removed(door: Door, tmp_path: Path) -> None:
    """From standard input or a file; the list names its service and nothing of its address."""
    added = door.alerts("add", "web", answer=f"{URL}\n")
    assert (added.exit_code, added.stdout.startswith("Added: web (JSON).")) == (0, True)
    (tmp_path / "url").write_text(f"{URL}\n")
    assert door.alerts("add", "second", "--url-file", tmp_path / "url").exit_code == 0
    listed = door.alerts("list").stdout
    assert "web" in listed and "second" in listed and "JSON" in listed
    assert not any(part in added.output + listed for part in ("s3cret", "hidden", "127.0.0.1"))
    assert door.alerts("remove", "web").stdout == "Removed: web.\n"
    with pytest.raises(InputError, match="There is no target web"):
        door.alerts("remove", "web")
    door.alerts("remove", "second")
    assert "Nobody is told of incidents" in door.alerts("list").stdout


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("web", "", "one line without spaces"),
        ("web", "json://a b", "one line without spaces"),
        ("web", "s3cret", "the address of no service"),
        ("a/b", URL, "is no name"),
    ],
)
def test_what_cannot_be_added_is_said_without_the_address(name: str, answer: str, said: str, door: Door) -> None:
    """And nothing is added; an address is no argument."""
    with pytest.raises(InputError, match=said) as refused:
        door.alerts("add", name, answer=answer)
    assert "s3cret" not in f"{refused.value}{refused.value.hint}"
    assert door.alerts("add", "web", URL).exit_code == 2
    assert "Nobody is told" in door.alerts("list").stdout


def test_in_a_terminal_the_address_is_asked_for_and_not_shown(door: Door) -> None:
    """A real terminal shows the question and no letter of the answer."""
    ours, theirs = pty.openpty()
    code = "from mailfleet.cli.alerting import alerts_command; alerts_command()"
    words = [sys.executable, "-c", code, "add", "web"]
    with subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | door.environment
    ) as child:
        os.close(theirs)
        seen = b""
        while b"Address" not in seen:
            seen += os.read(ours, 1000)
        os.write(ours, f"{URL}\n".encode())
        while b"Added" not in seen:
            seen += os.read(ours, 1000)
        assert child.wait() == 0
    os.close(ours)
    assert b"s3cret" not in seen and b"Added: web (JSON)" in seen


def test_a_target_is_tried(door: Door, servers: ExitStack) -> None:
    """One, or all: each says whether it took the notice, one that did not makes the exit status 1, and the list shows
    why until it takes one."""
    good, bad = servers.enter_context(hook()), servers.enter_context(hook(status=500))
    door.alerts("add", "good", answer=good.url)
    door.alerts("add", "bad", answer=bad.url)
    one = door.alerts("test", "good")
    assert (one.exit_code, one.stdout) == (0, "good: took it.\n")
    every = door.alerts("test")
    assert (every.exit_code, every.stdout) == (1, "bad: failed, it answered HTTP 500.\ngood: took it.\n")
    assert "it answered HTTP 500" in door.alerts("list").stdout
    bad.status = 200
    assert door.alerts("test", "bad").exit_code == 0
    assert "HTTP 500" not in door.alerts("list").stdout
    assert [told["title"] for told in good.taken] == ["Mailfleet: a test"] * 2
    with pytest.raises(InputError, match="There is no target third"):
        door.alerts("test", "third")


def test_quiet_hours_are_set_shown_and_ended(door: Door, connection: Connection) -> None:
    """What the health service reads is what was set."""
    assert read_quiet_hours(connection) is None
    said = "Quiet hours: 22:00 to 07:00, Europe/Berlin. Only what is grave is told in them.\n"
    assert door.alerts("quiet", "22:00-07:00", "Europe/Berlin").stdout == said
    assert door.alerts("quiet").stdout == said
    assert read_quiet_hours(connection) == QuietHours(time(22), time(7), "Europe/Berlin")
    assert door.alerts("quiet", "1:30-5:00", "UTC").exit_code == 0
    assert read_quiet_hours(connection) == QuietHours(time(1, 30), time(5), "UTC")
    assert door.alerts("quiet", "off").stdout == "No quiet hours: everything from a warning up is told at once.\n"
    assert read_quiet_hours(connection) is None
    with pytest.raises(InputError, match="Say in which time zone"):
        door.alerts("quiet", "22:00-07:00")


@pytest.mark.parametrize(
    "hours", ["", "22-7", "22:00-24:00", "22:60-07:00", "07:00-07:00", "22:00 - 07:00", "²2:00-07:00"]
)
def test_hours_that_are_none_are_refused(hours: str) -> None:
    """As a sentence."""
    with pytest.raises(InputError, match=r"no quiet hours|no hours at all"):
        parse_quiet_hours(hours, "UTC")


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "Europe"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    """However it is wrong."""
    with pytest.raises(InputError, match="is not a time zone"):
        parse_quiet_hours("22:00-07:00", zone)


def test_quiet_hours_end_where_they_say() -> None:
    """By the wall clock of the zone, over midnight."""
    quiet = parse_quiet_hours("22:00-07:00", "Europe/Berlin")
    assert quiet.is_quiet(datetime(2026, 11, 24, 21, 0, tzinfo=UTC))
    assert not quiet.is_quiet(datetime(2026, 11, 24, 6, 0, tzinfo=UTC))


def test_incidents_are_shown_one_a_line(door: Door, connection: Connection) -> None:
    """Piped, each with severity, beginning, what, letters a day and the whole text in one line; those that are over
    only with --all, with their end."""
    assert door.incidents().stdout == "No incident is open.\n"
    assert door.incidents("--all").stdout == "There was no incident yet.\n"
    connection.execute(
        "INSERT INTO incident (family, scope_kind, scope_key, severity, letters_a_day, text, opened_at, closed_at)"
        " VALUES ('policy', 'domain', '7', 3, 900, %s, '2026-11-24', NULL),"
        " ('dns', 'domain', '8', 1, 0, 'over', now(), now())",
        ["Domain [b]north.example[/b]: 4 blocks. " + "Read the replies. " * 20],
    )
    header, line = door.incidents().stdout.splitlines()
    assert header.split() == ["severity", "since", "what", "letters", "a", "day", "text"]
    assert line.startswith("grave") and "domain 7: policy" in line and "  900  " in line
    assert line.rstrip().endswith("Read the replies.") and "[b]north.example[/b]" in line
    every = door.incidents("--all").stdout.splitlines()
    assert len(every) == 3 and every[2].startswith("warning") and "until" in every[0]
