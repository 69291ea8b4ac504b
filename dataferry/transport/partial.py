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
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ranges import Ranges

__all__ = ["Partial", "StalePartial", "identity_of", "in_use", "orphans", "progress_of", "prune", "stale"]

_ALIVE = 120.0  # seconds without a sign of life after which another machine's partial may be taken
Facts = dict[str, Any]
_marks = iter(range(1 << 62))


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
        mine = workdir / f"{identity}.{_token()}"
        for found in [workdir / identity, *(p for p in orphans(workdir, identity))]:
            try:
                found.rename(mine)
            except OSError:
                continue
            kept = _read(mine, size, registered=not identity.startswith("url-"))
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


def _token() -> str:
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())[:40]
    return f"{host}.{os.getpid()}.{next(_marks)}"


def _read(directory: Path, size: int | None, registered: bool) -> tuple[Ranges, Facts] | None:
    facts: Facts = {}
    ranges = Ranges()
    try:
        there = os.stat(directory / "bytes").st_size
        lines = (directory / "ranges").read_bytes().split(b"\n")[:-1]  # the last one ends without a newline if torn
        for line in lines:
            if line.startswith(b"#"):
                facts |= json.loads(line[1:])
                continue
            start, stop = map(int, line.split(b" "))
            if 0 <= start <= stop <= there:
                ranges.add(start, stop)
    except (OSError, ValueError):
        return None
    if registered:
        return (ranges, facts) if facts.get("size") == size else None
    # Nothing proves an unregistered file in the end: after a crash of the machine the journal may say too much.
    if not facts.get("etag") or facts.get("boot") != _boot():
        return None
    return ranges, facts


def orphans(workdir: Path, identity: str) -> list[Path]:
    """Partials of a file whose process is gone.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    identity : str
        See `identity_of`.

    Returns
    -------
    list of Path
        Directories.
    """
    return [path for path in in_use(workdir, identity) if not _in_use(path)]


def in_use(workdir: Path, identity: str) -> list[Path]:
    """Partials of a file that a process has taken, alive or not.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    identity : str
        See `identity_of`.

    Returns
    -------
    list of Path
        Directories.
    """
    try:
        with os.scandir(workdir) as entries:
            return [Path(e.path) for e in entries if e.name.startswith(identity + ".") and e.is_dir()]
    except OSError:
        return []


def progress_of(path: Path) -> int:
    """Bytes that a partial holds, whoever brings it.

    Parameters
    ----------
    path : Path
        Its directory.

    Returns
    -------
    int
        As far as its journal says.
    """
    ranges = Ranges()
    with contextlib.suppress(OSError, ValueError):
        for line in (path / "ranges").read_bytes().split(b"\n")[:-1]:
            if not line.startswith(b"#"):
                start, stop = line.split(b" ")
                ranges.add(int(start), int(stop))
    return ranges.total()


def _in_use(path: Path) -> bool:
    host, pid, _ = path.name.split(".", 1)[1].rsplit(".", 2)
    try:
        # Between its making and its first line a partial has no journal.
        sign = path / "ranges" if (path / "ranges").exists() else path
        age = time.time() - sign.stat().st_mtime
    except OSError:
        return True  # gone meanwhile
    if host == _token().rsplit(".", 2)[0]:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return False
        except (OSError, ValueError):
            pass
    return age < _ALIVE


@dataclass(frozen=True, slots=True)
class StalePartial:
    """What an interrupted download left.

    Parameters
    ----------
    path : Path
        Its directory.
    name : str
        The file.
    have : int
        Bytes that are proven.
    size : int or None
        Bytes of the whole file, if known.
    age : float
        Seconds since it last grew.
    """

    path: Path
    name: str
    have: int
    size: int | None
    age: float


def stale(workdir: Path, older_than_days: float = 0) -> list[StalePartial]:
    """The partials that nobody is working on.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    older_than_days : float
        Leave out younger ones.

    Returns
    -------
    list of StalePartial
        Oldest first.
    """
    found = []
    for path in sorted(workdir.iterdir()) if workdir.is_dir() else []:
        if not path.is_dir() or not (path / "ranges").exists() or ("." in path.name and _in_use(path)):
            continue
        ranges = Ranges()
        facts: Facts = {}
        for line in (path / "ranges").read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                if line.startswith(b"#"):
                    facts |= json.loads(line[1:])
                else:
                    ranges.add(*map(int, line.split(b" ")))
        age = time.time() - (path / "ranges").stat().st_mtime
        if age >= older_than_days * 86400:
            found.append(StalePartial(path, str(facts.get("name", "")), ranges.total(), facts.get("size"), age))
    return sorted(found, key=lambda item: -item.age)


def prune(workdir: Path, older_than_days: float) -> list[StalePartial]:
    """Remove the partials that nobody has worked on for so many days.

    Parameters
    ----------
    workdir : Path
        Where partials lie.
    older_than_days : float
        Days.

    Returns
    -------
    list of StalePartial
        What was removed.
    """
    gone = stale(workdir, older_than_days)
    for item in gone:
        shutil.rmtree(item.path, ignore_errors=True)
    return gone
