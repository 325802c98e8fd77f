"""`python -m mailfleet.providers.sandbox --config FILE`: runs until SIGTERM or SIGINT.

Its one line on stdout, when every port listens: {"ready": true, "pid": …, "ledger": path, "ports": {provider: {face:
{security: port}}}}. With --until-eof its stdin takes requests (`_answer`). It exits with 1 and a sentence on stderr
when it cannot start.
"""

import argparse
import asyncio
import base64
import contextlib
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from mailfleet.base.errors import InputError, MailfleetError
from mailfleet.providers.sandbox.config import SandboxConfig, read_config
from mailfleet.providers.sandbox.server import Sandbox

LINE_LIMIT = 134_217_728  # chosen: octets; a mail of 50 MB in base64, and half as much again


async def serve(config: SandboxConfig, until_eof: bool) -> None:
    """Listens until a signal comes, or with `until_eof` until whoever holds our stdin is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Sandbox(config) as sandbox:
        gc.freeze()
        ready = {"ready": True, "pid": os.getpid(), "ledger": str(config.ledger), "ports": sandbox.ports}
        print(json.dumps(ready), flush=True)
        asking = loop.create_task(_answer(sandbox, stop)) if until_eof else None
        await stop.wait()
        if asking is not None:
            asking.cancel()


async def _answer(sandbox: Sandbox, stop: asyncio.Event) -> None:
    """One request a line of stdin, {"call": …, "address": …, "folder": …, "content": base64}, one answer a line of
    stdout, {"result": number} or {"error": words}; until stdin ends.
    """
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(_call(sandbox, json.loads(line))), flush=True)
    stop.set()


def _call(sandbox: Sandbox, asked: dict[str, str]) -> dict[str, object]:
    try:
        if asked["call"] == "deliver":
            content = base64.b64decode(asked["content"])
            return {"result": sandbox.deliver(asked["address"], content, asked["folder"])}
        return {"result": sandbox.renumber(asked["address"], asked["folder"])}
    except InputError as error:
        return {"error": str(error)}


def _allow_files() -> None:
    """As many open files as we may have: a connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mailfleet.providers.sandbox", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--until-eof", action="store_true", help="stop as well when stdin ends")
    arguments = parser.parse_args()
    _allow_files()
    try:
        _run(serve(read_config(arguments.config), arguments.until_eof))
    except MailfleetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
