"""What was measured, what was asked for, and whether it is met: a table for people, JSON for programs."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

QUIET = 0.1  # chosen: share of the machine that others may take before figures are called disturbed
LOOK = 1.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `at_most` or `at_least` is the target; without either it is for information."""

    part: str
    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool | None:
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {_short(self.at_most)}"
        return f"≥ {_short(self.at_least)}" if self.at_least is not None else ""


@dataclass(frozen=True, slots=True)
class Machine:
    processor: str
    cores: int
    memory_gb: int
    kernel: str
    python: str
    folder: str
    sync_ms: float

    def __str__(self) -> str:
        return (
            f"{self.cores} cores ({self.processor}), {self.memory_gb} GB, Linux {self.kernel}, Python {self.python}; "
            f"fdatasync in {self.folder}: {self.sync_ms:.2f} ms"
        )


def describe_machine(folder: Path) -> Machine:
    names = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=names[0] if names else platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gb=round(memory / 1024**3),
        kernel=platform.release(),
        python=platform.python_version(),
        folder=str(folder),
        sync_ms=_sync_ms(folder),
    )


def share_of_others() -> float:
    """Share of the machine that is busy while we do nothing; figures of a busy machine are no figures."""
    before = _ticks()
    time.sleep(LOOK)
    busy, everything = (after - start for after, start in zip(_ticks(), before, strict=True))
    return busy / everything


def medians(rounds: Sequence[Sequence[Figure]]) -> list[Figure]:
    """The median of each figure over the rounds of one part, in the order of the first round."""
    values: dict[tuple[str, str], list[float]] = {}
    for one in rounds:
        for figure in one:
            values.setdefault((figure.part, figure.what), []).append(figure.value)
    return [_with(figure, median(values[figure.part, figure.what])) for figure in rounds[0]]


def show(figures: Sequence[Figure], machine: Machine, others: Mapping[str, float]) -> None:
    """`others`: the share of the machine that other work took before or after each part."""
    console = Console()
    console.print(f"[bold]Mailfleet's figures[/bold]\n{machine}")
    for part, share in others.items():
        if share > QUIET:
            console.print(f"[yellow]{part}: others took {share:.0%} of the machine; what it says is too bad.[/yellow]")
    table = Table(show_lines=False)
    for name in ("part", "what", "measured", "target", "met"):
        table.add_column(name, justify="right" if name in ("measured", "target") else "left")
    last = ""
    for figure in figures:
        met = {True: "[green]yes[/green]", False: "[red]no[/red]", None: ""}[figure.is_met]
        part = figure.part if figure.part != last else ""
        table.add_row(part, figure.what, f"{_short(figure.value)} {figure.unit}".strip(), figure.target, met)
        last = figure.part
    console.print(table)


def as_json(figures: Sequence[Figure], machine: Machine, others: Mapping[str, float]) -> str:
    rows = [asdict(figure) | {"is_met": figure.is_met} for figure in figures]
    return json.dumps({"machine": asdict(machine), "others": dict(others), "figures": rows}, indent=1)


def as_markdown(figures: Sequence[Figure]) -> str:
    """The table of docs/performance.md."""
    met: Callable[[Figure], str] = lambda figure: {True: "yes", False: "**no**", None: ""}[figure.is_met]  # noqa: E731
    lines = ["| part | what | measured | target | met |", "|---|---|--:|--:|---|"]
    lines += [f"| {f.part} | {f.what} | {_short(f.value)} {f.unit} | {f.target} | {met(f)} |" for f in figures]
    return "\n".join(lines) + "\n"


def _with(figure: Figure, value: float) -> Figure:
    return Figure(figure.part, figure.what, value, figure.unit, figure.at_most, figure.at_least)


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def _sync_ms(folder: Path) -> float:
    """The median time of a write of 4 kB that is on the disk: what every commit waits for."""
    path = folder / "sync"
    spent = []
    with path.open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return median(spent)
