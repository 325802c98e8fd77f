"""A sender: leases mailboxes, writes and reserves their letters, hands them to lanes, settles what comes back.

Five tasks, each with its own errand, none of which waits for SMTP:

    work    lease → peek → write → reserve → lanes; hands back what cannot be written; releases idle mailboxes
    renew   leases every third of their time; says that we live; sweeps what the dead left
    settle  outcomes in batches; while the database is away they wait here and in the journal
    copy    letters whose Sent copy is ours to file, after they are settled
    listen  a stop recalls what is reserved and not begun; new work wakes us

Dies at any point: see `lane` and docs/kill-matrix.md.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from mailfleet.base.clock import DatabaseClock, monotonic
from mailfleet.base.db import connect
from mailfleet.base.errors import SetupError, WorldError
from mailfleet.base.log import get_log
from mailfleet.model.words import ScopeKind
from mailfleet.outbox.records import Draft, LeaseGrant, Reservation, Row
from mailfleet.outbox.rules import HoldOrder, Result
from mailfleet.outbox.service import STOP_CHANNEL, Outbox, listen, register_sender
from mailfleet.outbox.stops import hold
from mailfleet.outbox.tunables import Tunables
from mailfleet.outbox.vault import Vault
from mailfleet.providers.endpoint import Deadlines
from mailfleet.sending.caps import ConnectionCaps
from mailfleet.sending.copying import Copies
from mailfleet.sending.journal import Journal
from mailfleet.sending.lane import Lane, Means, Work, wait
from mailfleet.sending.letters import mailbox_of
from mailfleet.sending.outcomes import unusable, withdrawn
from mailfleet.sending.recovery import recover, results_of
from mailfleet.sending.settling import RECONNECT, Settler, until_done
from mailfleet.sending.writing import Writer

if TYPE_CHECKING:
    from mailfleet.providers.oauth.source import TokenSource

MAX_MAILBOXES = 1200  # chosen: what one sender holds at most; a whole fleet, when it is alone
LEASE_BATCH = 100  # chosen: mailboxes taken in one turn, so that several senders share a backlog
MAX_IN_HAND = 2000  # chosen: letters reserved and not settled; more would be late to begin
LETTER_BATCH = 500  # chosen: letters reserved in one transaction
PER_MAILBOX = 10  # chosen: of one mailbox in a batch, where many have letters; a pace of a second asks for no more
COPY_EVERY = 60.0  # chosen: seconds; a settled batch wakes it, this only tries again what failed
STOP_GRACE = 30.0  # chosen: seconds a letter in hand has to end; after that it is broken off, and ambiguous at worst

HOST = name if "." in (name := socket.getfqdn()) else socket.gethostname()
"""This host's name, in EHLO, in limits and in holds."""


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """What a sender process is started with."""

    conninfo: str
    journals: Path
    vault: Vault
    tunables: Tunables
    deadlines: Deadlines = Deadlines()
    max_mailboxes: int = MAX_MAILBOXES


class Sender:
    """One process's sender; `run` ends when `stop` was called and the letters in hand are settled."""

    def __init__(self, options: SenderOptions, journal: Journal) -> None:
        self._options = options
        self._journal = journal
        self._clock = DatabaseClock()
        self._caps = ConnectionCaps()
        self._lanes: dict[int, Lane] = {}
        self._in_hand: dict[int, int] = {}  # attempt → mailbox, from reservation to settlement
        self._is_full = False
        self._stops_heard = 0
        self._reconcile_at = 0.0
        self._orphans_at = 0.0
        self._is_journal_good = True
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._lane_tasks: set[asyncio.Task[None]] = set()
        self._tokens: TokenSource | None = None

    def stop(self) -> None:
        """Finish the letters in hand, settle, release, end."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """1. register. 2. settle what this journal's dead senders left. 3. work until stopped. 4. end in order."""
        if not await self._unless_stopped(self._start()):
            return  # a row that it may have written is forgotten when it is not seen for a lease
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._listen_loop()),
                tasks.create_task(self._loop(self._renew, self._options.tunables.lease.total_seconds() / 3)),
                tasks.create_task(self._settler.run()),
                tasks.create_task(self._loop(self._copies.keep, COPY_EVERY, wake=self._copies.came)),
            ]
            await self._loop(self._turn, self._options.tunables.reserve_ahead.total_seconds() / 2, wake=self._wake)
            await self._end_lanes()
            await asyncio.gather(self._leave(), self._close_tokens())
            for task in background:
                task.cancel()
        await asyncio.gather(*(door.close() for door in (self._work, self._facts, self._stops, self._copies)))

    async def _start(self) -> None:
        self._sender_id = await until_done(partial(register_sender, self._options.conninfo, HOST, self._journal.id))
        self._work, self._facts, self._stops = self._outbox(), self._outbox(), self._outbox()
        self._writer = Writer(self._work, self._options.vault.opt_out_key)
        self._settler = Settler(self._facts, self._journal, self._settled)
        self._copies = Copies(self._options.conninfo)
        self._means = Means(
            journal=self._journal,
            clock=self._clock,
            deadlines=self._options.deadlines,
            retry=self._options.tunables.retry,
            helo=HOST,
            caps=self._caps,
            tokens=self._token_source,
            report=self._settler.report,
        )
        self._dead_entries = self._journal.entries()
        await until_done(partial(recover, self._facts, self._journal, retry=self._means.retry))

    def _token_source(self) -> "TokenSource":
        """Loaded with the first mailbox that needs it: a fleet of passwords does not pay its 5 MB."""
        if self._tokens is None:
            source = import_module("mailfleet.providers.oauth.source")
            self._tokens = source.TokenSource(self._options.conninfo, self._options.vault.keyring)
        return self._tokens

    async def _unless_stopped(self, errand: Coroutine[Any, Any, None]) -> bool:
        """Whether it came to its end before the stop; it is safe to break off."""
        doing, stopping = asyncio.create_task(errand), asyncio.create_task(self._stopping.wait())
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if doing.done():
            await doing
            return True
        doing.cancel()
        await asyncio.wait((doing,))
        return False

    async def _turn(self) -> bool:
        """One turn of work; true when there is more at once."""
        await self._reconcile()
        await self._release_idle()
        room = min(LETTER_BATCH, MAX_IN_HAND - len(self._in_hand))
        self._is_full = room < LETTER_BATCH // 2
        if self._is_full or not await self._can_begin():
            return False
        grants = await self._lease_more()
        rows = await self._peek(room)
        drafts = await self._writer.write(rows, {row.mailbox_id: self._lanes[row.mailbox_id].mailbox for row in rows})
        reserved = await self._reserve(drafts)
        return bool(reserved) or len(grants) == LEASE_BATCH

    async def _can_begin(self) -> bool:
        """Whether the journal takes entries; after one that it could not take, nothing is reserved until it does."""
        failure = self._journal.failure
        if failure is not None and self._is_journal_good:
            get_log().critical("journal_failed", error=str(failure), hint=failure.hint)
        try:
            if failure is not None:
                await self._journal.try_again()
            self._is_journal_good = True
        except SetupError:
            self._is_journal_good = False
        return self._is_journal_good

    async def _lease_more(self) -> list[LeaseGrant]:
        room = min(LEASE_BATCH, self._options.max_mailboxes - len(self._lanes))
        if room <= 0:
            return []
        grants = await self._work.lease_mailboxes(room)
        loaded = await self._work.load_mailboxes([grant.mailbox_id for grant in grants]) if grants else []
        mailboxes = {row.id: row for row in loaded}
        given_back: list[tuple[int, int]] = []
        for grant in grants:
            if grant.mailbox_id in self._lanes:  # under a lease that ran out: its lane has to end first
                given_back.append((grant.mailbox_id, grant.fence))
                continue
            try:
                mailbox = mailbox_of(mailboxes[grant.mailbox_id], self._options.vault.keyring)
            except WorldError as error:
                address = mailboxes[grant.mailbox_id].address
                get_log().critical("mailbox_unusable", mailbox=address, error=str(error), hint=error.hint)
                await asyncio.to_thread(self._hold, address, unusable(error))
                given_back.append((grant.mailbox_id, grant.fence))
                continue
            self._lanes[grant.mailbox_id] = Lane(mailbox, grant, self._means)
        if given_back:
            await self._work.release(given_back)
        return grants

    def _hold(self, address: str, order: HoldOrder) -> None:
        length = timedelta(seconds=order.seconds) if order.seconds else None
        with connect(self._options.conninfo, name="mailfleet sender") as connection:
            hold(
                connection,
                ScopeKind.MAILBOX,
                address,
                reason=order.reason,
                set_by="sender",
                length=length,
                family=order.family,
            )

    async def _peek(self, room: int) -> list[Row]:
        mailboxes = [mailbox for mailbox, lane in self._lanes.items() if lane.lease_left > 0]
        if not mailboxes:
            return []
        return await self._work.peek(mailboxes, per_mailbox=max(PER_MAILBOX, room // len(mailboxes)), batch=room)

    async def _reserve(self, drafts: Mapping[int, Draft]) -> list[Reservation]:
        """Reserves the drafts; what was refused has gone back with its reason, and is forgotten here."""
        if not drafts:
            return []
        fences = {mailbox: lane.fence for mailbox, lane in self._lanes.items() if lane.lease_left > 0}
        asked_at, stops_heard = monotonic(), self._stops_heard
        reservations = await self._work.reserve(list(drafts.values()), fences)
        for reservation in sorted(reservations, key=lambda r: r.start_at):
            self._in_hand[reservation.attempt_id] = reservation.mailbox_id
            draft = drafts[reservation.message_id]
            if self._lanes[reservation.mailbox_id].mailbox.files_copies:
                self._copies.reserved(reservation.attempt_id, draft.content)
            self._put(Work(draft, reservation, asked_at))
        if self._stops_heard != stops_heard:  # it came before these letters were in hand
            await self._recall()
        return reservations

    def _put(self, work: Work) -> None:
        lane = self._lanes[work.reservation.mailbox_id]
        lane.put(work)
        if not lane.is_running:
            lane.is_running = True
            task = asyncio.create_task(lane.run())
            self._lane_tasks.add(task)
            task.add_done_callback(partial(self._lane_ended, lane))

    def _lane_ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        self._lane_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            get_log().critical("lane_failed", mailbox=lane.mailbox.id, exc_info=error)
            lane.give_back("lane_failed", "an error of Mailfleet itself; the letter was not begun")

    async def _release_idle(self) -> None:
        """Mailboxes that have nothing in hand and nothing unsettled go back. Those whose lease is lost are let go of:
        who takes them over counts their pace from its end."""
        busy = set(self._in_hand.values())
        resting = {mailbox: lane for mailbox, lane in self._lanes.items() if not lane.is_running}
        idle = [
            (mailbox, lane.fence) for mailbox, lane in resting.items() if mailbox not in busy and lane.lease_left > 0
        ]
        if idle:
            await self._work.release(idle)
        lost = [mailbox for mailbox, lane in resting.items() if lane.lease_left <= 0]
        for mailbox in {*lost, *(mailbox for mailbox, _ in idle)}:
            del self._lanes[mailbox]

    async def _reconcile(self) -> None:
        """Attempts that the database holds as running and nobody has in hand were never begun: withdraws them.

        Ours, when a commit was not heard of; of this journal's dead, when their last commit came after our recovery.
        Runs between reservations, never beside one: what is reserved and not yet in hand cannot be met here.
        """
        if monotonic() < self._reconcile_at:
            return
        hand = set(self._in_hand)
        mine = [row for row in await self._work.open_attempts() if row.id not in hand]
        dead = await self._work.attempts_of_journal(self._journal.id)
        results = [withdrawn(row.id, "commit_unheard", "its reservation was never heard of") for row in mine]
        await self._work.settle(
            results + results_of(dead, self._dead_entries, retry=self._means.retry) if dead else results
        )
        self._reconcile_at = monotonic() + self._options.tunables.lease.total_seconds() / 3

    def _settled(self, batch: Sequence[Result]) -> None:
        for result in batch:
            self._in_hand.pop(result.attempt_id, None)
        self._copies.settled(batch)
        if self._is_full:
            self._wake.set()

    async def _renew(self) -> bool:
        held = [(mailbox, lane.fence) for mailbox, lane in self._lanes.items()]
        grants = {grant.mailbox_id: grant for grant in await self._facts.renew(held)}
        for mailbox, lane in self._lanes.items():
            grant = grants.get(mailbox)
            if grant is not None and grant.fence == lane.fence:
                lane.extend(grant)
        self._caps.senders = await self._facts.seen()
        await self._facts.sweep_expired()
        await self._recover_orphans()
        return False

    async def _recover_orphans(self) -> None:
        """Journals that dead senders of this host left, and nobody holds; once a lease, for some die late."""
        if monotonic() < self._orphans_at:
            return
        self._orphans_at = monotonic() + self._options.tunables.lease.total_seconds()
        for orphan in Journal.open_orphans(self._options.journals, mine=self._journal.path):
            try:
                await recover(self._facts, orphan, retry=self._means.retry)
            finally:
                orphan.close()

    async def _close_tokens(self) -> None:
        """Once no lane asks for one, beside `_leave`: base.children.STOP_SECONDS are for all of the end."""
        if self._tokens is not None:
            await self._tokens.close()

    async def _leave(self) -> None:
        """Settles and releases; when the database stays away, the journal keeps what is not settled."""
        try:
            async with asyncio.timeout(STOP_GRACE):
                await self._settler.settle_all()
                await self._copies.keep()
                await self._facts.release((mailbox, lane.fence) for mailbox, lane in self._lanes.items())
                await self._facts.stopped()
        except (TimeoutError, psycopg.Error):
            get_log().critical("stopped_unsettled", letters=len(self._settler), kept_in=str(self._journal.path))

    async def _listen_loop(self) -> None:
        while True:
            try:
                async with listen(self._options.conninfo) as channels:
                    await self._recall()  # a stop may have come while nobody listened
                    async for channel in channels:
                        if channel == STOP_CHANNEL:
                            self._stops_heard += 1
                            await self._recall()
                        self._wake.set()
            except psycopg.Error:
                await asyncio.sleep(RECONNECT)

    async def _recall(self) -> None:
        waiting = [message for lane in self._lanes.values() for message in lane.waiting()]
        refusals = await self._stops.recall(waiting)
        for lane in self._lanes.values():
            lane.recall(refusals)

    async def _end_lanes(self) -> None:
        for lane in self._lanes.values():
            lane.stop()
        if self._lane_tasks:
            await asyncio.wait(self._lane_tasks, timeout=STOP_GRACE)
        for task in self._lane_tasks:
            task.cancel()
        if self._lane_tasks:
            await asyncio.wait(self._lane_tasks)

    async def _loop(
        self, errand: Callable[[], Awaitable[bool]], seconds: float, *, wake: asyncio.Event | None = None
    ) -> None:
        """Does an errand again and again until stopped; at once while it says there is more, or when woken."""
        while not self._stopping.is_set():
            if wake is not None:
                wake.clear()
            pause = seconds
            try:
                if await errand():
                    continue
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                get_log().warning("database_away", error=str(error))
                self._reconcile_at, pause = 0.0, RECONNECT
            except Exception as error:  # noqa: BLE001 - the sender's edge: the letters in hand go on
                get_log().critical("errand_failed", errand=errand.__name__, exc_info=error)
                self._reconcile_at, pause = 0.0, RECONNECT
            await wait(wake or self._stopping, pause)

    def _outbox(self) -> Outbox:
        tunables = self._options.tunables
        return Outbox(
            self._options.conninfo,
            sender_id=self._sender_id,
            host=HOST,
            lease=tunables.lease,
            reserve_ahead=tunables.reserve_ahead,
            late_after=tunables.late_after,
            digester=self._options.vault.digester,
            clock=self._clock,
        )
