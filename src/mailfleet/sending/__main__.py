"""One sender process: `python -m mailfleet.sending`, on the database that MAILFLEET_DATABASE_URL names.

It stops on SIGTERM, SIGINT, or its parent's end.
"""

import asyncio
import gc
import sys
from collections.abc import Callable

from mailfleet.base.children import on_stop
from mailfleet.base.db import connect
from mailfleet.base.errors import MailfleetError
from mailfleet.base.log import configure_log, get_log
from mailfleet.base.settings import read_settings
from mailfleet.outbox.tunables import load_tunables
from mailfleet.outbox.vault import open_vault
from mailfleet.sending.journal import Journal
from mailfleet.sending.sender import Sender, SenderOptions

GARBAGE = 10_000  # chosen: objects made between two collections; a letter makes about a hundred


def main() -> None:
    settings = read_settings()
    configure_log(settings.log_level, process="sender")
    try:
        conninfo = settings.named_database()
        with connect(conninfo, name="mailfleet sender starts") as connection:
            vault, tunables = open_vault(connection, settings), load_tunables(connection)
        journals = settings.home / "journals"
        options = SenderOptions(conninfo, journals, vault, tunables)
        run(options, Journal.open_free(journals))
    except MailfleetError as error:
        get_log().critical("sender_cannot_start", error=str(error), hint=error.hint)
        sys.exit(1)


def run(options: SenderOptions, journal: Journal) -> None:
    """Runs a sender until it is told to stop."""
    gc.freeze()  # what was imported stays; to walk it again and again costs 20 us a letter
    gc.set_threshold(GARBAGE)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_run(options, journal))
    finally:
        journal.close()


async def _run(options: SenderOptions, journal: Journal) -> None:
    sender = Sender(options, journal)
    loop = asyncio.get_running_loop()
    on_stop(lambda: loop.call_soon_threadsafe(sender.stop), with_parent=True)
    await sender.run()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed: 10-45 % less CPU a letter."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    main()
