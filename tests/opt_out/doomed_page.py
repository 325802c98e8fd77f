"""A real opt-out page that dies at a named point: `python doomed_page.py POINT NUMBER`.

It runs the page's own code; only, the NUMBER-th time it comes to POINT, it sends itself SIGKILL.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from blows import lay_blow
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


if __name__ == "__main__":
    owner, name, is_after = POINTS[sys.argv[1]]
    lay_blow(owner, name, is_after=is_after, number=int(sys.argv[2]))
    process.main()
