"""The sha256 of a file that is being written, taken from the file itself, in a thread that follows the writes."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable

from ..portable import begin_writing_back, read_into
from ..threads import Workers

_PATIENCE = 5.0  # seconds to wait for a disk that does not answer
_BLOCK = 1 << 20
_WORTH_WAKING = 1 << 22  # bytes for which a thread is woken
_WRITE_BACK = 1 << 23  # bytes after which Linux is asked to write them to the disk


class RollingHash:
    """Reads back what has been written without a gap, and hashes it: what is hashed is what the file has.

    Parameters
    ----------
    fd : int
        The file; it is duplicated.
    workers : Workers
        Who hashes it.
    done : callable
        Called there once all is hashed, or reading failed.
    """

    def __init__(self, fd: int, workers: Workers, done: Callable[[], None] = lambda: None) -> None:
        self._fd = os.dup(fd)
        self._workers = workers
        self._done = done
        self._digest = hashlib.sha256()
        self._change = threading.Condition()
        self._reach = self.hashed = self._written_back = 0
        self._size: int | None = None
        self._follows = self._reads = self._ended = False
        self._error: BaseException | None = None
        self._buffer = memoryview(b"")

    def advance(self, reach: int) -> None:
        """Say how far the file is written without a gap."""
        if reach - self._reach >= _WORTH_WAKING:
            self._follow_to(reach)

    def finish(self, size: int) -> None:
        """Say that the file is written as a whole; `done` is called when its hash is known."""
        self._size = size
        self._follow_to(size)

    def _follow_to(self, reach: int) -> None:
        with self._change:
            self._reach = reach
            if self._follows:
                return
            self._follows = True
        self._workers.do(self._follow)

    def digest(self) -> str | None:
        """The hash in hexadecimal digits; None as long as it is not known; what reading raised."""
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest() if self._size is not None and self.hashed == self._size else None

    def close(self) -> None:
        """End the reading."""
        with self._change:
            self._ended = True
            if self._change.wait_for(lambda: not self._reads, _PATIENCE):
                self._shut()

    def _shut(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _follow(self) -> None:
        with self._change:
            more = self._reads = not self._ended  # it may have been closed while it waited for a thread
        while more:
            try:
                self._hash_to(self._reach)
            except BaseException as error:  # noqa: BLE001
                self._error = error
            with self._change:
                more = self.hashed < self._reach and not self._ended and self._error is None
                self._follows = self._reads = more
                if self._ended:
                    self._shut()  # whoever closed it may have waited for long enough
                self._change.notify_all()
        if self._error is not None or self.hashed == self._size:
            self._done()

    def _hash_to(self, reach: int) -> None:
        self._buffer = self._buffer or memoryview(bytearray(_BLOCK))
        while self.hashed < reach and not self._ended:
            part = self._buffer[: min(_BLOCK, reach - self.hashed)]
            count = read_into(self._fd, part, self.hashed)
            if count <= 0:
                raise OSError(errno.EIO, f"the file ends at byte {self.hashed} and was written up to {reach}")
            self._digest.update(part[:count])
            self.hashed += count
            if self.hashed - self._written_back >= _WRITE_BACK or self.hashed == self._size:
                begin_writing_back(self._fd, self._written_back, self.hashed - self._written_back)
                self._written_back = self.hashed
