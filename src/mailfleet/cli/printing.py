"""How commands print: tables in a terminal, the same lines unfolded when piped."""

import sys
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.text import Text

PIPED_WIDTH = 4000  # chosen: no cell of ours is as long; a pipe has no width of its own

console = Console(highlight=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def moment(at: datetime | None) -> str:
    """In this machine's zone, to the second."""
    return "—" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def cell(value: object) -> Text:
    """A value in a table as it is: what stands in brackets is no style."""
    if isinstance(value, datetime):
        return Text(moment(value))
    return Text("" if value is None else str(value))


def plain(value: object) -> str:
    """A value inside a sentence that has styles of its own."""
    return escape(str(value))
