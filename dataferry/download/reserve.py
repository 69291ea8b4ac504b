"""Space for a large file before its bytes come, where the file system can promise it at once.

``os.posix_fallocate`` would do it anywhere, by writing the whole file where the file system cannot. So the system is
asked itself, which does it or says that it does not.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

__all__ = ["LEAST", "give_up", "reserve"]

LEAST = 1 << 24  # bytes from which a full disk would be found late
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@lru_cache(maxsize=1)
def _call() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    try:
        library = ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None
    found: Any = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if found is None:
        return None
    found.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]

    def call(fd: int, mode: int, start: int, count: int) -> int:
        return 0 if found(fd, mode, start, count) == 0 else ctypes.get_errno()

    return call


def reserve(fd: int, size: int) -> bool:
    """Reserve the blocks of a file.

    Parameters
    ----------
    fd : int
        The file.
    size : int
        Its bytes; what is there already stays.

    Returns
    -------
    bool
        True if the space is there now; False where the file system does not promise any.

    Raises
    ------
    OSError
        If there is not so much, or the quota does not allow it.
    """
    call = _call() if size >= LEAST else None
    failed = errno.ENOSYS if call is None else call(fd, 0, 0, size)
    if failed in _FULL:
        raise OSError(failed, os.strerror(failed))
    return not failed


def give_up(fd: int, ranges: Iterable[tuple[int, int]]) -> None:
    """Give back the blocks of what did not come.

    Parameters
    ----------
    fd : int
        The file.
    ranges : iterable of (int, int)
        First byte, and one after the last.
    """
    call = _call()
    for start, stop in ranges if call is not None else ():
        if call is not None and call(fd, _KEEP_SIZE | _PUNCH_HOLE, start, stop - start):
            return
