"""The world around the pretend providers: who was written to, and what they do. Every deed is a record in the ledger.

Who somebody is depends on the seed and the address alone, so a run can be repeated.
"""

import asyncio
import ssl
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import get_args
from urllib.parse import urlsplit

from mailfleet.base.errors import InputError
from mailfleet.providers.sandbox import persona_letters as letters
from mailfleet.providers.sandbox.chance import chance
from mailfleet.providers.sandbox.config import Persona, Personas
from mailfleet.providers.sandbox.judge import OptOut
from mailfleet.providers.sandbox.ledger import Event, Ledger, LedgerWriter
from mailfleet.providers.sandbox.letter import read_letter
from mailfleet.providers.sandbox.mailbox_store import INBOX, Folder, MailboxStore

POST_SECONDS = 30.0  # chosen: mailbox providers give a one-click request about that long
_BODY = b"List-Unsubscribe=One-Click"  # RFC 8058 §3.2

_STOPPING = set(get_args(Persona)) - {"auto_reply"}


def said_no(ledger: Ledger) -> list[OptOut]:
    """Every deed that must stop all letters to its contact, for the judge, with the moment it was done: replies and
    bounces too. A request that was not answered with 2yz has not arrived.
    """
    return [
        OptOut(event.contact, datetime.fromtimestamp(event.at, UTC))
        for event in ledger.events
        if event.what in _STOPPING and _has_arrived(event)
    ]


def _has_arrived(event: Event) -> bool:
    return 200 <= event.status < 300 if event.what == "opt_out_link" else bool(event.mailbox)


class World:
    """`stores` are the mailboxes of every provider."""

    def __init__(self, personas: Personas, seed: int, ledger: LedgerWriter) -> None:
        self.stores: list[MailboxStore] = []
        self._personas = personas
        self._acts = personas.act
        self._seed = seed
        self._ledger = ledger
        self._letters: dict[str, int] = defaultdict(int)
        self._tasks: set[asyncio.Task[None]] = set()

    def deliver(self, address: str, content: bytes, folder: str = INBOX) -> int:
        """The UID of the mail in the mailbox of `address`, or of it without its tag. InputError: there is none."""
        store, mailbox = self._home(address)
        if store is None or store.folder(mailbox, folder) is None:
            raise InputError(f"the sandbox has no mailbox {address}, or it has no folder {folder}")
        return store.deliver(mailbox, content, folder)

    def renumber(self, address: str, folder: str = INBOX) -> int:
        store, mailbox = self._home(address)
        found: Folder | None = store.folder(mailbox, folder) if store is not None else None
        if found is None:
            raise InputError(f"the sandbox has no mailbox {address}, or it has no folder {folder}")
        found.renumber()
        return found.uid_validity

    def take(self, mail_from: str, rcpt: str, content: bytes) -> None:
        """An accepted letter: to one of our own mailboxes it comes in there, anybody else does what is theirs to do."""
        store, mailbox = self._home(rcpt)
        if store is not None:
            store.deliver(mailbox, content)
        elif self._acts:
            self._react(mail_from, rcpt, content)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _home(self, address: str) -> tuple[MailboxStore | None, str]:
        """Where `address` is at home, with or without its +tag (RFC 5233)."""
        local, _, domain = address.rpartition("@")
        for mailbox in (address, f"{local.partition('+')[0]}@{domain}"):
            for store in self.stores:
                if mailbox in store:
                    return store, mailbox
        return None, ""

    def _react(self, mail_from: str, rcpt: str, content: bytes) -> None:
        self._letters[rcpt] += 1
        number = self._letters[rcpt]
        persona = self._burns(mail_from, rcpt, number) or self._persona(rcpt, number)
        if persona is None:
            return
        low, high = self._personas.delay
        delay = low + (high - low) * chance(self._seed, "delay", rcpt, number)
        task = asyncio.get_running_loop().create_task(self._act(persona, mail_from, rcpt, content, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _burns(self, mail_from: str, rcpt: str, number: int) -> Persona | None:
        share = self._personas.burning.get(mail_from.rpartition("@")[2], 0.0)
        return "complaint" if share and chance(self._seed, "burning", rcpt, number) < share else None

    def _persona(self, rcpt: str, number: int) -> Persona | None:
        """Who `rcpt` is, if they act upon their letter of this number."""
        drawn = chance(self._seed, "persona", rcpt)
        for persona in get_args(Persona):
            drawn -= getattr(self._personas, persona)
            if drawn < 0:
                is_theirs = persona in ("bounce", "odd_bounce") or number == self._moment(rcpt)
                return persona if is_theirs else None
        return None

    def _moment(self, rcpt: str) -> int:
        return 2 if chance(self._seed, "second", rcpt) < self._personas.second_letter else 1

    async def _act(self, persona: Persona, mail_from: str, rcpt: str, content: bytes, delay: float) -> None:
        await asyncio.sleep(delay)
        if persona == "opt_out_link":
            original = letters.read_original(mail_from, rcpt, content)
            status = await post_one_click(original.link, self._personas.opt_out_at)
            self._record(persona, rcpt, original.message_id, status=status)
        else:
            address, answer = self._answer(persona, letters.read_original(mail_from, rcpt, content))
            self._send(persona, rcpt, read_letter(content).message_id, address, answer)

    def _answer(self, persona: Persona, original: letters.Original) -> tuple[str, bytes]:
        """Where it goes, and what it says."""
        now = datetime.now(UTC)
        draw = int(chance(self._seed, "words", original.rcpt) * 1000)
        makers: dict[str, Callable[[], bytes]] = {
            "reply": lambda: letters.make_reply(original, letters.REPLIES[draw % len(letters.REPLIES)][1], now),
            "refusal": lambda: letters.make_reply(original, letters.REFUSALS[draw % len(letters.REFUSALS)][1], now),
            "auto_reply": lambda: letters.make_auto_reply(original, draw, now),
            "bounce": lambda: letters.make_bounce(original, now),
            "odd_bounce": lambda: letters.make_odd_bounce(original, now),
            "complaint": lambda: letters.make_complaint(original, now),
            "opt_out_mail": lambda: letters.make_opt_out(original, now),
        }
        to_sender = original.answer_to if persona in ("reply", "refusal") else original.mail_from
        address = letters.mailto_address(original) if persona == "opt_out_mail" else to_sender
        return address, makers[persona]()

    def _send(self, persona: Persona, rcpt: str, message_id: str, address: str, answer: bytes) -> None:
        """The record is there as soon as the mail is; to an address of nobody here it goes nowhere."""
        store, mailbox = self._home(address)
        folder = "junk" if chance(self._seed, "junk", rcpt) < self._personas.junk else INBOX
        if store is not None:
            store.deliver(mailbox, answer, folder)
        self._record(persona, rcpt, message_id, mailbox=mailbox, folder=folder if store is not None else "")

    def _record(
        self, what: str, contact: str, message_id: str, *, mailbox: str = "", folder: str = "", status: int = 0
    ) -> None:
        row = {"at": time.time(), "what": what, "contact": contact, "message_id": message_id}
        self._ledger.append("event", row | {"mailbox": mailbox, "folder": folder, "status": status})


async def post_one_click(link: str, stand_in: str) -> int:
    """The status of the answer; 0 when there was none, or when the link leads off this machine. `stand_in` takes the
    place of scheme and host. A certificate is not looked at: it is loopback.
    """
    parts, other = urlsplit(link), urlsplit(stand_in or link)
    host, is_tls = other.hostname or "", other.scheme == "https"
    if not _is_loopback(host):
        return 0
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    request = (
        f"POST {target or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(_BODY)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(POST_SECONDS):
            return await _post(host, other.port or (443 if is_tls else 80), is_tls, request.encode() + _BODY)
    except (OSError, ValueError, IndexError):
        return 0


async def _post(host: str, port: int, is_tls: bool, request: bytes) -> int:
    context = ssl._create_unverified_context() if is_tls else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(request)
        status = int((await reader.readline()).split()[1])
        await reader.read()
        return status
    finally:
        writer.close()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
