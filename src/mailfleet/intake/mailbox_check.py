"""Logs in to many mailboxes, SMTP and IMAP, before they are trusted with letters."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from mailfleet.intake.mailbox_store import Stored
from mailfleet.model.words import AuthKind, Security
from mailfleet.providers.auth import Login
from mailfleet.providers.check import check_imap, check_smtp
from mailfleet.providers.endpoint import Endpoint

AT_ONCE = 50  # chosen: as many as `providers.check` has threads for IMAP


async def check_mailboxes(
    mailboxes: Sequence[Stored], ca_files: Mapping[str, str], *, on_result: Callable[[Stored, str], None]
) -> None:
    """Tries each mailbox once, `AT_ONCE` at a time; `on_result` hears what failed, or an empty text.

    `ca_files` by provider, for mailboxes that name none.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def check(mailbox: Stored) -> None:
        async with room:
            fault = await _fault(mailbox, mailbox["ca_file"] or ca_files.get(mailbox["provider"]) or None)
        on_result(mailbox, fault)

    async with asyncio.TaskGroup() as group:
        for mailbox in mailboxes:
            group.create_task(check(mailbox))


async def _fault(mailbox: Stored, ca_file: str | None) -> str:
    auth = AuthKind(mailbox["auth"])
    smtp = Endpoint(mailbox["smtp_host"], mailbox["smtp_port"], Security(mailbox["smtp_security"]), ca_file)
    results = [await check_smtp(smtp, Login(mailbox["login"], mailbox["password"], auth))]
    if mailbox["imap_host"]:
        imap = Endpoint(mailbox["imap_host"], mailbox["imap_port"], Security(mailbox["imap_security"]), ca_file)
        secret = mailbox["imap_password"] or mailbox["password"]
        results.append(await check_imap(imap, Login(mailbox["imap_login"] or mailbox["login"], secret, auth)))
    return "; ".join(result.text for result in results if not result.ok)
