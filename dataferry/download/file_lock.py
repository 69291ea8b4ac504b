"""One byte-range lock for each file that is downloaded: it only saves work, and nothing depends on it.

All locks of one place are bytes of one file, so that thousands of downloads leave no thousands of lock files.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..portable import REGULAR, after_fork

fcntl: Any
msvcrt: Any
try:
    import fcntl
except ImportError:
    fcntl = None
    import msvcrt


_table = threading.Lock()
_locked: dict[str, set[int]] = {}
_files: dict[str, int] = {}


class FileLock:
    """The right to download one file."""

    __slots__ = ("_key", "_mine", "_on_disk")

    def __init__(self, workdir: Path | str, identity: str) -> None:
        self._key = str(workdir), int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=6).digest())
        self._mine = self._on_disk = False

    def acquire(self, *, force: bool = False) -> bool:
        """Try to take it, without waiting; with `force` also where another process seems to have it."""
        place, byte = self._key
        with _table:
            if byte in _locked.get(place, ()):
                return force
            fd = _file(place)
            self._on_disk = fd >= 0 and _lock(fd, byte)
            if not self._on_disk and fd >= 0 and not force:
                return False
            self._mine = True
            _locked.setdefault(place, set()).add(byte)
            return True

    def release(self) -> None:
        """Let others have it."""
        if not self._mine:
            return
        place, byte = self._key
        with _table:
            self._mine = False
            locked = _locked.get(place, set())  # a forked child has none
            locked.discard(byte)
            if not locked:
                _locked.pop(place, None)
            fd = _files.get(place, -1)
            if fd < 0:
                return
            if self._on_disk:
                _unlock(fd, byte)
            if not locked:
                # No lock is left to lose, and an open file would keep the file system from being unmounted.
                os.close(_files.pop(place))


def _file(place: str) -> int:
    """The lock file, kept open while a lock is taken: to close it would give all of them back."""
    fd = _files.get(place, -1)
    try:
        if fd >= 0 and os.fstat(fd).st_nlink:
            return fd
        fd = os.open(os.path.join(place, "locks"), os.O_RDWR | os.O_CREAT | REGULAR, 0o666)
    except OSError:
        return -1
    _files[place] = fd
    return fd


def _forget() -> None:
    """In a forked child: locks of byte ranges are not inherited, and another thread may have had the table."""
    global _table  # noqa: PLW0603
    _table = threading.Lock()
    _locked.clear()
    _files.clear()


after_fork(_forget)


def _lock(fd: int, byte: int) -> bool:
    try:
        if fcntl is None:
            os.lseek(fd, byte & 0x7FFFFFFF, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        # Where there are no locks (ENOLCK, ENOSYS, EIO) private names and renames keep it right.
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def _unlock(fd: int, byte: int) -> None:
    with suppress(OSError):
        if fcntl is None:
            os.lseek(fd, byte & 0x7FFFFFFF, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.lockf(fd, fcntl.LOCK_UN, 1, byte)
