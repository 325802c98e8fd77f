"""An installation that cannot be used as it stands: one sentence, one hint, exit status 1, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from laid import settings_of
from mailfleet.base.db import connect
from mailfleet.base.home import lock_home
from mailfleet.base.secrets import new_key, write_key_file
from mailfleet.model.schema import use_database
from mailfleet.outbox.vault import open_vault
from servers import free_port


def run(home: Path, url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command to its end. What keeps running is stopped after a while, and that is a failure."""
    environment = {
        **os.environ,
        "MAILFLEET_HOME": str(home),
        "MAILFLEET_DATABASE_URL": url,
        "MAILFLEET_OPT_OUT_LISTEN": f"127.0.0.1:{free_port()}",
    }
    return subprocess.run(
        [sys.executable, "-m", "mailfleet.cli", *words], env=environment, capture_output=True, text=True, timeout=60
    )


def assert_refused(done: "subprocess.CompletedProcess[str]", says: str, hint: str) -> None:
    """The sentence and the hint, and nothing else."""
    assert done.returncode == 1
    sentence, advice = done.stderr.strip().splitlines()
    assert sentence.startswith("mailfleet: ") and says in sentence, sentence
    assert advice.startswith("  → ") and hint in advice, advice
    assert "is up" not in done.stdout


@pytest.fixture
def keyed(database: str, home: Path) -> str:
    """A database whose credentials are sealed by the home's key."""
    with connect(database, name="test") as connection:
        open_vault(connection, settings_of(home, database))
    return database


@pytest.mark.parametrize("command", ["up", "senders", "status", "migrate"])
def test_a_database_that_does_not_answer_is_named(command: str, home: Path) -> None:
    """A server of one's own that is down: which setting to look at."""
    done = run(home, f"postgresql://me:geheim@127.0.0.1:{free_port()}/mailfleet", command)
    assert_refused(done, "The database does not answer", "MAILFLEET_DATABASE_URL")
    assert "geheim" not in done.stderr


def test_a_database_url_that_is_none_is_named_and_not_shown(home: Path) -> None:
    """What cannot be read as a connection string may hold a password, and is not repeated."""
    done = run(home, "postgresqlx://me:geheim@db", "status")
    assert_refused(done, "MAILFLEET_DATABASE_URL cannot be read", "postgresql://user:password@host")
    assert "geheim" not in done.stderr


def test_an_old_schema_is_brought_up_only_when_asked_for(keyed: str, home: Path) -> None:
    """One's own database is not changed behind one's back: `up` names `mailfleet migrate`, and that mends it."""
    use_database(keyed)
    call_command("migrate", "model", "0001", verbosity=0)
    connections.close_all()
    assert_refused(run(home, keyed, "up"), "schema is old", "`mailfleet migrate`")
    assert run(home, keyed, "migrate").returncode == 0
    assert run(home, keyed, "status").returncode == 0


@pytest.mark.parametrize("command", ["up", "migrate"])
def test_a_newer_schema_is_left_alone(command: str, keyed: str, home: Path) -> None:
    """A database that a newer version wrote is not touched by an older one."""
    with psycopg.connect(keyed) as connection:
        connection.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('model', '9999_later', now())")
    assert_refused(run(home, keyed, command), "newer Mailfleet", "Install that version")


def test_a_missing_key_file_is_not_replaced(keyed: str, home: Path) -> None:
    """Without its key nothing starts, and no new key is made that would open nothing."""
    (home / "keys").rename(home / "keys.elsewhere")
    for command in ("up", "status"):
        assert_refused(run(home, keyed, command), "The key file", "MAILFLEET_KEYS_FILE")
    assert not (home / "keys").exists()


def test_a_wrong_key_opens_nothing(keyed: str, home: Path) -> None:
    """A key that seals well and opens nothing is found at the start, once."""
    write_key_file(home / "keys", [new_key()])
    assert_refused(run(home, keyed, "up"), "No key of this home opens the credential", "Put the file `keys` back")


def test_two_on_one_home_are_one_too_many(keyed: str, home: Path) -> None:
    """The second one says who holds the home, and changes nothing."""
    with lock_home(home):
        for command in ("up", "senders"):
            assert_refused(run(home, keyed, command), f"(process {os.getpid()})", "MAILFLEET_HOME")


def test_a_home_that_cannot_be_written_is_named(keyed: str, home: Path) -> None:
    """A file where the folder belongs."""
    place = home / "file"
    place.write_text("")
    assert_refused(run(place, keyed, "up"), f"The home directory {place} cannot be written", "MAILFLEET_HOME")
