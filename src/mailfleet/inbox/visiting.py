"""One visit to one mailbox: junk and INBOX are read to their end, its errands done, and how it went is written down."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import psycopg

from mailfleet.base.errors import ProviderError, SetupError
from mailfleet.base.log import get_log
from mailfleet.base.secrets import Keyring
from mailfleet.inbox.arrived import Arrived
from mailfleet.inbox.errands import run_errands
from mailfleet.inbox.failing import Fault, family_to_hold, fault_of
from mailfleet.inbox.not_read import NotRead
from mailfleet.inbox.reading import StoredCursor, Visit
from mailfleet.inbox.rhythm import Rhythm
from mailfleet.inbox.store import SET_BY, Connections, Fenced, Row, WatcherStore
from mailfleet.inbox.taking import take_mail
from mailfleet.inbox.tokens import Tokens
from mailfleet.inbox.turns import Held
from mailfleet.model.words import AuthKind, Folder, ScopeKind, Security
from mailfleet.outbox.stops import hold
from mailfleet.outbox.vault import Vault
from mailfleet.providers.auth import Login
from mailfleet.providers.endpoint import Endpoint
from mailfleet.providers.imap import ImapSession
from mailfleet.providers.imap_faults import FaultKind, ImapFault, ImapStage
from mailfleet.providers.imap_folders import INBOX
from mailfleet.providers.imap_mail import Cursor
from mailfleet.providers.imap_opening import ImapDeadlines

FIRST_DAYS = timedelta(days=7)  # chosen: of a mailbox never read; no answer to us is older, and no archive floods in
DEADLINES = ImapDeadlines(logout=timedelta(seconds=2))  # chosen: 1,200 sessions are to end within seconds


@dataclass(frozen=True, slots=True)
class Target:
    """A mailbox as it is to be opened and read. `since`: the day from which on, where no cursor says it."""

    mailbox_id: int
    address: str
    endpoint: Endpoint
    login: Login
    since: date
    cursors: dict[Folder, StoredCursor]

    @property
    def key(self) -> object:
        return self.endpoint, self.login


def target_of(row: Row, keyring: Keyring) -> Target:
    """From a row of `load_reading`; SetupError when no key opens its secret."""
    return Target(
        mailbox_id=row.id,
        address=row.address,
        endpoint=Endpoint(row.imap_host, row.imap_port, Security(row.imap_security), row.ca_file or None),
        login=Login(row.login, keyring.open(row.sealed, what=row.address), AuthKind(row.auth)),
        since=(row.read_at or row.now - FIRST_DAYS).date(),
        cursors={Folder(folder): _stored(*kept) for folder, kept in (row.cursors or {}).items()},
    )


def _stored(name: str, uid_validity: int, uid: int) -> StoredCursor:
    return StoredCursor(name, Cursor(uid_validity, uid))


class Visitor:
    """Visits for all threads. `must_end`: the watcher stops, so a visit ends after the batch in hand."""

    def __init__(
        self,
        connections: Connections,
        vault: Vault,
        tokens: Tokens,
        watcher_id: int,
        rhythm: Rhythm,
        must_end: Callable[[], bool],
    ) -> None:
        self._connections = connections
        self._vault = vault
        self._tokens = tokens
        self._watcher_id = watcher_id
        self._rhythm = rhythm
        self._must_end = must_end

    def visit(self, held: Held) -> None:
        """psycopg.Error: the database is away; the mailbox stays due."""
        try:
            with self._store() as store:
                row = store.load(held.lease)
            try:
                self._visit(held, target_of(row, self._vault.keyring))
            except (psycopg.OperationalError, psycopg.InterfaceError, Fenced):
                raise
            except Exception as error:  # noqa: BLE001 - the watcher's edge: the other mailboxes are read on
                held.drop()
                self._fail(held, row, error)
        except Fenced:
            held.is_ours = False

    def _visit(self, held: Held, target: Target) -> None:
        """A session that was kept and proves closed is opened anew, once; that says nothing against the mailbox."""
        was_open = held.is_open
        try:
            self._read(held, target)
        except ImapFault as fault:
            if not was_open or fault.kind is not FaultKind.LOST or fault.stage is ImapStage.FETCH or self._must_end():
                raise
            held.drop()
            self._read(held, target)

    def _read(self, held: Held, target: Target) -> None:
        """Junk first, so that INBOX is the open folder when the session idles. After news it is INBOX alone."""
        is_news, held.has_news, held.is_at_inbox = held.has_news, False, False
        session = self._open(held, target)
        visit = self._visit_of(held, target, session)
        if not self._read_folders(visit, None if is_news else held.junk):
            with self._store() as store:
                store.read_on(held.lease)
        elif not is_news:
            with self._store() as store:
                store.read_well(held.lease, wait=self._wait())
            if held.has_errands and self._run_errands(held, session):
                self._visit_of(held, target, session).read(Folder.INBOX, INBOX)
        held.is_at_inbox = True

    @staticmethod
    def _read_folders(visit: Visit, junk: str | None) -> bool:
        """Whether both were read to their end. Junk that cannot be read keeps nothing in INBOX waiting."""
        if junk is not None and Folder.JUNK in visit.doubts:
            visit.read(Folder.INBOX, INBOX)
            visit.read(Folder.JUNK, junk)
            return False
        is_whole = junk is None or visit.read(Folder.JUNK, junk)
        return visit.read(Folder.INBOX, INBOX) and is_whole

    def _visit_of(self, held: Held, target: Target, session: ImapSession) -> Visit:
        return Visit(
            mailbox_id=target.mailbox_id,
            address=target.address,
            session=session,
            cursors=target.cursors,
            since=target.since,
            doubts=held.doubts,
            take=self._take,
            tell=partial(self._tell, held),
            keep=partial(self._keep, held, target),
            must_end=lambda: self._must_end() or not held.is_ours,
        )

    def _take(self, arrived: Arrived) -> None:
        with self._connections.one() as connection:
            take_mail(connection, self._vault, arrived)

    def _tell(self, held: Held, mail: NotRead) -> None:
        with self._store() as store:
            store.tell_not_read(held.lease, mail)

    def _keep(self, held: Held, target: Target, folder: Folder, name: str, cursor: Cursor) -> None:
        with self._store() as store:
            store.keep_cursor(held.lease, folder, name, cursor)
        target.cursors[folder] = StoredCursor(name, cursor)

    def _run_errands(self, held: Held, session: ImapSession) -> bool:
        """Whether another folder may be open now. What fails there says nothing of reading."""
        held.has_errands = False
        with self._connections.one() as connection:
            try:
                run_errands(connection, session, held.mailbox_id)
            except ProviderError as error:
                get_log().warning("errand_failed", mailbox=held.mailbox_id, error=str(error))
        return session.is_usable

    # The session

    def _open(self, held: Held, target: Target) -> ImapSession:
        """The kept one, unless it is closed or the mailbox is reached otherwise by now."""
        if held.session is not None and held.session.is_usable and held.key == target.key:
            return held.session
        if held.session is not None:
            held.session.close()
        held.session, held.key = self._log_in(target), target.key
        held.junk = held.session.find_folders().junk
        return held.session

    def _log_in(self, target: Target) -> ImapSession:
        """A token that is refused may be old: one more try with a new one."""
        login = self._tokens.login(target.mailbox_id, target.login)
        try:
            return ImapSession.open(target.endpoint, login, DEADLINES)
        except ImapFault as fault:
            if fault.kind is not FaultKind.LOGIN or login is target.login:
                raise
            if not self._tokens.refused(target.mailbox_id, login.secret):
                raise
        login = self._tokens.login(target.mailbox_id, target.login)
        return ImapSession.open(target.endpoint, login, DEADLINES)

    # How it went

    def _wait(self) -> timedelta:
        least, most = self._rhythm.least_wait, self._rhythm.most_wait
        return least + (most - least) * random.random()

    def _fail(self, held: Held, row: Row, error: Exception) -> None:
        """The fault and the hold that it asks for, in one transaction: no letter leaves between the two."""
        if not isinstance(error, ProviderError | SetupError):
            get_log().critical("reading_failed", mailbox=row.address, exc_info=error)
        fault = fault_of(error)
        with self._store() as store, store.connection.transaction():
            failed = store.fail(
                held.lease,
                {
                    "kind": fault.kind,
                    "text": fault.text,
                    "refused": row.sealed if fault.is_refusal else None,
                    "first": self._rhythm.first_retry,
                    "longest": self._rhythm.longest_retry,
                    "chance": random.uniform(0.8, 1.2),
                },
            )
            self._hold(store, row, fault, failed)

    def _hold(self, store: WatcherStore, row: Row, fault: Fault, failed: Row) -> None:
        family = family_to_hold(fault.kind, failed.failures, failed.unread_for)
        if family is None or (row.id, family) in store.families_over([row.id]):
            return
        hold(
            store.connection,
            ScopeKind.MAILBOX,
            row.address,
            reason=fault.hold_reason,
            set_by=SET_BY,
            family=family,
            evidence={"fault": fault.kind, "failures": failed.failures},
        )

    @contextmanager
    def _store(self) -> Iterator[WatcherStore]:
        with self._connections.one() as connection:
            yield WatcherStore(connection, self._watcher_id)
