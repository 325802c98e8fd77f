"""opt-out: the public page on a host of its own."""

import click

from mailfleet.base.log import configure_log
from mailfleet.base.settings import read_settings
from mailfleet.panel.opt_out.service import LISTEN, LISTEN_VARIABLE, PROXIES, PROXIES_VARIABLE, page_options, serve


@click.command("opt-out")
@click.option("--listen", default=LISTEN, show_default=True, envvar=LISTEN_VARIABLE, metavar="HOST:PORT")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    default=PROXIES.split(),
    show_default=True,
    envvar=PROXIES_VARIABLE,
    metavar="ADDRESS",
    help="An address or network whose X-Forwarded-For is believed; may be given again.",
)
def opt_out_command(listen: str, proxies: tuple[str, ...]) -> None:
    """Run the public opt-out page alone, against the database that MAILFLEET_DATABASE_URL names, until Ctrl-C."""
    settings = read_settings()
    configure_log(settings.log_level, process="opt-out page")
    if not settings.database_url:
        raise click.UsageError(
            "Name the common database by MAILFLEET_DATABASE_URL; on one machine `mailfleet up` serves the page."
        )
    options = page_options(listen, list(proxies))
    click.echo(f"The opt-out page listens at {listen}. Home: {settings.home}. Stop with Ctrl-C.")
    serve(settings, options, with_parent=False)
