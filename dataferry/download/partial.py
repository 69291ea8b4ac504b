"""A private, resumable partial: bytes on the cache's own file system, and a journal of the ranges that are proven.

A partial is a directory with two files, ``bytes`` and ``ranges``. It is adopted by one rename of the directory, so that
only one process can have it, whether locks work or not. A line is added to the journal after its bytes were written: a
process killed at any moment never leaves a claim without its bytes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from .leftovers import Facts, orphans, read_journal, token
from .ranges import Ranges
from .reserve import LEAST, give_up, reserve

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
        self._users = 0
        self._reserved = False

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
                known = kept[1].get("size") if size is None else size
                return cls(mine, identity, known, *kept)
            shutil.rmtree(mine, ignore_errors=True)
        mine.mkdir(mode=0o700)
        partial = cls(mine, identity, size, Ranges(), {})
        try:
            partial.describe(name=name)
            if size:
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
        with self.using() as fd:
            while done < count:
                done += os.pwrite(fd, data[done:], start + done)
            os.write(self._journal, b"%d %d\n" % (start, start + count))
        with self._lock:
            self.ranges.add(start, start + count)

    @contextlib.contextmanager
    def using(self) -> Iterator[int]:
        """The open file, for as long as it is used: nobody's number may become that of another file meanwhile.

        Yields
        ------
        int
            Its descriptor.

        Raises
        ------
        InterruptedError
            If it was closed.
        """
        with self._lock:
            if not self._open:
                raise InterruptedError(errno.EINTR, "closed", str(self.path))
            self._users += 1
        try:
            yield self.fd
        finally:
            with self._lock:
                self._users -= 1
                self._shut()

    def _shut(self) -> None:
        if not self._open and not self._users and self.fd >= 0:
            for fd in (self.fd, self._journal):
                os.close(fd)
            self.fd = self._journal = -1

    def reserve(self) -> None:
        """Reserve the space of the whole file, where the file system can.

        Raises
        ------
        OSError
            If there is not so much.
        """
        if self.size is not None and self.size - self.resumed >= LEAST:
            with self.using() as fd:
                self._reserved = True
                self._reserved = reserve(fd, self.size)

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
            self._open = False
            self._shut()

    def keep(self) -> None:
        """Leave it for whoever goes on with it; an empty one is removed."""
        if self._reserved and self.size is not None:
            with contextlib.suppress(InterruptedError), self.using() as fd, self._lock:
                give_up(fd, self.ranges.missing(self.size))
        self.close()
        if self._users:
            return  # somebody is stuck in a write: until this process ends it is left alone, under its own name
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
        return (ranges, facts) if size is None or facts.get("size") == size else None
    # Nothing proves an unregistered file in the end: after a crash of the machine the journal may say too much.
    if not facts.get("etag") or facts.get("boot") != _boot():
        return None
    return ranges, facts
