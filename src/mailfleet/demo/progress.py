"""How far the demo is: a live line in a terminal, a plain line now and then when piped."""

from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from mailfleet.base.clock import monotonic
from mailfleet.base.db import Connection

SPEAK_EVERY = 3.0  # chosen: seconds between two lines when piped

COUNTS = """
SELECT count(*) FILTER (WHERE outcome = 'accepted') AS sent,
       count(*) FILTER (WHERE outcome = 'deferred') AS deferred,
       count(*) FILTER (WHERE outcome = 'rejected') AS rejected,
       count(*) FILTER (WHERE outcome = 'ambiguous') AS ambiguous,
       (SELECT count(*) FROM event) AS heard
FROM attempt
"""


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts by outcome, and what was heard of letters, so far."""

    sent: int = 0
    deferred: int = 0
    rejected: int = 0
    ambiguous: int = 0
    heard: int = 0


def read_tally(connection: Connection) -> Tally:
    row = connection.execute(COUNTS).fetchone()
    return Tally(*row) if row is not None else Tally()


class ProgressView:
    """Shows a tally; `total` is the number of letters there are to send at most."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._began_at = self._told_at = monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> "ProgressView":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, tally: Tally, senders: int, note: str = "") -> None:
        seconds = monotonic() - self._began_at
        rate = tally.sent / seconds if seconds else 0.0
        left = f"{max(0.0, (self._total - tally.sent) / rate):.0f} s" if rate else "?"
        line = (
            f"sent {tally.sent:,} of {self._total:,} · deferred {tally.deferred} · rejected {tally.rejected}"
            f" · ambiguous {tally.ambiguous} · heard of {tally.heard} · {rate:.0f}/s · {left} left · {senders} senders"
        )
        if self._live is not None:
            grid = Table.grid(padding=(0, 1))
            grid.add_row(ProgressBar(total=self._total, completed=tally.sent, width=40), line)
            if note:
                grid.add_row("", note)
            self._live.update(grid)
        elif monotonic() - self._told_at >= SPEAK_EVERY:
            self._told_at = monotonic()
            self._console.print(f"{seconds:5.0f} s  {line}{'  ' + note if note else ''}")
