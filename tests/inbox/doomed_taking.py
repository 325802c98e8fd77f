"""Takes one mail in and dies at a named point: `python doomed_taking.py POINT FILE MAILBOX`."""

import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from blows import lay_blow
from mailfleet.base.db import connect
from mailfleet.base.settings import read_settings
from mailfleet.inbox import taking
from mailfleet.inbox.arrived import Arrived
from mailfleet.model.words import Folder
from mailfleet.outbox.vault import open_vault

# point → (function of `taking`, whether the blow falls after it returned)
POINTS: dict[str, tuple[str, bool]] = {
    "before anything is asked": ("_find", False),
    "when the letter is found": ("_find", True),
    "under the lock": ("_learn", False),
    "when the mail is written": ("_learn", True),
    "before the stop": ("carry_out", False),
    "after the stop, before the commit": ("carry_out", True),
    "after the commit": ("_take", True),
}


def main(point: str, file: str, mailbox: str) -> None:
    settings = read_settings()
    assert settings.database_url
    with connect(settings.database_url, name="doomed") as connection:
        vault = open_vault(connection, settings)
        name, is_after = POINTS[point]
        lay_blow(taking, name, is_after=is_after)
        arrived = Arrived(int(mailbox), Folder.INBOX, 1, 1, datetime.now(UTC), Path(file).read_bytes())
        taking.take_mail(connection, vault, arrived)


if __name__ == "__main__":
    main(*sys.argv[1:])
