"""apply, export and keys as a person runs them."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from command_runner import Commands

from mailfleet.base.db import Connection, connect
from mailfleet.base.secrets import Keyring, new_key, read_key_file, write_key_file

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "examples/fleet.toml"
MAILBOXES = ROOT / "examples/mailboxes.csv"
DEADLINE_TURNS = 1000  # of 20 ms, at the database


@pytest.fixture
def commands(home: Path, database: str) -> Commands:
    return Commands(home, database)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def filled(commands: Commands) -> Commands:
    """A home with the example's fleet and its three mailboxes."""
    assert commands.run("apply", FLEET, "--yes").exit_code == 0
    assert commands.run("import", "mailboxes", MAILBOXES).exit_code == 0
    return commands


def count(connection: Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row.count)


def test_apply_shows_asks_and_applies(commands: Commands, connection: Connection) -> None:
    """The difference comes first; no answer and a no change nothing; a yes applies it; then nothing is left to do."""
    for answer in ("", "n\n"):
        refused = commands.run("apply", FLEET, answer=answer)
        assert (refused.exit_code, "+ identity northwind" in refused.stdout) == (1, True)
        assert "Nobody said yes, so nothing was changed." in refused.stderr
        assert count(connection, "identity") == 0
    assert "Applied 8 changes." in commands.run("apply", FLEET, answer="y\n").stdout
    again = commands.run("apply", FLEET)
    assert (again.exit_code, again.stdout) == (0, "Nothing to change.\n")


def test_apply_names_the_wrong_line(commands: Commands, tmp_path: Path, connection: Connection) -> None:
    """A broken file is refused with its line, and nothing of it is applied."""
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.read_text() + "\nhard_kap = 3\n")
    result = commands.run("apply", path, "--yes")
    assert (result.exit_code, "hard_kap" in result.stderr, count(connection, "identity")) == (1, True, 0)
    assert commands.run("apply", tmp_path / "none.toml").exit_code == 1


def test_export_reads_back(filled: Commands, tmp_path: Path) -> None:
    """After an export, to file or terminal, there is nothing to apply; no secret is in it."""
    path = tmp_path / "fleet.toml"
    assert filled.run("export", "fleet", path).exit_code == 0
    assert filled.run("export", "fleet").stdout == path.read_text()
    assert "Nothing to change." in filled.run("apply", path).stdout
    assert "replace-this-password" not in path.read_text()
    assert filled.run("export", "fleet", tmp_path).exit_code == 1


def test_an_unfinished_identity_is_pointed_out(commands: Commands, tmp_path: Path) -> None:
    """What a first import made up lacks a postal address: the export says so, and apply names the line to fill in."""
    commands.run("import", "mailboxes", MAILBOXES)
    result = commands.run("export", "fleet", tmp_path / "fleet.toml")
    assert 'The identity "default" has no postal address yet' in result.stderr
    result = commands.run("apply", tmp_path / "fleet.toml", "--yes")
    assert "postal_address: is empty" in result.stderr


def test_exported_mailboxes_change_nothing(filled: Commands, tmp_path: Path) -> None:
    """The CSV of an export has no password and imports without a change."""
    path = tmp_path / "mailboxes.csv"
    assert filled.run("export", "mailboxes", path).exit_code == 0
    assert "replace-this-password" not in path.read_text()
    assert "3 unchanged, 0 refused" in filled.run("import", "mailboxes", path).stdout


def test_keys_are_rotated_and_pruned(filled: Commands) -> None:
    """A rotation seals everything by a new key and keeps the old; pruning leaves the new one, which opens all."""
    old = read_key_file(filled.home / "keys")
    assert "Sealed 5 values" in filled.run("keys", "rotate").stdout
    new, *rest = read_key_file(filled.home / "keys")
    assert rest == old and new not in old
    assert "Dropped 1 old key" in filled.run("keys", "prune").stdout
    assert read_key_file(filled.home / "keys") == [new]
    assert "5 sealed values, 5 by the newest of 1 key." in filled.run("keys", "check").stdout
    assert "nothing to drop" in filled.run("keys", "prune").stdout


def test_a_rotation_survives_a_kill_after_the_key_file(filled: Commands, connection: Connection, database: str) -> None:
    """Killed between key file and database, all values still open, no key may be dropped, and a second run ends it."""
    with psycopg.connect(database) as blocker:
        blocker.execute("SELECT * FROM mailbox FOR UPDATE")
        with filled.start("keys", "rotate") as process:
            _await_lock(connection)
            process.kill()
    assert len(read_key_file(filled.home / "keys")) == 2
    checked = filled.run("keys", "check")
    assert (checked.exit_code, "5 sealed values, 0 by the newest of 2 keys." in checked.stdout) == (0, True)
    assert "no key was dropped" in filled.run("keys", "prune").stderr
    assert len(read_key_file(filled.home / "keys")) == 2
    assert filled.run("keys", "rotate").exit_code == 0
    assert filled.run("keys", "prune").exit_code == 0
    assert filled.run("keys", "check").exit_code == 0


def test_a_rotation_misses_no_secret_that_is_being_written(
    filled: Commands, connection: Connection, database: str
) -> None:
    """It waits for an import that is not committed, and makes no key before; then it seals that secret too."""
    keyring = Keyring(read_key_file(filled.home / "keys"))
    with psycopg.connect(database) as importing:
        importing.execute("UPDATE mailbox SET imap_secret = %s WHERE address LIKE 'ann@%%'", [keyring.seal("x")])
        process = filled.start("keys", "rotate")
        _await_lock(connection)
        assert len(read_key_file(filled.home / "keys")) == 1
    assert b"Sealed 6 values" in process.communicate()[0]
    assert filled.run("keys", "prune").exit_code == 0


def _await_lock(connection: Connection) -> None:
    """Until a command waits for a row that somebody holds."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'mailfleet' AND wait_event_type = 'Lock'"
    for _ in range(DEADLINE_TURNS):
        if connection.execute(waiting).fetchone():
            return
        connection.execute("SELECT pg_sleep(0.02)")
    pytest.fail("the command never came to the database's rows")


def test_keys_of_the_environment_are_a_persons_to_change(filled: Commands) -> None:
    """The command says what to do instead; once a new key stands first, it seals by that; it never writes a file."""
    keys = read_key_file(filled.home / "keys")
    (filled.home / "keys").unlink()
    filled.extra["MAILFLEET_KEYS"] = "\n".join(keys)
    result = filled.run("keys", "rotate")
    assert (result.exit_code, "put a new key" in result.stderr) == (1, True)
    filled.extra["MAILFLEET_KEYS"] = "\n".join([new_key(), *keys])
    assert "Sealed 5 values" in filled.run("keys", "rotate").stdout
    assert filled.run("keys", "prune").exit_code == 1
    assert not (filled.home / "keys").exists()


def test_keys_stay_while_senders_work(filled: Commands, connection: Connection) -> None:
    """A sender that knows only the old keys stops a rotation before it begins."""
    connection.execute("INSERT INTO sender (host, pid, journal) VALUES ('h', 1, gen_random_uuid())")
    result = filled.run("keys", "rotate")
    assert (result.exit_code, "Senders at work with the keys of now: 1" in result.stderr) == (1, True)
    assert len(read_key_file(filled.home / "keys")) == 1


def test_a_lost_credential_is_named(filled: Commands, connection: Connection) -> None:
    """A mailbox sealed by a key that is gone is named by `check`, and stops a rotation before a key is made."""
    sealed = Keyring([new_key()]).seal("x")
    connection.execute("UPDATE mailbox SET secret = %s WHERE address LIKE 'ann@%%'", [sealed])
    result = filled.run("keys", "check")
    assert (result.exit_code, "ann@northwind-lab.example" in result.stdout) == (1, True)
    assert "ann@northwind-lab.example" in filled.run("keys", "rotate").stderr
    assert len(read_key_file(filled.home / "keys")) == 1


@pytest.mark.parametrize("command", [("apply", FLEET, "--yes"), ("export", "fleet"), ("keys", "check")])
def test_a_wrong_installation_says_what_to_do(
    filled: Commands, connection: Connection, command: tuple[object, ...]
) -> None:
    """Wrong key, missing key, old schema: one sentence, one hint, exit status 1."""
    path = filled.home / "keys"
    good = read_key_file(path)
    write_key_file(path, [new_key()])
    result = filled.run(*command)
    assert (result.exit_code, "No key of this home opens" in result.stderr, "→" in result.stderr) == (1, True, True)
    path.unlink()
    assert "is missing" in filled.run(*command).stderr
    write_key_file(path, good)
    connection.execute("DELETE FROM django_migrations WHERE app = 'model' AND name LIKE '0003%'")
    assert "schema is old" in filled.run(*command).stderr
