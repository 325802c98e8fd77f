"""A real watcher process in a hurry, that may die or freeze at a named point: `hasty_watcher.py [POINT NUMBER SIGNAL]`.

It runs the watcher's own code; only, the NUMBER-th time it comes to POINT, it sends itself SIGNAL.
"""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from watch_scene import RHYTHM  # noqa: E402

from blows import lay_blow  # noqa: E402 - found by the lines above
from mailfleet.base.log import configure_log  # noqa: E402
from mailfleet.base.settings import read_settings  # noqa: E402
from mailfleet.inbox import visiting  # noqa: E402
from mailfleet.inbox.__main__ import run, watcher_options  # noqa: E402
from mailfleet.inbox.store import WatcherStore  # noqa: E402

# point → (where the function lives, its name, whether the blow falls after it)
POINTS: dict[str, tuple[Any, str, bool]] = {
    "after the lease": (WatcherStore, "lease", True),
    "before a mail is taken": (visiting, "take_mail", False),
    "after a mail is taken": (visiting, "take_mail", True),
    "before the cursor": (WatcherStore, "keep_cursor", False),
    "after the cursor": (WatcherStore, "keep_cursor", True),
    "before a good reading": (WatcherStore, "read_well", False),
    "after a good reading": (WatcherStore, "read_well", True),
}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        owner, name, is_after = POINTS[sys.argv[1]]
        blow = signal.Signals[sys.argv[3]]
        lay_blow(owner, name, is_after=is_after, number=int(sys.argv[2]), blow=blow)
    settings = read_settings()
    configure_log(settings.log_level, process="watcher")
    run(replace(watcher_options(settings), rhythm=RHYTHM), with_parent=True)
