"""Does a grant do what it is for? A token before it is stored; a login to the mail servers afterwards."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailfleet.base.errors import SetupError
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.check import check_imap, check_smtp
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.oauth.answers import Asked, Issued, Later, Refused, verdict_on
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.faults import GrantFault, TokenUnavailable
from mailfleet.providers.oauth.forms import Client, application_form, delegated_form
from mailfleet.providers.oauth.server import OAuthServer
from mailfleet.providers.oauth.source import TokenSource

AT_ONCE = 20  # chosen: logins at once; their threads and the provider bear more

Row = Any


@dataclass(frozen=True, slots=True)
class Trial:
    """`faults`: what was wrong, in words, with what to do; empty when all went well."""

    address: str
    faults: tuple[str, ...]


async def try_grant(server: OAuthServer, flow: Flow, client: Client, login: str, *, ca_file: str) -> Issued:
    """A token as senders will get it, from a grant that is not stored yet; of this host's clock. GrantFault,
    TokenUnavailable."""
    now = datetime.now(UTC)
    form = delegated_form(client, login, now) if flow is Flow.SERVICE_ACCOUNT else application_form(client, now)
    answer = await server.ask(client.token_url, form, ca_file=ca_file)
    asked = Asked(flow, client.client_id, client.scope, login)
    match answer if isinstance(answer, Later) else verdict_on(answer, asked):
        case Issued() as issued:
            return issued
        case Refused() as refused:
            raise GrantFault(refused.kind, f"{login}: no token, for {refused}", hint=refused.hint, account_id=None)
        case Later() as later:
            raise TokenUnavailable(f"{login}: no token, for {later.text}")


async def try_mailboxes(
    source: TokenSource, mailboxes: Sequence[Row], *, login_help: str, on_result: Callable[[Trial], None]
) -> None:
    """Logs in to SMTP and IMAP of each row of `grants.oauth_mailboxes`, with the tokens of senders and watchers."""
    room = asyncio.Semaphore(AT_ONCE)

    async def attempt(row: Row) -> None:
        async with room:
            on_result(await _try(source, row, login_help))

    async with asyncio.TaskGroup() as group:
        for row in mailboxes:
            group.create_task(attempt(row))


async def _try(source: TokenSource, row: Row, login_help: str) -> Trial:
    try:
        login = await source.login(row.id, Login(row.login, "", AuthKind.XOAUTH2))
    except (GrantFault, TokenUnavailable, SetupError) as error:
        return Trial(row.address, (f"{str(error).rstrip('.')}. {error.hint}".strip(),))
    smtp = Endpoint(row.smtp_host, row.smtp_port, Security(row.smtp_security), row.ca_file or None)
    results = [await check_smtp(smtp, login)]
    if row.imap_host:
        imap = Endpoint(row.imap_host, row.imap_port, Security(row.imap_security), row.ca_file or None)
        results.append(await check_imap(imap, Login(row.imap_login or row.login, login.secret, login.kind)))
    faults = [result.text for result in results if not result.ok]
    if faults and login_help:
        faults.append(login_help)
    return Trial(row.address, tuple(faults))
