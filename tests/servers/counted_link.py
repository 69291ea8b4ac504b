"""A TCP link that counts what is sent, and is cut after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest


class CountedLink:
    """A link to a server, in threads of this process.

    ``sent`` counts the bytes that clients sent. ``call_after(n, function)`` calls once n further bytes went;
    ``cut_after(n)`` then resets every connection, and those that come later, until ``mend()``.
    """

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = str(target.hostname), int(target.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"{target.scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self.cut = False
        self._closed = False
        self._answers = threading.Event()
        self._answers.set()
        self._until: int | None = None
        self._then: Callable[[], None] = self._cut
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        threading.Thread(target=self._accept, name="counted-link", daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Cut once so many further bytes went from clients to the server."""
        self.call_after(count, self._cut)

    def call_after(self, count: int, function: Callable[[], None]) -> None:
        """Call a function once so many further bytes went."""
        with self._lock:
            self._then, self._until = function, self.sent + count

    def hold_answers(self, after: int, count: int) -> None:
        """After so many further bytes hold back what the server answers, until so many more went to it."""

        def hold() -> None:
            self._answers.clear()
            self.call_after(count, self._answers.set)

        self.call_after(after, hold)

    def mend(self) -> None:
        """Let everything through."""
        with self._lock:
            self._until, self.cut = None, False

    def close(self) -> None:
        """End the link."""
        with self._lock:
            self._closed = True
        self._answers.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for a connection
        self._listener.close()
        self._reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                reset(client)
                continue
            with self._lock:
                alive = not (self.cut or self._closed)
                if alive:
                    self._pairs.add((client, server))
            if not alive:  # it was cut while this connection came in
                reset(client)
                reset(server)
                continue
            for source, sink, count in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pump, args=(source, sink, count), name="counted-link", daemon=True
                ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, count: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                if count:
                    self._count(len(block))
                if self.cut:
                    break
                if not count:
                    self._answers.wait()
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent += size
            reached = self._until is not None and self.sent >= self._until
            if reached:
                self._until = None
        if reached:
            self._then()

    def _cut(self) -> None:
        with self._lock:
            self.cut = True
        self._reset()

    def _reset(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                reset(end)


def reset(end: socket.socket) -> None:
    """End a connection with a TCP reset."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture
def counted_link() -> Iterator[Callable[[str], CountedLink]]:
    """Put a link before a server that counts, and can be cut."""
    links: list[CountedLink] = []

    def before(url: str) -> CountedLink:
        links.append(CountedLink(url))
        return links[-1]

    yield before
    for link in links:
        link.close()
