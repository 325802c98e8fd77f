"""One watcher process: `python -m mailfleet.inbox`, on the database that MAILFLEET_DATABASE_URL names.

It stops on SIGTERM, SIGINT, or its parent's end.
"""

import contextlib
import gc
import resource
import sys

from mailfleet.base.children import on_stop
from mailfleet.base.db import connect
from mailfleet.base.errors import MailfleetError
from mailfleet.base.log import configure_log, get_log
from mailfleet.base.settings import Settings, read_settings
from mailfleet.inbox.rhythm import load_rhythm
from mailfleet.inbox.watcher import Watcher, WatcherOptions
from mailfleet.outbox.tunables import load_tunables
from mailfleet.outbox.vault import open_vault


def main() -> None:
    settings = read_settings()
    configure_log(settings.log_level, process="watcher")
    try:
        options = watcher_options(settings)
    except MailfleetError as error:
        get_log().critical("watcher_cannot_start", error=str(error), hint=error.hint)
        sys.exit(1)
    run(options, with_parent=True)


def watcher_options(settings: Settings) -> WatcherOptions:
    """From the database; SetupError when it or the keys cannot be used."""
    conninfo = settings.named_database()
    with connect(conninfo, name="mailfleet watcher starts") as connection:
        lease, rhythm = load_tunables(connection).lease, load_rhythm(connection)
        return WatcherOptions(conninfo, open_vault(connection, settings), lease, rhythm)


def run(options: WatcherOptions, *, with_parent: bool) -> None:
    """Runs a watcher until it is told to stop."""
    _allow_files()
    gc.freeze()
    watcher = Watcher(options)
    on_stop(watcher.stop, with_parent=with_parent)
    watcher.run()


def _allow_files() -> None:
    """As many open files as we may have: a session is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
