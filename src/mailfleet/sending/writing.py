"""Drafts: the rows that are due become letters, ready to be reserved."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mailfleet.base.clock import monotonic
from mailfleet.base.errors import InputError
from mailfleet.base.log import get_log
from mailfleet.mail.wording import Wording, compile_wording
from mailfleet.outbox.records import Draft, Row
from mailfleet.outbox.rules import Refusal
from mailfleet.outbox.service import Outbox
from mailfleet.sending.letters import SendingMailbox, write_letter

WRITE_AT_ONCE = 10  # chosen: letters written between two looks at the lanes: 1 to 2 ms
WORDING_SECONDS = 30.0  # chosen: how long a changed wording may go unnoticed


class Writer:
    """Writes drafts, and keeps the wordings it needs."""

    def __init__(self, work: Outbox, token_key: bytes) -> None:
        self._work = work
        self._token_key = token_key
        self._wordings: dict[int, Wording] = {}
        self._wordings_at = 0.0

    async def write(self, rows: Sequence[Row], mailboxes: Mapping[int, SendingMailbox]) -> dict[int, Draft]:
        """By message id. A letter that would have a hole ends here, and its contact is listed."""
        wordings = await self._wordings_of({row.variant_id for row in rows})
        drafts: dict[int, Draft] = {}
        refusals: dict[int, Refusal] = {}
        for number, row in enumerate(rows):
            if number % WRITE_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                drafts[row.id] = self._draft(row, mailboxes[row.mailbox_id], wordings[row.variant_id])
            except InputError as error:
                refusals[row.id] = Refusal("hole", str(error), ends=True)
            except Exception as error:  # noqa: BLE001 - a letter that our own code fails at must not stop the others
                get_log().critical("letter_failed", letter=row.id, mailbox=row.mailbox_id, exc_info=error)
                reason = f"an error of Mailfleet itself ({type(error).__name__}), which its log describes"
                refusals[row.id] = Refusal("broken", reason, ends=True)
        await self._work.hand_back(refusals)
        return drafts

    def _draft(self, row: Row, mailbox: SendingMailbox, wording: Wording | InputError) -> Draft:
        if isinstance(wording, InputError):
            raise wording
        date = row.due_at if row.due_at > (now := datetime.now(UTC)) else now
        return write_letter(row, mailbox, wording, token_key=self._token_key, date=date)

    async def _wordings_of(self, variants: set[int]) -> dict[int, Wording | InputError]:
        if monotonic() - self._wordings_at > WORDING_SECONDS:
            self._wordings, self._wordings_at = {}, monotonic()
        found: dict[int, Wording | InputError] = {v: self._wordings[v] for v in variants if v in self._wordings}
        missing = variants - set(found)
        for row in await self._work.load_variants(list(missing)) if missing else ():
            try:
                found[row.id] = self._wordings[row.id] = compile_wording(
                    f"variant {row.id}", row.subject, row.text, row.html
                )
            except InputError as error:
                found[row.id] = error
        return found
