"""up, senders, migrate: what keeps running."""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime

import click

from mailfleet.base.children import on_stop
from mailfleet.base.db import Connection, connect
from mailfleet.base.home import lock_home
from mailfleet.base.log import configure_log, get_log
from mailfleet.base.postgres import DATABASE, EmbeddedPostgres
from mailfleet.base.settings import Settings, read_settings
from mailfleet.cli.embedded import owned
from mailfleet.cli.looking import read_counts
from mailfleet.cli.opening import database
from mailfleet.cli.schema import check_database
from mailfleet.outbox.vault import open_vault
from mailfleet.panel.opt_out.service import check_free, is_listening, page_options
from mailfleet.sending.supervisor import EVERYTHING, PLANNER, Supervisor

HEARD = """
SELECT (SELECT count(*) FROM event WHERE kind = 'reply' AND at >= today.began_at) AS replies,
       (SELECT count(*) FROM event WHERE kind = 'opt_out' AND at >= today.began_at) AS opt_outs,
       (SELECT count(*) FROM mailbox b LEFT JOIN reading r ON r.mailbox_id = b.id
        WHERE b.retired_at IS NULL AND b.imap_host <> ''
          AND (r.read_at IS NULL OR r.read_at < clock_timestamp() - interval '15 minutes')) AS unread,
       (SELECT count(*) FROM incident WHERE closed_at IS NULL) AS incidents
FROM (SELECT date_trunc('day', clock_timestamp(), 'UTC') AS began_at) AS today
"""
"""`unread`: mailboxes that had no good read for three times as long as the design allows."""
CHECK_TURNS = 30  # chosen: turns between two looks at the embedded server's health; about a minute
least_option = click.option("--least", default=1, show_default=True, type=click.IntRange(1), help="Senders at least.")
most_option = click.option("--most", default=4, show_default=True, type=click.IntRange(1), help="Senders at most.")


@click.command("up")
@least_option
@most_option
def up_command(least: int, most: int) -> None:
    """Run everything on this machine, until Ctrl-C."""
    settings = read_settings()
    configure_log(settings.log_level, process="up")
    with ExitStack() as stack:
        stack.enter_context(lock_home(settings.home))
        page = page_options(settings)
        check_free(page)
        server = None if settings.database_url else stack.enter_context(owned(settings.home))
        conninfo = server.conninfo(DATABASE) if server else settings.database_url or ""
        if server is None:
            check_database(conninfo)
        _supervise(
            settings,
            conninfo,
            (least, most),
            EVERYTHING,
            _Reporter(server),
            greeting=f"Mailfleet is up. Opt-outs are taken at {settings.opt_out_listen}.",
            must_stand={"opt_out_page": lambda: is_listening(page)},
        )
    click.echo("Stopped; nothing is left running.")


@click.command("senders")
@least_option
@most_option
def senders_command(least: int, most: int) -> None:
    """Run senders on one more host, against the database that MAILFLEET_DATABASE_URL names."""
    settings = read_settings()
    configure_log(settings.log_level, process="senders")
    if not settings.database_url:
        raise click.UsageError(
            "Name the common database by MAILFLEET_DATABASE_URL; on one machine `mailfleet up` does."
        )
    with lock_home(settings.home), database(settings) as conninfo:
        _supervise(settings, conninfo, (least, most), PLANNER, _Reporter(None), greeting="Senders run.")
    click.echo("Stopped; nothing is left running.")


@click.command("migrate")
def migrate_command() -> None:
    """Bring the database to this version's schema."""
    settings = read_settings()
    with database(settings, migrates=True):
        click.echo("The schema is up to date.")


def _supervise(
    settings: Settings,
    conninfo: str,
    numbers: tuple[int, int],
    services: Mapping[str, str],
    reporter: "_Reporter",
    *,
    greeting: str,
    must_stand: Mapping[str, Callable[[], bool]] | None = None,
) -> None:
    """Until a signal; `numbers`: senders at least and at most."""
    with connect(conninfo, name="mailfleet starts") as connection:
        open_vault(connection, settings)  # a wrong key is said here, once, and not by every process
    supervisor = Supervisor(
        conninfo,
        least=numbers[0],
        most=max(numbers),
        services=services,
        environment={"MAILFLEET_HOME": str(settings.home)},
        each_turn=reporter.tell,
        keep_database=reporter.keep_server,
    )
    on_stop(supervisor.stop, with_parent=False)
    supervisor.start(must_stand)
    click.echo(f"{greeting} Home: {settings.home}. Stop with Ctrl-C.")
    supervisor.run()


class _Reporter:
    """A line whenever the numbers changed; the embedded server's health."""

    def __init__(self, server: EmbeddedPostgres | None) -> None:
        self._server = server
        self._turn = 0
        self._last = ""

    def keep_server(self) -> None:
        """Starts the embedded server again when it has ended by itself; SetupError when it cannot."""
        if self._server is not None and self._server.pid is None:
            get_log().critical("postgres_fell", next="it is started again")
            self._server.start()

    def tell(self, connection: Connection, senders: int) -> None:
        self._turn += 1
        if self._server is not None and self._turn % CHECK_TURNS == 0:
            self._server.check()
        counts = read_counts(connection)
        heard = connection.execute(HEARD).fetchone()
        assert heard is not None
        line = (
            f"sent today {counts.sent_today} · due in the next hour {counts.queued} · late {counts.late}"
            f" · ambiguous {counts.ambiguous} · holds {counts.holds} · senders {senders}"
            f" · today: replies {heard.replies}, opt-outs {heard.opt_outs} · mailboxes unread {heard.unread}"
            f" · incidents {heard.incidents}"
        )
        if line != self._last:
            click.echo(f"{datetime.now(UTC).astimezone():%H:%M:%S}  {line}")
            sys.stdout.flush()
            self._last = line
