"""One downloader per file: a table for threads, a lock for processes. Correctness never depends on it.

All files share one lock file, in which each has a byte of its own: a lock file for each would cost a small file
more than its download does.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["Lease", "give_back", "take"]

_table = threading.Lock()
_held: set[tuple[str, int]] = set()
_files: dict[str, int] = {}
_owner = os.getpid()
_SHA256 = 64


class Lease:
    """The right to bring one file.

    Parameters
    ----------
    workdir : Path or str
        Where partials lie.
    identity : str
        The file.
    """

    __slots__ = ("_key", "_locked", "_mine")

    def __init__(self, workdir: Path | str, identity: str) -> None:
        if len(identity) == _SHA256:
            byte = int(identity[:12], 16)
        else:
            byte = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=6).digest())
        self._key = str(workdir), byte
        self._mine = self._locked = False

    def take(self, *, force: bool = False) -> bool:
        """Try to take it, without waiting.

        Parameters
        ----------
        force : bool
            Go on even if another process seems to have it: at worst the file is brought twice.

        Returns
        -------
        bool
            True if the file may be brought.
        """
        with _table:
            return self._take(_file(self._key[0]), force)

    def _take(self, fd: int, force: bool) -> bool:
        if self._key in _held:
            return force
        self._locked = fd >= 0 and _lock(fd, self._key[1])
        if not self._locked and fd >= 0 and not force:
            return False
        self._mine = True
        _held.add(self._key)
        return True

    def give_back(self) -> None:
        """Let others have it."""
        give_back([self])


def take(leases: Iterable[Lease]) -> list[bool]:
    """Try to take several of one place, without waiting.

    Parameters
    ----------
    leases : iterable of Lease
        What is wanted.

    Returns
    -------
    list of bool
        For each whether its file may be brought.
    """
    with _table:
        fd, place, taken = -1, None, []
        for lease in leases:
            if lease._key[0] != place:
                place = lease._key[0]
                fd = _file(place)
            taken.append(lease._take(fd, False))
    return taken


def give_back(leases: Iterable[Lease]) -> None:
    """Let others have the files of several leases.

    Parameters
    ----------
    leases : iterable of Lease
        Taken or not.
    """
    with _table:
        places: dict[str, int] = {}
        for lease in leases:
            if lease._mine:
                place, byte = lease._key
                lease._mine = False
                _held.discard(lease._key)
                if place not in places:
                    places[place] = _file(place)
                if lease._locked and places[place] >= 0:
                    _unlock(places[place], byte)
        for place, fd in places.items():
            if fd >= 0 and not any(other == place for other, _ in _held):
                # No lock is left to lose, and an open file would keep the file system from being unmounted.
                os.close(_files.pop(place))


def _file(place: str) -> int:
    """The lock file, kept open while a lock is held: closing it would give all of them back."""
    global _owner  # noqa: PLW0603
    if _owner != os.getpid():
        # Locks are not inherited over a fork, so neither is the table of them.
        _owner = os.getpid()
        _held.clear()
        _files.clear()
    fd = _files.get(place, -1)
    try:
        if fd >= 0 and os.fstat(fd).st_nlink:
            return fd
        fd = os.open(os.path.join(place, "locks"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return -1
    _files[place] = fd
    return fd


try:
    import fcntl

    def _lock(fd: int, byte: int) -> bool:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            # A file system without locks: go on, private names and renames keep it right.
            return True
        return True

    def _unlock(fd: int, byte: int) -> None:
        with suppress(OSError):
            fcntl.lockf(fd, fcntl.LOCK_UN, 1, byte)

except ImportError:
    import msvcrt

    def _lock(fd: int, byte: int) -> bool:
        try:
            os.lseek(fd, byte & 0x7FFFFFFF, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True

    def _unlock(fd: int, byte: int) -> None:
        with suppress(OSError):
            os.lseek(fd, byte & 0x7FFFFFFF, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
