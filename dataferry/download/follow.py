"""The hash follows the writes: what has become contiguous is hashed in order while it is still in memory."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections import deque

from .partial import Partial

__all__ = ["BLOCK", "Follower"]

BLOCK = 1 << 20
_BLOCKS = 6  # in flight between network and hash: enough to hide either, small beside any machine's memory


class Follower:
    """Hashes a partial in order, in its own thread or in the writer's.

    A block that continues what is hashed is hashed straight from memory; what came out of order is read back from the
    page cache when its turn has come. Bytes are only hashed once they are proven, and proven bytes are never written
    again: what is hashed is what is in the file.

    Parameters
    ----------
    partial : Partial
        The file; what it holds already is hashed first.
    threaded : bool
        Whether a thread of its own hashes. Without, blocks that continue the hash are hashed by their writer.
    """

    def __init__(self, partial: Partial, threaded: bool) -> None:
        self.partial = partial
        self.hashed = 0
        self.cpu = 0.0
        self._digest = hashlib.sha256()
        self._ready: deque[tuple[int, memoryview, int]] = deque()
        self._tail = 0  # where the next block must begin to be hashed from memory
        self._spare: list[memoryview] = []
        self._change = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        if threaded or partial.resumed:
            self.start()

    def start(self) -> None:
        """Begin to hash in a thread of its own, if it does not yet."""
        with self._change:
            if self._thread is None and not self._ended:
                self._tail = -1 if self.partial.resumed else self.hashed
                self._thread = threading.Thread(target=self._follow, name="dataferry-hash", daemon=True)
                self._thread.start()

    def block(self) -> memoryview:
        """A buffer to read into; waits while the hash is behind.

        Returns
        -------
        memoryview
            `BLOCK` bytes.
        """
        with self._change:
            while True:
                if self._spare:
                    return self._spare.pop()
                if len(self._ready) < _BLOCKS or self._ended:
                    return memoryview(bytearray(BLOCK))
                self._change.wait(1)

    def give_back(self, block: memoryview) -> None:
        """Return a buffer that was not handed to `wrote`.

        Parameters
        ----------
        block : memoryview
            From `block`.
        """
        with self._change:
            self._spare.append(block)
            self._change.notify_all()

    def wrote(self, start: int, block: memoryview, count: int) -> None:
        """Take a buffer whose first `count` bytes were written at `start`.

        Parameters
        ----------
        start : int
            Where they were written.
        block : memoryview
            From `block`; it belongs to the follower from now on.
        count : int
            How many bytes.
        """
        with self._change:
            if self._ended:
                return  # nobody hashes any more
            if self._thread is None and start == self.hashed:
                # Under the lock: a thread that starts now must find this block hashed, or not begun.
                self._digest.update(block[:count])
                self.hashed += count
                self._spare.append(block)
            elif self._thread is not None and start == self._tail:
                self._ready.append((start, block, count))
                self._tail += count
            else:
                self._spare.append(block)
            self._change.notify_all()

    def digest(self, size: int) -> str:
        """Wait until the whole file is hashed.

        Parameters
        ----------
        size : int
            Bytes of the file; all of them are proven.

        Returns
        -------
        str
            The sha256 in hexadecimal digits.

        Raises
        ------
        OSError
            If the file could not be read back.
        InterruptedError
            If somebody ended it before.
        """
        if self.partial.reach(0) < size:
            raise OSError(errno.EIO, f"not all bytes of {self.partial.path} are there")
        if self._thread is None:
            self._catch_up(size)
        with self._change:
            while self.hashed < size and self._error is None and not self._ended:
                self._change.notify_all()
                self._change.wait(1)
        self.close()
        if self._error is not None:
            raise self._error
        if self.hashed < size:
            # Whoever ended it keeps what is there; a hash of a part must not count as that of the file.
            raise InterruptedError(errno.EINTR, "ended before the hash was known")
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread."""
        with self._change:
            self._ended = True
            self._change.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)

    def _follow(self) -> None:
        scratch: memoryview | None = None
        try:
            while True:
                with self._change:
                    while not self._ended and not self._ready and self.partial.reach(self.hashed) == self.hashed:
                        self._change.wait(1)
                    if self._ended:
                        return
                    while self._ready and self._ready[0][0] < self.hashed:
                        # Its bytes were proven, and read back, before it was handed over.
                        self._spare.append(self._ready.popleft()[1])
                    head = self._ready.popleft() if self._ready and self._ready[0][0] == self.hashed else None
                if head is not None:
                    _, block, count = head
                    self._digest.update(block[:count])
                    self.hashed += count
                    self.give_back(block)
                else:
                    scratch = scratch or memoryview(bytearray(BLOCK))
                    self._read_back(scratch)
                with self._change:
                    if not self._ready and self._tail != self.hashed:
                        # Caught up with what was read back: the next block in order may come from memory again.
                        self._tail = self.hashed
                    self.cpu = time.thread_time()
                    self._change.notify_all()
        except BaseException as exc:  # noqa: BLE001
            with self._change:
                self._error = exc
                self._ended = True
                self._change.notify_all()

    def _read_back(self, scratch: memoryview) -> None:
        stop = self.partial.reach(self.hashed)
        if self._ready:
            stop = min(stop, self._ready[0][0])
        if stop <= self.hashed:
            return  # a block that is in memory came first
        with self.partial.using() as fd:
            count = os.preadv(fd, [scratch[: min(BLOCK, stop - self.hashed)]], self.hashed)
        if count <= 0:
            raise OSError(5, f"{self.partial.path} ended at byte {self.hashed}")
        self._digest.update(scratch[:count])
        self.hashed += count

    def _catch_up(self, size: int) -> None:
        scratch = memoryview(bytearray(BLOCK))
        while self.hashed < size:
            self._read_back(scratch)
