"""Asking a source for a file or a range of it, and looking at what the head of its answer says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import TransferError
from .answer import Answer
from .client import Client
from .line import Line
from .verdict import check_head, nature, validator

if TYPE_CHECKING:
    from .job import Job, Way

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
        One after the last; None for the whole file.

    Returns
    -------
    Answer, Line
        See `Client.ask`; the head was checked.

    Raises
    ------
    TransferError
        If the source does not give it.
    """
    extra = ""
    if start or stop is not None:
        extra = f"Range: bytes={start}-{'' if stop is None else stop - 1}\r\n"
        if not job.registered and way.etag:
            extra += f"If-Range: {way.etag}\r\n"
    elif job.wanted.etag and not job.registered:
        extra = f"If-None-Match: {job.wanted.etag}\r\n"
    began = time.monotonic()
    answer, line = client.ask(way.source, extra, url=way.url)
    waited = time.monotonic() - began - (0 if line.used else line.connect_seconds)
    way.host.first_byte = min(way.host.first_byte, waited)
    if answer.status in (401, 403, 404, 410) and way.url:
        # Where a redirect led to may be good for a short time only: ask the source itself again.
        client.drain(answer, line)
        way.url = None
        return request(client, job, way, start, stop)
    total = accept(client, job, way, answer, line, start, stop)
    etag = validator(answer)
    if not job.registered and way.etag and etag != way.etag and answer.status == 200 and job.pieces is None:
        way.etag = None  # another version: it comes whole, and what was kept of the old one is of no use
    elif not job.registered and way.etag and etag != way.etag:
        client.drain(answer, line)
        raise TransferError(way.source.shown, "the file there was changed meanwhile", kind="changed")
    way.etag = way.etag or etag
    if answer.url != way.source.url:
        way.url = answer.url
    if job.size is None:
        job.size = total
    return answer, line


def accept(
    client: Client, job: Job, way: Way, answer: Answer, line: Line, start: int = 0, stop: int | None = None
) -> int | None:
    """Check the head of an answer; if it is not the file, see what came instead.

    Parameters
    ----------
    client : Client
        The session.
    job : Job
        The file.
    way : Way
        The source.
    answer, line : Answer, Line
        Its answer; the connection is given back if it is not accepted.
    start, stop : int
        What was asked for, see `request`.

    Returns
    -------
    int or None
        The size of the whole file at this source, if it says.

    Raises
    ------
    TransferError
        If this is not the file.
    """
    try:
        return check_head(answer, way.source, start if answer.status == 206 else 0, stop, job.size)
    except TransferError as exc:
        head = client.drain(answer, line)[:1024]
        strange = nature(head, answer, job.wanted.name) if exc.kind == "size" else None
        if strange is None:
            raise
        raise TransferError(exc.place, strange[1], kind=strange[0], final=True) from None
