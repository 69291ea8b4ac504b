"""A TCP link that is cut after so many bytes, as a network goes away in the middle of an upload."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest


class CutLink:
    """A link to a server, in threads of this process.

    ``sent`` counts the bytes that clients sent. ``cut_after(n)`` resets every connection once n further bytes went,
    and those that come later; ``on_cut`` is called at that moment. ``mend()`` lets everything through again.
    """

    def __init__(self, url: str, on_cut: Callable[[], None] | None = None) -> None:
        target = urlsplit(url)
        self._target = str(target.hostname), int(target.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"{target.scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self.on_cut = on_cut
        self.sent = 0
        self.cut = False
        self._until: int | None = None
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        threading.Thread(target=self._accept, name="cut-link", daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Cut once so many further bytes went from clients to the server."""
        with self._lock:
            self._until = self.sent + count

    def mend(self) -> None:
        """Let everything through."""
        with self._lock:
            self._until, self.cut = None, False

    def close(self) -> None:
        """End the link."""
        self._listener.close()
        self._reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _reset(client)
                continue
            pair = client, server
            with self._lock:
                self._pairs.add(pair)
            for source, sink, count in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, count), name="cut-link", daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, count: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                if count and not self._let_through(len(block)):
                    self._reset()
                    if self.on_cut is not None:
                        self.on_cut()
                    return
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _let_through(self, size: int) -> bool:
        with self._lock:
            self.sent += size
            if self._until is None or self.sent < self._until or self.cut:
                return not self.cut
            self.cut = True
            return False

    def _reset(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture
def cut_link() -> Iterator[Callable[[str], CutLink]]:
    """Put a link before a server that can be cut."""
    links: list[CutLink] = []

    def before(url: str) -> CutLink:
        links.append(CutLink(url))
        return links[-1]

    yield before
    for link in links:
        link.close()
