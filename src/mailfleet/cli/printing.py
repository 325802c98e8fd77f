"""How commands print and ask: tables in a terminal, the same lines unfolded when piped."""

import sys
from datetime import datetime

import click
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from mailfleet.base.errors import InputError

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


def confirm(question: str) -> None:
    """Goes on only after a yes. InputError when there is nobody to ask."""
    try:
        click.confirm(question, abort=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise InputError("Nobody said yes, so nothing was changed.", hint="--yes goes on without asking.") from None
