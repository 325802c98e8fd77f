"""An errand that dies at a named point: `python doomed_errands.py POINT CONNINFO MAILBOX PORT LOGIN PASSWORD`."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from blows import lay_blow
from mailfleet.base.db import connect
from mailfleet.inbox import reconciling
from mailfleet.inbox.errands import run_errands
from mailfleet.model.words import Security
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession

# point → (owner, function): the blow falls after it returned
POINTS: dict[str, tuple[Any, str]] = {
    "between look and settlement": (ImapSession, "find_message"),
    "before the commit of an acceptance": (reconciling, "accept"),
    "before the commit of planning again": (reconciling, "plan_again"),
    "between append and done": (ImapSession, "append_copy"),
}


if __name__ == "__main__":
    point, conninfo, mailbox, port, login, password = sys.argv[1:]
    owner, name = POINTS[point]
    lay_blow(owner, name, is_after=True)
    endpoint = Endpoint("127.0.0.1", int(port), Security.NONE)
    with connect(conninfo, name="doomed") as connection, ImapSession.open(endpoint, Login(login, password)) as session:
        run_errands(connection, session, int(mailbox))
