"""The planner, one run for each line on stdin: `FIRST LAST`, the enrollments that become ready with it.

Answers each with the number of slots. It is a process of its own, as in the product, so that its CPU can be told.
"""

import sys

from bench.fleet import wake
from mailfleet.base.db import connect
from mailfleet.outbox.tunables import load_tunables
from mailfleet.planning.service import plan_once


def main() -> None:
    with connect(sys.argv[1], name="bench planner") as connection:
        tunables = load_tunables(connection)
        for line in sys.stdin:
            first, last = map(int, line.split())
            wake(connection, first, last)
            print(len(plan_once(connection, tunables).slots), flush=True)


if __name__ == "__main__":
    main()
