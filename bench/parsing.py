"""`python -m bench.parsing`: CPU microseconds a mail, reading and classifying, over the corpus of real reports and over
a plain reply; the median of several rounds in one process."""

import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from mailfleet.mail.incoming import Incoming, read_incoming
from mailfleet.mail.kinds import classify

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
CORPORA = Path(os.environ.get("MAILFLEET_CORPORA") or Path(__file__).parents[2] / "shared" / "corpora")
REPLY = (
    b"From: Jane <jane@b.example>\nTo: me@a.example\nSubject: Re: Hello\nMessage-ID: <m2@b.example>\n"
    b"In-Reply-To: <m1@a.example>\nContent-Type: text/plain; charset=utf-8\n\n"
    b"Thanks, let us talk on Monday.\n\nJane\n\nOn Mon, 2 Mar 2026 at 09:00, Me <me@a.example> wrote:\n> Hello\n"
)


def microseconds(work: Callable[[], object], mails: int, rounds: int) -> float:
    """CPU of this process for one mail, the median of the rounds."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) / mails * 1e6)
    return statistics.median(taken)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
def main(rounds: int) -> None:
    """Measure the readers of mail on this machine."""
    reports = [path.read_bytes() for path in sorted((CORPORA / "bounces").glob("*.eml"))]
    for name, raws in (("real reports", reports), ("a plain reply", [REPLY] * 300)):
        if raws:
            measure(name, raws, rounds)


def measure(name: str, raws: list[bytes], rounds: int) -> None:
    """One line of figures; the first round, which loads the rules, is left out."""
    mails: list[Incoming] = [read_incoming(raw) for raw in raws]
    _ = [classify(mail, NOW) for mail in mails]
    reading = microseconds(lambda: [read_incoming(raw) for raw in raws], len(raws), rounds)
    telling = microseconds(lambda: [classify(mail, NOW) for mail in mails], len(raws), rounds)
    size = sum(map(len, raws)) / len(raws) / 1000
    click.echo(f"{name}: {len(raws)} of {size:.1f} kB, {reading:.0f} us to read, {telling:.0f} us to classify")


if __name__ == "__main__":
    main()
