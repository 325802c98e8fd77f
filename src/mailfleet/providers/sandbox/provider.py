"""One pretend provider while it runs: its users, who is connected, what was counted, and what goes wrong when."""

import asyncio
import hmac
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Literal

from mailfleet.providers.sandbox.chance import chance
from mailfleet.providers.sandbox.config import Face, ProviderConfig, User
from mailfleet.providers.sandbox.dialects import DIALECTS, HABITS, Reply
from mailfleet.providers.sandbox.ledger import LedgerWriter
from mailfleet.providers.sandbox.mailbox_store import SEEN, MailboxStore
from mailfleet.providers.sandbox.sasl import Claim

if TYPE_CHECKING:
    from mailfleet.providers.sandbox.personas import World
    from mailfleet.providers.sandbox.wire import Wire

DropPoint = Literal["before_data", "in_data", "before_commit", "after_commit"]


class PretendProvider:
    """Decides for its connections; holds no socket. Its windows and first tries live as long as the process."""

    def __init__(
        self, config: ProviderConfig, users: list[User], seed: int, ledger: LedgerWriter, world: "World"
    ) -> None:
        self.config = config
        self.dialect = DIALECTS[config.dialect]
        self.habits = HABITS[config.dialect]
        self.ledger = ledger
        self.world = world
        self.mailboxes = MailboxStore((user.mailbox for user in users), self.habits)
        self.tasks: set[asyncio.Task[None]] = set()
        self._users = {user.login: user for user in users}
        self._seed = seed
        self._connections: dict[Face, set[Wire]] = {"smtp": set(), "imap": set()}
        self._emptied = asyncio.Event()
        self._sessions: dict[tuple[Face, str], list[Wire]] = defaultdict(list)
        self._accepted: dict[tuple[int, str], deque[float]] = defaultdict(deque)
        self._tries: dict[str, int] = defaultdict(int)
        self._first_tries: dict[tuple[str, str], float] = {}

    def log_in(self, face: Face, claim: Claim) -> User | None:
        """The user that `claim` proves, or None; either way a record in the ledger."""
        user = self._users.get(claim.login)
        expected = "" if user is None else user.token if claim.kind == "token" else user.password
        ok = bool(expected) and hmac.compare_digest(expected.encode(), claim.secret.encode())
        row = {"at": time.time(), "provider": self.config.name, "face": face, "login": claim.login}
        self.ledger.append("login", row | {"mailbox": user.mailbox if user else "", "ok": ok})
        return user if ok else None

    def enter(self, mailbox: str, connection: "Wire") -> None:
        self._sessions[connection.face, mailbox].append(connection)

    def leave(self, mailbox: str, connection: "Wire") -> None:
        self._sessions[connection.face, mailbox].remove(connection)

    async def close(self) -> None:
        """Cuts every connection; returns when the last of them has written its record."""
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in self._connections["smtp"] | self._connections["imap"]:
            connection.abort()
        if any(self._connections.values()):
            self._emptied.clear()
            await self._emptied.wait()

    def is_full(self, face: Face) -> bool:
        most = self.config.max_connections
        return most is not None and len(self._connections[face]) >= most

    def join(self, connection: "Wire") -> None:
        self._connections[connection.face].add(connection)

    def part(self, connection: "Wire") -> None:
        self._connections[connection.face].discard(connection)
        if not any(self._connections.values()):
            self._emptied.set()

    def refuse_sender(self, user: User, connection: "Wire") -> Reply | None:
        """The reply to a MAIL that comes over one connection too many, or over a message limit; None lets it pass."""
        most = self.config.max_connections_per_mailbox
        if most is not None and self._sessions["smtp", user.mailbox].index(connection) >= most:
            return self.dialect.mailbox_connections
        now = time.monotonic()
        for number, limit in enumerate(self.config.limits):
            counted = self._accepted[number, _scope_key(limit.scope, user)]
            while counted and counted[0] <= now - limit.seconds:
                counted.popleft()
            if len(counted) >= limit.maximum:
                return self.dialect.limit(limit.scope)
        return None

    def refuse_recipient(self, mail_from: str, rcpt: str) -> Reply | None:
        """The reply to a dead recipient, or to one who is greylisted for this sender; None lets it pass."""
        faults = self.config.faults
        if faults.dead and chance(self._seed, "dead", rcpt) < faults.dead:
            return self.dialect.dead
        if faults.greylist and chance(self._seed, "greylist", mail_from, rcpt) < faults.greylist:
            return self._greylist(mail_from, rcpt)
        return None

    def _greylist(self, mail_from: str, rcpt: str) -> Reply | None:
        now = time.monotonic()
        first = self._first_tries.setdefault((mail_from, rcpt), now)
        is_early = first == now or now - first < self.config.faults.greylist_seconds
        return self.dialect.greylisted if is_early else None

    def begin_try(self, what: str) -> int:
        """The number of this try at a recipient, or of this visit, from 1: part of the key by which its faults are
        drawn.
        """
        self._tries[what] += 1
        return self._tries[what]

    def refuse_visit(self, user: User) -> str | None:
        """The words that refuse an IMAP login with the right secret, Gmail's for one too many; None lets it in."""
        most = self.config.imap_connections
        if most is not None and len(self._sessions["imap", user.mailbox]) >= most:
            return "NO [ALERT] Too many simultaneous connections. (Failure)"
        if self.strikes("imap_busy", user.mailbox):
            return "NO [UNAVAILABLE] Temporary problem, try again later"
        return None

    def strikes(self, fault: str, mailbox: str) -> bool:
        """Whether an IMAP fault strikes this visit or FETCH of the mailbox."""
        return self.draws(fault, mailbox, self.begin_try(f"{fault} {mailbox}"))

    def draws(self, fault: str, rcpt: str, number: int) -> bool:
        """Whether `fault` (a share of `Faults`) strikes this try."""
        share: float = getattr(self.config.faults, fault)
        return share > 0 and chance(self._seed, self.config.name, fault, rcpt, number) < share

    def drop_point(self, rcpt: str, number: int) -> DropPoint | None:
        """Where, if anywhere, this try loses its connection."""
        points: tuple[DropPoint, ...] = ("before_data", "in_data", "before_commit", "after_commit")
        return next((point for point in points if self.draws(f"drop_{point}", rcpt, number)), None)

    def refuse_letter(self, rcpt: str, number: int) -> Reply | None:
        """The reply after the final dot when the letter is not taken; None takes it."""
        if self.draws("refuse", rcpt, number):
            return self.dialect.refused
        return self.dialect.deferred if self.draws("defer", rcpt, number) else None

    def delay(self, rcpt: str, number: int) -> float:
        """Seconds between the final dot and its reply."""
        low, high = self.config.latency
        seconds = low if low == high else low + (high - low) * chance(self._seed, "latency", rcpt, number)
        return seconds + self.config.faults.slow_seconds if self.draws("slow", rcpt, number) else seconds

    def take(self, user: User, mail_from: str, rcpt: str, content: bytes) -> None:
        """What becomes of an accepted letter: a copy in Sent where the provider keeps one, and what its reader does."""
        if self.config.keeps_sent:
            self.mailboxes.deliver(user.mailbox, content, "sent", [SEEN])
        self.world.take(mail_from, rcpt, content)

    def count(self, user: User) -> None:
        """Counts one accepted letter against every message limit."""
        now = time.monotonic()
        for number, limit in enumerate(self.config.limits):
            self._accepted[number, _scope_key(limit.scope, user)].append(now)


def _scope_key(scope: str, user: User) -> str:
    return {"mailbox": user.mailbox, "account": user.account, "provider": user.provider}[scope]
