"""One mailbox in a sender's hand: its connection, its pace, its letters one after the other.

A letter's way through a lane, and what a death at each point leaves:

    1. token, connect, wait for its moment   reserved, not begun   → planned again, usage returned
    2. look: recalled, lease, lateness       the same
    3. journal `begin`                       begun                 → deferred, usage stays
    4. MAIL, RCPT, DATA, content             the same
    5. journal `dot`, look at the lease      dot                   → ambiguous
    6. the final dot, its reply              the same
    7. journal `done`                        done                  → settled as it was
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailfleet.base.clock import DatabaseClock, monotonic, utc_now
from mailfleet.base.errors import ProviderError, SetupError
from mailfleet.base.log import get_log
from mailfleet.model.words import AuthKind, Outcome
from mailfleet.outbox.limits import SLACK
from mailfleet.outbox.records import Draft, LeaseGrant, Reservation
from mailfleet.outbox.rules import Refusal, Result, RetryPolicy
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Deadlines
from mailfleet.providers.faults import Stage, Unreached
from mailfleet.providers.smtp import SmtpSession
from mailfleet.sending.caps import ConnectionCaps
from mailfleet.sending.journal import Journal, Phase
from mailfleet.sending.letters import SendingMailbox, envelope_of
from mailfleet.sending.outcomes import (
    broken,
    failed,
    is_refused_login,
    lost_after_dot,
    lost_before_dot,
    submitted,
    withdrawn,
)

if TYPE_CHECKING:
    from mailfleet.providers.oauth.source import TokenSource

CONNECT_AHEAD = 2.0  # chosen: seconds before its moment in which a letter's connection is opened
KEEP_WANTED = 0.2  # chosen: seconds for which a connection is kept to which another mailbox looks forward
LEASE_MARGIN = 2.0  # chosen: seconds of a lease that are left alone: clocks drift, a write takes time


class LeaseLost(Exception):
    """Our right to the mailbox is over, or nearly: the dot must not leave."""


@dataclass(frozen=True, slots=True)
class Work:
    """A reserved letter; `reserved_at` by our monotonic clock, at the earliest."""

    draft: Draft
    reservation: Reservation
    reserved_at: float


@dataclass(frozen=True, slots=True)
class Means:
    """What a sender lends its lanes."""

    journal: Journal
    clock: DatabaseClock
    deadlines: Deadlines
    retry: RetryPolicy
    helo: str
    caps: ConnectionCaps
    tokens: "Callable[[], TokenSource]"
    report: Callable[[Result], None]


class Lane:
    """Works off what is put into it, in order; one connection at a time."""

    def __init__(self, mailbox: SendingMailbox, grant: LeaseGrant, means: Means) -> None:
        self.mailbox = mailbox
        self.fence = grant.fence
        self.is_running = False
        self._means = means
        self._works: deque[Work] = deque()
        self._recalled: dict[int, Refusal] = {}
        self._came = asyncio.Event()
        self._stopping = asyncio.Event()
        self._session: SmtpSession | None = None
        self._is_proven = False  # a letter went over this connection
        self._ended_at: float | None = None
        self._reached: Phase | None = None  # how far the letter in hand came, at most
        self._began_at = ""
        self._rest: Refusal | None = None  # a hold is on its way to the database: no other letter tries the server
        self._lease_until = 0.0
        self.extend(grant)

    def extend(self, grant: LeaseGrant) -> None:
        """A renewed lease of the same fence."""
        self._lease_until = self._means.clock.earliest(grant.expires_at)

    def stop(self) -> None:
        """Finishes the letter in hand; what has not begun is given back."""
        self._stopping.set()
        self._came.set()

    @property
    def lease_left(self) -> float:
        """Seconds, the margin kept."""
        return self._lease_until - LEASE_MARGIN - monotonic()

    def put(self, work: Work) -> None:
        self._recalled.pop(work.draft.message_id, None)
        self._works.append(work)
        self._came.set()

    def recall(self, refusals: dict[int, Refusal]) -> None:
        """Message ids that may no longer leave, if they have not begun."""
        self._recalled |= refusals

    def give_back(self, code: str, reason: str) -> None:
        """All that waits, when nobody works it off."""
        while self._works:
            self._means.report(withdrawn(self._works.popleft().reservation.attempt_id, code, reason))

    def waiting(self) -> list[int]:
        """Message ids in hand, begun or not."""
        return [work.draft.message_id for work in self._works]

    async def run(self) -> None:
        """Works until there has been nothing to do for the mailbox's idle time; then closes its connection.

        A mailbox whose pace is longer than its idle time closes at once: its next letter cannot come in time.
        """
        self.is_running = True
        try:
            while self._works:
                await self._wait_for_moment(self._works[0], ahead=CONNECT_AHEAD)
                async with self._means.caps.slot(self.mailbox):
                    try:
                        await self._work_off()
                    finally:
                        await self._close()
        finally:
            self.is_running = False

    async def _work_off(self) -> None:
        """Letter after letter over one connection, as long as it is worth keeping."""
        while True:
            try:
                await self._send(self._works[0])
            finally:
                self._works.popleft()
            if not await self._is_worth_keeping():
                return

    async def _is_worth_keeping(self) -> bool:
        """Whether a letter comes while the connection may stay: within the idle time, unless others wait for room."""
        idle_time = float(self.mailbox.idle_seconds)
        if self._works:
            wait_left = self._moment_of(self._works[0]) - monotonic()
            return wait_left <= (KEEP_WANTED if self._means.caps.wanted(self.mailbox).is_set() else idle_time)
        if self.mailbox.pace_seconds > idle_time or self._stopping.is_set() or self._rest is not None:
            return False
        self._came.clear()
        await wait_first((self._came, self._means.caps.wanted(self.mailbox)), idle_time)
        return bool(self._works)

    async def _send(self, work: Work) -> None:
        """One letter's attempt, and what came of it."""
        self._reached = None
        try:
            result = await self._attempt(work)
        except Exception as error:  # noqa: BLE001 - a letter that our own code fails at must not stop the others
            result = self._broken(work, error)
        if result.hold is not None:
            self._rest = Refusal("rests", result.hold.reason)
        if self._reached is None or result.outcome is Outcome.UNREACHED:
            self._means.report(result)
        else:
            await self._record(result.began(self._began_at))

    async def _attempt(self, work: Work) -> Result:
        attempt, number = work.reservation.attempt_id, work.reservation.tries
        try:
            refusal = self._why_not(work) or await self._prepare(work)
        except (ProviderError, SetupError) as error:
            return failed(attempt, error, dialect=self.mailbox.dialect, number=number, retry=self._means.retry)
        refusal = refusal or await self._begin(work)
        if refusal is not None or self._session is None:
            refusal = refusal or Refusal("closed", "the connection closed before the letter began")
            return withdrawn(attempt, refusal.code, refusal.reason)
        try:
            return await self._submit(self._session, work)
        finally:
            self._ended_at = monotonic()

    def _broken(self, work: Work, error: Exception) -> Result:
        """As far as it came, it counts; the connection is not used again."""
        get_log().critical("letter_failed", letter=work.draft.message_id, mailbox=self.mailbox.id, exc_info=error)
        if self._session is not None:
            self._session.abort()
        attempt, number = work.reservation.attempt_id, work.reservation.tries
        result = broken(attempt, error, number=number, retry=self._means.retry)
        if self._reached is None:
            return result
        if self._reached == "begin":
            return lost_before_dot(attempt, result.reason, number, self._means.retry)
        return lost_after_dot(attempt, result.reason)

    async def _prepare(self, work: Work) -> Refusal | None:
        """A good connection at the right moment."""
        await self._connect()
        await self._wait_for_moment(work)
        await self._connect()
        return self._why_not(work)

    async def _connect(self) -> None:
        if self._session is None or not self._session.usable:
            self._is_proven = False
            is_by_token = self.mailbox.login.kind is AuthKind.XOAUTH2
            self._session = await (self._open_by_token() if is_by_token else self._open(self.mailbox.login))

    async def _open_by_token(self) -> SmtpSession:
        """With the account's token; once more where the server refused one that was old, never a third time."""
        own, tokens = self.mailbox.login, self._means.tokens()
        login = await tokens.login(self.mailbox.id, own)
        try:
            return await self._open(login)
        except Unreached as error:
            if login is own or not is_refused_login(error):
                raise
            if not await tokens.refused(self.mailbox.id, login.secret):
                raise
        return await self._open(await tokens.login(self.mailbox.id, own))

    async def _open(self, login: Login) -> SmtpSession:
        means = self._means
        return await SmtpSession.open(self.mailbox.endpoint, login, helo=means.helo, deadlines=means.deadlines)

    def _moment_of(self, work: Work) -> float:
        """When the letter is due and the mailbox's pace since its last letter is over, by the monotonic clock."""
        moment = self._means.clock.latest(work.reservation.start_at)
        return moment if self._ended_at is None else max(moment, self._ended_at + self.mailbox.pace_seconds)

    async def _wait_for_moment(self, work: Work, *, ahead: float = 0.0) -> None:
        if (seconds := self._moment_of(work) - monotonic() - ahead) > 0:
            await wait(self._stopping, seconds)

    def _why_not(self, work: Work) -> Refusal | None:
        """The last look before the first byte."""
        if (refusal := self._recalled.pop(work.draft.message_id, self._rest)) is not None:
            return refusal
        if self._stopping.is_set():
            return Refusal("stopping", "the sender stopped before the letter began")
        if self.lease_left <= 0:
            return Refusal("lease_over", "the sender's right to the mailbox ended before the letter began")
        if monotonic() - work.reserved_at > SLACK.total_seconds():
            return Refusal("late", "it could not begin in its moment; it is planned anew")
        return None

    async def _begin(self, work: Work) -> Refusal | None:
        """Journals the beginning, then looks again: a stop may have come meanwhile."""
        self._reached, self._began_at = "begin", utc_now().isoformat()
        try:
            await self._means.journal.begin(work.reservation.attempt_id, self._began_at)
        except SetupError as error:
            return Refusal("journal", f"{error} The letter was not begun.")
        return self._why_not(work)

    async def _submit(self, session: SmtpSession, work: Work) -> Result:
        draft, attempt, number = work.draft, work.reservation.attempt_id, work.reservation.tries
        envelope = envelope_of(self.mailbox, draft)

        async def before_dot() -> None:
            self._reached = "dot"
            await self._means.journal.dot(attempt)
            if self.lease_left <= 0:
                raise LeaseLost

        retry, dialect = self._means.retry, self.mailbox.dialect
        try:
            submission = await session.submit(envelope, draft.content, before_dot=before_dot)
            self._is_proven = True
            return submitted(attempt, submission, dialect=dialect, number=number, retry=retry)
        except LeaseLost:
            return lost_before_dot(attempt, "the lease ended before the final dot", number, retry)
        except SetupError as error:
            return lost_before_dot(attempt, str(error), number, retry)
        except ProviderError as error:
            if isinstance(error, Unreached) and self._is_proven and error.stage is Stage.MAIL and error.reply is None:
                return withdrawn(attempt, "closed", error.detail)  # a kept connection was closed: the next one may do
            return failed(attempt, error, dialect=dialect, number=number, retry=retry)

    async def _record(self, result: Result) -> None:
        """An outcome that the journal cannot take is settled all the same."""
        try:
            await asyncio.shield(self._means.journal.done(result))
        except SetupError:
            pass
        self._means.report(result)

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def wait(event: asyncio.Event, seconds: float) -> None:
    """For the event, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


async def wait_first(events: tuple[asyncio.Event, ...], seconds: float) -> None:
    """For the first of several events, at most so long."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
