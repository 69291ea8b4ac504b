"""What one worker does for one file: ask, read, check, store."""

from __future__ import annotations

import os
import time

from ..errors import TransferError
from .answer import Answer
from .asking import request
from .bring import SMALL, read_segment
from .job import Job
from .lease import take
from .line import Line
from .pieces import Segment
from .source import Arrived
from .store import arrived, store_small, wrong
from .stream import pour
from .stretch import check_total
from .way import Way
from .yard import Yard, follow, open_partial, resumable

__all__ = ["begin", "begin_many", "finish", "lead", "pull"]


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
    return job.leased or _begun(yard, job, job.lease.take(force=job.impatient), time.monotonic())


def begin_many(yard: Yard, jobs: list[Job]) -> list[Job]:
    """Take the leases of several files at once, see `begin`.

    Parameters
    ----------
    yard : Yard
        The run.
    jobs : list of Job
        The files.

    Returns
    -------
    list of Job
        Those that are to be brought.
    """
    new = [job for job in jobs if not job.leased]
    taken = take([job.lease for job in new])
    now = time.monotonic()
    left = {id(job) for job, mine in zip(new, taken, strict=True) if not _begun(yard, job, mine, now)}
    return [job for job in jobs if id(job) not in left]


def _begun(yard: Yard, job: Job, mine: bool, now: float) -> bool:
    if not mine:
        job.parked = True
        job.waiting_since = job.waiting_since or now
        return False
    job.leased = True
    job.started = now
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
    if start and job.registered and job.partial is not None and job.partial.size == start:
        _all_is_there(job, start, alone)
        return None
    try:
        answer, line = request(yard.client, job, way, start, None)
    except TransferError as exc:
        if exc.kind == "beyond" and start:
            if job.registered:
                _all_is_there(job, start, alone)
                return None
            job.drop()
            way.etag = None
            return lead(yard, job, way, buffer, alone)
        here = yard.find(job.wanted) if exc.kind == "unchanged" else None
        if here is None:
            raise
        seconds = time.monotonic() - job.started
        job.result = Arrived(job.wanted, here, way.source, seconds, 0, job.wanted.etag, unchanged=True)
        return None
    kept = job.partial
    if answer.status == 206 and kept is not None and job.size is not None and kept.size in (None, job.size):
        kept.size = job.size
        follow(job, alone)
        return answer, line
    if answer.status == 206:
        # It does not say how much is to come, or it is not as long as what was kept: begin again.
        yard.client.drain(answer, line)
        way.etag = None
        answer, line = request(yard.client, job, way, 0, None)
    size = job.size
    small = size is not None and size <= SMALL
    if job.registered and not small:
        job.keep()  # what comes again of it is not written again
    else:
        job.drop()
    job.size = size
    if small:
        store_small(yard, job, way, answer, line, buffer)
        return None
    try:
        open_partial(yard, job, alone)
    except BaseException:
        yard.client.done(answer, line)
        raise
    return answer, line


def _all_is_there(job: Job, size: int, alone: bool) -> None:
    """Nothing is missing of what an earlier run left; whether it is right is found by its hash."""
    job.size = size
    if job.partial is not None:
        job.partial.size = size
    follow(job, alone)


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
        job.partial.describe(etag=way.etag, source=way.source.redacted, name=job.wanted.name)
    job.givers |= {way}
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
        raise wrong(way)
    follower.close()
    with partial.using() as fd:
        os.ftruncate(fd, job.size)
    partial.close()
    arrived(yard, job, way, partial.path)
    partial.discard()
