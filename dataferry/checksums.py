"""sha256 of a file, and the stamp that saves computing the next one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Stamp", "Stamps", "sha256_file", "stamp_of"]

_BLOCK = 1 << 20
#: A file changed less than this before it was hashed may change again without its times showing it.
_SETTLED_NS = 2_000_000_000


def sha256_file(path: str | os.PathLike[str], seen: Callable[[int], object] | None = None) -> str:
    """The sha256 of a file.

    Parameters
    ----------
    path : path-like
        The file.
    seen : callable, optional
        Is told the bytes of each block; what it raises ends the hashing.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
            if seen is not None:
                seen(count)
    return digest.hexdigest()


class Stamp(NamedTuple):
    """What proves that a file is still the one that was hashed.

    Parameters
    ----------
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change in nanoseconds.
    inode : int
        The file's inode.
    sha256 : str
        What the hash was.
    """

    size: int
    mtime_ns: int
    inode: int
    sha256: str

    def holds(self, stat: os.stat_result) -> bool:
        """Whether a file with this `os.stat` result is the one that was hashed."""
        return self.size == stat.st_size and self.mtime_ns == stat.st_mtime_ns and self.inode == stat.st_ino


def stamp_of(path: str | os.PathLike[str], sha256: str | None = None) -> Stamp:
    """Hash a file and make its stamp.

    Parameters
    ----------
    path : path-like
        The file.
    sha256 : str, optional
        The hash, where the caller has just computed it from the bytes that it wrote.

    Returns
    -------
    Stamp
        The file's stamp.

    Raises
    ------
    OSError
        If the file cannot be read, or changed while it was read.
    """
    before = os.stat(path)
    found = sha256 or sha256_file(path)
    after = os.stat(path)
    stamp = Stamp(after.st_size, after.st_mtime_ns, after.st_ino, found)
    if not stamp.holds(before):
        raise OSError(f"{os.fspath(path)} changed while it was read")
    return stamp


class Stamps:
    """Stamps kept on disk, one small file each, named after the path that they vouch for.

    Parameters
    ----------
    root : path-like
        The folder that holds them. It is made when the first stamp is kept.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)

    def _file(self, path: str) -> str:
        key = hashlib.md5(os.fsencode(path), usedforsecurity=False).hexdigest()
        return f"{self.root}/{key[:2]}/{key[2:]}"

    def read(self, path: str) -> Stamp | None:
        """The stamp of a path, or None where there is none or it cannot be read."""
        try:
            with open(self._file(path), encoding="utf-8") as file:
                size, mtime_ns, inode, sha256, of = file.read().rstrip("\n").split(" ", 4)
            return Stamp(int(size), int(mtime_ns), int(inode), sha256) if of == path else None
        except (OSError, ValueError):
            return None

    def keep(self, path: str, stamp: Stamp, *, settled: bool = False) -> bool:
        """Keep a stamp.

        Parameters
        ----------
        path : str
            The path that it vouches for: absolute, or relative to the folder of a cache.
        stamp : Stamp
            Its stamp.
        settled : bool
            True where nobody but dataferry writes this file. Elsewhere a file that changed within the last two seconds
            is not stamped: it could change again within the resolution of its times.

        Returns
        -------
        bool
            Whether it was kept; False as well where the folder cannot be written.
        """
        if not settled and time.time_ns() - stamp.mtime_ns < _SETTLED_NS:
            return False
        target = Path(self._file(path))
        private = target.with_name(f"{target.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            private.write_text(
                f"{stamp.size} {stamp.mtime_ns} {stamp.inode} {stamp.sha256} {path}\n",
                encoding="utf-8",
            )
            os.replace(private, target)
        except (OSError, UnicodeEncodeError):
            with contextlib.suppress(OSError):
                private.unlink()
            return False
        return True

    def forget(self, path: str) -> None:
        """Drop the stamp of a path, if there is one."""
        try:
            os.unlink(self._file(path))
        except OSError:
            return
