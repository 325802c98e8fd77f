"""Access tokens for senders and watchers: good ones, fetched once, by whoever of all processes comes first.

A token's way, and what a death at each await leaves:

    1. read the row, claim it                  the claim ends by time (store.CLAIM); the next one asks
    2. the question is on its way              the same; the server may have answered already
    3. the answer is here, not stored          the same; an assertion or a secret asks again. A refresh token that
                                               the server has replaced meanwhile is lost with us: the old one is sent
                                               again, which Google (never replaces it) and Microsoft (honours the old
                                               one) allow; where a server does not, that mailbox's consent is over
    4. stored: one UPDATE, token, refresh      nothing: the next process reads it
       token and claim together
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import psycopg

from mailfleet.base.clock import monotonic
from mailfleet.base.errors import InvariantError, SetupError
from mailfleet.base.log import get_log
from mailfleet.base.secrets import Keyring
from mailfleet.model.words import AuthKind
from mailfleet.providers.auth import Login
from mailfleet.providers.oauth.answers import Asked, Issued, Later, Refused, Verdict, verdict_on
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.faults import GrantFault, GrantFaultKind, TokenUnavailable
from mailfleet.providers.oauth.forms import Client, Form, application_form, delegated_form, refresh_form
from mailfleet.providers.oauth.store import AT_ONCE, Claim, Row, TokenStore

if TYPE_CHECKING:
    from mailfleet.providers.oauth.server import OAuthServer

PATIENCE = timedelta(
    seconds=45
)  # chosen: how long a login waits for its token; a slow start of 1,200 takes half a minute
MARGIN = 60.0  # chosen: seconds of a token's life that are not used: a login takes time, clocks differ
FRESH_SHARE = (
    0.75,
    0.9,
)  # chosen: of its life a token is kept, each another share, so that they do not all end at once
SHORT_REST = 10.0  # chosen: seconds that a login waits for a server's rest; beyond, it is told to come back
POLL = 0.25  # chosen: seconds between two looks at a token that another process fetches
REST_CHANCE = (0.8, 1.2)  # chosen: processes come back from a rest in different moments
KEEP_EVERY = 1.0  # chosen: seconds between two tries to store a refresh token while the database is away
CLOSE_WITHIN = 30.0  # chosen: seconds; a question under way ends by its own deadline before that (server.ASK_WITHIN)


@dataclass(frozen=True, slots=True)
class _Held:
    """Moments by our monotonic clock."""

    token: str = field(repr=False)
    fresh_until: float
    good_until: float


class TokenSource:
    """One for each process and event loop. However many ask, a token is fetched once, by one process, few at a time."""

    def __init__(
        self, conninfo: str, keyring: Keyring, *, patience: timedelta = PATIENCE, store: TokenStore | None = None
    ) -> None:
        self._store = store or TokenStore(conninfo, keyring)
        self._patience = patience
        self._held: dict[int, _Held] = {}
        self._errands: dict[int, asyncio.Task[_Held]] = {}
        self._keepers: set[asyncio.Task[None]] = set()
        self._rooms: dict[int, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._server: OAuthServer | None = None

    async def token_for(self, mailbox_id: int) -> str:
        """A token that is good for a minute at least. GrantFault when a person must act; TokenUnavailable when not now.

        One in hand that is still good is given at once, and the next one fetched meanwhile.
        """
        held = self._held.get(mailbox_id)
        if held is not None and monotonic() < held.fresh_until:
            return held.token
        errand = self._errand(mailbox_id)
        if held is not None and monotonic() < held.good_until:
            return held.token
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                return (await asyncio.shield(errand)).token
        except TimeoutError as error:
            seconds = self._patience.total_seconds()
            raise TokenUnavailable(f"No access token came within {seconds:g} s; the login was not tried.") from error

    async def login(self, mailbox_id: int, login: Login) -> Login:
        """`login` as a server takes it now. By XOAUTH2 the account's grant comes first: a secret of the mailbox's own
        is an old token, or the password of before, and serves only while the account is not connected."""
        if login.kind is not AuthKind.XOAUTH2:
            return login
        try:
            return replace(login, secret=await self.token_for(mailbox_id))
        except GrantFault as fault:
            if fault.kind is GrantFaultKind.NO_GRANT and login.secret:
                return login
            raise

    async def refused(self, mailbox_id: int, token: str) -> bool:
        """A server refused a login with this token. True: it was old, and the next one is worth one more try; False: it
        was fresh, so a fresh one will not do either."""
        self._held.pop(mailbox_id, None)
        try:
            row = await self._read(mailbox_id)
            if row.access_token is None or self._store.opened(row.access_token, row) != token:
                return True
            return await self._store.forget(row)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise _database_away() from error

    async def close(self) -> None:
        """Waits for what is under way: an answer must not be lost."""
        if under_way := {*self._errands.values(), *self._keepers}:
            _, late = await asyncio.wait(under_way, timeout=CLOSE_WITHIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._server is not None:
            await self._server.close()
        await self._store.close()

    # -- one errand for each mailbox, however many wait for it ---------------------------------------------------------

    def _errand(self, mailbox_id: int) -> asyncio.Task[_Held]:
        """Runs on when who waited for it has gone: it may hold a refresh token that nobody else has."""
        if (running := self._errands.get(mailbox_id)) is not None:
            return running
        errand = self._errands[mailbox_id] = asyncio.create_task(self._fetch(mailbox_id))

        def ended(task: asyncio.Task[_Held]) -> None:
            del self._errands[mailbox_id]
            if not task.cancelled() and task.exception() is None:
                self._held[mailbox_id] = task.result()

        errand.add_done_callback(ended)
        return errand

    async def _fetch(self, mailbox_id: int) -> _Held:
        try:
            row = await self._read(mailbox_id)
            async with self._rooms[row.grant_id]:
                return await self._obtain(mailbox_id)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise _database_away() from error

    async def _obtain(self, mailbox_id: int) -> _Held:
        """1. What is stored, while it is fresh. 2. A new one, if we may ask. 3. What is stored, while it is good.
        4. Why there is none; or wait for whoever asks, or for a short rest to end, and look again."""
        said = ""
        while True:
            row = await self._read(mailbox_id)
            held = self._held_of(row)
            if held is not None and row.fresh_for > 0:
                return held
            obstacle = _obstacle(row, said)
            if obstacle is None and (claim := await self._store.claim(row)) is not None:
                answer = await self._ask(row, claim)
                if isinstance(answer, _Held):
                    return answer
                said = answer.text
                continue
            if held is not None:
                return held
            if obstacle is not None and not _is_short(obstacle, row.now):
                raise obstacle
            await asyncio.sleep(POLL * random.uniform(*REST_CHANCE))

    async def _read(self, mailbox_id: int) -> Row:
        row = await self._store.read(mailbox_id)
        if row is None:
            raise InvariantError(f"a token was asked for the mailbox {mailbox_id}, which does not exist")
        if row.grant_id is None:
            raise GrantFault(
                GrantFaultKind.NO_GRANT,
                f"{row.account}: its mailboxes log in by OAuth, and the account is not connected.",
                hint=f"Run `mailfleet account connect {row.account}`.",
                account_id=row.account_id,
            )
        return row

    def _held_of(self, row: Row) -> _Held | None:
        if row.access_token is None or row.good_for <= MARGIN:
            return None
        now = monotonic()
        token = self._store.opened(row.access_token, row)
        return _Held(token, now + min(row.fresh_for, row.good_for - MARGIN), now + row.good_for - MARGIN)

    # -- under a claim -------------------------------------------------------------------------------------------------

    async def _ask(self, row: Row, claim: Claim) -> _Held | Later:
        """Asks the server, and writes what it said before anyone hears of it. GrantFault for a no."""
        try:
            verdict, of_mailbox = await self._verdict(row, claim)
        except SetupError:
            await self._store.release(claim)
            raise
        match verdict:
            case Issued():
                return await self._keep(row, claim, verdict)
            case Later():
                await self._store.rest(claim, verdict, chance=random.uniform(*REST_CHANCE))
                return verdict
            case Refused():
                await self._store.fault(claim, verdict, of_mailbox=of_mailbox)
                raise _fault(row, verdict.kind, str(verdict), verdict.hint, of_mailbox=of_mailbox)

    async def _question(self, row: Row, claim: Claim, login: str) -> Verdict:
        client = self._store.client_of(row)
        if self._server is None:
            self._server = import_module("mailfleet.providers.oauth.server").OAuthServer()
        answer = await self._server.ask(client.token_url, self._form(row, claim, client, login), ca_file=row.ca_file)
        if isinstance(answer, Later):
            return answer
        return verdict_on(answer, Asked(Flow(row.flow), client.client_id, client.scope, login))

    def _form(self, row: Row, claim: Claim, client: Client, login: str) -> Form:
        match Flow(row.flow):
            case Flow.SERVICE_ACCOUNT:
                return delegated_form(client, login, claim.now)
            case Flow.CLIENT_CREDENTIALS:
                return application_form(client, claim.now)
            case Flow.CONSENT:
                if claim.refresh_token is None:
                    raise InvariantError("a consent was claimed that is not there")
                return refresh_form(client, self._store.opened(claim.refresh_token, row), claim.now)

    async def _verdict(self, row: Row, claim: Claim) -> tuple[Verdict, bool]:
        """The answer, and whether a no concerns this mailbox alone. Where its words leave that open, another mailbox is
        asked for: one row in the wrong account must not stop a thousand. While that is not answered, nothing is."""
        verdict = await self._question(row, claim, row.login)
        if not isinstance(verdict, Refused) or verdict.scope != "ask_another":
            return verdict, isinstance(verdict, Refused) and verdict.scope == "mailbox"
        other = await self._store.witness(row)
        about_other = None if other is None else await self._question(row, claim, other)
        return about_other if isinstance(about_other, Later) else verdict, isinstance(about_other, Issued)

    async def _keep(self, row: Row, claim: Claim, issued: Issued) -> _Held:
        """Stores the answer. While the database is away a new refresh token is stored as soon as it is back; the access
        token serves meanwhile."""
        life = issued.lives_for.total_seconds()
        fresh_for = life * random.uniform(*FRESH_SHARE)
        now = monotonic()
        held = _Held(issued.access_token, now + min(fresh_for, life - MARGIN), now + life - MARGIN)
        try:
            await self._store.keep(claim, issued, fresh_for=timedelta(seconds=fresh_for))
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if issued.refresh_token:
                self._keep_later(self._keep_on(row, claim, issued, timedelta(seconds=fresh_for)))
        return held

    def _keep_later(self, keeping: Coroutine[Any, Any, None]) -> None:
        keeper = asyncio.create_task(keeping)
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)

    async def _keep_on(self, row: Row, claim: Claim, issued: Issued, fresh_for: timedelta) -> None:
        """Until it is stored, or someone else has asked since."""
        get_log().critical("refresh_token_not_stored_yet", mailbox=row.address, account=row.account)
        while True:
            await asyncio.sleep(KEEP_EVERY)
            try:
                await self._store.keep(claim, issued, fresh_for=fresh_for)
                return
            except (psycopg.OperationalError, psycopg.InterfaceError):
                continue


def _obstacle(row: Row, said: str) -> GrantFault | TokenUnavailable | None:
    """What stands against asking for the token of a row of `standing`."""
    if row.grant_fault is not None:
        return _fault(row, row.grant_fault, row.grant_fault_text, row.grant_fault_hint, of_mailbox=False)
    if row.mailbox_fault is not None:
        return _fault(row, row.mailbox_fault, row.mailbox_fault_text, row.mailbox_fault_hint, of_mailbox=True)
    if row.flow == Flow.CONSENT and row.refresh_token is None:
        hint = f"Run `mailfleet account connect {row.account} --mailbox {row.address}`, with --code or --device."
        return _fault(row, GrantFaultKind.NO_CONSENT, "nobody has agreed for it yet", hint, of_mailbox=True)
    if row.rest_until is not None:
        why = f": {said}" if said else ""
        text = f"{row.account}: the token server does not serve us now{why}."
        return TokenUnavailable(text, again_at=row.rest_until, now=row.now)
    return None


def _fault(row: Row, kind: str, text: str, hint: str, *, of_mailbox: bool) -> GrantFault:
    who = row.address if of_mailbox else f"{row.account}, every mailbox"
    return GrantFault(
        GrantFaultKind(kind),
        f"{who}: no access token, for {text}",
        hint=hint,
        account_id=row.account_id,
        mailbox_id=row.mailbox_id if of_mailbox else None,
    )


def _is_short(obstacle: GrantFault | TokenUnavailable, now: datetime) -> bool:
    if isinstance(obstacle, GrantFault) or obstacle.again_at is None:
        return False
    return (obstacle.again_at - now).total_seconds() <= SHORT_REST


def _database_away() -> TokenUnavailable:
    return TokenUnavailable("No access token, for the database does not answer.")
