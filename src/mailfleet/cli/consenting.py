"""What `mailfleet account` does with a person at hand: asks for consents, and says how each login went."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

from mailfleet.cli.opening import Opened
from mailfleet.providers.oauth.answers import Issued
from mailfleet.providers.oauth.consent import Asking, loopback, wait_for_browser
from mailfleet.providers.oauth.endpoints import OAuthEndpoints
from mailfleet.providers.oauth.forms import Client
from mailfleet.providers.oauth.grants import save_consent
from mailfleet.providers.oauth.server import OAuthServer
from mailfleet.providers.oauth.source import TokenSource
from mailfleet.providers.oauth.trying import Trial, try_mailboxes

Way = Literal["device", "browser", "paste"]


async def collect_consents(
    it: Opened,
    account_id: int,
    client: Client,
    endpoints: OAuthEndpoints,
    rows: Sequence[Any],
    way: Way,
    save: Callable[[], None] | None,
) -> None:
    """One consent after the other, each stored when it is there. `rows` as `grants.oauth_mailboxes` gives them. `save`
    stores the grant with the first: a client that nobody has tried takes no other's place."""
    async with OAuthServer() as server:
        for row in rows:
            asking = Asking(server, client, endpoints, row.login)
            issued = await (_by_device(asking) if way == "device" else _by_browser(asking, paste=way == "paste"))
            with it.connection.transaction():
                if save is not None:
                    save()
                save_consent(it.connection, it.vault.keyring, account_id, row.id, issued)
            save = None
            click.echo(f"{row.address}: the consent is stored, sealed.")


async def _by_device(asking: Asking) -> Issued:
    code = await asking.begin_device()
    click.echo(f"As {asking.login}: open {code.url} and enter {code.user_code}. Waiting.")
    return await asking.wait_for_device(code)


async def _by_browser(asking: Asking, *, paste: bool) -> Issued:
    async with loopback(asking.endpoints.redirect_host) as (redirect_uri, came):
        consent = asking.consent(redirect_uri)
        click.echo(f"As {asking.login}: open this address and agree.\n\n  {consent.url}\n")
        if not paste:
            return await wait_for_browser(asking, consent, came)
    click.echo("The browser then shows that it cannot connect: nothing answers there. Copy its whole address.")
    return await asking.exchange(consent, await asyncio.to_thread(click.prompt, "Address", hide_input=True))


def log_in(it: Opened, rows: Sequence[Any], login_help: str) -> None:
    """Logs in to SMTP and IMAP of each and says how it went. Exit status 1 when one did not."""
    if not rows:
        click.echo("No mailbox of the account logs in by OAuth yet: import one with auth xoauth2 and no password.")
        return
    trials: list[Trial] = []

    def heard(trial: Trial) -> None:
        trials.append(trial)
        click.echo(f"{trial.address}: {'not yet' if trial.faults else 'logged in'}.")
        for fault in trial.faults:
            click.echo(f"  {fault}")

    asyncio.run(_try_all(it, rows, login_help, heard))
    if any(trial.faults for trial in trials):
        click.echo("When that is mended, `mailfleet account check` tries again at once.")
        sys.exit(1)


async def _try_all(it: Opened, rows: Sequence[Any], login_help: str, heard: Callable[[Trial], None]) -> None:
    source = TokenSource(it.conninfo, it.vault.keyring)
    try:
        await try_mailboxes(source, rows, login_help=login_help, on_result=heard)
    finally:
        await source.close()
