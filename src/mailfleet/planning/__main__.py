"""The planner process: `python -m mailfleet.planning`, on the database that MAILFLEET_DATABASE_URL names.

It stops on SIGTERM, SIGINT, or its parent's end.
"""

from mailfleet.base.children import on_stop
from mailfleet.base.log import configure_log
from mailfleet.base.settings import read_settings
from mailfleet.planning.service import Planner


def main() -> None:
    settings = read_settings()
    configure_log(settings.log_level, process="planner")
    planner = Planner(settings.named_database())
    on_stop(planner.stop, with_parent=True)
    planner.run()


if __name__ == "__main__":
    main()
