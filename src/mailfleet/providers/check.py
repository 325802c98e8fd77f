"""Can a mailbox log in? Asked before it is trusted with letters, of its SMTP and its IMAP server, many at a time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from mailfleet.base.errors import MailfleetError, SetupError
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Deadlines, Endpoint
from mailfleet.providers.faults import Stage, Unreached, unreached
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import ImapFault
from mailfleet.providers.imap_opening import ImapDeadlines
from mailfleet.providers.smtp import SmtpSession

PATIENCE = timedelta(seconds=20)  # chosen: a server that needs longer for a login will not carry letters either
DEADLINES = Deadlines(resolve=PATIENCE, connect=PATIENCE, greeting=PATIENCE, command=PATIENCE)
_THREADS = ThreadPoolExecutor(max_workers=50, thread_name_prefix="check-imap")  # chosen: the import checks 50 at a time


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`stage` is where it failed, None when all went well; `text` says what is wrong and what to do."""

    ok: bool
    stage: Stage | None
    text: str


async def check_smtp(
    endpoint: Endpoint, login: Login, *, helo: str = "localhost", deadlines: Deadlines = DEADLINES
) -> CheckResult:
    try:
        session = await SmtpSession.open(endpoint, login, helo=helo, deadlines=deadlines)
    except (Unreached, SetupError) as error:
        return _failed(error)
    await session.close()
    return CheckResult(True, None, f"{endpoint}: SMTP login works.")


async def check_imap(endpoint: Endpoint, login: Login, *, patience: timedelta = PATIENCE) -> CheckResult:
    """A session blocks, so it opens in a thread, which ends by its own socket deadlines even when we stop waiting."""
    visit = asyncio.get_running_loop().run_in_executor(_THREADS, _visit_imap, endpoint, login, patience)
    try:
        await asyncio.wait_for(visit, 2 * patience.total_seconds())  # connecting, then talking
    except (ImapFault, SetupError) as error:
        return _failed(error)
    except TimeoutError as error:
        return _failed(unreached(Stage.AUTH, endpoint, error))
    return CheckResult(True, None, f"{endpoint}: IMAP login works.")


def _visit_imap(endpoint: Endpoint, login: Login, patience: timedelta) -> None:
    deadlines = ImapDeadlines(connect=patience, login=patience)
    ImapSession.open(endpoint, login, deadlines).close()


def _failed(error: MailfleetError) -> CheckResult:
    stage = getattr(error, "stage", None)
    return CheckResult(False, Stage(stage) if stage else None, f"{error} {error.hint}".strip())
