"""A way to an IMAP server that breaks whenever the server says certain words."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CuttingProxy:
    """`port` leads to `target`; an answer with `words` in it cuts the connection instead. `cuts` counts them."""

    def __init__(self, target: int, words: bytes) -> None:
        self._target, self._words = target, words
        self.cuts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut_all(self) -> None:
        """Every connection that is open breaks."""
        for sock in tuple(self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut_all()
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                for ends in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._carry, args=ends)
                    self._threads.append(thread)
                    thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1_000_000):
                if is_answer and self._words in data:
                    self.cuts += 1
                    break
                sink.sendall(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_proxy(target: int, words: bytes) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(target, words)
    try:
        yield proxy
    finally:
        proxy.close()
