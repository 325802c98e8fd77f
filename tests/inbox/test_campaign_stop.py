"""Whom an answer stops, as the campaign's file says it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_world import CAMPAIGN, World
from mailfleet.base.db import connect
from mailfleet.intake.campaign_file import read_campaign
from mailfleet.intake.campaign_store import read_stored, save_campaign
from mailfleet.intake.toml_file import FileProblems
from mailfleet.model.words import ReplyStops


@pytest.fixture
def world(database: str, home: Path) -> Iterator[World]:
    with connect(database, name="test") as connection:
        world = World(connection, home, database)
        world.lay_contacts()
        yield world


def stop(file: Path, whom: str | None) -> Path:
    """The campaign's file with that table."""
    table = f'[stop]\nreply = "{whom}"\n' if whom else ""
    file.write_text(CAMPAIGN.replace("[pool]", f"{table}[pool]"))
    return file


@pytest.mark.parametrize(("whom", "read"), [(None, "contact"), ("contact", "contact"), ("company", "company")])
def test_the_file_says_whom_an_answer_stops(whom: str | None, read: str, world: World, tmp_path: Path) -> None:
    """The person, unless it says the company; it is stored, read back the same, and a change of it is one line."""
    file = stop(tmp_path / "c.toml", whom)
    save_campaign(world.connection, read_campaign(file))
    assert read_stored(world.connection, "labs").content.reply_stops is ReplyStops(read)
    assert not save_campaign(world.connection, read_campaign(file)).changes
    other = "contact" if read == "company" else "company"
    changed = save_campaign(world.connection, read_campaign(stop(file, other)))
    assert changed.changes == (f"reply_stops: {read} → {other}",)
    assert read_stored(world.connection, "labs").content.reply_stops is ReplyStops(other)


@pytest.mark.parametrize("table", ['[stop]\nreply = "everybody"\n', '[stop]\nanswer = "contact"\n'])
def test_anything_else_is_a_problem_with_its_line(table: str, tmp_path: Path) -> None:
    """A word that is none of the two, a key that is none."""
    file = tmp_path / "c.toml"
    file.write_text(CAMPAIGN.replace("[pool]", f"{table}[pool]"))
    with pytest.raises(FileProblems, match=r"c\.toml:5: stop\.(reply|answer)"):
        read_campaign(file)
