"""suppress and suppressions as a person runs them."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mailfleet.base.errors import InputError
from mailfleet.cli.suppressing import suppress_command, suppressions_command
from suppression.scene import Scene


class Typed:
    """Runs a command against the scene's installation."""

    def __init__(self, scene: Scene) -> None:
        self._place = {
            "MAILFLEET_HOME": str(scene.laid.settings.home),
            "MAILFLEET_DATABASE_URL": scene.laid.conninfo,
        }

    def __call__(self, command: click.Command, *words: object, answer: str = "") -> Result:
        said = [str(word) for word in words]
        return CliRunner().invoke(command, said, input=answer, env=self._place, catch_exceptions=False)


@pytest.fixture
def typed(scene: Scene) -> Typed:
    return Typed(scene)


def test_a_person_bans_an_address(scene: Scene, typed: Typed) -> None:
    """What ended is said."""
    [first, *_] = scene.name_companies("Acme", "", "", "")
    said = typed(suppress_command, scene.address(first), "--reason", "asked by phone").stdout
    assert said == f"Suppressed {scene.address(first)}: 1 campaigns of contacts ended, 1 letters cancelled.\n"
    assert scene.bans()[scene.address(first)].reason == "asked by phone"


@pytest.mark.parametrize("words", [("--company", "Acme GmbH"), ("Acme GmbH", "--company")])
def test_a_person_bans_a_company_by_its_name(scene: Scene, typed: Typed, words: tuple[str, ...]) -> None:
    """Wherever the option stands, the name is the company's."""
    ids = scene.name_companies("ACME", "Other", "acme, inc.", "")
    assert "2 campaigns" in typed(suppress_command, *words).stdout
    assert scene.ended() == {ids[0], ids[2]}


def test_a_person_bans_the_company_of_an_address(scene: Scene, typed: Typed) -> None:
    """What was banned beside the address is said."""
    first, *_ = scene.name_companies("Acme GmbH", "Other", "acme", "")
    address = scene.address(first)
    said = typed(suppress_command, address, "--company").stdout
    assert said.startswith(f"Suppressed {address}, {address.partition('@')[2]}, Acme GmbH: ")


def test_a_public_domain_is_banned_after_a_yes_alone(scene: Scene, typed: Typed) -> None:
    """It bans everybody there: asked about, and not done where nobody can be asked; an address there needs no yes."""
    with pytest.raises(InputError, match="Nobody said yes"):
        typed(suppress_command, "gmail.com", answer="n\n")
    typed(suppress_command, "ann@gmail.com")
    assert set(scene.bans()) == {"ann@gmail.com"}
    typed(suppress_command, "gmail.com", answer="y\n")
    typed(suppress_command, "gmx.de", "--yes")
    assert {"gmail.com", "gmx.de"} <= set(scene.bans())


def test_files_go_in_and_out(scene: Scene, typed: Typed, tmp_path: Path) -> None:
    """Counts are said, rows that are wrong are shown by their lines; what was written is read back."""
    file = tmp_path / "bans.csv"
    file.write_text("address\nann@acme.example\nnobody\nben@acme.example\n")
    done = typed(suppressions_command, "import", file)
    assert "3 rows: 2 addresses, 0 domains, 0 companies, 1 refused" in done.stdout
    assert "2 are new, 0 were banned already; 0 campaigns" in done.stdout
    assert "line 3: address: is no e-mail address" in done.stderr
    out = tmp_path / "out.csv"
    assert "Wrote 2 suppressions" in typed(suppressions_command, "export", out).stdout
    assert "0 are new, 2 were banned already" in typed(suppressions_command, "import", out).stdout


def test_a_file_of_nothing_but_faults_fails(scene: Scene, typed: Typed, tmp_path: Path) -> None:
    """Exit status 1; the first faults are shown, all stand in the report, which overwrites no file."""
    file, report = tmp_path / "bans.csv", tmp_path / "report.csv"
    file.write_text("address\n" + "nobody\n" * 30)
    done = typed(suppressions_command, "import", file, "--report", report)
    assert done.exit_code == 1
    assert done.stderr.count("no e-mail address") == 20
    assert "and 10 more" in done.stderr
    assert len(report.read_text().splitlines()) == 31
    with pytest.raises(InputError, match="report cannot be written"):
        typed(suppressions_command, "import", file, "--report", report)


def test_bans_are_listed_and_searched(scene: Scene, typed: Typed) -> None:
    """The newest with where they come from; an erased one shows no value; a search that meets none says so."""
    typed(suppress_command, "ann@acme.example", "--reason", "asked [by] phone")
    typed(suppress_command, "ben@acme.example")
    scene.connection.execute("UPDATE suppression SET value = NULL WHERE value = 'ben@acme.example'")
    said = typed(suppressions_command, "list").stdout
    assert "ann@acme.example" in said and "asked [by] phone" in said and "(erased)" in said
    assert "2 suppressions, 1 of them erased; 2 of them shown." in said
    assert "(erased)" in typed(suppressions_command, "list", "--search", "ben@acme.example").stdout
    assert "none of them meets the search" in typed(suppressions_command, "list", "--search", "zzz").stdout


def test_no_command_takes_a_ban_away() -> None:
    """Files in, files out, a look: nothing else is offered."""
    assert set(suppressions_command.commands) == {"import", "export", "list"}
