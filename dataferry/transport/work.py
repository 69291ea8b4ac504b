"""What one worker does for one file: ask, read, check, store."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import TransferError
from .answer import Answer
from .bring import SMALL, read_segment, read_small, request
from .client import Client
from .follow import Follower
from .job import Job, Way
from .line import Line
from .order import Arrived, Wanted
from .partial import Partial, orphans
from .pieces import Pieces, Segment

__all__ = ["Yard", "begin", "finish", "lead", "open_partial", "pull", "store_small"]


@dataclass(frozen=True, slots=True)
class Yard:
    """Where a run's files come from and go to.

    Parameters
    ----------
    client : Client
        The session.
    workdir : Path
        Where partials lie.
    find, store : callable
        See `dataferry.fetch.fetch`.
    """

    client: Client
    workdir: Path
    find: Callable[[Wanted], Path | None]
    store: Callable[[Wanted, Path], Path]


def begin(yard: Yard, job: Job) -> bool:
    """Take a file's lease, and look whether it has come meanwhile.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.

    Returns
    -------
    bool
        True if it is to be brought; False if it is here, or somebody else brings it.
    """
    if job.leased:
        return True
    if not job.lease.take(force=job.impatient):
        job.parked = True
        job.waiting_since = job.waiting_since or time.monotonic()
        return False
    job.leased = True
    job.started = time.monotonic()
    here = None if job.wanted.etag else yard.find(job.wanted)
    if here is not None:
        job.result = Arrived(job.wanted, here, None, 0.0, 0)
    return here is None


def lead(yard: Yard, job: Job, way: Way, buffer: memoryview, alone: bool) -> tuple[Answer, Line] | None:
    """Ask for a file; a small one is brought at once.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    way : Way
        The source.
    buffer : memoryview
        More than `SMALL` bytes.
    alone : bool
        Whether no other file is being brought.

    Returns
    -------
    (Answer, Line) or None
        None if the file is done; else the answer that brings its first segment.

    Raises
    ------
    TransferError
        If the source does not give it.
    OSError
        If the disk does not take it.
    """
    if not job.registered and job.began is not way:
        # Nothing says that two sources have the same file.
        job.drop()
    job.began = way
    known = job.size is not None and job.size > SMALL
    if job.partial is None and known:
        open_partial(yard, job, alone)
    if job.pieces is not None:
        return None
    start = _resumable(yard, job, way)
    try:
        answer, line = request(yard.client, job, way, start, None)
    except TransferError as exc:
        here = yard.find(job.wanted) if exc.kind == "unchanged" else None
        if here is None:
            raise
        seconds = time.monotonic() - job.started
        job.result = Arrived(job.wanted, here, way.source, seconds, 0, job.wanted.etag, unchanged=True)
        return None
    if answer.status == 206 and job.partial is not None and job.size is not None:
        job.partial.size = job.size
        _follow(job, alone)
        return answer, line
    size = job.size
    job.drop()
    job.size = size
    if job.size is not None and job.size <= SMALL:
        store_small(yard, job, way, answer, line, buffer)
        return None
    try:
        open_partial(yard, job, alone)
    except BaseException:
        yard.client.done(answer, line)
        raise
    return answer, line


def store_small(yard: Yard, job: Job, way: Way, answer: Answer, line: Line, buffer: memoryview) -> None:
    """Bring a small file to its end.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    way : Way
        The source.
    answer, line : Answer, Line
        From the source; the head was checked.
    buffer : memoryview
        More than `SMALL` bytes.

    Raises
    ------
    TransferError
        If it is not the right file.
    OSError
        If the disk does not take it.
    """
    count = read_small(yard.client, job, way, answer, line, buffer)
    if job.registered and hashlib.sha256(buffer[:count]).hexdigest() != job.wanted.sha256:
        raise _wrong(way)
    place = f"{yard.workdir}{os.sep}{job.identity}.{os.getpid()}.{id(job):x}"
    try:
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            done = 0
            while done < count:
                done += os.write(fd, buffer[done:count])
        finally:
            os.close(fd)
        _arrived(yard, job, way, Path(place))
    except BaseException:
        with suppress(OSError):
            os.unlink(place)
        raise


def _resumable(yard: Yard, job: Job, way: Way) -> int:
    """Where to go on with a file that is not registered: its server proves by its ETag that it is still the same."""
    if job.registered or not ((yard.workdir / job.identity).is_dir() or orphans(yard.workdir, job.identity)):
        return 0
    partial = Partial.open(yard.workdir, job.identity, None, job.wanted.name)
    start = partial.ranges.prefix()
    if not start or partial.source != way.source.shown:
        partial.discard()
        return 0
    job.partial, way.etag = partial, partial.etag
    return start


def open_partial(yard: Yard, job: Job, alone: bool) -> None:
    """Open a file's partial and find out what is missing.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    alone : bool
        Whether no other file is being brought: then a thread of its own hashes.

    Raises
    ------
    OSError
        If nothing can be written, or there is not enough space.
    """
    job.partial = Partial.open(yard.workdir, job.identity, job.size, job.wanted.name)
    _follow(job, alone)
    if job.size is not None and hasattr(os, "statvfs"):
        room = os.statvfs(yard.workdir)
        if room.f_bavail * room.f_frsize < job.size - job.partial.resumed and room.f_blocks:
            job.keep()
            raise OSError(errno.ENOSPC, f"{job.size} bytes are wanted, {room.f_bavail * room.f_frsize} are free")


def _follow(job: Job, alone: bool) -> None:
    partial, size = job.partial, job.size
    if partial is not None:
        job.follower = Follower(partial, threaded=alone)
        job.pieces = Pieces([(0, None)] if size is None else list(partial.ranges.missing(size)))
        job.pieces.divisible = job.registered
        job.opened = time.monotonic()
        job.seen = (0, 0.0)


def pull(yard: Yard, job: Job, way: Way, segment: Segment, opened: tuple[Answer, Line] | None) -> None:
    """Bring one segment.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    way : Way
        The source.
    segment : Segment
        What to bring.
    opened : (Answer, Line) or None
        The answer that brings it, if it is there already.

    Raises
    ------
    TransferError
        If the source does not give it; what came is kept.
    OSError
        If the disk does not take it.
    """
    pieces = job.pieces
    if pieces is None:
        return
    asked = opened is None
    if opened is None:
        try:
            opened = request(yard.client, job, way, segment.pos, segment.stop)
        except BaseException:
            pieces.end(segment)
            raise
    answer, line = opened
    ranges = answer.status == 206 or (not asked and answer.fields.get("accept-ranges", "").lower() == "bytes")
    pieces.divisible = ranges and (job.registered or way.etag is not None)
    if not job.registered and job.partial is not None and way.etag and job.partial.etag != way.etag:
        job.partial.describe(etag=way.etag, source=way.source.shown, name=job.wanted.name)
    job.givers.add(way)
    read_segment(yard.client, job, way, segment, answer, line)
    way.host.well()


def finish(yard: Yard, job: Job, way: Way) -> None:
    """Check a file whose bytes are all there, and store it.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    way : Way
        The source of the last bytes.

    Raises
    ------
    TransferError
        If it is not the right file.
    OSError
        If it cannot be read or stored.
    """
    partial, follower = job.partial, job.follower
    if partial is None or follower is None or job.size is None:
        raise RuntimeError("the job is not open")
    if job.registered and follower.digest(job.size) != job.wanted.sha256:
        raise _wrong(way)
    follower.close()
    os.ftruncate(partial.fd, job.size)
    partial.close()
    _arrived(yard, job, way, partial.path)
    partial.discard()


def _arrived(yard: Yard, job: Job, way: Way, place: Path) -> None:
    path = yard.store(job.wanted, place)
    way.host.well()
    job.result = Arrived(job.wanted, path, way.source, time.monotonic() - job.started, job.moved, way.etag)


def _wrong(way: Way) -> TransferError:
    reason = "all bytes came, but their sha256 is not the registered one: another file has this name there"
    return TransferError(way.source.shown, reason, kind="sha256")
