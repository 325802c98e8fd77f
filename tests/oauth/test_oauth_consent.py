"""A person's consent: in a browser, by a pasted address, by a device code."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from oauth_world import World
from token_server import answers

from mailfleet.base.errors import InputError
from mailfleet.providers.oauth.consent import Asking, loopback, wait_for_browser
from mailfleet.providers.oauth.credentials import Credential
from mailfleet.providers.oauth.endpoints import OAuthEndpoints
from mailfleet.providers.oauth.faults import GrantFault, GrantFaultKind
from mailfleet.providers.oauth.server import OAuthServer


@pytest.fixture
async def asking(world: World) -> AsyncIterator[Asking]:
    url = world.server.url
    endpoints = OAuthEndpoints(f"{url}/token", f"{url}/authorize", f"{url}/device", consent_scope="mail")
    async with OAuthServer() as server:
        yield Asking(server, world.client("public", secret=""), endpoints, "a@a.example")


async def browse(url: str) -> tuple[int, str]:
    """What a browser does: follows to the redirect address. Status, and the address it ended at."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, str(response.url)


async def test_browser(world: World, asking: Asking) -> None:
    """The browser comes back to the loopback address with a code, which brings both tokens: PKCE is checked."""
    async with loopback("127.0.0.1") as (redirect_uri, came):
        consent = asking.consent(redirect_uri)
        waiting = asyncio.create_task(wait_for_browser(asking, consent, came))
        status, _ = await browse(consent.url)
        issued = await waiting
    assert status == 200
    assert world.server.issued[issued.access_token] == "a@a.example"
    assert issued.refresh_token in world.server.known.refresh


async def test_stranger_on_this_machine(asking: Asking) -> None:
    """A call with another state, from a page or a process of somebody else, changes nothing."""
    async with loopback("127.0.0.1") as (redirect_uri, came):
        consent = asking.consent(redirect_uri)
        for stranger in ("code=evil&state=guess", "code=evil", "error=access_denied"):
            await browse(f"{redirect_uri}/?{stranger}")
        waiting = asyncio.create_task(wait_for_browser(asking, consent, came))
        await browse(consent.url)
        assert (await waiting).refresh_token


async def test_browser_that_never_comes(asking: Asking) -> None:
    """Nobody waits for ever."""
    async with loopback("127.0.0.1") as (redirect_uri, came):
        with pytest.raises(InputError, match="in time"):
            await wait_for_browser(asking, asking.consent(redirect_uri), came, within=timedelta(milliseconds=10))


async def test_pasted_address(asking: Asking) -> None:
    """On a server without a browser the address is pasted back, whole or its query alone; its code is good once."""
    consent = asking.consent("http://127.0.0.1:9/")
    async with aiohttp.ClientSession() as session, session.get(consent.url, allow_redirects=False) as response:
        address = response.headers["Location"]
    issued = await asking.exchange(consent, f"  {address}\n")
    assert issued.refresh_token
    with pytest.raises(GrantFault):
        await asking.exchange(consent, urlsplit(address).query)


async def test_stolen_code(world: World, asking: Asking) -> None:
    """A code without this question's verifier is worth nothing (RFC 7636)."""
    consent = asking.consent("http://127.0.0.1:9/")
    async with aiohttp.ClientSession() as session, session.get(consent.url, allow_redirects=False) as response:
        address = response.headers["Location"]
    with pytest.raises(GrantFault):
        await asking.exchange(replace(consent, verifier="w" * 64), address)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9/?code=x&state=other", "not the answer"),
        ("", "not the answer"),
        ("http://127.0.0.1:9/?state={state}", "no code"),
        ("http://127.0.0.1:9/?error=access_denied&error_description=No+thanks&state={state}", "No thanks"),
    ],
)
async def test_wrong_addresses(asking: Asking, address: str, said: str) -> None:
    """What is pasted wrongly is refused with a word that helps, and the server is not asked."""
    consent = asking.consent("http://127.0.0.1:9/")
    with pytest.raises(InputError, match=said):
        await asking.exchange(consent, address.format(state=consent.state))


async def test_question(asking: Asking) -> None:
    """The URL asks as RFC 6749 and RFC 7636 say; what the provider wants besides goes with it."""
    endpoints = replace(asking.endpoints, authorize_with={"prompt": "consent"})
    consent = replace(asking, endpoints=endpoints).consent("http://127.0.0.1:9/")
    query = dict(parse_qsl(urlsplit(consent.url).query))
    assert {
        "response_type": "code",
        "client_id": "public",
        "scope": "mail",
        "prompt": "consent",
    }.items() <= query.items()
    assert (query["redirect_uri"], query["login_hint"]) == ("http://127.0.0.1:9/", "a@a.example")
    assert consent.verifier not in consent.url and consent.verifier not in repr(consent)
    assert len(consent.verifier) >= 43  # RFC 7636 §4.1


class Person:
    """Waits as `asyncio.sleep` would, and does something before the n-th question."""

    def __init__(self, world: World, after: int, says: str) -> None:
        self._world, self._after, self._says = world, after, says
        self.waited: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        if len(self.waited) == self._after:
            for code in self._world.server.known.devices:
                self._world.server.known.devices[code] = self._says


async def test_device(world: World, asking: Asking) -> None:
    """The code is asked about at the server's pace until the person has entered it."""
    code = await asking.begin_device()
    assert (code.user_code, code.url) == ("WDJB-MJHT", f"{world.server.url}/enter")
    assert code.device_code not in repr(code)
    person = Person(world, 3, "agreed")
    issued = await asking.wait_for_device(code, pause=person)
    assert issued.refresh_token
    assert person.waited == [1.0, 1.0, 1.0]


async def test_device_slower(world: World, asking: Asking) -> None:
    """slow_down adds five seconds for good; a server that fails is asked less and less often (RFC 8628 §3.5)."""
    code = await asking.begin_device()
    world.server.known.scripts = [answers(400, {"error": "slow_down"}), answers(500)]
    person = Person(world, 4, "agreed")
    await asking.wait_for_device(code, pause=person)
    assert person.waited == [1.0, 6.0, 12.0, 12.0]


@pytest.mark.parametrize(
    ("says", "kind"), [("denied", GrantFaultKind.CONSENT_MISSING), ("over", GrantFaultKind.NO_CONSENT)]
)
async def test_device_refused(world: World, asking: Asking, says: str, kind: GrantFaultKind) -> None:
    """A no, and a code that ran out, end the wait."""
    code = await asking.begin_device()
    with pytest.raises(GrantFault) as caught:
        await asking.wait_for_device(code, pause=Person(world, 1, says))
    assert caught.value.kind is kind


async def test_device_nobody_comes(world: World, asking: Asking) -> None:
    """The wait ends with the code's life even when the server forgets to say so."""
    code = replace(await asking.begin_device(), life=timedelta(seconds=3))
    with pytest.raises(InputError, match="in time"):
        await asking.wait_for_device(code, pause=Person(world, 99, ""))
    assert world.server.count("device_code") == 3


async def test_device_unknown_client(asking: Asking) -> None:
    """A client that may not ask so is told at once."""
    unknown = replace(asking, client=replace(asking.client, client_id="nobody", credential=Credential()))
    with pytest.raises(GrantFault) as caught:
        await unknown.begin_device()
    assert caught.value.kind is GrantFaultKind.SECRET_REFUSED
