"""Where a run's files come from and go to, and where they lie meanwhile."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .client import Client
from .follow import Follower
from .job import Job
from .leftovers import orphans
from .partial import Partial
from .pieces import Pieces
from .source import Wanted
from .way import Way

__all__ = ["Yard", "follow", "open_partial", "resumable"]


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
        See `dataferry.download.fetch.fetch`.
    """

    client: Client
    workdir: Path
    find: Callable[[Wanted], Path | None]
    store: Callable[[Wanted, Path], Path]
    incoming: str = ""  # `workdir` with a slash, joined once for thousands of small files

    def __post_init__(self) -> None:
        object.__setattr__(self, "incoming", f"{self.workdir}{os.sep}")


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
    follow(job, alone)
    if job.size is not None and hasattr(os, "statvfs"):
        room = os.statvfs(yard.workdir)
        if room.f_bavail * room.f_frsize < job.size - job.partial.resumed and room.f_blocks:
            job.keep()
            raise OSError(errno.ENOSPC, f"{job.size} bytes are wanted, {room.f_bavail * room.f_frsize} are free")
    try:
        job.partial.reserve()
    except OSError:
        job.keep()
        raise


def follow(job: Job, alone: bool) -> None:
    """Begin to hash what is there of a file, and find out what is missing.

    Parameters
    ----------
    job : Job
        The file; its partial is open.
    alone : bool
        See `open_partial`.
    """
    partial, size = job.partial, job.size
    if partial is not None:
        job.follower = Follower(partial, threaded=alone)
        # A size that is not known is found by reading to the end: what is there is there from the first byte on.
        job.pieces = Pieces([(partial.ranges.prefix(), None)] if size is None else list(partial.ranges.missing(size)))
        job.pieces.divisible = job.registered
        job.opened = time.monotonic()
        job.seen = (0, 0.0)


def resumable(yard: Yard, job: Job, way: Way) -> int:
    """Where to go on with a file whose size is not known.

    What an earlier run left of a registered file is proven by its sha256 in the end, whoever sends the rest; for any
    other its server proves by its ETag that it is still the same.

    Parameters
    ----------
    yard : Yard
        The run.
    job : Job
        The file.
    way : Way
        The source.

    Returns
    -------
    int
        The first byte to ask for; the partial is open if it is not 0.
    """
    if job.size is not None and job.registered:
        return 0
    partial = job.partial
    if partial is None:
        if not ((yard.workdir / job.identity).is_dir() or orphans(yard.workdir, job.identity)):
            return 0
        partial = Partial.open(yard.workdir, job.identity, None, job.wanted.name)
    start = partial.ranges.prefix()
    if not job.registered and (not start or partial.source != way.source.redacted):
        partial.discard()
        start = 0
    elif not start:
        partial.keep()
    if not start:
        job.partial = None
        return 0
    job.partial = partial
    if not job.registered:
        way.etag = partial.etag
    return start
