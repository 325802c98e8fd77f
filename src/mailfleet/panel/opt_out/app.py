"""The public page, as an ASGI application. One address for each letter, `…/TOKEN`, and all that may be asked of it:

    POST     opts out at once (RFC 8058 §3.2): 200 when the no is on the disk, 503 when it could not be kept
    GET      a page with a button that POSTs; it opts nobody out, for link scanners follow every link
    HEAD     the same without the page; OPTIONS says what may be asked

Whoever POSTs a token of ours says no, whatever the body says and however often: nothing stands before the spool but the
look at the token's signature. What is limited for each client is looks into the database, and guesses.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from mailfleet.base.clock import monotonic, utc_now
from mailfleet.base.errors import SetupError
from mailfleet.base.log import get_log
from mailfleet.mail.opt_out import TokenFacts, read_token
from mailfleet.panel.opt_out.applying import Applier
from mailfleet.panel.opt_out.clients import Allowance, Network, client_of
from mailfleet.panel.opt_out.languages import choose_language
from mailfleet.panel.opt_out.letters import LetterReader
from mailfleet.panel.opt_out.pages import POLICY, Kind, LetterFacts, show
from mailfleet.panel.opt_out.spool import Spool
from mailfleet.panel.opt_out.token_key import TokenKey

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

DRAIN_SECONDS = 2.0  # chosen: a one-click body is 26 bytes; who takes longer has been heard all the same
DRAIN_BYTES = 65_536  # chosen: likewise
RETRY_SECONDS = 120  # chosen: a full disk is not mended sooner
ALLOWED = "GET, HEAD, POST, OPTIONS"
_AFTER_TOKEN = "/.,;:!)]}>'\""  # what a mail program may take for a part of the link; no token ends so

_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-robots-tag": "noindex, nofollow",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept-language",
}
_PLAIN = (("content-type", "text/plain; charset=utf-8"), ("content-language", "en"))


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom, in which language. `is_from_page`: our own button or link was pressed."""

    method: str
    token: str
    client: str
    language: str
    is_from_page: bool


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class OptOutPage:
    def __init__(
        self,
        key: TokenKey,
        spool: Spool,
        applier: Applier,
        letters: LetterReader,
        proxies: Sequence[Network],
    ) -> None:
        self._key = key
        self._spool = spool
        self._applier = applier
        self._letters = letters
        self._proxies = proxies
        # chosen: a person opens a page or two; a whole company behind one address gets the page without names
        self._looks = Allowance(at_once=20, per_second=1.0)
        # chosen: a link cut off by a mail program is opened a few times; a guesser learns nothing in any number
        self._guesses = Allowance(at_once=20, per_second=0.1)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        question = read_question(scope, self._proxies)
        try:
            answer = await self._answer(question)
        except Exception as error:  # noqa: BLE001 - the page's edge: a mailbox provider tries again after a 5xx
            get_log().critical("opt_out_page_failed", exc_info=error)
            answer = _later(question.language)
        if question.method == "POST":
            await _drain(receive)
        for message in _messages(question, answer):
            await send(message)

    async def _answer(self, question: Question) -> Answer:
        if question.method == "OPTIONS":
            return Answer(204, headers=(("allow", ALLOWED),))
        if question.method not in ("GET", "HEAD", "POST"):
            return Answer(405, headers=(("allow", ALLOWED),))
        token = read_token([self._key.value], question.token)
        if token is None:
            return self._unknown(question)
        if question.method == "POST":
            return await self._opt_out(question, token)
        return await self._page(question, token)

    def _unknown(self, question: Question) -> Answer:
        if self._guesses.take(question.client, monotonic()):
            return Answer(404, show("unknown", question.language))
        return Answer(429, show("busy", question.language), (("retry-after", str(RETRY_SECONDS)),))

    async def _opt_out(self, question: Question, token: TokenFacts) -> Answer:
        """1. keeps the no on the disk. 2. lets it be applied. 3. thanks."""
        try:
            await asyncio.wrap_future(self._spool.keep(question.token, utc_now()))
        except SetupError:
            return _later(question.language)
        self._applier.wake()
        if not question.is_from_page:
            return Answer(200, b"Unsubscribed.\n", _PLAIN)
        return Answer(200, show("done", question.language, _shown(await self._facts(question, token))))

    async def _page(self, question: Question, token: TokenFacts) -> Answer:
        if question.method == "HEAD":
            return Answer(200, show("ask", question.language))
        facts = await self._facts(question, token)
        is_done = (facts is not None and facts.is_suppressed) or self._spool.holds(question.token)
        kind: Kind = "done" if is_done else "ask"
        return Answer(200, show(kind, question.language, _shown(facts)))

    async def _facts(self, question: Question, token: TokenFacts) -> LetterFacts | None:
        if not self._looks.take(question.client, monotonic()):
            return None
        return await self._letters.facts(token)


def read_question(scope: Mapping[str, Any], proxies: Sequence[Network]) -> Question:
    """What an ASGI scope asks; whatever stands in it, it is read without an error."""
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    query = parse_qs(scope["query_string"].decode("latin-1"))
    named = query.get("lang", [""])[0]
    return Question(
        method=scope["method"],
        token=re.split("/+", scope["path"].rstrip(_AFTER_TOKEN))[-1],
        client=client_of((scope["client"] or ("",))[0], _fields(headers, b"x-forwarded-for"), proxies),
        language=choose_language(named, ",".join(_fields(headers, b"accept-language"))),
        is_from_page="lang" in query,
    )


def _fields(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def _shown(facts: LetterFacts | None) -> LetterFacts | None:
    """Of somebody who was erased there is nothing to name."""
    return facts if facts and facts.recipient else None


def _later(language: str) -> Answer:
    return Answer(503, show("later", language), (("retry-after", str(RETRY_SECONDS)),))


async def _drain(receive: Receive) -> None:
    """Reads a body, which changes nothing, so that its sender comes to hear the answer."""
    left = DRAIN_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _messages(question: Question, answer: Answer) -> list[dict[str, Any]]:
    """The answer as ASGI sends it: the headers of a HEAD are those of its GET."""
    fields = {**_HEADERS, "content-language": question.language, "content-length": str(len(answer.body))}
    if not answer.body:
        del fields["content-type"]
    if answer.status == 204:  # RFC 9110 §8.6
        del fields["content-length"]
    fields.update(answer.headers)
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    return [
        {"type": "http.response.start", "status": answer.status, "headers": headers},
        {"type": "http.response.body", "body": b"" if question.method == "HEAD" else answer.body},
    ]
