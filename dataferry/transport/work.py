"""What one worker does for one file: ask, read, check, store."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from ..errors import TransferError
from .answer import Answer
from .asking import request
from .bring import SMALL, read_segment, read_small
from .job import Job, Way
from .line import Line
from .order import Arrived
from .pieces import Segment
from .stream import pour
from .stretch import check_total
from .yard import Yard, follow, open_partial, resumable

__all__ = ["begin", "finish", "lead", "pull", "store_small"]


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
    job.size = check_total(way.source, job.size)
    known = (job.size is not None and job.size > SMALL) or not way.plain
    if job.partial is None and known:
        open_partial(yard, job, alone)
    if job.pieces is not None:
        return None
    start = resumable(yard, job, way)
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
        follow(job, alone)
        return answer, line
    size = job.size
    job.drop()
    if answer.status == 206:
        # It goes on with what was kept, and does not say how much is to come: begin again.
        yard.client.drain(answer, line)
        way.etag = None
        answer, line = request(yard.client, job, way, 0, None)
        size = job.size
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
    if way.source.opener is not None:
        pour(yard.client, job, way, segment)
        way.host.well()
        way.tries = 0
        return
    if opened is None:
        try:
            check_total(way.source, job.size)
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
    way.tries = 0


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
