"""A real erasure that dies at a named point: `python doomed_erasure.py POINT CONNINFO HOME ADDRESS`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from blows import lay_blow
from mailfleet.base.db import connect
from mailfleet.base.settings import Settings
from mailfleet.intake import contact_data
from mailfleet.mail.addresses import parse_address
from mailfleet.outbox.vault import open_vault

# point → (function of contact_data, whether the blow falls after it returned, the how-manieth time)
POINTS: dict[str, tuple[str, bool, int]] = {
    "before the ban": ("suppress", False, 1),
    "after the ban": ("suppress", True, 1),
    "after the first quote is gone": ("_erase_quotes", True, 1),
    "after every quote is gone": ("_erase_quotes", True, len(contact_data.QUOTING)),
    "after the commit": ("_erase", True, 1),
}


if __name__ == "__main__":
    _, point, conninfo, home, address = sys.argv
    name, is_after, number = POINTS[point]
    lay_blow(contact_data, name, is_after=is_after, number=number)
    settings = Settings(home=Path(home), database_url=conninfo, keys=None, log_level="critical", allow_insecure=False)
    with connect(conninfo, name="doomed") as connection:
        digester = open_vault(connection, settings).digester
        contact_data.erase_contact(connection, digester, parse_address(address), by="test")
