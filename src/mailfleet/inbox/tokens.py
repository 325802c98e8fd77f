"""Access tokens for threads: the token source runs on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from mailfleet.base.secrets import Keyring
from mailfleet.model.words import AuthKind
from mailfleet.providers.auth import Login
from mailfleet.providers.oauth.source import TokenSource

T = TypeVar("T")


class Tokens:
    """`TokenSource` for callers that block; the loop begins with the first mailbox that needs it."""

    def __init__(self, conninfo: str, keyring: Keyring) -> None:
        self._source = TokenSource(conninfo, keyring)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def login(self, mailbox_id: int, login: Login) -> Login:
        """As a server takes it now. GrantFault, TokenUnavailable, SetupError as in `TokenSource.token_for`."""
        if login.kind is not AuthKind.XOAUTH2:
            return login
        return self._await(self._source.login(mailbox_id, login))

    def refused(self, mailbox_id: int, token: str) -> bool:
        """Whether the next token is worth one more try."""
        return self._await(self._source.refused(mailbox_id, token))

    def close(self) -> None:
        if self._loop is not None:
            self._await(self._source.close())
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _await(self, asked: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asked, self._running_loop()).result()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._run, args=(self._loop,), name="tokens", daemon=True).start()
            return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.close()
