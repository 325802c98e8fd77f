"""The page as a process: the spool, the applier and the web server around it, from start to stop.

It stands alone: it answers while PostgreSQL or the rest of the panel is down. TLS is a reverse proxy's.
"""

import asyncio
import os
import socket
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import NoReturn

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from mailfleet.base.children import on_stop
from mailfleet.base.clock import monotonic
from mailfleet.base.errors import InputError, SetupError
from mailfleet.base.log import get_log
from mailfleet.base.settings import OPT_OUT_LISTEN, Settings
from mailfleet.panel.opt_out.app import OptOutPage
from mailfleet.panel.opt_out.applying import Applier
from mailfleet.panel.opt_out.clients import Network, parse_proxies
from mailfleet.panel.opt_out.letters import LetterReader
from mailfleet.panel.opt_out.spool import Spool
from mailfleet.panel.opt_out.token_key import TokenKey

PATIENCE = 2.0  # chosen: seconds; a page whose parent was killed has ended by then
CONNECTIONS = 800  # chosen: within 1,024 open files; each has one while it is open, and slow ones keep it
# chosen: ten seconds and 16 KB for a request's head, which is one of about 1 KB; the proxy waits for slow clients
_HTTP = HTTP1Settings(header_read_timeout=10_000, max_buffer_size=16_384)


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Where the page listens, and which peers' X-Forwarded-For it believes."""

    host: str
    port: int
    proxies: tuple[Network, ...]


def page_options(settings: Settings) -> PageOptions:
    """InputError when the settings name no HOST:PORT, or a proxy that is neither address nor network."""
    listen = settings.opt_out_listen
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise InputError(
            f"The opt-out page cannot listen at {listen!r}.", hint=f"Say HOST:PORT, such as {OPT_OUT_LISTEN}."
        )
    return PageOptions(host.strip("[]"), int(port), parse_proxies(settings.opt_out_proxies))


def serve(settings: Settings, *, with_parent: bool) -> NoReturn:
    """Serves until a signal, or the parent's end if `with_parent`. SetupError when it cannot begin."""
    options = page_options(settings)
    conninfo = settings.named_database()
    check_free(options)
    spool = Spool.open(settings.home / "opt_out")
    try:
        key = TokenKey(settings)
    except BaseException:
        spool.close()
        raise
    applier = Applier(conninfo, key, spool)
    page = OptOutPage(key, spool, applier, LetterReader(conninfo), options.proxies)
    applier.start()
    try:
        was_asked = asyncio.run(_serve(page, options, with_parent=with_parent))
    finally:
        applier.stop()
        spool.close()
    if not was_asked:
        get_log().critical("opt_out_server_fell", next="whoever started this process starts it again")
    # The server's own threads may outlive the interpreter's end and abort the process: emmett-framework/granian #693.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if was_asked else 1)


async def _serve(page: OptOutPage, options: PageOptions, *, with_parent: bool) -> bool:
    """Whether it ended because it was asked to."""
    server = Server(
        page,
        options.host,
        options.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=_HTTP,
        websockets=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def stop() -> None:
        asked.set()
        server.stop()  # type: ignore[no-untyped-call]

    on_stop(lambda: loop.call_soon_threadsafe(stop), with_parent=with_parent)
    await server.serve()
    return asked.is_set()


def check_free(options: PageOptions) -> None:
    """SetupError when another listens there. The server would share its port with it (SO_REUSEPORT), and get half of
    the requests.
    """
    end = monotonic() + PATIENCE
    while (error := _bind_error(options)) is not None:
        if monotonic() > end:
            raise SetupError(
                f"The opt-out page cannot listen at {options.host}:{options.port}: {error.strerror}",
                hint="Stop what listens there, or name another place by MAILFLEET_OPT_OUT_LISTEN.",
            ) from error
        time.sleep(0.1)


def _bind_error(options: PageOptions) -> OSError | None:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with closing(socket.socket(family)) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((options.host, options.port))
        except OSError as error:
            return error
    return None


def is_listening(options: PageOptions) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((options.host, options.port), 1).close()
    except OSError:
        return False
    return True
