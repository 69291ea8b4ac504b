"""A private, resumable partial: bytes on the cache's own file system, and a journal of the ranges that are proven.

A partial is a directory with two files, ``bytes`` and ``ranges``. It is adopted by one rename of the directory, so that
only one process can have it, whether locks work or not. A line is added to the journal after its bytes were written: a
process killed at any moment never leaves a claim without its bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path

from .leftovers import Facts, orphans, read_journal, token
from .ranges import Ranges

__all__ = ["Partial", "identity_of"]


def identity_of(sha256: str | None, url: str) -> str:
    """The name under which a file's partial is kept: its sha256, whoever serves it, else its URL.

    Parameters
    ----------
    sha256 : str or None
        The registered hash.
    url : str
        The canonical URL.

    Returns
    -------
    str
        Fit for a file name.
    """
    if sha256 is not None:
        return sha256
    import hashlib

    return "url-" + hashlib.sha256(url.encode()).hexdigest()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Partial:
    """A file that is being brought.

    Use `Partial.open`. Several threads may write, each its own ranges.
    """

    def __init__(self, directory: Path, identity: str, size: int | None, ranges: Ranges, facts: Facts) -> None:
        self.directory = directory
        self.identity = identity
        self.size = size
        self.ranges = ranges
        self.etag = str(facts["etag"]) if facts.get("etag") else None
        self.source = str(facts.get("source", ""))
        self.resumed = ranges.total()
        self.path = directory / "bytes"
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._journal = os.open(directory / "ranges", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._open = True

    @classmethod
    def open(cls, workdir: Path, identity: str, size: int | None, name: str = "") -> Partial:
        """Take what an earlier attempt left, or begin anew.

        Parameters
        ----------
        workdir : Path
            Where partials lie.
        identity : str
            See `identity_of`.
        size : int or None
            What the file's size must be, if that is known.
        name : str
            The file's name, for lists of partials.

        Returns
        -------
        Partial
            Nobody else has it.

        Raises
        ------
        OSError
            If nothing can be written there.
        """
        mine = workdir / f"{identity}.{token()}"
        for found in [workdir / identity, *(p for p in orphans(workdir, identity))]:
            try:
                found.rename(mine)
            except OSError:
                continue
            kept = _usable(mine, size, registered=not identity.startswith("url-"))
            if kept is not None:
                return cls(mine, identity, size, *kept)
            shutil.rmtree(mine, ignore_errors=True)
        mine.mkdir(mode=0o700)
        partial = cls(mine, identity, size, Ranges(), {})
        try:
            partial.describe(name=name)
            if size:
                # Sparse on purpose: reserving the blocks writes the whole file on file systems that cannot reserve.
                os.ftruncate(partial.fd, size)
        except BaseException:
            partial.discard()
            raise
        return partial

    def describe(self, **facts: object) -> None:
        """Add facts to the journal.

        Parameters
        ----------
        **facts : object
            Such as ``etag``; later ones win.
        """
        self.etag = str(facts["etag"]) if facts.get("etag") else self.etag
        text = json.dumps({"size": self.size, "boot": _boot(), **facts})
        os.write(self._journal, b"#" + text.encode() + b"\n")

    def write(self, start: int, data: memoryview) -> None:
        """Write bytes and, once they are there, say so in the journal.

        Parameters
        ----------
        start : int
            Where they belong.
        data : memoryview
            The bytes.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        done, count = 0, len(data)
        while done < count:
            done += os.pwrite(self.fd, data[done:], start + done)
        os.write(self._journal, b"%d %d\n" % (start, start + count))
        with self._lock:
            self.ranges.add(start, start + count)

    def reach(self, start: int) -> int:
        """Where the proven bytes from `start` on end.

        Parameters
        ----------
        start : int
            A position.

        Returns
        -------
        int
            One after the last of them.
        """
        with self._lock:
            return self.ranges.reach(start)

    def sign_of_life(self) -> None:
        """Tell other machines that this partial is in use."""
        with contextlib.suppress(OSError):
            os.utime(self.directory / "ranges")

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.fd)
                os.close(self._journal)

    def keep(self) -> None:
        """Leave it for whoever goes on with it; an empty one is removed."""
        self.close()
        if not self.ranges.total():
            self.discard()
            return
        # A rename onto a partial that another process left fails: then this one stays under its own name, an orphan.
        with contextlib.suppress(OSError):
            self.directory.rename(self.directory.with_name(self.identity))

    def discard(self) -> None:
        """Remove it."""
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def _usable(directory: Path, size: int | None, registered: bool) -> tuple[Ranges, Facts] | None:
    try:
        ranges, facts = read_journal(directory)
    except (OSError, ValueError):
        return None
    if registered:
        return (ranges, facts) if facts.get("size") == size else None
    # Nothing proves an unregistered file in the end: after a crash of the machine the journal may say too much.
    if not facts.get("etag") or facts.get("boot") != _boot():
        return None
    return ranges, facts
