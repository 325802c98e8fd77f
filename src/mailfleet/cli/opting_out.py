"""opt-out: the public page on a host of its own."""

from dataclasses import replace

import click

from mailfleet.base.log import configure_log
from mailfleet.base.settings import read_settings
from mailfleet.panel.opt_out.service import check_free, page_options, serve


@click.command("opt-out")
@click.option("--listen", metavar="HOST:PORT", help="Where; without it MAILFLEET_OPT_OUT_LISTEN, or 127.0.0.1:8320.")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="An address or network whose X-Forwarded-For is believed; may be given again. Without it"
    " MAILFLEET_OPT_OUT_PROXIES, or this machine.",
)
def opt_out_command(listen: str | None, proxies: tuple[str, ...]) -> None:
    """Run the public opt-out page alone, against the database that MAILFLEET_DATABASE_URL names, until Ctrl-C."""
    settings = read_settings()
    configure_log(settings.log_level, process="opt-out page")
    if not settings.database_url:
        raise click.UsageError(
            "Name the common database by MAILFLEET_DATABASE_URL; on one machine `mailfleet up` serves the page."
        )
    settings = replace(
        settings,
        opt_out_listen=listen or settings.opt_out_listen,
        opt_out_proxies=proxies or settings.opt_out_proxies,
    )
    check_free(page_options(settings))
    click.echo(f"The opt-out page listens at {settings.opt_out_listen}. Home: {settings.home}. Stop with Ctrl-C.")
    serve(settings, with_parent=False)
