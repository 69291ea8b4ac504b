"""One connection of a `RangeServer`: requests in, replies out, spoilt as ordered."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from .content import Piece, Slice, in_memory
from .log import Log, Request
from .reply import Asked, Reply, http_date, page, phrase

__all__ = ["Closing", "Connection", "Pace", "reset_on_close"]

SMALL = 1 << 16  # bytes that go out in one write with the headers
STEP = 1 << 23  # bytes between two looks at the log


class Malformed(Exception):
    """What came in is not an HTTP request."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a connection is.

    Parameters
    ----------
    rate : float or None
        Bytes a second; None for no limit.
    delay : float
        Seconds before the first byte of each reply, and once for a new connection.
    """

    rate: float | None
    delay: float


class Closing(threading.Event):
    """Set when a server stops; `reset` says how its connections end then."""

    reset = False


class Connection:
    """One accepted connection, served by the thread that calls `run`.

    Parameters
    ----------
    sock : socket
        The accepted socket, already wrapped where TLS is used.
    number : int
        Its number.
    pace : Pace
        Limits of speed.
    respond : callable
        Gives the reply to a request, and the record of it.
    log : Log
        Is told when the reply is held back, and when it is over.
    closing : Closing
        Set when the server stops.
    """

    def __init__(
        self,
        sock: socket.socket,
        number: int,
        pace: Pace,
        respond: Callable[[Asked, int], tuple[Reply, Request]],
        log: Log,
        closing: Closing,
    ) -> None:
        self.sock, self.number, self.pace = sock, number, pace
        self.respond, self.log, self.closing = respond, log, closing
        self.plain = type(sock) is socket.socket
        self._unread = b""
        self._due = 0.0

    def run(self) -> None:
        """Serve until the client or the server ends the connection."""
        # OSError: the client went away, or the server stops; ValueError: ssl's word for a closed socket
        with contextlib.suppress(OSError, ValueError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.closing.wait(self.pace.delay)
            if not self.plain:
                self.sock.do_handshake()  # type: ignore[attr-defined]
            while not self.closing.is_set() and self._exchange():
                pass
        if self.closing.is_set() and self.closing.reset:
            reset_on_close(self.sock)
        self.sock.close()

    def wake(self, how: int) -> None:
        """Let the thread that serves see that the server stops.

        Parameters
        ----------
        how : int
            ``socket.SHUT_RD``, which shows nothing on the wire, or ``socket.SHUT_RDWR``.
        """
        with contextlib.suppress(OSError):
            self.sock.shutdown(how)

    def _exchange(self) -> bool:
        """One request and its reply; True if the connection goes on."""
        try:
            asked = self._receive()
        except Malformed:
            self.sock.sendall(head_of(page(400), keep=False))
            return False
        if asked is None:
            return False
        reply, record = self.respond(asked, self.number)
        try:
            keep = self._send(reply, asked, record)
        finally:
            self.log.finish(record)
        if not keep and reply.ending == "reset":
            self._reset()
        elif not keep:
            self._close()
        return keep

    def _receive(self) -> Asked | None:
        """The next request; None if the client has closed."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            if len(self._unread) > SMALL:
                raise Malformed
            data = self.sock.recv(SMALL)
            if not data:
                return None
            self._unread += data
        lines = self._unread[:end].decode("latin-1").split("\r\n")
        self._unread = self._unread[end + 4 :]
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Malformed
        fields = (line.partition(":") for line in lines[1:])
        headers = {key.strip().lower(): value.strip() for key, _, value in fields}
        name = unquote(urlsplit(words[1]).path).removeprefix("/")
        return Asked(words[0], words[1], name, headers, http10=words[2] == "HTTP/1.0")

    def _send(self, reply: Reply, asked: Asked, record: Request) -> bool:
        """Put a reply on the wire; True if the connection is kept."""
        keep = reply.ending == "keep" and asked.keep and asked.headers.get("content-length", "0") == "0"
        with self.log.rest(record):
            self.closing.wait(self.pace.delay)
        if not reply.silent:
            head = head_of(reply, keep=keep, http10=asked.http10) if reply.head is None else reply.head
            record.status = reply.status if reply.head is None else None
            if asked.method == "HEAD":
                self.sock.sendall(head)
            else:
                self._send_body(head, limited(reply.pieces, reply.cut), reply, record)
        if reply.ending == "stall":
            with self.log.rest(record):
                while self.sock.recv(SMALL):  # ends when the client leaves or the server stops
                    pass
        return keep

    def _send_body(self, head: bytes, pieces: Iterable[Piece], reply: Reply, record: Request) -> None:
        rates = [rate for rate in (reply.rate, self.pace.rate) if rate is not None]
        step = max(1, int(min(rates) / 20)) if rates else STEP
        for piece in steps(in_memory(pieces) if reply.chunked else pieces, step):
            size = piece.stop - piece.start if isinstance(piece, Slice) else len(piece)
            if self.closing.is_set():
                raise ConnectionError("the server stops")
            if rates and self._wait_turn(size / min(rates), head, record):
                head = b""
            if isinstance(piece, Slice) and (size <= SMALL or not self.plain):
                for data in in_memory([piece], SMALL * 4):
                    self.sock.sendall(head + data)
                    head = b""
            elif isinstance(piece, Slice):
                self._send_file(head, piece)
            elif reply.chunked:
                self.sock.sendall(head + b"%x\r\n%b\r\n" % (size, piece))
            else:
                self.sock.sendall(head + piece)
            head = b""
            record.sent += size
        tail = b"0\r\n\r\n" if reply.chunked and reply.cut is None else b""
        if head or tail:
            self.sock.sendall(head + tail)

    def _send_file(self, head: bytes, piece: Slice) -> None:
        if head:
            self.sock.sendall(head, getattr(socket, "MSG_MORE", 0))
        with open(piece.path, "rb") as file:
            if self.sock.sendfile(file, piece.start, piece.stop - piece.start) < piece.stop - piece.start:
                raise ConnectionError("the file has shrunk while it was served")

    def _wait_turn(self, seconds: float, head: bytes, record: Request) -> bool:
        """Hold the connection to its rate; True if the headers went ahead, which are not held back."""
        now = time.monotonic()
        late, self._due = self._due - now, max(self._due, now) + seconds
        if late <= 0:
            return False
        self.sock.sendall(head)
        with self.log.rest(record):
            if self.closing.wait(late):
                raise ConnectionError("the server stops")
        return True

    def _reset(self) -> None:
        """End with a TCP reset, after the client's machine has what was sent: a reset discards what is under way."""
        for _ in range(500):
            if not unsent(self.sock) or self.closing.wait(0.01):
                break
        reset_on_close(self.sock)
        self.sock.close()

    def _close(self) -> None:
        """End cleanly; over TLS with the notice that tells an end from a cut."""
        if not self.plain:
            self.sock.settimeout(0)
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)


def reset_on_close(sock: socket.socket) -> None:
    """Let a socket's close send a TCP reset instead of an end."""
    with contextlib.suppress(OSError):  # closed already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def unsent(sock: socket.socket) -> int:
    """Bytes that the other side has not taken yet; 0 where the system does not tell."""
    if sys.platform != "linux":
        time.sleep(0.05)
        return 0
    import fcntl
    import termios

    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])


def head_of(reply: Reply, *, keep: bool, http10: bool = False) -> bytes:
    """The status line and the headers as they are sent."""
    lines = [f"HTTP/1.1 {reply.status} {phrase(reply.status)}", "Server: dataferry-testing"]
    lines.append(f"Date: {http_date(time.time())}")
    lines += [f"{key}: {value}" for key, value in reply.headers.items()]
    if reply.chunked:
        lines.append("Transfer-Encoding: chunked")
    if not keep or http10:
        lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def limited(pieces: Iterable[Piece], cut: int | None) -> Iterable[Piece]:
    """The first bytes of some pieces; all of them for None."""
    for piece in pieces:
        if cut is None:
            yield piece
            continue
        if cut <= 0:
            return
        size = piece.stop - piece.start if isinstance(piece, Slice) else len(piece)
        part = min(size, cut)
        cut -= part
        yield Slice(piece.path, piece.start, piece.start + part) if isinstance(piece, Slice) else piece[:part]


def steps(pieces: Iterable[Piece], step: int) -> Iterable[Piece]:
    """The same bytes in pieces of at most so many."""
    for piece in pieces:
        if isinstance(piece, Slice):
            for start in range(piece.start, piece.stop, step):
                yield Slice(piece.path, start, min(start + step, piece.stop))
        else:
            for start in range(0, len(piece), step):
                yield piece[start : start + step]
