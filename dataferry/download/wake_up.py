"""What ends a wait for sockets: a pair of them, since a selector of Windows waits for nothing else."""

from __future__ import annotations

import contextlib
import socket


class WakeUp:
    """Something to wait for with a selector, which another thread can set."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The end that becomes readable."""
        return self._reader.fileno()

    def set(self) -> None:
        """End a wait, or the next one."""
        with contextlib.suppress(OSError):  # it is full, or closed: nobody waits
            self._writer.send(b"x")

    def clear(self) -> None:
        """Wait again."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()

    __del__ = close  # a socket that nobody closed warns
