"""`python -m bench`: measures, prints a table, and writes JSON or the table of docs/performance.md where asked."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import click

from bench import growth, planner, steady
from bench.place import Place, open_place
from bench.report import Figure, as_json, as_markdown, describe_machine, medians, share_of_others, show
from bench.throughput import Sizes, Throughput

PARTS = ("throughput", "memory", "rate", "planner", "growth")


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these; all by default.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of throughput; shows medians.")
@click.option("--seconds", default=120, show_default=True, type=click.IntRange(10), help="Of the normal rate.")
@click.option("--past", default=1_000_000, show_default=True, type=click.IntRange(1), help="Old letters, for growth.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table there.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Measure on this disk; default: /tmp's.")
def main(
    parts: tuple[str, ...],
    rounds: int,
    seconds: int,
    past: int,
    json_file: Path | None,
    markdown: Path | None,
    folder: Path | None,
) -> None:
    """Measure Mailfleet on this machine."""
    others: dict[str, float] = {}
    with open_place(folder) as place:
        machine = describe_machine(place.folder)
        work: dict[str, Callable[[], Iterator[Figure]]] = {
            "throughput": lambda: _throughput(place, rounds),
            "memory": lambda: steady.memory(place),
            "rate": lambda: steady.normal_rate(place, seconds=seconds),
            "planner": lambda: _planner(place),
            "growth": lambda: growth.growth(place, letters=5_000, past=past),
        }
        figures: list[Figure] = []
        for part in parts or PARTS:
            click.echo(f"Measuring {part} …", err=True)
            before = share_of_others()
            figures += work[part]()
            others[part] = max(before, share_of_others())
    show(figures, machine, others)
    if json_file is not None:
        json_file.write_text(as_json(figures, machine, others), encoding="utf-8")
    if markdown is not None:
        markdown.write_text(as_markdown(figures), encoding="utf-8")


def _throughput(place: Place, rounds: int) -> Iterator[Figure]:
    with ExitStack() as stack:
        contest = Throughput(place, Sizes(), stack)
        yield from medians([list(contest.round()) for _ in range(rounds)])


def _planner(place: Place) -> Iterator[Figure]:
    yield from planner.pure()
    yield from planner.whole(place)


if __name__ == "__main__":
    main()
