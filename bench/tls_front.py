"""TLS before a plain server: `PORT TARGET PEM`. Bytes go through as they are, in both directions."""

import asyncio
import ssl
import sys

import uvloop


class Pipe(asyncio.Protocol):
    """One direction of a connection; `other` gets what comes in, once it is there."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Pipe | None = None
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio.Transport by their methods, not by class.
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._waiting.append(data)
        else:
            self.other.transport.write(data)

    def join(self, other: "Pipe") -> None:
        self.other = other
        for data in self._waiting:
            self.data_received(data)
        self._waiting = []

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Front(Pipe):
    """The client's side: opens a connection to the target for each of its own."""

    def __init__(self, target: int, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__()
        self._target, self._tasks = target, tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        task = asyncio.get_running_loop().create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        back = Pipe()
        await asyncio.get_running_loop().create_connection(lambda: back, "127.0.0.1", self._target)
        back.join(self)
        self.join(back)


async def main() -> None:
    port, target, pem = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    tasks: set[asyncio.Task[None]] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Front(target, tasks), "127.0.0.1", port, ssl=context, backlog=4000
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
