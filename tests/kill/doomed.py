"""A real sender process that dies, or freezes, at a named point: `python doomed.py POINT NUMBER SIGNAL`.

It runs the sender's own code; only, the NUMBER-th time it comes to POINT, it sends itself SIGNAL.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from mailfleet.outbox.service import Outbox
from mailfleet.providers.smtp import SmtpSession
from mailfleet.providers.wire import Wire
from mailfleet.sending import __main__ as process
from mailfleet.sending.journal import Journal

# point → (class, coroutine method, whether the blow falls after it returned something)
POINTS: dict[str, tuple[type, str, bool]] = {
    "after lease": (Outbox, "lease_mailboxes", True),
    "before reservation": (Outbox, "reserve", False),
    "after reservation commit": (Outbox, "reserve", True),
    "before journal begin": (Journal, "begin", False),
    "after journal begin": (Journal, "begin", True),
    "before the first byte": (SmtpSession, "submit", False),
    "in DATA": (Wire, "send_content", False),
    "before the final dot": (Journal, "dot", False),
    "after the dot is journalled": (Journal, "dot", True),
    "after the final dot, before the reply": (SmtpSession, "_finish", False),
    "after the reply, before the journal": (Journal, "done", False),
    "after the journal": (Journal, "done", True),
    "before settlement": (Outbox, "settle", False),
    "after settlement": (Outbox, "settle", True),
}
SILENT = ("begin", "dot", "done", "settle")  # return nothing: every return counts


def doom(point: str, number: int, blow: signal.Signals) -> None:
    """Lays the blow into the class."""
    owner, name, is_after = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    left = number

    def come() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), blow)

    @functools.wraps(original)
    async def doomed(*arguments: Any, **options: Any) -> Any:
        is_work = name != "settle" or bool(arguments[1])
        if not is_after and is_work:
            if name == "send_content":  # half of the letter leaves first
                arguments[0].send(arguments[1][: len(arguments[1]) // 2], replies=0)
            come()
        result = await original(*arguments, **options)
        if is_after and is_work and (result or name in SILENT):
            come()
        return result

    setattr(owner, name, doomed)


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]), signal.Signals[sys.argv[3]])
    process.main()
