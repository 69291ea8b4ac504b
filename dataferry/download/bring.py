"""Bytes from an answer: a whole small file into memory, a segment of a large one into its partial."""

from __future__ import annotations

import time
from http.client import HTTPException
from typing import TYPE_CHECKING

from ..errors import TransferError
from .answer import Answer
from .blame import blame
from .client import Client
from .follow import BLOCK
from .line import Line
from .pieces import Segment
from .stall import Stall
from .verdict import check_body, nature

if TYPE_CHECKING:
    from .job import Job
    from .way import Way

__all__ = ["SMALL", "read_segment", "read_small"]

SMALL = 1 << 20
_FLUSH = 0.5  # seconds after which even a half-filled block is written
_LAST_WORD = 1.0  # seconds to wait for the word that a body is over, once every byte of it is there


def read_small(client: Client, job: Job, way: Way, answer: Answer, line: Line, into: memoryview) -> int:
    """Read a small file to its end.

    Parameters
    ----------
    client : Client
        The session.
    job : Job
        The file.
    way : Way
        The source.
    answer, line : Answer, Line
        From `request`; the connection is given back.
    into : memoryview
        More than `SMALL` bytes.

    Returns
    -------
    int
        The number of bytes; they are as many as are registered.

    Raises
    ------
    TransferError
        If it is cut, or not the file.
    """
    got, host, stall = 0, way.host, None
    try:
        while got < len(into):
            count = answer.read_some(into[got : got + host.most_at_once])
            if not count:
                break
            got += count
            pause = host.got(count)
            if pause:
                time.sleep(pause)
            if answer.length is None and job.registered and got == job.wanted.size:
                count = _more(client, answer, line, into[got:])
                if not count:
                    break
                got += count
            if answer.length != 0:
                stall = stall or Stall(client.stall_timeout)
                if stall.check(count, time.monotonic()):
                    raise stall.error(way.source.redacted)
    except Exception as exc:
        raise _named(exc, way.source.redacted, into[:1024].tobytes() if got else b"", job, answer, client) from exc
    finally:
        job.moved += got
        client.done(answer, line)
    check_body(answer, way.source, job.wanted.name, bytes(into[: min(got, 1024)]), got, job.wanted.size)
    return got


def _named(exc: Exception, redacted: str, head: bytes, job: Job, answer: Answer, client: Client) -> TransferError:
    if isinstance(exc, TimeoutError):
        return TransferError(redacted, f"nothing came for {client.stall_timeout:g} s", kind="stall")
    error = blame(exc, redacted)
    strange = nature(head, answer, job.wanted.name) if head else None
    return TransferError(error.place, strange[1], kind=strange[0]) if strange and error.kind == "cut" else error


def read_segment(client: Client, job: Job, way: Way, segment: Segment, answer: Answer, line: Line) -> None:
    """Read a segment into its file's partial.

    Parameters
    ----------
    client : Client
        The session.
    job : Job
        The file.
    way : Way
        The source.
    segment : Segment
        What to bring. A server that knows no ranges sends the later ones along: they are read as well.
    answer, line : Answer, Line
        From `request`; the connection is given back.

    Raises
    ------
    TransferError
        If it is cut, or not the file. What came is kept.
    OSError
        If the disk does not take it.
    """
    partial, follower, pieces, host = job.partial, job.follower, job.pieces, way.host
    if partial is None or follower is None or pieces is None:
        raise RuntimeError("the job is not open")
    place, limit = answer.place, answer.limit
    redacted = way.at(segment.pos).source.redacted
    stall = Stall(client.stall_timeout)
    read_some = answer.read_some
    try:
        while True:
            block = follower.block()
            filled, since = 0, time.monotonic()
            try:
                skip = segment.pos - place
                room = (
                    min(BLOCK, skip)
                    if skip > 0
                    else pieces.claim(segment, min(BLOCK, host.most_at_once, _share(segment), _to(limit, place)))
                )
                while filled < room:
                    count = read_some(block[filled:room])
                    if not count:
                        break
                    filled += count
                    now = time.monotonic()
                    pause = host.got(count)
                    if pause:
                        time.sleep(pause)
                    if stall.check(count, now):
                        raise stall.error(redacted)
                    if now - since > _FLUSH:
                        break
            except Exception as exc:
                raise _named(exc, redacted, job.head, job, answer, client) from exc
            finally:
                if filled and skip <= 0:
                    if place == 0:
                        job.head = bytes(block[: min(filled, 1024)])
                    partial.write(place, block[:filled])
                    follower.wrote(place, block, filled)
                    pieces.wrote(segment, filled)
                else:
                    follower.give_back(block)
                place += filled
                job.moved += filled
            if not job.registered and place == filled and filled:
                strange = nature(job.head, answer, job.wanted.name)
                if strange is not None:
                    raise TransferError(redacted, strange[1], kind=strange[0], final=True)
            if skip > 0 and filled:
                continue
            if segment.stop is not None and segment.pos >= segment.stop:
                if answer.status == 206 or answer.ended:
                    break
                following = pieces.take(after=place, before=limit)
                if following is None:
                    _nothing_more(client, answer, line, place, redacted, job)
                    break
                pieces.end(segment)
                segment = following
            elif limit is not None and place >= limit:
                _nothing_more(client, answer, line, place, redacted, job)
                break  # the rest is in other objects
            elif not filled:
                _ended(answer, way, redacted, job, segment, place)
                break
    finally:
        client.done(answer, line)
        pieces.end(segment)


def _share(segment: Segment) -> int:
    """Bytes to claim at a time: what is claimed cannot go to a faster host any more."""
    return max(1 << 16, int(segment.rate() * _FLUSH))


def _to(limit: int | None, place: int) -> int:
    return BLOCK if limit is None else limit - place


def _more(client: Client, answer: Answer, line: Line, into: memoryview) -> int:
    """Read what comes after the last byte; where the end of a body is missing, the bytes speak for themselves."""
    try:
        line.sock.settimeout(min(_LAST_WORD, client.stall_timeout))
        count = answer.read_some(into)
        line.sock.settimeout(client.stall_timeout)
    except (OSError, HTTPException):
        answer.will_close = True  # what comes next on this connection may still be of this body
        return 0
    return count


def _nothing_more(client: Client, answer: Answer, line: Line, place: int, redacted: str, job: Job) -> None:
    whole = answer.limit is None
    end = job.size if whole else answer.limit
    if answer.length is not None or place != end or (whole and not job.registered):
        return  # it has a length, which was checked, or it goes on with what others bring
    if _more(client, answer, line, memoryview(bytearray(1))):
        strange = nature(job.head, answer, job.wanted.name)
        known = f"{job.size} that are registered" if whole else "ones of this part"
        kind, reason = strange or ("size", f"more bytes come than the {known}")
        raise TransferError(redacted, reason, kind=kind, final=True)


def _ended(answer: Answer, way: Way, redacted: str, job: Job, segment: Segment, place: int) -> None:
    if segment.stop is None:
        check_body(answer, way.source, job.wanted.name, job.head, place, job.wanted.size)
        job.size = segment.stop = place
        return
    strange = nature(job.head, answer, job.wanted.name)
    kind, reason = strange or ("cut", f"the body ended after {place} of {job.size} bytes")
    raise TransferError(redacted, reason, kind=kind, final=strange is not None)
