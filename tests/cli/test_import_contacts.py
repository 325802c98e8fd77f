"""import contacts as a person runs it."""

import csv
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runner import Commands

from mailfleet.base.db import Connection, connect

FILE = "email,first_name,country\nann@acme.example,Ann,DE\nANN@acme.example,Anna,\nben@stop.example,Ben,\nno,,\n"


@pytest.fixture
def commands(home: Path, database: str) -> Commands:
    return Commands(home, database)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect(database, name="test") as connection:
        yield connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "contacts.csv"
    file.write_text(FILE, encoding="utf-8")
    return file


def count(connection: Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) AS number FROM {table}").fetchall()[0].number)


def test_every_row_is_accounted_for(commands: Commands, path: Path, connection: Connection) -> None:
    """Counts are printed; refused, suppressed and repeated rows stand in a report under the home, without a cell."""
    commands.run("suppress", "stop.example", "--reason", "asked")
    result = commands.run("import", "contacts", path, "--list", "labs")
    assert result.exit_code == 0
    assert "4 rows: 1 new, 0 changed, 0 unchanged, 1 duplicate, 1 suppressed, 1 refused." in result.stdout
    assert '1 contacts joined the list "labs".' in result.stdout
    (report,) = (commands.home / "reports").iterdir()
    assert str(report) in result.stdout
    rows = list(csv.DictReader(report.read_text(encoding="utf-8").splitlines()))
    assert [(row["line"], row["remark"]) for row in rows] == [("5", "refused"), ("4", "suppressed"), ("3", "duplicate")]
    assert "asked" in rows[1]["reason"]
    assert not any(cell in report.read_text() for cell in ("ann@", "Ann", "ben@"))
    assert [entry.name for entry in path.parent.iterdir()] == ["contacts.csv"]


def test_what_is_said_for_the_file_holds_for_silent_rows(
    commands: Commands, path: Path, connection: Connection
) -> None:
    """Basis, provenance, country and zone come from the options where the row says nothing."""
    said = {
        "lawful-basis": "legitimate interest",
        "source": "fair",
        "source-url": "https://fair.example",
        "collected-on": "2026-01-31",
        "country": "France",
        "time-zone": "europe/paris",
    }
    options = [word for name, value in said.items() for word in (f"--{name}", value)]
    assert "no lawful basis" not in commands.run("import", "contacts", path, "--list", "labs", *options).stdout
    row = connection.execute("SELECT * FROM contact WHERE address_key = 'ben@stop.example'").fetchall()[0]
    assert (row.lawful_basis, row.source, row.source_url) == ("legitimate_interest", "fair", "https://fair.example")
    assert (f"{row.collected_on}", row.country, row.time_zone) == ("2026-01-31", "FR", "Europe/Paris")


def test_contacts_without_lawful_basis_are_told_with_the_way_out(commands: Commands, path: Path) -> None:
    """They are taken in, counted, and the option that mends it is named; it does."""
    told = commands.run("import", "contacts", path, "--list", "labs").stdout
    assert "2 contacts of the list have no lawful basis" in told
    assert "--lawful-basis" in told
    assert (
        "no lawful basis"
        not in commands.run("import", "contacts", path, "--list", "labs", "--lawful-basis", "consent").stdout
    )


def test_a_dry_run_keeps_nothing(commands: Commands, path: Path, connection: Connection) -> None:
    """It says what would be done, reports every row, and leaves the database as it was."""
    result = commands.run("import", "contacts", path, "--list", "labs", "--dry-run")
    assert "2 new" in result.stdout
    assert "Dry run: nothing was kept." in result.stdout
    assert count(connection, "contact") == count(connection, "contact_list") == count(connection, "import_run") == 0


def test_the_same_file_twice_changes_nothing(commands: Commands, path: Path, connection: Connection) -> None:
    """The second run finds no row new or changed."""
    commands.run("import", "contacts", path, "--list", "labs")
    told = commands.run("import", "contacts", path, "--list", "labs").stdout
    assert "0 new, 0 changed, 2 unchanged, 1 duplicate" in told
    assert count(connection, "contact") == count(connection, "list_member") == 2


def test_a_file_without_remarks_leaves_no_report(commands: Commands, path: Path) -> None:
    """Where there is nothing to tell of a row, no file is made."""
    path.write_text("email\nann@acme.example\n")
    assert "reason" not in commands.run("import", "contacts", path, "--list", "labs").stdout
    assert not (commands.home / "reports").exists()


def test_a_report_overwrites_no_file(commands: Commands, path: Path, connection: Connection) -> None:
    """A report that is named after a file that is there, the import's own at worst, is refused and nothing is kept."""
    result = commands.run("import", "contacts", path, "--list", "labs", "--report", path)
    assert result.exit_code == 1
    assert "cannot be written: File exists. No contact was kept." in result.stderr
    assert path.read_text(encoding="utf-8") == FILE
    assert count(connection, "contact") == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--lawful-basis", "they will not mind"], "no lawful basis that is known"),
        (["--country", "Narnia"], "no country that is known"),
        (["--list", "two\nlines"], "no name for a list"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    commands: Commands, path: Path, connection: Connection, options: list[str], reason: str
) -> None:
    """What a person says for the whole file is checked before anything is read."""
    result = commands.run("import", "contacts", path, "--list", "labs", *options)
    assert (result.exit_code, count(connection, "contact")) == (1, 0)
    assert reason in result.stderr


def test_an_import_that_is_interrupted_keeps_nothing(
    commands: Commands, path: Path, connection: Connection, database: str
) -> None:
    """SIGINT in the middle ends the command, and no contact of the file is there."""
    path.write_text("email\n" + "".join(f"person{number}@acme.example\n" for number in range(12_000)))
    last = "person11999@acme.example"
    commands.run("status")
    with connect(database, name="rival", autocommit=False) as rival:
        rival.execute(
            "INSERT INTO contact (address, address_key, domain, digests) VALUES (%s, %s, 'acme.example', '{}')",
            [last, last],
        )
        importing = commands.start("import", "contacts", path, "--list", "labs")
        stuck = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid') AS is_so"
        while not connection.execute(stuck).fetchall()[0].is_so:
            connection.execute("SELECT pg_sleep(0.01)")
        importing.send_signal(signal.SIGINT)
        rival.rollback()
        importing.communicate(timeout=60)
    assert importing.returncode != 0
    assert count(connection, "contact") == count(connection, "contact_list") == 0


def test_an_import_that_took_nobody_in_fails(commands: Commands, path: Path) -> None:
    """Exit status 1 when every row was refused; one good row among them makes it 0."""
    path.write_text("email,first_name\nnobody,Ann\n", encoding="utf-8")
    assert commands.run("import", "contacts", path, "--list", "labs").exit_code == 1
    path.write_text("email,first_name\nnobody,Ann\nben@labs.example,Ben\n", encoding="utf-8")
    assert commands.run("import", "contacts", path, "--list", "labs").exit_code == 0
