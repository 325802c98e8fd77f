"""How commands print: tables in a terminal, plain lines when piped."""

from datetime import datetime

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


def moment(at: datetime | None) -> str:
    """In this machine's zone, to the second."""
    return "—" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
