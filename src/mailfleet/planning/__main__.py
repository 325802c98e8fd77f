"""The planner process: `python -m mailfleet.planning CONNINFO`. Stops on SIGTERM, SIGINT, or its parent's end."""

import sys

from mailfleet.base.children import on_stop
from mailfleet.base.log import configure_log
from mailfleet.base.settings import read_settings
from mailfleet.planning.service import Planner


def main() -> None:
    configure_log(read_settings().log_level, process="planner")
    planner = Planner(sys.argv[1])
    on_stop(planner.stop, with_parent=True)
    planner.run()


if __name__ == "__main__":
    main()
