"""The health process: `python -m mailfleet.health`, on the database that MAILFLEET_DATABASE_URL names.

It stops on SIGTERM, SIGINT, or its parent's end.
"""

import sys

from mailfleet.base.children import on_stop
from mailfleet.base.db import connect
from mailfleet.base.errors import MailfleetError
from mailfleet.base.log import configure_log, get_log
from mailfleet.base.settings import read_settings
from mailfleet.health.service import Health
from mailfleet.outbox.vault import open_vault


def main() -> None:
    settings = read_settings()
    configure_log(settings.log_level, process="health")
    try:
        conninfo = settings.named_database()
        with connect(conninfo, name="mailfleet health starts") as connection:
            vault = open_vault(connection, settings)
        health = Health(conninfo, settings, vault)
    except MailfleetError as error:
        get_log().critical("health_cannot_start", error=str(error), hint=error.hint)
        sys.exit(1)
    on_stop(health.stop, with_parent=True)
    health.run()


if __name__ == "__main__":
    main()
