"""A TCP link that is cut for good once certain bytes go through it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from .counted_link import reset


class MarkLink:
    """Passes connections on to a port, and resets all of them once the client has sent `mark` `nth` times.

    ``answers=True`` lets that request through first and cuts when the server begins to answer it: the thing is done,
    and nobody is told. Without a mark it is a plain link.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.mark, self.nth, self.answers = b"", 1, False
        self.cut = threading.Event()
        self._seen = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        # Bound and never listening: nobody else gets the port while the link is cut.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.port = self._holder.getsockname()[1]
        self._listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def cut_at(self, mark: bytes, nth: int = 1, answers: bool = False) -> None:
        self.mark, self.nth, self.answers, self._seen = mark, nth, answers, 0

    def mend(self) -> None:
        self.mark = b""
        if self.cut.is_set():
            self.cut.clear()
            self._listen()

    def close(self) -> None:
        self._reset_all()
        self._holder.close()

    def _listen(self) -> None:
        listener = self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                reset(near)
                continue
            with self._lock:
                alive = not self.cut.is_set() and listener is self._listener
                if alive:
                    self._open += [near, far]
            if not alive:  # it was cut while this connection came in
                reset(near)
                reset(far)
                return
            due = threading.Event()
            threading.Thread(target=self._up, args=(near, far, due), daemon=True).start()
            threading.Thread(target=self._down, args=(far, near, due), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket, due: threading.Event) -> None:
        before = b""  # what may be the start of a mark that is read in two pieces
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                mark, seen = self.mark, before + data
                before = seen[1 - len(mark) :] if len(mark) > 1 else b""
                if mark and mark in seen:
                    before = b""
                    with self._lock:
                        self._seen += 1
                        hit = self._seen == self.nth
                    if hit and not self.answers:
                        self._reset_all()
                        return
                    if hit:
                        due.set()
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)

    def _down(self, far: socket.socket, near: socket.socket, due: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 16):
                if due.is_set():
                    self._reset_all()
                    return
                near.sendall(data)
            near.shutdown(socket.SHUT_WR)

    def _reset_all(self) -> None:
        with self._lock:
            self.cut.set()
            ends, self._open = self._open, []
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for a connection
        self._listener.close()
        for end in ends:
            reset(end)


@pytest.fixture
def mark_link() -> Iterator[type[MarkLink]]:
    """``mark_link(port)``, then ``cut_at(b"PUT ")`` and ``mend()``."""
    made: list[MarkLink] = []

    class Made(MarkLink):
        def __init__(self, target: int) -> None:
            super().__init__(target)
            made.append(self)

    yield Made
    for link in made:
        link.close()
