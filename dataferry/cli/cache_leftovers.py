"""What runs that were killed left in the caches, beside unfinished downloads: clones, notes, work folders, files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..cache.prune import remains, remove_remains
from ..download.file_lock import FileLock
from ..download.partial_file import stale_small_files

__all__ = ["Leftover", "drop", "leftovers"]

_NOTES = re.compile(r"[0-9a-f]{16}").fullmatch
_WORK = re.compile(r"(check|adopt)-.+").fullmatch
#: Nothing tells whether a work folder is in use, but it is in use for no longer than this without a change.
_WORK_SECONDS = 86400.0


@dataclass(frozen=True)
class Leftover:
    """What a run left that was killed.

    Parameters
    ----------
    path : Path
        The folder or file.
    what : str
        What it is.
    size : int
        Its bytes.
    """

    path: Path
    what: str
    size: int


def leftovers(home: str, days: float) -> list[Leftover]:
    """What is in one of dataferry's folders, untouched for some days and used by no run.

    Parameters
    ----------
    home : str
        dataferry's folder in a cache.
    days : float
        How long it has not been touched.

    Returns
    -------
    list of Leftover
        Clones of repositories, notes of uploads, work folders, and small files however young.
    """
    found = [Leftover(Path(path), "private file", size) for path, size in remains(home)]
    found += [Leftover(path, "small file", _size(path)[0]) for path in stale_small_files(Path(home, "incoming"))]
    for path, what in _candidates(Path(home)):
        size, touched = _size(path)
        least = days * 86400 if what != "work folder" else max(days * 86400, _WORK_SECONDS)
        if time.time() - touched < least:
            continue
        with _alone(path, what) as free:
            if free:
                found.append(Leftover(path, what, size))
    return found


def drop(left: Leftover) -> int:
    """Remove it, unless a run has begun to use it.

    Parameters
    ----------
    left : Leftover
        What is removed.

    Returns
    -------
    int
        Bytes that are free now.
    """
    with _alone(left.path, left.what) as free:
        if free and left.what == "private file":
            remove_remains(str(left.path))
        elif free and left.what == "small file":
            left.path.unlink(missing_ok=True)
        elif free:
            shutil.rmtree(left.path, ignore_errors=True)
            if left.what == "clone":
                with contextlib.suppress(OSError):
                    os.unlink(f"{left.path}.lock")
    return 0 if left.path.exists() else left.size


def _candidates(home: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(home.glob("git/*.git")):
        yield path, "clone"
    for path in sorted(home.glob("publish/*/")):
        if _NOTES(path.name):
            yield path, "upload notes"
    for path in sorted(home.glob("incoming/*/")):
        if _WORK(path.name):
            yield path, "work folder"


def _size(path: Path) -> tuple[int, float]:
    """The bytes of a file or of a folder, and when something in it last changed."""
    if path.is_file():
        told = path.stat()
        return told.st_size, told.st_mtime
    size, touched = 0, 0.0
    for folder, _, files in os.walk(path):
        for item in (folder, *(os.path.join(folder, file) for file in files)):
            with contextlib.suppress(OSError):
                told = os.lstat(item)
                touched = max(touched, told.st_mtime)
                size += told.st_size if item != folder else 0
    return size, touched


@contextlib.contextmanager
def _alone(path: Path, what: str) -> Iterator[bool]:
    """Whether no run uses a folder; meanwhile none can begin to."""
    if what == "upload notes":
        claim = FileLock(path.parent, path.name)
        taken = claim.acquire()
        try:
            yield taken
        finally:
            claim.release()
    elif what == "clone":
        import fcntl

        try:
            with open(f"{path}.lock", "ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield True
        except OSError:
            yield False
    else:
        yield True
