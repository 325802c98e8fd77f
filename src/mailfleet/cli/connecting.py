"""account: connect an account's mailboxes to their provider by OAuth, look at the grants, try them."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from mailfleet.base.errors import InputError
from mailfleet.cli.consenting import Way, collect_consents, log_in
from mailfleet.cli.opening import Opened, opened
from mailfleet.cli.printing import cell, confirm, console, plain
from mailfleet.providers.oauth.credentials import (
    Credential,
    Flow,
    read_certificate,
    read_secret,
    read_service_account,
)
from mailfleet.providers.oauth.endpoints import OAuthEndpoints, load_endpoints, read_endpoints
from mailfleet.providers.oauth.forms import Client
from mailfleet.providers.oauth.grants import (
    ask_again,
    ending_grants,
    find_account,
    grant_before,
    list_grants,
    oauth_mailboxes,
    save_grant,
)
from mailfleet.providers.oauth.server import OAuthServer
from mailfleet.providers.oauth.trying import try_grant

PATH = click.Path(path_type=Path)
DAY = click.DateTime(["%Y-%m-%d"])
_FLOWS = {"google": "--google-service-account", "microsoft": "--microsoft-app", "code": "--code", "device": "--device"}
_KINDS = {
    Flow.SERVICE_ACCOUNT: "a service account with domain-wide delegation",
    Flow.CLIENT_CREDENTIALS: "an application of the tenant (client credentials)",
    Flow.CONSENT: "the consent of each mailbox's person",
}


@click.group("account")
def account_command() -> None:
    """Connect accounts by OAuth: one grant for all mailboxes of an account."""


@account_command.command("connect")
@click.argument("name")
@click.option("--google-service-account", "google", type=PATH, help="Key file (JSON) with domain-wide delegation.")
@click.option("--microsoft-app", "microsoft", is_flag=True, help="An application of the tenant, client credentials.")
@click.option("--code", is_flag=True, help="Each mailbox's person agrees in a browser on this machine.")
@click.option("--device", is_flag=True, help="Each mailbox's person types a code into a page, anywhere.")
@click.option("--client-id", default="", help="Of the application, as the provider's console shows it.")
@click.option("--tenant", default="", help="Microsoft: the directory (tenant) id or a domain of it.")
@click.option("--secret-file", type=PATH, help="Holds the client's secret; in a terminal it is asked for otherwise.")
@click.option("--certificate", type=PATH, help="Instead of a secret: PEM with private key and certificate.")
@click.option("--secret-ends", type=DAY, help="The day the secret ends, to be warned a month before.")
@click.option("--endpoints", "endpoints_file", type=PATH, help="TOML that names OAuth servers of another provider.")
@click.option("--mailbox", "mailboxes", multiple=True, help="With --code, --device: these; else all without consent.")
@click.option("--paste", is_flag=True, help="With --code: no browser here; paste the address it was sent to.")
@click.option("--check", is_flag=True, help="Then log in to every mailbox of the account, not to one.")
@click.option("--yes", is_flag=True, help="Do not ask before it is stored.")
def connect_command(name: str, **options: Any) -> None:
    """Connect the account NAME: shows what is asked for, tries it, stores it sealed, logs in with it.

    It takes the place of the grant that the account had; consents given to the same client stay. What to click at
    Google and Microsoft stands in docs/oauth.md.
    """
    way = _way(options)
    with opened() as it:
        account = find_account(it.connection, name)
        endpoints = _endpoints(account.preset, options)
        flow, client, ends_on = _client(way, endpoints, options)
        rows = oauth_mailboxes(it.connection, account.id)
        before = grant_before(it.connection, account.id, flow, client)
        _show(account.name, flow, client, rows, before)
        if not options["yes"]:
            confirm("Go on?")
        save = partial(_save, it, account.id, flow, client, endpoints, ends_on)
        if flow is Flow.CONSENT:
            _consent(it, account.id, client, endpoints, rows, before, options, save)
        else:
            asyncio.run(_prove(flow, client, endpoints, rows))
            save()
        click.echo(f"The grant of {account.name} is stored, sealed.")
        log_in(it, rows if options["check"] else _one_of(it, account.id), endpoints.login_help)


@account_command.command("check")
@click.argument("name")
@click.option("--each", is_flag=True, help="Every mailbox of the account, not one.")
def check_command(name: str, each: bool) -> None:
    """Try the grant of the account NAME again, at once: after you have mended what was wrong."""
    with opened() as it:
        account = find_account(it.connection, name)
        rows = oauth_mailboxes(it.connection, account.id) if each else _one_of(it, account.id)
        if not ask_again(it.connection, account.id, [row.id for row in rows]):
            raise InputError(
                f"{account.name} is not connected.", hint=f"Run `mailfleet account connect {account.name}`."
            )
        known = load_endpoints().get(account.preset)
        log_in(it, rows, known.login_help if known else "")


@account_command.command("list")
def list_command() -> None:
    """The accounts whose mailboxes log in by OAuth: what each has, and what is wrong with it."""
    with opened() as it:
        rows = list_grants(it.connection)
        ending = ending_grants(it.connection, datetime.now(UTC).date())
    if not rows:
        click.echo("No mailbox logs in by OAuth; a file of mailboxes says so by auth = xoauth2.")
        return
    table = Table(box=None, header_style="bold")
    for title in ("account", "by", "client", "mailboxes", "consents", "good tokens", "secret ends", "state"):
        table.add_column(title)
    for row in rows:
        by = "not connected" if row.flow is None else row.flow.replace("_", " ")
        values = (row.account, by, row.client_id, row.mailboxes, row.consents, row.good_tokens, row.expires_on)
        table.add_row(*map(cell, values), cell(_state(row)))
    console.print(table)
    for row in rows:
        if row.fault_kind is not None:
            console.print(f"[bold]{plain(row.account)}[/]: {plain(row.fault_text)}\n  → {plain(row.fault_hint)}")
    for grant in ending:
        click.echo(
            f"{grant.account}: its secret or certificate ends on {grant.expires_on}; connect with a new one before."
        )


def _one_of(it: Opened, account_id: int) -> Sequence[Any]:
    """The mailbox that stands for the account: where persons consent, one whose person has."""
    return sorted(oauth_mailboxes(it.connection, account_id), key=lambda row: not row.has_consent)[:1]


def _state(row: Any) -> str:
    if row.flow is None:
        return "connect it"
    if row.fault_kind is not None:
        return f"{row.fault_kind.replace('_', ' ')} since {row.fault_at:%Y-%m-%d %H:%M} UTC"
    if row.faulty_mailboxes:
        return f"{row.faulty_mailboxes} mailboxes without a token"
    return "resting" if row.rest_until and row.rest_until > datetime.now(UTC) else "good"


def _way(options: dict[str, Any]) -> str:
    ways = [way for way in _FLOWS if options[way]]
    if len(ways) != 1:
        raise InputError(
            f"{'No way' if not ways else 'More than one way'} to connect was named.",
            hint=f"Name one of {', '.join(_FLOWS.values())}.",
        )
    return ways[0]


def _endpoints(preset: str, options: dict[str, Any]) -> OAuthEndpoints:
    if options["endpoints_file"]:
        found = read_endpoints(options["endpoints_file"])
    else:
        known = load_endpoints()
        fallback = "google_workspace" if options["google"] else "microsoft_365" if options["microsoft"] else ""
        chosen = known.get(preset) or known.get(fallback)
        if chosen is None:
            raise InputError(
                f"No OAuth servers are known of the account's provider ({preset}).",
                hint="Name them in a file: --endpoints FILE, see docs/oauth.md.",
            )
        found = chosen
    return found.of_tenant(options["tenant"]) if found.needs_tenant else found


def _client(way: str, endpoints: OAuthEndpoints, options: dict[str, Any]) -> tuple[Flow, Client, date | None]:
    """Flow, client, and the day its secret ends, where that is known."""
    ends_on = options["secret_ends"].date() if options["secret_ends"] else None
    if way == "google":
        account = read_service_account(options["google"])
        scope = _scope(endpoints.delegated_scope, way)
        return Flow.SERVICE_ACCOUNT, Client(account.client_id, endpoints.token_url, scope, account.credential), ends_on
    if not options["client_id"]:
        raise InputError(
            "--client-id is missing.", hint="It stands on the application's page in the provider's console."
        )
    flow = Flow.CLIENT_CREDENTIALS if way == "microsoft" else Flow.CONSENT
    scope = _scope(endpoints.delegated_scope if way == "microsoft" else endpoints.consent_scope, way)
    if not {"code": endpoints.authorize_url, "device": endpoints.device_url}.get(way, True):
        raise InputError(
            f"The provider does not offer {_FLOWS[way]} for mail.", hint="Use another way; see docs/oauth.md."
        )
    credential, ends_on = _credential(flow, options, ends_on)
    return flow, Client(options["client_id"], endpoints.token_url, scope, credential), ends_on


def _by_what(options: dict[str, Any]) -> Way:
    return "device" if options["device"] else "paste" if options["paste"] else "browser"


def _scope(scope: str, way: str) -> str:
    if not scope:
        raise InputError(f"The provider does not offer {_FLOWS[way]} for mail.", hint="See docs/oauth.md.")
    return scope


def _credential(flow: Flow, options: dict[str, Any], ends_on: date | None) -> tuple[Credential, date | None]:
    if options["certificate"]:
        certificate = read_certificate(options["certificate"])
        return certificate.credential, certificate.expires_on
    if options["secret_file"]:
        return Credential(read_secret(options["secret_file"])), ends_on
    if sys.stdin.isatty():
        optional = "" if flow is Flow.CLIENT_CREDENTIALS else " (Enter, if it has none)"
        secret = click.prompt(f"Client secret{optional}", hide_input=True, default="", show_default=False).strip()
        if secret or flow is Flow.CONSENT:
            return Credential(secret), ends_on
    elif flow is Flow.CONSENT:
        return Credential(), ends_on
    raise InputError("The application's secret is missing.", hint="Name --secret-file FILE or --certificate FILE.")


def _show(account: str, flow: Flow, client: Client, rows: Sequence[Any], before: Any) -> None:
    console.print(
        f"[bold]{plain(account)}[/] by {_KINDS[flow]}\n"
        f"  client     {plain(client.client_id)}\n"
        f"  asks for   {plain(client.scope)}\n"
        f"  at         {plain(client.token_url)}\n"
        f"  mailboxes  {len(rows)} log in by OAuth: read and send as each of them"
    )
    if before is not None and not before.is_same:
        console.print(
            f"  replaces   {plain(before.client_id)}; consents given to it that are dropped: {before.consents}"
        )


def _consent(
    it: Opened,
    account_id: int,
    client: Client,
    endpoints: OAuthEndpoints,
    rows: Sequence[Any],
    before: Any,
    options: dict[str, Any],
    save: Callable[[], None],
) -> None:
    """A new secret of the same client is stored at once; another client with its first consent."""
    is_same = before is not None and before.is_same
    chosen = _chosen(rows, options["mailboxes"], keeps_consents=is_same)
    if rows and not chosen:
        click.echo("Every mailbox of the account has its consent already.")
    at_once = is_same or not chosen
    if at_once:
        save()
    asyncio.run(
        collect_consents(it, account_id, client, endpoints, chosen, _by_what(options), None if at_once else save)
    )


def _chosen(rows: Sequence[Any], addresses: Sequence[str], *, keeps_consents: bool) -> Sequence[Any]:
    known = {row.address: row for row in rows}
    wanted = [address.strip().lower() for address in addresses]
    if missing := [address for address in wanted if address not in known]:
        raise InputError(
            f"{', '.join(missing)}: no mailbox of this account that logs in by OAuth.",
            hint="Import it first, with auth xoauth2 and no password.",
        )
    if wanted:
        return [known[address] for address in wanted]
    return [row for row in rows if not (keeps_consents and row.has_consent)]


def _save(
    it: Opened, account_id: int, flow: Flow, client: Client, endpoints: OAuthEndpoints, ends_on: date | None
) -> None:
    keyring = it.vault.keyring
    save_grant(it.connection, keyring, account_id, flow, client, ca_file=endpoints.ca_file, expires_on=ends_on)


async def _prove(flow: Flow, client: Client, endpoints: OAuthEndpoints, rows: Sequence[Any]) -> None:
    """A token for one mailbox; of a service account without mailboxes none can be asked for."""
    if not rows and flow is Flow.SERVICE_ACCOUNT:
        click.echo("The account has no mailbox that logs in by OAuth yet, so no token was asked for.")
        return
    login = rows[0].login if rows else ""
    async with OAuthServer() as server:
        await try_grant(server, flow, client, login, ca_file=endpoints.ca_file)
    click.echo(f"A token came{f' for {login}' if login else ''}.")
