"""A file that is whole: verified if it came as one piece, and moved to its place."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from ..errors import TransferError
from .answer import Answer
from .bring import read_small
from .job import Job
from .leftovers import owner
from .line import Line
from .source import Arrived
from .way import Way
from .yard import Yard

__all__ = ["arrived", "store_bytes", "store_small", "wrong"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


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
    store_bytes(yard, job, way, buffer[:count])


def store_bytes(yard: Yard, job: Job, way: Way, body: memoryview) -> None:
    """Verify a whole file that is in memory, and store it.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    way : Way
        Who gave it.
    body : memoryview
        Its bytes.

    Raises
    ------
    TransferError
        If it is not the right file.
    OSError
        If the disk does not take it.
    """
    if job.wanted.sha256 is not None and hashlib.sha256(body).hexdigest() != job.wanted.sha256:
        raise wrong(way)
    place = f"{yard.incoming}{job.identity}.{owner()}.{id(job):x}"
    try:
        fd = os.open(place, _NEW, 0o600)
        try:
            done = os.write(fd, body)
            while done < len(body):
                done += os.write(fd, body[done:])
        finally:
            os.close(fd)
        arrived(yard, job, way, Path(place))
    except BaseException:
        with suppress(OSError):
            os.unlink(place)
        raise


def arrived(yard: Yard, job: Job, way: Way, place: Path) -> None:
    """Move a verified file to its place.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    way : Way
        Who gave it, or its end.
    place : Path
        Where it lies.

    Raises
    ------
    CacheError, OSError
        If it cannot be kept.
    """
    path = yard.store(job.wanted, place)
    way.host.well()
    job.result = Arrived(job.wanted, path, way.source, time.monotonic() - job.started, job.moved, way.etag)


def wrong(way: Way) -> TransferError:
    """The error for a file that is whole and not the right one.

    Parameters
    ----------
    way : Way
        Who gave it.

    Returns
    -------
    TransferError
        To be raised.
    """
    reason = "all bytes came, but their sha256 is not the registered one: another file has this name there"
    return TransferError(way.source.redacted, reason, kind="sha256")
