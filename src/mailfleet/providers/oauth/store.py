"""Tokens in the database, shared by every sender and watcher on every host.

Who asks a server holds the token's claim, a short right with an end, written in its row: no transaction is open while
the server is asked, a process that dies loses it by time, and what is written in its name names it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from mailfleet.base.db import AsyncConnection, connect_async, load_queries
from mailfleet.base.secrets import Keyring
from mailfleet.providers.oauth.answers import Issued, Later, Refused
from mailfleet.providers.oauth.credentials import Credential, Flow
from mailfleet.providers.oauth.forms import Client

QUERIES = load_queries("mailfleet.providers.oauth")
AT_ONCE = 8  # chosen: questions of one account under way over the whole fleet: 1,200 tokens in about half a minute
CLAIM = timedelta(seconds=60)  # chosen: longer than two questions with their deadlines (see server.ASK_WITHIN)
FIRST_REST = timedelta(seconds=1)  # chosen; doubled each time
LONGEST_REST = timedelta(minutes=5)
FAULT_RESTS = timedelta(minutes=15)  # chosen: a no is not asked again sooner, unless a person says that it is mended
YOUNG = timedelta(minutes=2)  # chosen: a token refused at this age is not the token's fault

Row = Any


@dataclass(frozen=True, slots=True)
class Claim:
    """Our right to ask for one token; `now` by the database's clock."""

    id: UUID
    token_id: int
    grant_id: int
    refresh_token: bytes | None
    now: datetime


class TokenStore:
    """One process's door to the tokens, over one connection, which is opened anew when it was lost. Calls wait for one
    another. Each may raise psycopg.Error: then nothing is known of what it wrote."""

    def __init__(self, conninfo: str, keyring: Keyring, *, at_once: int = AT_ONCE, claim: timedelta = CLAIM) -> None:
        self._conninfo = conninfo
        self._keyring = keyring
        self._at_once = at_once
        self._claim = claim
        self._open: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()
            self._open = None

    async def read(self, mailbox_id: int) -> Row | None:
        """A row of `standing`; None when there is no such mailbox."""
        async with self._connection() as connection:
            return await (await connection.execute(QUERIES["standing"], {"mailbox": mailbox_id})).fetchone()

    def client_of(self, row: Row) -> Client:
        """Who asks, from a row of `standing` with a grant. SetupError when no key opens its credential."""
        packed = self._keyring.open(row.credential, what=f"the account {row.account}")
        return Client(row.client_id, row.token_url, row.scope, Credential.unpack(packed))

    def opened(self, sealed: bytes, row: Row) -> str:
        return self._keyring.open(sealed, what=row.address)

    async def claim(self, row: Row) -> Claim | None:
        """The right to ask for the token of a row of `standing`; None while another process has it, or nobody may."""
        claim = uuid4()
        values = {"grant": row.grant_id, "mailbox": holder_of(row), "claim": claim, "length": self._claim}
        async with self._connection() as connection, connection.transaction():
            found = await (
                await connection.execute(QUERIES["lock_grant"], {**values, "at_once": self._at_once})
            ).fetchone()
            if found is None:
                return None
            got = await (await connection.execute(QUERIES["claim"], {**values, "room": found.room})).fetchone()
        return None if got is None else Claim(claim, got.id, row.grant_id, got.refresh_token, got.now)

    async def keep(self, claim: Claim, issued: Issued, *, fresh_for: timedelta) -> bool:
        """Stores an answer under its claim, and gives that back; False when the claim was lost."""
        refresh = self._keyring.seal(issued.refresh_token) if issued.refresh_token else None
        values = {
            **_names(claim),
            "access_token": self._keyring.seal(issued.access_token),
            "refresh_token": refresh,
            "fresh_for": fresh_for,
            "good_for": issued.lives_for,
        }
        async with self._connection() as connection, connection.transaction():
            kept = (await connection.execute(QUERIES["keep"], values)).rowcount
            if kept:
                await connection.execute(QUERIES["served"], values)
        return bool(kept)

    async def rest(self, claim: Claim, later: Later, *, chance: float) -> None:
        """Gives the claim back; nobody asks this grant's server for a while. `chance`: about 1, so that not all come
        back in the same moment."""
        values = {"rest": later.rest, "first": FIRST_REST, "longest": LONGEST_REST, "chance": chance}
        await self._end(claim, "rest", values)

    async def fault(self, claim: Claim, refused: Refused, *, of_mailbox: bool) -> None:
        """Gives the claim back; nobody asks for this mailbox, or for any of the account, for a while."""
        values = {"kind": refused.kind, "text": str(refused), "hint": refused.hint, "length": FAULT_RESTS}
        await self._end(claim, "fault_mailbox" if of_mailbox else "fault_grant", values)

    async def release(self, claim: Claim) -> None:
        async with self._connection() as connection:
            await connection.execute(QUERIES["release"], _names(claim))

    async def witness(self, row: Row) -> str | None:
        """The login of another mailbox of the account that had a token."""
        values = {"grant": row.grant_id, "mailbox": row.mailbox_id}
        async with self._connection() as connection:
            found = await (await connection.execute(QUERIES["witness"], values)).fetchone()
        return None if found is None else found.login

    async def forget(self, row: Row) -> bool:
        """Ends the access token of a row of `standing`; False when it is too young, or another has come."""
        values = {"grant": row.grant_id, "mailbox": holder_of(row), "fetched_at": row.fetched_at, "young": YOUNG}
        async with self._connection() as connection:
            return await (await connection.execute(QUERIES["forget"], values)).fetchone() is not None

    async def _end(self, claim: Claim, query: str, values: Mapping[str, Any]) -> None:
        async with self._connection() as connection, connection.transaction():
            names = _names(claim)
            if await (await connection.execute(QUERIES["release"], names)).fetchone() is not None:
                await connection.execute(QUERIES[query], {**names, **values})

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        async with self._turn:
            if self._open is None or self._open.closed:
                self._open = await connect_async(self._conninfo, name="mailfleet tokens")
            try:
                yield self._open
            except psycopg.OperationalError:
                await self.close()
                raise


def holder_of(row: Row) -> int | None:
    """Whose row the token is: the mailbox's, or of the whole account's."""
    return None if row.flow == Flow.CLIENT_CREDENTIALS else int(row.mailbox_id)


def _names(claim: Claim) -> dict[str, Any]:
    return {"claim": claim.id, "token": claim.token_id, "grant": claim.grant_id, "claimed_at": claim.now}
