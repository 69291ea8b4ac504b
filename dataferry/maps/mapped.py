"""Windows on a file whose bytes the system has in memory: what is not wanted of them need not be copied.

A page that is not in memory, or cannot be read, would come by a fault: slowly, and with a signal instead of an error.
So a window is opened only where the system says that it has the bytes, and its pages are had before anybody looks.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

__all__ = ["Mapped"]

_POPULATE_READ = 22
_DONTNEED = 4


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


class Mapped:
    """A file in the address space of this process.

    Parameters
    ----------
    fd : int
        The file, open for reading as long as windows are opened.
    size : int
        Its length in bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        # None: it cannot be done here
        self._map: mmap.mmap | None = None
        self._address = 0
        if size and hasattr(os, "RWF_NOWAIT"):
            with contextlib.suppress(OSError, ValueError):
                self._map = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        if self._map is not None:
            import numpy as np

            self._address = np.frombuffer(self._map, "u1").ctypes.data

    @contextmanager
    def window(self, offset: int, length: int) -> Iterator[memoryview | None]:
        """Open a window; its memory is let go of when it is closed.

        Parameters
        ----------
        offset, length : int
            Not empty, and within the file.

        Yields
        ------
        memoryview or None
            The bytes; None where they are better read.
        """
        start = offset // mmap.PAGESIZE * mmap.PAGESIZE
        size = offset + length - start
        if self._map is None or not (self._is_there(offset) and self._is_there(offset + length - 1)):
            yield None
            return
        if _libc().madvise(self._address + start, size, _POPULATE_READ):
            yield None
            return
        try:
            yield memoryview(self._map)[offset : offset + length]
        finally:
            _libc().madvise(self._address + start, size, _DONTNEED)

    def _is_there(self, offset: int) -> bool:
        try:
            return os.preadv(self._fd, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
        except OSError:  # it would have to wait, or the file system cannot tell
            return False

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            with contextlib.suppress(BufferError):  # an error on its way still shows what it looked at
                self._map.close()
            self._map = None
