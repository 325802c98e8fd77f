"""watchers: reading on one more host."""

import click

from mailfleet.base.log import configure_log
from mailfleet.base.settings import read_settings
from mailfleet.cli.opening import database
from mailfleet.inbox.__main__ import run, watcher_options


@click.command("watchers")
def watchers_command() -> None:
    """Read mailboxes on one more host, against the database that MAILFLEET_DATABASE_URL names, until Ctrl-C."""
    settings = read_settings()
    configure_log(settings.log_level, process="watcher")
    if not settings.database_url:
        raise click.UsageError(
            "Name the common database by MAILFLEET_DATABASE_URL; on one machine `mailfleet up` reads the mailboxes."
        )
    with database(settings):
        options = watcher_options(settings)
        click.echo(f"A watcher runs. Home: {settings.home}. Stop with Ctrl-C.")
        run(options, with_parent=False)
    click.echo("Stopped; nothing is left running.")
