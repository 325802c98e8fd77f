"""A person's consent, given once: in a browser on this machine, in one elsewhere, or by a code typed into a page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from mailfleet.base.errors import InputError
from mailfleet.providers.oauth.answers import (
    Answer,
    Asked,
    Issued,
    Later,
    Pending,
    Refused,
    Verdict,
    device_verdict_on,
    verdict_on,
)
from mailfleet.providers.oauth.credentials import Flow
from mailfleet.providers.oauth.endpoints import OAuthEndpoints
from mailfleet.providers.oauth.faults import GrantFault, TokenUnavailable
from mailfleet.providers.oauth.forms import Client, Consent, Form, ask_consent, code_form, device_form, device_request
from mailfleet.providers.oauth.server import OAuthServer

ANSWER_WITHIN = timedelta(minutes=10)  # chosen: how long a browser may take to come back; codes live about as long
DEVICE_POLL = 5  # RFC 8628 §3.2: seconds where the server names none
SLOWER = 5  # RFC 8628 §3.5: seconds more after slow_down
LONGEST_POLL = 60  # chosen: seconds; a server's larger number would only make a person wait
DEVICE_LIFE = timedelta(minutes=15)  # chosen: of a code whose server names none, and at most an hour
_PAGE = "<!doctype html><meta charset=utf-8><title>Mailfleet</title><p>{}"
_HEADERS = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person is shown (RFC 8628 §3.2), and what the answer is asked with."""

    user_code: str
    url: str
    life: timedelta
    poll: timedelta
    device_code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asking:
    """For which mailbox, of which client, where."""

    server: OAuthServer
    client: Client
    endpoints: OAuthEndpoints
    login: str

    def consent(self, redirect_uri: str) -> Consent:
        """The question for a browser."""
        return ask_consent(self.client, self.endpoints, redirect_uri, login=self.login)

    async def exchange(self, consent: Consent, answer: str) -> Issued:
        """The tokens for the address to which a browser was sent back."""
        form = code_form(self.client, consent.code_of(answer), consent.redirect_uri, consent.verifier, _now())
        return self._told(self._verdict_on(await self._ask(self.client.token_url, form)))

    async def begin_device(self) -> DeviceCode:
        """Asks for a code to show. Raises as `wait_for_device` does."""
        answer = await self._ask(self.endpoints.device_url, device_request(self.client))
        if not isinstance(answer, Later) and (code := _device_code(answer)) is not None:
            return code
        self._told(self._verdict_on(answer))
        raise TokenUnavailable(f"{self.login}: the server gave no device code. Nothing was stored.")

    async def wait_for_device(
        self, code: DeviceCode, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> Issued:
        """Asks again and again until the person has agreed, or refused, or the code is over (RFC 8628 §3.4, 3.5)."""
        poll, left = code.poll.total_seconds(), code.life.total_seconds()
        while left > 0:
            await pause(poll)
            left -= poll
            answer = await self._ask(self.client.token_url, device_form(self.client, code.device_code, _now()))
            match self._verdict_on(answer, waits=True):
                case Pending(is_too_often=too_often):
                    poll += SLOWER if too_often else 0
                case Later():
                    poll = min(poll * 2, LONGEST_POLL)  # RFC 8628 §3.5: back off when a connection times out
                case verdict:
                    return self._told(verdict)
        raise InputError("Nobody entered the code in time.", hint="Run the command again for a new one.")

    async def _ask(self, url: str, form: Form) -> Answer | Later:
        return await self.server.ask(url, form, ca_file=self.endpoints.ca_file)

    def _verdict_on(self, answer: Answer | Later, *, waits: bool = False) -> Verdict | Pending:
        if isinstance(answer, Later):
            return answer
        asked = Asked(Flow.CONSENT, self.client.client_id, self.client.scope, self.login)
        return device_verdict_on(answer, asked) if waits else verdict_on(answer, asked)

    def _told(self, verdict: Verdict | Pending) -> Issued:
        match verdict:
            case Issued():
                return verdict
            case Refused():
                raise GrantFault(verdict.kind, f"{self.login}: {verdict}", hint=verdict.hint, account_id=None)
            case Later():
                raise TokenUnavailable(f"{self.login}: no token, for {verdict.text}. Nothing was stored.")
            case Pending():
                raise TokenUnavailable(f"{self.login}: the server waits for the person still. Nothing was stored.")


@asynccontextmanager
async def loopback(host: str) -> AsyncIterator[tuple[str, "asyncio.Queue[str]"]]:
    """A redirect address on this machine (RFC 8252 §7.3, on a free port), and the queue of the URLs that came to it.

    Whoever else on this machine calls it is turned away by `state`, and cannot use the code without the verifier.
    """
    came: asyncio.Queue[str] = asyncio.Queue(maxsize=16)

    async def take(request: web.Request) -> web.Response:
        if not came.full():
            came.put_nowait(str(request.url))
        text = _PAGE.format("You may close this window; the terminal says how it went.")
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    application = web.Application()
    application.router.add_get("/", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}", came
    finally:
        await runner.cleanup()


async def wait_for_browser(
    asking: Asking, consent: Consent, came: "asyncio.Queue[str]", *, within: timedelta = ANSWER_WITHIN
) -> Issued:
    """The tokens of the first URL that answers our question; strangers' calls are passed over, a no is not."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            url = await came.get()
            while not consent.is_answered_by(url):
                url = await came.get()
    except TimeoutError as error:
        raise InputError("The browser did not come back in time.", hint="Run the command again.") from error
    return await asking.exchange(consent, url)


def _device_code(answer: Answer) -> DeviceCode | None:
    """Google calls the address verification_url, RFC 8628 §3.2 verification_uri."""
    fields = answer.fields
    url = fields.get("verification_uri") or fields.get("verification_url")
    texts = (fields.get("user_code"), url, fields.get("device_code"))
    if answer.status != 200 or not all(isinstance(text, str) and text.isprintable() and text for text in texts):
        return None
    user_code, shown, device_code = map(str, texts)
    life = _seconds(fields.get("expires_in"), DEVICE_LIFE.total_seconds(), most=3600)
    poll = _seconds(fields.get("interval"), DEVICE_POLL, most=LONGEST_POLL)
    return DeviceCode(user_code, shown, timedelta(seconds=life), timedelta(seconds=poll), device_code)


def _seconds(value: object, default: float, *, most: float) -> float:
    return min(max(float(value), 1.0), most) if isinstance(value, int | float) else default


def _now() -> datetime:
    return datetime.now(UTC)
