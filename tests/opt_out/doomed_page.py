"""A real opt-out page that dies at a named point: `python doomed_page.py POINT NUMBER`.

It runs the page's own code; only, the NUMBER-th time it comes to POINT, it sends itself SIGKILL.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from mailfleet.panel.opt_out import __main__ as process
from mailfleet.panel.opt_out import applying
from mailfleet.panel.opt_out.spool import Spool

# point → (owner, function, whether the blow falls after it returned)
POINTS: dict[str, tuple[Any, str, bool]] = {
    "before it is kept": (Spool, "keep", False),
    "on the disk, before the answer": (Spool, "_write", True),
    "before the ban": (applying, "suppress", False),
    "after the ban, before it is learned": (applying, "suppress", True),
    "before it is marked": (Spool, "applied", False),
    "after it is marked": (Spool, "applied", True),
}


def doom(point: str, number: int) -> None:
    """Lays the blow into the function."""
    owner, name, is_after = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    left = number

    def come() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(original)
    def doomed(*arguments: Any, **options: Any) -> Any:
        if not is_after:
            come()
        result = original(*arguments, **options)
        if is_after:
            come()
        return result

    setattr(owner, name, doomed)


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]))
    process.main()
