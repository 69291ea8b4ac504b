"""Connections: urllib3's, opened to whichever address of a host answers first, and known while they are open."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from contextlib import suppress

import urllib3.connection

__all__ = ["Live", "PlainConnection", "TLSConnection", "dial"]

_HEAD_START = 0.25  # seconds that an address has before the next one is tried beside it (RFC 8305)


class Live:
    """The open sockets of one session, so that another thread can end all of them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.ended = False

    def add(self, sock: socket.socket) -> None:
        """Remember a socket; one that comes after `end` is ended at once.

        Parameters
        ----------
        sock : socket.socket
            The socket.
        """
        with self._lock:
            self._sockets.add(sock)
        if self.ended:
            _shut(sock)

    def forget(self, sock: socket.socket) -> None:
        """Stop remembering a socket.

        Parameters
        ----------
        sock : socket.socket
            The socket.
        """
        with self._lock:
            self._sockets.discard(sock)

    def end(self) -> None:
        """Wake every thread that waits for one of the sockets: its read or write fails."""
        self.ended = True
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            _shut(sock)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        # The method of the plain socket: ending TLS properly would wait for the other side.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def dial(host: str, port: int, timeout: float | None, live: Live) -> socket.socket:
    """Connect to the address of a host that answers first, IPv6 with a small head start.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        The port.
    timeout : float or None
        Seconds for all addresses together.
    live : Live
        Where the session keeps its sockets; once it has ended nothing is opened any more.

    Returns
    -------
    socket.socket
        Connected, blocking with `timeout`.

    Raises
    ------
    OSError
        If no address answered: the last error, `socket.gaierror` for an unknown name, `TimeoutError`.
    """
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    first = [a for a in found if a[0] == found[0][0]]
    other = [a for a in found if a[0] != found[0][0]]
    waiting = [a for pair in zip(first, other, strict=False) for a in pair] + first[len(other) :] + other[len(first) :]
    if len(waiting) == 1:
        return _ready(_begin(waiting[0], timeout), timeout)
    deadline = time.monotonic() + (timeout or 60)
    error: OSError = TimeoutError(errno.ETIMEDOUT, "no address answered in time")
    with selectors.DefaultSelector() as selector:
        try:
            while (waiting or selector.get_map()) and time.monotonic() < deadline:
                if live.ended:
                    raise InterruptedError("ended")
                if waiting:
                    try:
                        selector.register(_begin(waiting.pop(0), 0), selectors.EVENT_WRITE)
                    except OSError as exc:
                        error = exc
                        continue
                pause = _HEAD_START if waiting else min(0.5, max(0.0, deadline - time.monotonic()))
                for key, _ in selector.select(pause):
                    sock: socket.socket = key.fileobj  # type: ignore[assignment]
                    selector.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not code:
                        return _ready(sock, timeout)
                    sock.close()
                    error = OSError(code, os.strerror(code))
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise error


def _begin(address: tuple[int, int, int, str, tuple[object, ...]], timeout: float | None) -> socket.socket:
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(timeout)
        with suppress(BlockingIOError):
            sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _ready(sock: socket.socket, timeout: float | None) -> socket.socket:
    sock.settimeout(timeout)
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class PlainConnection(urllib3.connection.HTTPConnection):
    """urllib3's connection, opened with `dial`."""

    live: Live

    def _new_conn(self) -> socket.socket:
        return _open(self, self._dns_host, self.port, self.timeout, self.live)


class TLSConnection(urllib3.connection.HTTPSConnection):
    """urllib3's connection over TLS, opened with `dial`."""

    live: Live

    def _new_conn(self) -> socket.socket:
        return _open(self, self._dns_host, self.port, self.timeout, self.live)


def _open(connection: object, host: str, port: int, timeout: float | None, live: Live) -> socket.socket:
    sock = dial(host.strip("[]"), port, timeout, live)
    # A second handle: TLS takes the first one over before its handshake, in which another thread may want to end it.
    handle = sock.dup()
    connection.handle = handle  # type: ignore[attr-defined]
    live.add(handle)
    return sock
