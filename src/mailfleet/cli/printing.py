"""How commands print: tables in a terminal, the same lines unfolded when piped."""

import sys
from datetime import datetime

from rich.console import Console

PIPED_WIDTH = 200  # chosen: no cell of ours is folded; a pipe has no width of its own

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def moment(at: datetime | None) -> str:
    """In this machine's zone, to the second."""
    return "—" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
