"""The bytes of a file that is being downloaded, and a journal of its finished ranges, from which a later run resumes.

``incoming/<identity>.<12 digits>/`` belongs to one process as long as it downloads; ``incoming/<identity>/`` is
what was left in good order. Each holds ``bytes`` and ``ranges``. A line of the journal counts once it has its newline,
which is written after its bytes were. Whoever downloads keeps a lock on ``bytes`` and touches ``ranges`` now and then.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CacheError
from ..files import read_regular
from ..portable import MOVES_OPEN_FILES, OPEN, REGULAR, fallocate, lock_file, write_at
from .segments import Ranges

Facts = dict[str, Any]
_ALIVE = 120.0  # seconds without a sign of life after which somebody else's partial file may be taken
_JOURNAL_BYTES, _JOURNAL_SECONDS = 1 << 20, 0.5  # after which the journal is written
_RESERVED = 1 << 24  # bytes from which a full disk would be found late
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # of fallocate(2)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PARTS_OF_A_WRITE = 64  # of 16 KiB, as libcurl hands them over


def identity_of(sha256: str | None, url: str) -> str:
    """The name of a file's partial: its sha256, whoever serves it, else one made of its URL."""
    if sha256 is not None:
        return sha256
    import hashlib

    return "url-" + hashlib.sha256(url.encode()).hexdigest()


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def disk_error(exc: OSError, place: object) -> CacheError:
    """What went wrong on disk, with what would help."""
    elsewhere = "let ASTROPY_CACHE_DIR name"
    remedies = {
        errno.ENOSPC: f"free some space there, or {elsewhere} a place with more",
        errno.EDQUOT: f"the quota there is used up; {elsewhere} another place",
        errno.EIO: f"the disk fails; {elsewhere} another place",
        errno.EROFS: f"the file system is read-only; {elsewhere} a place that can be written",
        errno.EACCES: f"it cannot be written by this user; {elsewhere} a place that can",
        errno.EMFILE: "let this process open more files, as with ulimit -n 1024",
        errno.EPERM: f"it cannot be written by this user; {elsewhere} a place that can",
    }
    remedy = remedies.get(exc.errno or 0, f"{elsewhere} another place")
    error = CacheError(f"{place}: {exc.strerror or exc}; {remedy}; what has arrived so far is kept where it can be")
    error.errno = exc.errno
    return error


# -- what lies there ---------------------------------------------------------------------------------------------------


def read_journal(directory: Path) -> tuple[Ranges, Facts]:
    """The bytes that a partial file has for sure, and what else its journal says; OSError or ValueError without one."""
    facts: Facts = {}
    ranges = Ranges()
    for path in (directory / "bytes", directory / "ranges"):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise ValueError(f"{path} is no file")
    there = (directory / "bytes").stat().st_size
    for line in (directory / "ranges").read_bytes().split(b"\n")[:-1]:  # torn, the last line has no newline
        if line.startswith(b"#"):
            facts |= _facts(line)
            continue
        start, stop = map(int, line.split(b" "))
        if 0 <= start <= stop <= there:
            ranges.add(start, stop)
    return ranges, facts


def _facts(line: bytes) -> Facts:
    """A line of a journal, which another user may have written; ValueError if it is not as `describe` writes it."""
    try:
        facts: object = json.loads(line[1:])
    except RecursionError as error:
        raise ValueError(line[:60]) from error
    if not isinstance(facts, dict) or not {type(facts.get(key)) for key in ("size", "since")} <= {int, type(None)}:
        raise ValueError(line[:60])
    return facts


def claims(workdir: Path, identity: str) -> list[Path]:
    """The partial files of a file that processes have taken, alive or not."""
    try:
        with os.scandir(workdir) as entries:
            return [Path(e.path) for e in entries if e.name.startswith(identity + ".") and e.is_dir()]
    except OSError:
        return []


def progress_of(path: Path) -> tuple[int, float]:
    """The bytes that a partial file has, and the time of its last sign of life."""
    with contextlib.suppress(OSError, ValueError):
        return read_journal(path)[0].total(), _sign_of_life(path)
    return 0, 0.0


def _sign_of_life(path: Path) -> float:
    return (path / "ranges").stat().st_mtime


def _lock(fd: int) -> bool:
    """Whether the lock on ``bytes`` is ours now; it is left on as long as the file is open."""
    try:
        lock_file(fd)
    except OSError:
        return False
    return True


def _state(path: Path) -> str:
    """``"alive"``, ``"dead"`` or, where locks prove nothing, ``"unknown"``: the owner of a partial file."""
    flags = os.O_RDWR | REGULAR
    handles: list[int] = []
    try:
        handles.append(os.open(path / "bytes", flags))
        handles.append(os.open(path / "bytes", flags))
        if not _lock(handles[0]):
            return "alive"
        if _lock(handles[1]):
            return "unknown"  # a lock that two can have is none
        # An owner on another machine has locks that may be none of ours; a journal of nobody is of no use.
        facts = _journal_or_nothing(path)[1]
        return "dead" if facts.get("boot", _boot()) == _boot() else "unknown"
    except OSError:
        return "unknown"
    finally:
        for handle in handles:
            os.close(handle)


def _in_use(path: Path, patience: float = _ALIVE) -> bool:
    """Whether somebody seems to download into a partial file; a lock that nobody has says no at once, else its age."""
    try:
        silent = time.time() - _sign_of_life(path) > patience
        return not silent and _state(path) != "dead"
    except OSError:
        return True  # gone meanwhile


class PartialFile:
    """A file that is being downloaded; made by `PartialFile.open`."""

    def __init__(self, directory: Path, identity: str, size: int | None, ranges: Ranges, facts: Facts, fd: int) -> None:
        self.directory = directory
        self.identity = identity
        self.size = size
        self.ranges = ranges
        self.validator = str(facts["etag"]) if facts.get("etag") else None
        self.source = str(facts.get("source", ""))
        self.resumed = ranges.total()
        self.path = directory / "bytes"
        self.fd = fd
        self._journal = os.open(directory / "ranges", os.O_WRONLY | os.O_APPEND | os.O_CREAT | OPEN, 0o600)
        self._unwritten: dict[int, int] = {}  # stop -> start of ranges that the journal lacks
        self._count, self._written = 0, time.monotonic()
        self._reserved = self._full = False

    @classmethod
    def open(
        cls, workdir: Path, identity: str, size: int | None, name: str = "", patience: float = _ALIVE
    ) -> PartialFile:
        """Take what an earlier attempt left, or begin with nothing; nobody else has it then.

        What a process left that may still be alive, frozen or on another machine is copied, so that nobody else has
        these bytes open for writing.
        """
        mine = workdir / f"{identity}.{os.urandom(6).hex()}"
        released = workdir / identity
        for found in [released, *claims(workdir, identity)]:
            if found != released and _in_use(found, patience):
                continue
            kept = _take(found, mine, size, copied=found != released and _state(found) != "dead")
            if kept is not None:
                known = kept[1].get("size") if size is None else size
                return cls(mine, identity, known, *kept)
        # It gets its name once it is locked and has a journal: who looks at it before would take it for a dead one's.
        new = workdir / f".new.{mine.name}" if MOVES_OPEN_FILES else mine
        new.mkdir(mode=0o700, parents=True)  # another run may have removed an empty folder
        partial = cls(new, identity, size, Ranges(), {}, _open_locked(new / "bytes"))
        try:
            partial.describe(name=name, since=time.time_ns())
            if size:
                os.ftruncate(partial.fd, size)
            if new != mine:
                new.rename(mine)
        except BaseException:
            partial.discard()
            raise
        partial.directory, partial.path = mine, mine / "bytes"
        return partial

    def describe(self, **facts: object) -> None:
        """Add facts such as ``etag`` to the journal; later ones win."""
        self.validator = str(facts["etag"]) if facts.get("etag") else self.validator
        self.source = str(facts.get("source", self.source))
        text = json.dumps({"size": self.size, "boot": _boot(), **facts})
        os.write(self._journal, b"#" + text.encode() + b"\n")

    def write(self, start: int, chunks: Sequence[bytes]) -> None:
        """Write bytes where they belong; the journal follows after a megabyte, or within half a second."""
        at = start
        for first in range(0, len(chunks), _PARTS_OF_A_WRITE):
            parts = chunks[first : first + _PARTS_OF_A_WRITE]
            left = sum(map(len, parts))
            try:
                self._write_all(parts, left, at)
            except OSError as error:
                self._full = error.errno in _FULL
                raise
            self.ranges.add(at, at + left)
            self._unwritten[at + left] = self._unwritten.pop(at, at)
            at += left
            self._count += left
            if self._count >= _JOURNAL_BYTES:
                self.note()

    def _write_all(self, parts: Sequence[bytes], size: int, at: int) -> None:
        done = _write_at(self.fd, parts, at)
        if done < size:  # an interrupted or nearly full disk
            data = memoryview(b"".join(parts))
            while done < size:
                done += write_at(self.fd, data[done:], at + done)

    def note(self, now: float | None = None) -> None:
        """Write the journal, with a time at hand only if it is due."""
        if self._unwritten and (now is None or now - self._written > _JOURNAL_SECONDS):
            lines = b"".join(b"%d %d\n" % (start, stop) for stop, start in self._unwritten.items())
            self._unwritten.clear()
            self._count, self._written = 0, now or time.monotonic()
            os.write(self._journal, lines)

    def sign_of_life(self) -> None:
        """Show other processes that this file is in use."""
        with contextlib.suppress(OSError):
            os.utime(self._journal)

    def is_lost(self) -> bool:
        """Whether another process took it, as it may from one that was frozen for long."""
        try:
            return os.stat(self.path).st_ino != os.fstat(self.fd).st_ino
        except OSError:
            return True

    def older_claim(self) -> bool:
        """Whether another process seems to download the same file and began first."""
        mine = _age(self.directory)
        others = [path for path in claims(self.directory.parent, self.identity) if path != self.directory]
        return any(_age(path) < mine and _in_use(path) for path in others)

    def reserve(self) -> None:
        """Reserve the space of the whole file where the file system can; OSError if there is not so much."""
        if self.size is not None and self.size - self.resumed >= _RESERVED:
            failed = fallocate(self.fd, 0, 0, self.size)
            if failed in _FULL:
                raise OSError(failed, os.strerror(failed))
            self._reserved = not failed

    def close(self) -> None:
        """Write the journal and close the files."""
        if self.fd >= 0:
            fds, self.fd = (self.fd, self._journal), -1
            try:
                self.note()
            finally:
                for fd in fds:
                    os.close(fd)

    def keep(self) -> None:
        """Leave it for whoever goes on with it; an empty one is removed."""
        if self.fd < 0:
            return
        lost = self.is_lost()
        if self._reserved and self.size is not None and not lost:
            for start, stop in self.ranges.missing(self.size):
                fallocate(self.fd, _KEEP_SIZE | _PUNCH_HOLE, start, stop - start)
        with contextlib.suppress(OSError):
            self.close()
        # What is left of a full disk is of more use to others than so few bytes are to the next run.
        few = self._full and self.ranges.total() < _RESERVED
        if not self.ranges.total() or lost or few:
            self.discard()
            return
        # A rename onto a partial file that another process left fails: this one stays under its own name.
        with contextlib.suppress(OSError):
            self.directory.rename(self.directory.with_name(self.identity))

    def discard(self) -> None:
        """Remove it."""
        self._unwritten.clear()
        self.close()
        for name in ("bytes", "ranges"):  # rmtree would look at each of them several times
            with contextlib.suppress(OSError):
                os.unlink(self.directory / name)
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)
            return
        shutil.rmtree(self.directory, ignore_errors=True)


def _write_at(fd: int, parts: Sequence[bytes], at: int) -> int:
    if hasattr(os, "pwritev"):
        return os.pwritev(fd, parts, at)
    return write_at(fd, b"".join(parts), at)


def _age(path: Path) -> tuple[int, str]:
    """When a claim was made, as the first line of its journal says; ties are broken by name."""
    with contextlib.suppress(OSError, ValueError):
        return _facts(read_regular(path / "ranges").partition(b"\n")[0]).get("since") or 0, path.name
    return 1 << 62, path.name


def _open_locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | REGULAR, 0o600)
    for _ in range(20):
        if _lock(fd):
            break
        time.sleep(0.002)  # somebody may be looking just now whether it is locked
    return fd


def _take(found: Path, mine: Path, size: int | None, *, copied: bool) -> tuple[Ranges, Facts, int] | None:
    """Make another's partial file ours, if it is of use; what is no partial file is set aside."""
    fd = -1
    try:
        os.close(os.open(found / "ranges", os.O_WRONLY | os.O_APPEND | REGULAR))
        if MOVES_OPEN_FILES and not copied and stat.S_ISREG(os.lstat(found / "bytes").st_mode):
            fd = _open_locked(found / "bytes")  # before others can see it under our name
    except PermissionError:
        return None  # somebody else's
    except OSError:
        pass
    try:
        found.rename(mine)
        ranges, facts = read_journal(mine)
        if mine.name.startswith("url-"):
            # Nothing proves an unregistered file in the end: after a crash of the machine the journal may say too much.
            fit = bool(facts.get("etag")) and facts.get("boot") == _boot()
        else:
            fit = size is None or facts.get("size") in (size, None)
        if fit and ranges.total():
            if copied:
                fd = _copy(mine)
            elif not MOVES_OPEN_FILES:
                fd = _open_locked(mine / "bytes")
            if fd >= 0:
                return ranges, facts, fd
    except (OSError, ValueError):
        pass  # it is none, or another one was quicker
    if fd >= 0:
        os.close(fd)
    if mine.is_dir() and not mine.is_symlink():
        shutil.rmtree(mine, ignore_errors=True)
    else:
        mine.unlink(missing_ok=True)
    return None


def _copy(directory: Path) -> int:
    """Put the bytes into a new file, which is returned open, so that nobody else has them open for writing."""
    old, new = (directory / name for name in ("bytes", "bytes.new"))
    shutil.copyfile(directory / "ranges", directory / "ranges.new")
    os.replace(directory / "ranges.new", directory / "ranges")
    shutil.copyfile(old, new)
    fd = _open_locked(new) if MOVES_OPEN_FILES else -1
    os.replace(new, old)
    return fd if MOVES_OPEN_FILES else _open_locked(old)


# -- what interrupted runs left ----------------------------------------------------------------------------------------


class StalePartial(NamedTuple):
    """What an interrupted download left: its directory, the name of the file, and the bytes that are there for sure."""

    path: Path
    name: str
    have: int


def stale_partials(workdir: Path, older_than_days: float = 0.0) -> list[StalePartial]:
    """The partial files that nobody downloads into, oldest first, without those younger than so many days."""
    found = []
    for path in workdir.iterdir() if workdir.is_dir() else ():
        with contextlib.suppress(OSError):  # it was taken or finished meanwhile
            age = time.time() - (path / "ranges").lstat().st_mtime
            if age >= older_than_days * 86400 and not ("." in path.name and _in_use(path)):
                ranges, facts = _journal_or_nothing(path)
                found.append((age, StalePartial(path, str(facts.get("name", "")), ranges.total())))
    return [partial for _, partial in sorted(found, reverse=True)]


def _journal_or_nothing(path: Path) -> tuple[Ranges, Facts]:
    try:
        return read_journal(path)
    except (OSError, ValueError):
        return Ranges(), {}
