"""Asking an OAuth server over HTTP, with a deadline for every part. Here the errors of sockets, TLS and HTTP become
`Later`, and here the server's words lose whatever of ours they repeat.

aiohttp is imported with this module, which is loaded when the first token is needed: a fleet of passwords never pays.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import aiohttp

from mailfleet.providers.endpoint import tls_context
from mailfleet.providers.oauth.answers import Answer, Later, first_line
from mailfleet.providers.oauth.forms import SECRETS, Form

ASK_WITHIN = timedelta(seconds=20)  # chosen: a token server that needs longer is taken for away; see store.CLAIM
CONNECT_WITHIN = timedelta(seconds=10)  # chosen likewise
LARGEST_ANSWER = 65_536  # chosen: bytes; real answers have some kB
_HIDDEN = "…"


class OAuthServer:
    """A client of every account's server; one for each process. No cookies, no redirects: a form goes where it was
    meant to, or nowhere. No proxy of the environment is used."""

    def __init__(self, *, within: timedelta = ASK_WITHIN) -> None:
        connect = min(CONNECT_WITHIN, within).total_seconds()
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=within.total_seconds(), sock_connect=connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": "mailfleet"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, url: str, form: Form, *, ca_file: str = "") -> Answer | Later:
        """Posts the form. An answer that is no JSON object comes with empty fields. SetupError for a bad CA file."""
        context = tls_context(ca_file or None)
        try:
            async with self._session.post(url, data=form, ssl=context, allow_redirects=False) as response:
                body = await _read(response)
                return Answer(response.status, _clean(_fields(body), form), _retry_after(response.headers))
        except TimeoutError:
            return Later(f"{_host(url)} did not answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Later(f"{_host(url)} could not be asked: {_explain(error)}")


def _host(url: str) -> str:
    return url.split("/")[2]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_chunked(LARGEST_ANSWER):
        body += part
        if len(body) > LARGEST_ANSWER:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(body)


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _clean(fields: Mapping[str, Any], form: Form) -> Mapping[str, Any]:
    """A server's complaint as it may be shown and stored: one line, and none of the secrets that it repeats."""
    words = {name: fields[name] for name in ("error", "error_description") if isinstance(fields.get(name), str)}
    return {**fields, **{name: _hide(first_line(said), form) for name, said in words.items()}}


def _hide(said: str, form: Form) -> str:
    for name in SECRETS:
        if secret := form.get(name):
            said = said.replace(secret, _HIDDEN)
    return said


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """RFC 9110 §10.2.3, in seconds; a date is not read: the rest is then ours to choose."""
    try:
        return timedelta(seconds=max(0, int(headers.get("Retry-After", ""))))
    except (ValueError, OverflowError):
        return None


def _explain(error: Exception) -> str:
    """The cause without its address, which may hold what a person typed."""
    inner = getattr(error, "os_error", None) or error
    return f"{getattr(inner, 'strerror', None) or type(inner).__name__}"
