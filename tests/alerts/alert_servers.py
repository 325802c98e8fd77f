"""Real servers on loopback that take notices: a webhook, and a mail server."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Hook:
    """A webhook; `gate` shut: it takes the request and does not answer."""

    port: int = 0
    status: int = 200
    taken: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"json://ann:s3cret@127.0.0.1:{self.port}/hidden-path"


@contextmanager
def hook(*, status: int = 200, is_shut: bool = False) -> Iterator[Hook]:
    it = Hook(status=status)
    if not is_shut:
        it.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            it.requests += 1
            it.gate.wait()
            it.taken.append(body)
            self.send_response(it.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield it
    finally:
        it.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Post:
    """A mail server."""

    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    reply: str = "250 OK"

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=fleet@a.test&to=ann@a.test"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.reply.startswith("250"):
            message = message_from_bytes(bytes(envelope.content or b""), policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.taken.append(message)
        return self.reply


@contextmanager
def mail_server(reply: str = "250 OK") -> Iterator[Post]:
    it = Post(reply=reply)
    loop = asyncio.new_event_loop()
    controller = UnthreadedController(it, hostname="127.0.0.1", port=0, loop=loop)
    controller.begin()
    it.port = controller.server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield it
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        controller.end()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
