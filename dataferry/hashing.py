"""The digests of an author's files: read once, several at a time, and refused if they are not what they seem."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from .errors import WrongBytes

__all__ = ["Digests", "hash_file", "hash_files"]

_BLOCK = 1 << 20
_POINTER = b"version https://git-lfs.github.com/spec/"


class Digests(NamedTuple):
    """What a file was when it was read.

    Parameters
    ----------
    size : int
        Bytes.
    sha256, md5 : str
        Hexadecimal digits in lower case; `md5` is empty where nobody asked for it.
    mtime_ns, inode : int
        Time of its last change in nanoseconds, and its inode.
    """

    size: int
    sha256: str
    md5: str
    mtime_ns: int
    inode: int

    def holds(self, stat: os.stat_result) -> bool:
        """Whether a file with this `os.stat` result is still the one that was read."""
        return (self.size, self.mtime_ns, self.inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)


def hash_file(path: Path, *, md5: bool = False, seen: Callable[[int], object] | None = None) -> Digests:
    """Read a file once and take its digests.

    Parameters
    ----------
    path : Path
        The file.
    md5 : bool
        Whether some host wants its md5 as well.
    seen : callable, optional
        Is told the bytes of each block; what it raises ends the reading.

    Returns
    -------
    Digests
        What the file is.

    Raises
    ------
    WrongBytes
        If it cannot be read, changes while it is read, or is a git-lfs pointer.
    """
    strong, quick = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    first = True
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while count := file.readinto(buffer):
                if first and buffer.startswith(_POINTER):
                    raise WrongBytes(f"{path} is a git-lfs pointer, not the file itself: run git lfs pull first")
                first = False
                strong.update(view[:count])
                if md5:
                    quick.update(view[:count])
                if seen is not None:
                    seen(count)
        after = os.stat(path)
    except WrongBytes:
        raise
    except OSError as error:
        raise WrongBytes(f"{path}: {error.strerror or error}") from error
    found = Digests(
        after.st_size, strong.hexdigest(), quick.hexdigest() if md5 else "", after.st_mtime_ns, after.st_ino
    )
    if not found.holds(before):
        raise WrongBytes(f"{path} changed while it was read")
    return found


def hash_files(
    files: Mapping[str, Path], *, md5: bool = False, show: bool = True
) -> tuple[dict[str, Digests], dict[str, WrongBytes]]:
    """Read files in threads, with a bar where a terminal watches and it takes a while.

    Parameters
    ----------
    files : mapping of str to Path
        Name -> file.
    md5 : bool
        Whether some host wants their md5 as well.
    show : bool
        Whether there may be a bar.

    Returns
    -------
    (dict of str to Digests, dict of str to WrongBytes)
        What was read, and what could not be; both in the order of `files`.
    """
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event, Lock

    from tqdm import tqdm

    stopped, lock = Event(), Lock()
    hidden = not (show and sys.stderr.isatty())
    total = sum(map(_size, files.values()))
    with tqdm(total=total, unit="B", unit_scale=True, desc="hashing", leave=False, delay=0.5, disable=hidden) as bar:

        def seen(count: int) -> None:
            if stopped.is_set():
                raise InterruptedError("stopped")
            with lock:
                bar.update(count)

        def one(path: Path) -> Digests | WrongBytes:
            try:
                return hash_file(path, md5=md5, seen=seen)
            except WrongBytes as error:
                return error

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            try:
                found = dict(zip(files, pool.map(one, files.values()), strict=True))
            except BaseException:
                stopped.set()  # Ctrl-C does not wait for the end of a large file
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return (
        {name: result for name, result in found.items() if isinstance(result, Digests)},
        {name: result for name, result in found.items() if isinstance(result, WrongBytes)},
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
