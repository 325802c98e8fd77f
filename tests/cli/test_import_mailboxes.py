"""import mailboxes as a person runs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runner import Commands

from mailfleet.base.db import Connection, connect
from mailfleet.base.secrets import new_key, write_key_file
from mailfleet.providers.sandbox import ProviderConfig, SandboxConfig, SandboxProcess, User, write_config

HEADER = "email,password,smtpHost,smtpPort,smtpTls,imapHost,imapPort,dailyLimit,favourite colour\n"
ANN = "ann@n.example,geheim,smtp.h.example,465,true,imap.h.example,993,20,red\n"


@pytest.fixture
def commands(home: Path, database: str) -> Commands:
    return Commands(home, database)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mailboxes.csv"


def addresses(connection: Connection) -> list[str]:
    return [row.address for row in connection.execute("SELECT address FROM mailbox ORDER BY address")]


def test_a_dry_run_shows_every_row_and_saves_nothing(commands: Commands, connection: Connection, path: Path) -> None:
    """Each row has its line, verdict and reason, no password is shown, and the database is as empty as before."""
    path.write_text(HEADER + ANN + "ben@,geheim,,x,,,,,\n")
    result = commands.run("import", "mailboxes", path, "--dry-run")
    lines = [line.split(maxsplit=4) for line in result.stdout.splitlines() if line.startswith("  line")]
    assert [line[:3] for line in lines] == [["line", "2", "new"], ["line", "3", "refused"]]
    assert "email: no e-mail address" in result.stdout and "smtp_port: is no whole number" in result.stdout
    assert "Columns that are not used: favourite_colour" in result.stdout
    assert "2 rows: 1 new, 0 changed, 0 unchanged, 1 refused." in result.stdout
    assert (result.exit_code, addresses(connection), "geheim" in result.output) == (1, [], False)
    assert connection.execute("SELECT 1 FROM identity UNION SELECT 1 FROM provider").fetchone() is None


def test_good_rows_are_saved_at_once(commands: Commands, connection: Connection, path: Path) -> None:
    """The refused row is listed and makes the exit status 1; the others are there."""
    path.write_text(HEADER + ANN + "ben@,x,,,,,,,\n" + ANN.replace("ann", "cat"))
    result = commands.run("import", "mailboxes", path)
    assert (result.exit_code, "Saved 2 new mailboxes, 0 changed ones." in result.stdout) == (1, True)
    assert "  line 3      refused" in result.stdout
    assert addresses(connection) == ["ann@n.example", "cat@n.example"]


def test_twice_and_changed(commands: Commands, connection: Connection, path: Path) -> None:
    """The second time there is nothing to change; a changed row shows its difference and is updated."""
    path.write_text(HEADER + ANN)
    assert commands.run("import", "mailboxes", path).exit_code == 0
    again = commands.run("import", "mailboxes", path)
    assert (again.exit_code, "Nothing to change." in again.stdout) == (0, True)
    path.write_text(HEADER + ANN.replace(",20,", ",25,").replace("geheim", "neu"))
    changed = commands.run("import", "mailboxes", path)
    assert "password changed; daily_limit: 20 → 25" in changed.stdout and "neu" not in changed.stdout
    row = connection.execute("SELECT daily_limit FROM mailbox").fetchone()
    assert row is not None and row.daily_limit == 25


def test_options_speak_for_silent_rows(commands: Commands, connection: Connection, path: Path) -> None:
    """Provider, account, identity and tags of the command hold where the file names none; a bad name is refused."""
    path.write_text(HEADER + ANN)
    options = ("--provider", "harbour", "--account", "one", "--identity", "northwind", "--tags", "b, a")
    assert commands.run("import", "mailboxes", path, *options).exit_code == 0
    row = connection.execute(
        "SELECT p.name AS provider, a.name AS account, i.name AS identity, b.tags FROM mailbox b"
        " JOIN account a ON a.id = b.account_id JOIN provider p ON p.id = a.provider_id"
        " JOIN domain d ON d.id = b.domain_id JOIN identity i ON i.id = d.identity_id"
    ).fetchone()
    assert row is not None
    assert tuple(row) == ("harbour", "one", "northwind", ["a", "b"])
    result = commands.run("import", "mailboxes", path, "--account", "a/b")
    assert (result.exit_code, "--account" in result.stderr) == (1, True)


def test_a_file_that_cannot_be_read(commands: Commands, path: Path) -> None:
    """A missing file, one without addresses and one broken in its middle are one sentence each, and save nothing."""
    assert "no such file" in commands.run("import", "mailboxes", path).stderr
    path.write_text("name,colour\nx,y\n")
    assert "no column holds the addresses" in commands.run("import", "mailboxes", path).stderr
    path.write_text(HEADER + ANN + '"open,\n')
    result = commands.run("import", "mailboxes", path)
    assert (result.exit_code, "never closed" in result.stderr, "Saved" in result.stdout) == (1, True, False)


def test_a_wrong_key_saves_nothing(commands: Commands, path: Path) -> None:
    """With another key than the database's an import does not begin: it would seal what nobody opens."""
    path.write_text(HEADER + ANN)
    commands.run("import", "mailboxes", path)
    write_key_file(commands.home / "keys", [new_key()])
    result = commands.run("import", "mailboxes", path)
    assert (result.exit_code, "No key of this home opens" in result.stderr) == (1, True)


def test_logins_are_checked_before_saving(
    commands: Commands, connection: Connection, path: Path, tmp_path: Path
) -> None:
    """A row whose SMTP or IMAP login fails is listed with the reason and not saved; with --dry-run nothing is."""
    users = tuple(User(f"{name}@a.test", f"{name}@a.test", f"secret-{name}", "alpha", "one") for name in ("ann", "bob"))
    provider = ProviderConfig("alpha", {"smtp": {"none": 0}, "imap": {"none": 0}})
    write_config(SandboxConfig(tmp_path / "ledger", (provider,), users), tmp_path / "sandbox.json")
    with SandboxProcess(tmp_path / "sandbox.json") as sandbox:
        smtp, imap = (sandbox.ports["alpha"][face]["none"] for face in ("smtp", "imap"))
        server = f"127.0.0.1,{smtp},127.0.0.1,{imap}"
        path.write_text(
            "address,password,imap_password,smtp_host,smtp_port,imap_host,imap_port\n"
            f"ann@a.test,secret-ann,,{server}\nbob@a.test,wrong,secret-bob,{server}\n"
            f"bob.2@a.test,wrong,,{server}\n"
        )
        dry = commands.run("import", "mailboxes", path, "--check", "--dry-run")
        assert addresses(connection) == []
        result = commands.run("import", "mailboxes", path, "--check")
    for output in (dry.stdout, result.stdout):
        assert "Logins checked: 1 work, 2 fail." in output
        assert f"127.0.0.1:{smtp}" in output and "secret" not in output
    assert (result.exit_code, addresses(connection)) == (1, ["ann@a.test"])
