"""A server whose answers come byte by byte in one phase, the first part of the path; ``/good/`` is a healthy one."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from typing import Self

BODY = random.Random(5).randbytes(300_000)
_LENGTH = b"Content-Length: %d\r\n" % len(BODY)
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

#: phase -> what comes at once, and then one piece after the other
PHASES = {
    "status-line": (b"HTTP/1.1 200 O", b"K"),
    "header": (b"HTTP/1.1 200 OK\r\n" + _LENGTH + b"X-A: ", b"b"),
    "headers": (b"HTTP/1.1 200 OK\r\n" + _LENGTH, b"X-A: b\r\n"),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\n" + _LENGTH + b"\r\n" + BODY[:1000], BODY[:10]),
    "chunk-extension": (_CHUNKED + b"%x;a=" % len(BODY), b"b"),
    "trailer": (_CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n", b"T: x\r\n"),
    "redirect-body": (b"HTTP/1.1 302 Found\r\nLocation: /good/a.bin\r\nContent-Length: 5000\r\n\r\n", b"x"),
    "error-body": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5000\r\n\r\n", b"x"),
}
#: phases in which all that matters has come: the file arrives, or the error is known
_ENOUGH = {"trailer", "redirect-body", "error-body"}


class TricklingServer:
    """Listens on loopback as long as its context lasts; ``pause`` seconds lie between two pieces."""

    def __init__(self, pause: float = 0.1) -> None:
        self.pause = pause
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._threads: list[threading.Thread] = []

    def url(self, phase: str) -> str:
        """The URL of the file in a phase."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/{phase}/a.bin"

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _begin(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="dataferry-testing-trickle", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            conn, _ = self._listener.accept()
            self._begin(self._serve, conn)

    def _serve(self, conn: socket.socket) -> None:
        with conn, contextlib.suppress(OSError):
            conn.settimeout(30)
            asked = conn.recv(65536).split(b" ")
            if len(asked) < 2:
                return
            phase = asked[1].decode().split("/")[1]
            if phase == "good":
                conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + _LENGTH + b"\r\n" + BODY)
                return
            first, piece = PHASES[phase]
            conn.sendall(first)
            while not self._over.wait(self.pause):
                conn.sendall(piece)
