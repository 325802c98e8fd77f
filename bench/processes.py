"""What processes cost: CPU and memory, as the kernel counts them (proc(5))."""

import os
from collections.abc import Iterable
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE_KB = 1024


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float:
    """User and system time of a process, of all its threads; 0 when it is gone."""
    fields = _stat(pid)
    own = fields[11:13] if not with_ended_children else fields[11:15]
    return sum(map(int, own)) * TICK


def cpu_of(pids: Iterable[int]) -> float:
    return sum(cpu_seconds(pid) for pid in pids)


def cpu_of_tree(root: int) -> float:
    """Of a server and its children, those that ended included."""
    return sum(cpu_seconds(pid, with_ended_children=True) for pid in [root, *children_of(root)])


def children_of(root: int) -> list[int]:
    """Direct children that live."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[1]) == root]


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional (shared pages divided among their users) megabytes."""
    values = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(values["Rss"].split()[0]) / PAGE_KB, int(values["Pss"].split()[0]) / PAGE_KB


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []
