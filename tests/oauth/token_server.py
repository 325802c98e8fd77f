"""An OAuth server on loopback that does what real ones do: checks signatures, secrets, PKCE, device codes, rotation.

It runs in a thread with an event loop of its own, so that other processes and commands can ask it.
"""

import asyncio
import hashlib
import itertools
import threading
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlencode

import jwt
from aiohttp import web

Fields = dict[str, str]
Script = Callable[[web.Request], Any]
GOOGLE_SAYS = "Client is unauthorized to retrieve access tokens using this method, or client not authorized"


class No(Exception):
    """An error of RFC 6749 §5.2."""

    def __init__(self, error: str, said: str = "", *, status: int = 400, numbers: list[int] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.fields = {"error": error, "error_description": said, **({"error_codes": numbers} if numbers else {})}


@dataclass
class Known:
    """What the server knows; a test changes it while the server runs."""

    service_keys: dict[str, Any] = field(default_factory=dict)  # issuer → public key
    delegated: set[str] = field(default_factory=set)  # domains whose users it may act for
    users: set[str] = field(default_factory=set)
    secrets: dict[str, str] = field(default_factory=dict)  # client id → secret; "" for a public client
    certificates: dict[str, tuple[str, Any]] = field(default_factory=dict)  # client id → thumbprint, public key
    refresh: dict[str, str] = field(default_factory=dict)  # refresh token → user
    spent: set[str] = field(default_factory=set)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)  # device code → waits | agreed | denied
    rotation: Literal["none", "lenient", "strict"] = "none"
    life: object = 3600
    scripts: list[Script] = field(default_factory=list)  # played before anything else, one for each question


class TokenServer:
    """`asked` has the form of every question; `peak` the most that were under way at once. While `gate` is closed,
    questions wait; `came` counts those that have come."""

    def __init__(self) -> None:
        self.known = Known()
        self.asked: list[Fields] = []
        self.issued: dict[str, str] = {}  # access token → for whom
        self.revoked: set[str] = set()  # access tokens that mail servers are told to refuse
        self.introspected: list[tuple[str, bool]] = []  # every login at a mail server that asks here: for whom, taken
        self.peak = 0
        self.gate = threading.Event()
        self.gate.set()
        self.came = threading.Semaphore(0)
        self.url = ""
        self._under_way = 0
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def count(self, grant_type: str = "") -> int:
        return sum(1 for form in self.asked if form.get("grant_type", "").endswith(grant_type))

    def subjects(self) -> Counter[str]:
        """For whom assertions asked."""
        forms = (form for form in self.asked if "assertion" in form)
        return Counter(jwt.decode(form["assertion"], options={"verify_signature": False})["sub"] for form in forms)

    def secrets_seen(self) -> set[str]:
        """Everything that must never be shown."""
        names = (
            "client_secret",
            "refresh_token",
            "assertion",
            "client_assertion",
            "code",
            "code_verifier",
            "device_code",
        )
        sent = {form[name] for form in self.asked for name in names if name in form}
        return sent | set(self.issued) | set(self.known.refresh)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        application = web.Application()
        application.router.add_post("/token", self._token)
        application.router.add_post("/device", self._device)
        application.router.add_get("/authorize", self._authorize)
        application.router.add_get("/introspect", self._introspect)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        self._under_way += 1
        self.peak = max(self.peak, self._under_way)
        self.came.release()
        try:
            if not self.gate.is_set():
                await asyncio.to_thread(self.gate.wait)
            if self.known.scripts:
                response: web.StreamResponse = await self.known.scripts.pop(0)(request)
                return response
            return web.json_response(self._answer(form))
        except No as no:
            return web.json_response(no.fields, status=no.status)
        finally:
            self._under_way -= 1

    def _answer(self, form: Fields) -> dict[str, object]:
        match form["grant_type"].rpartition(":")[2]:
            case "jwt-bearer":
                return self._issue(self._delegated(form))
            case "client_credentials":
                self._check_client(form)
                return self._issue(f"application {form['client_id']}")
            case "refresh_token":
                self._check_client(form)
                return self._refreshed(form["refresh_token"])
            case "authorization_code":
                self._check_client(form)
                return self._issue(self._exchanged(form), refresh=True)
            case "device_code":
                self._check_client(form)
                return self._issue(self._agreed(form["device_code"]), refresh=True)
        raise No("unsupported_grant_type")

    def _issue(self, whom: str, *, refresh: bool = False) -> dict[str, object]:
        token = f"ya29.access-{next(self._numbers)}-{hashlib.sha256(whom.encode()).hexdigest()}"
        self.issued[token] = whom
        answer: dict[str, object] = {"access_token": token, "token_type": "Bearer", "expires_in": self.known.life}
        if refresh:
            answer["refresh_token"] = self._new_refresh(whom)
        return answer

    def _new_refresh(self, whom: str) -> str:
        token = f"1//refresh-{next(self._numbers)}-{hashlib.sha256(whom.encode()).hexdigest()}"
        self.known.refresh[token] = whom
        return token

    def _delegated(self, form: Fields) -> str:
        issuer = jwt.decode(form["assertion"], options={"verify_signature": False})["iss"]
        if issuer not in self.known.service_keys:
            raise No("invalid_grant", "Invalid grant: account not found")
        try:
            claims = jwt.decode(
                form["assertion"], self.known.service_keys[issuer], algorithms=["RS256"], audience=f"{self.url}/token"
            )
        except jwt.InvalidSignatureError:
            raise No("invalid_grant", "Invalid JWT Signature.") from None
        assert claims["scope"] == "https://mail.google.com/"
        assert claims["exp"] - claims["iat"] == 3600
        if claims["sub"].rpartition("@")[2] not in self.known.delegated:
            raise No("unauthorized_client", GOOGLE_SAYS, status=401)
        if claims["sub"] not in self.known.users:
            raise No("invalid_grant", "Invalid email or User ID")
        return str(claims["sub"])

    def _check_client(self, form: Fields) -> None:
        client = form["client_id"]
        if client in self.known.certificates:
            self._check_assertion(form, client)
        elif client not in self.known.secrets:
            raise No("unauthorized_client", f"AADSTS700016: Application '{client}' was not found", numbers=[700016])
        elif form.get("client_secret", "") != self.known.secrets[client]:
            said = f"AADSTS7000215: Invalid client secret provided: {form.get('client_secret')}.\r\nTrace ID: 1"
            raise No("invalid_client", said, status=401, numbers=[7000215])

    def _check_assertion(self, form: Fields, client: str) -> None:
        thumbprint, key = self.known.certificates[client]
        assertion = form["client_assertion"]
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert jwt.get_unverified_header(assertion)["x5t#S256"] == thumbprint
        claims = jwt.decode(assertion, key, algorithms=["PS256"], audience=f"{self.url}/token", issuer=client)
        assert claims["sub"] == client and claims["exp"] - claims["nbf"] <= 600

    def _refreshed(self, token: str) -> dict[str, object]:
        if token not in self.known.refresh or (token in self.known.spent and self.known.rotation == "strict"):
            raise No("invalid_grant", f"AADSTS700082: the refresh token {token} has expired", numbers=[700082])
        whom = self.known.refresh[token]
        answer = self._issue(whom)
        if self.known.rotation != "none":
            self.known.spent.add(token)
            answer["refresh_token"] = self._new_refresh(whom)
        return answer

    async def _authorize(self, request: web.Request) -> web.Response:
        """A person who agrees at once, as whom `login_hint` says."""
        query = dict(request.query)
        assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
        code = f"code-{next(self._numbers)}"
        self.known.codes[code] = query
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")

    def _exchanged(self, form: Fields) -> str:
        query = self.known.codes.pop(form["code"], None)
        if query is None:
            raise No("invalid_grant", "the code was used")
        challenge = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if (challenge, form["redirect_uri"]) != (query["code_challenge"], query["redirect_uri"]):
            raise No("invalid_grant", "PKCE or redirect address do not match")
        return query["login_hint"]

    async def _introspect(self, request: web.Request) -> web.Response:
        """RFC 7662 as Dovecot asks it, by GET."""
        token = request.query["token"]
        whom, is_good = self.issued.get(token, "nobody"), token in self.issued and token not in self.revoked
        self.introspected.append((whom, is_good))
        return web.json_response({"active": is_good, **({"username": whom} if is_good else {})})

    async def _device(self, request: web.Request) -> web.Response:
        form = await request.post()
        if str(form["client_id"]) not in self.known.secrets:
            return web.json_response({"error": "invalid_client"}, status=401)
        code = f"device-{next(self._numbers)}"
        self.known.devices[code] = "waits"
        return web.json_response(
            {
                "device_code": code,
                "user_code": "WDJB-MJHT",
                "verification_uri": f"{self.url}/enter",
                "expires_in": 900,
                "interval": 1,
            }
        )

    def _agreed(self, code: str) -> str:
        match self.known.devices.get(code):
            case "waits":
                raise No("authorization_pending")
            case "denied":
                raise No("access_denied", "the person said no")
            case "agreed":
                return "device person"
        raise No("expired_token")


def answers(status: int, body: object = None, **headers: str) -> Script:
    """A script: this answer, whatever was asked; a str or bytes as it is, else as JSON."""

    async def play(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=named)
        return web.json_response(body if body is not None else {}, status=status, headers=named)

    return play


async def drops(request: web.Request) -> web.Response:
    """A script: the connection ends without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
