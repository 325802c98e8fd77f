"""A real health process that dies at a named point: `python doomed_health.py POINT`.

It runs the service's own code, in a hurry; only, the first time it comes to POINT, it sends itself SIGKILL. With
POINT "never" it goes on.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from blows import lay_blow
from mailfleet.health import __main__ as process
from mailfleet.health import alerting, domains, judging, service
from mailfleet.health.counting import Counting
from mailfleet.health.dns import store as standing

# point → (where the name is looked up, the name, whether the blow falls after it)
POINTS: dict[str, tuple[Any, str, bool]] = {
    "before new domains are held": (judging, "hold_unchecked", False),
    "after new domains are held": (judging, "hold_unchecked", True),
    "before the count": (Counting, "count", False),
    "after the count": (Counting, "count", True),
    "before the verdict is written": (judging, "write_verdict", False),
    "after the verdict is written": (judging, "write_verdict", True),
    "before a domain is settled": (domains, "settle_report", False),
    "after a domain's standing is written": (standing, "_write_standing", True),
    "after a domain is settled": (domains, "settle_report", True),
    "before a notice": (alerting, "deliver", False),
    "after a notice": (alerting, "deliver", True),
    "after it is noted as told": (alerting, "tell_incidents", True),
}


if __name__ == "__main__":
    service.Health.__init__.__kwdefaults__["tick"] = 0.2
    if sys.argv[1] != "never":
        owner, name, is_after = POINTS[sys.argv[1]]
        lay_blow(owner, name, is_after=is_after)
    process.main()
