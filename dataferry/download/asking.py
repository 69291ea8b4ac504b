"""Asking a source for a file or a range of it, and looking at what the head of its answer says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import TransferError
from .answer import Answer
from .client import Client
from .line import Line
from .stretch import Stretch
from .verdict import check_head, nature, validator

if TYPE_CHECKING:
    from .job import Job
    from .way import Way

__all__ = ["accept", "request"]


def request(client: Client, job: Job, way: Way, start: int, stop: int | None) -> tuple[Answer, Line]:
    """Ask a source for a file, or for a range of it.

    Parameters
    ----------
    client : Client
        The session.
    job : Job
        The file.
    way : Way
        The source.
    start : int
        The first byte.
    stop : int or None
        One after the last; None for the whole file. Where a host keeps the file in several objects, the answer ends
        with the object in which `start` is.

    Returns
    -------
    Answer, Line
        See `Client.ask`; the head was checked. ``answer.place`` and ``answer.limit`` say where in the file it belongs.

    Raises
    ------
    TransferError
        If the source does not give it.
    """
    extra = ""
    stretch = way.at(start)
    if stretch.stop is not None:
        stop = stretch.stop if stop is None else min(stop, stretch.stop)
    if start or stop is not None:
        last = "" if stop is None else stop - stretch.start - 1
        extra = f"Range: bytes={start - stretch.start}-{last}\r\n"
        if not job.registered and way.etag:
            extra += f"If-Range: {way.etag}\r\n"
    elif job.wanted.etag and not job.registered:
        extra = f"If-None-Match: {job.wanted.etag}\r\n"
    began = time.monotonic()
    answer, line = client.ask(stretch.source, extra, url=stretch.url)
    waited = time.monotonic() - began - (0 if line.used else line.connect_seconds)
    way.host.first_byte = min(way.host.first_byte, waited)
    if answer.status in (401, 403, 404, 410) and stretch.url:
        # Where a redirect led to may be good for a short time only: ask the source itself again.
        client.drain(answer, line)
        stretch.url = None
        return request(client, job, way, start, stop)
    total = accept(client, job, stretch, answer, line, start, stop)
    answer.place = start if answer.status == 206 else stretch.start
    answer.limit = stretch.stop
    if answer.url != stretch.source.url:
        stretch.url = answer.url
    if stretch.stop is not None:
        return answer, line  # the version of a part says nothing of the others
    etag = validator(answer)
    if not job.registered and way.etag and etag != way.etag and answer.status == 200 and job.pieces is None:
        way.etag = None  # another version: it comes whole, and what was kept of the old one is of no use
    elif not job.registered and way.etag and etag != way.etag:
        client.drain(answer, line)
        raise TransferError(way.source.redacted, "the file there was changed meanwhile", kind="changed")
    way.etag = way.etag or etag
    if job.size is None:
        job.size = total
    return answer, line


def accept(
    client: Client, job: Job, stretch: Stretch, answer: Answer, line: Line, start: int = 0, stop: int | None = None
) -> int | None:
    """Check the head of an answer; if it is not the file, see what came instead.

    Parameters
    ----------
    client : Client
        The session.
    job : Job
        The file.
    stretch : Stretch
        What was asked.
    answer, line : Answer, Line
        Its answer; the connection is given back if it is not accepted.
    start, stop : int
        What was asked for, see `request`.

    Returns
    -------
    int or None
        The size of what the URL has, if it says.

    Raises
    ------
    TransferError
        If this is not the file.
    """
    origin = stretch.start
    size = job.size if stretch.stop is None else stretch.stop - origin
    first = start - origin if answer.status == 206 else 0
    try:
        return check_head(answer, stretch.source, first, None if stop is None else stop - origin, size)
    except TransferError as exc:
        head = client.drain(answer, line)[:1024]
        strange = nature(head, answer, job.wanted.name) if exc.kind == "size" else None
        if strange is None:
            raise
        raise TransferError(exc.place, strange[1], kind=strange[0], final=True) from None
