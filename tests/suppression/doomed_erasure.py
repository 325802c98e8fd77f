"""A real erasure that dies at a named point: `python doomed_erasure.py POINT CONNINFO HOME ADDRESS`."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def doom(point: str) -> None:
    name, is_after, left = POINTS[point]
    original: Callable[..., Any] = getattr(contact_data, name)

    def doomed(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if not left and not is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = original(*arguments, **options)
        if not left and is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(contact_data, name, doomed)


if __name__ == "__main__":
    _, point, conninfo, home, address = sys.argv
    doom(point)
    settings = Settings(home=Path(home), database_url=conninfo, keys=None, log_level="critical", allow_insecure=False)
    with connect(conninfo, name="doomed") as connection:
        digester = open_vault(connection, settings).digester
        contact_data.erase_contact(connection, digester, parse_address(address), by="test")
