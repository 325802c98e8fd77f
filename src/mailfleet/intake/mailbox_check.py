"""Logs in to many mailboxes, SMTP and IMAP, before they are trusted with letters."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from mailfleet.intake.mailbox_store import Stored
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.check import check_imap, check_smtp
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.oauth.faults import GrantFault, TokenUnavailable
from mailfleet.providers.oauth.source import TokenSource

AT_ONCE = 50  # chosen: as many as `providers.check` has threads for IMAP


@dataclass(frozen=True, slots=True)
class Tokens:
    """`ids`: the stored mailboxes whose account is connected, by address."""

    source: TokenSource
    ids: Mapping[str, int]

    async def login(self, mailbox: Stored, login: Login) -> Login:
        known = self.ids.get(mailbox["address"])
        return login if known is None else await self.source.login(known, login)


def can_be_checked(mailbox: Stored, ids: Collection[str]) -> bool:
    """Whether there is anything to log in with: an OAuth mailbox has it when it is stored and its account connected."""
    return bool(mailbox["password"]) or mailbox["address"] in ids


async def check_mailboxes(
    mailboxes: Sequence[Stored],
    ca_files: Mapping[str, str],
    *,
    on_result: Callable[[Stored, str], None],
    tokens: Tokens | None = None,
) -> None:
    """Tries each mailbox once, `AT_ONCE` at a time; `on_result` hears what failed, or an empty text.

    `ca_files` by provider, for mailboxes that name none. `tokens` for those that log in by OAuth.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def check(mailbox: Stored) -> None:
        async with room:
            fault = await _fault(mailbox, mailbox["ca_file"] or ca_files.get(mailbox["provider"]) or None, tokens)
        on_result(mailbox, fault)

    async with asyncio.TaskGroup() as group:
        for mailbox in mailboxes:
            group.create_task(check(mailbox))


async def _fault(mailbox: Stored, ca_file: str | None, tokens: Tokens | None) -> str:
    own = Login(mailbox["login"], mailbox["password"], AuthKind(mailbox["auth"]))
    try:
        login = await tokens.login(mailbox, own) if tokens and own.kind is AuthKind.XOAUTH2 else own
    except (GrantFault, TokenUnavailable) as error:
        return f"{str(error).rstrip('.')}. {error.hint}".strip()
    smtp = Endpoint(mailbox["smtp_host"], mailbox["smtp_port"], Security(mailbox["smtp_security"]), ca_file)
    results = [await check_smtp(smtp, login)]
    if mailbox["imap_host"]:
        imap = Endpoint(mailbox["imap_host"], mailbox["imap_port"], Security(mailbox["imap_security"]), ca_file)
        secret = mailbox["imap_password"] if login is own and mailbox["imap_password"] else login.secret
        results.append(await check_imap(imap, Login(mailbox["imap_login"] or mailbox["login"], secret, login.kind)))
    return "; ".join(result.text for result in results if not result.ok)
