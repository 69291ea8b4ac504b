"""Bytes from a host that does not speak HTTP: what its library opens is read in a thread that may be left behind.

Nothing can interrupt a library that waits. So nobody waits for it: a thread of its own does nothing but read, into
memory that is only its own, and whoever writes takes what is there, or gives up and goes.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import DataferryError, TransferError
from .client import Client
from .follow import BLOCK
from .pieces import Segment
from .source import Source
from .stall import Stall
from .verdict import nature

if TYPE_CHECKING:
    from .job import Job
    from .way import Way

__all__ = ["pour"]

_AHEAD = 4  # reads that may be ahead of the disk
_LEAST, _MOST = 1 << 14, 1 << 20
_QUICK, _SLOW = 0.1, 0.5  # seconds: a read that takes less is made larger, one that takes more smaller
_LOOK = 0.1
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


class _Reader:
    """Reads a stream ahead, in a thread that nobody has to wait for."""

    def __init__(self, source: Source, start: int, most: int) -> None:
        self._source, self._start, self._most = source, start, min(_MOST, most)
        self._chunks: deque[Any] = deque()
        self._change = threading.Condition()
        self._left = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="dataferry-reader", daemon=True)
        self._thread.start()

    def next(self, client: Client) -> memoryview:
        """What came next; empty at the end."""
        until = time.monotonic() + client.stall_timeout
        with self._change:
            while not self._chunks and self._error is None:
                left = until - time.monotonic()
                if left <= 0 or client.live.ended:
                    why = "the run has ended" if client.live.ended else f"nothing came for {client.stall_timeout:g} s"
                    raise TransferError(self._source.redacted, why, kind="stall")
                self._change.wait(min(left, _LOOK))
            if self._chunks:
                data = self._chunks.popleft()
                self._change.notify()
                return memoryview(data)
            error = self._error
        raise _named(error, self._source)

    def close(self) -> None:
        """Leave it; a thread that is not waiting ends now."""
        with self._change:
            self._left = True
            self._chunks.clear()
            self._change.notify()
        self._thread.join(_LOOK)

    def _run(self) -> None:
        opener, stream = self._source.opener, None
        try:
            stream = opener(self._start) if opener is not None else None
            # `read` may wait until all has come that was asked for: a slow stream is asked for little.
            read, size = getattr(stream, "read1", None) or stream.read, _LEAST  # type: ignore[union-attr]
            while True:
                began = time.monotonic()
                data = read(min(size, self._most))
                took = time.monotonic() - began
                if not isinstance(data, bytes | bytearray | memoryview):
                    raise TypeError(f"what was opened gives {type(data).__name__} and not bytes")
                size = min(_MOST, size * 4) if took < _QUICK else max(_LEAST, size // 4) if took > _SLOW else size
                with self._change:
                    while len(self._chunks) >= _AHEAD and not self._left:
                        self._change.wait()
                    if self._left:
                        return
                    self._chunks.append(data)
                    self._change.notify()
                if not len(data):
                    return
        except BaseException as exc:  # noqa: BLE001
            with self._change:
                self._error = exc
                self._change.notify()
        finally:
            with suppress(BaseException):
                if stream is not None:
                    stream.close()


def pour(client: Client, job: Job, way: Way, segment: Segment) -> None:
    """Read a stream into a file's partial, from a segment on as far as nobody else brings what follows.

    Parameters
    ----------
    client : Client
        The session: when to give up.
    job : Job
        The file.
    way : Way
        The source; it has an opener.
    segment : Segment
        What to bring first.

    Raises
    ------
    TransferError
        If the stream fails, stalls or ends too soon. What came is kept.
    OSError
        If the disk does not take it.
    """
    partial, follower, pieces, host = job.partial, job.follower, job.pieces, way.host
    if partial is None or follower is None or pieces is None:
        raise RuntimeError("the job is not open")
    redacted = way.source.redacted
    pieces.divisible = job.registered
    job.givers |= {way}
    place, began = segment.pos, time.monotonic()
    stall = Stall(client.stall_timeout)
    reader = _Reader(way.source, place, host.most_at_once)
    data = memoryview(b"")  # what has come and belongs to the next segment stays
    try:
        while True:
            while segment.stop is not None and segment.pos >= segment.stop:
                following = pieces.take(after=place, before=place + 1)
                if following is None:
                    return
                pieces.end(segment)
                segment = following
            if not data:
                data = reader.next(client)
                now = time.monotonic()
                host.first_byte = min(host.first_byte, now - began)
                if not data:
                    _ended(job, segment, place, redacted)
                    return
                pause = host.got(len(data))
                if pause:
                    time.sleep(pause)
                if stall.check(len(data), now):
                    raise stall.error(redacted)
            while data:
                count = pieces.claim(segment, min(len(data), BLOCK))
                if not count:
                    break
                block = follower.block()
                block[:count] = data[:count]
                if place == 0:
                    job.head = bytes(data[: min(count, 1024)])
                    strange = None if job.registered else nature(job.head, None, job.wanted.name)
                    if strange is not None:
                        follower.give_back(block)
                        raise TransferError(redacted, strange[1], kind=strange[0], final=True)
                partial.write(place, block[:count])
                follower.wrote(place, block, count)
                pieces.wrote(segment, count)
                place += count
                job.moved += count
                data = data[count:]
            if data and place == job.size and not job.registered:
                raise TransferError(redacted, f"more than {job.size} bytes come", kind="size", final=True)
    finally:
        reader.close()
        pieces.end(segment)


def _ended(job: Job, segment: Segment, place: int, redacted: str) -> None:
    strange = nature(job.head, None, job.wanted.name)
    if segment.stop is None and (job.registered or strange is None):
        job.size = segment.stop = place
        return
    kind, reason = strange or ("cut", f"the stream ended after {place} of {job.size} bytes")
    raise TransferError(redacted, reason, kind=kind, final=strange is not None)


def _named(exc: BaseException | None, source: Source) -> TransferError:
    """The error of any library as one of ours, without what only the library may know."""
    if isinstance(exc, TransferError):
        return exc
    place = source.redacted
    said = " ".join(str(exc).split()).replace(source.url, place)
    user, _, _ = urlsplit(source.url).netloc.rpartition("@")
    for secret in filter(None, (user, user.partition(":")[2])):
        said = said.replace(secret, "...")
    text = f"{type(exc).__name__}: {said}" if said else type(exc).__name__
    if isinstance(exc, DataferryError | ImportError):
        return TransferError(place, said or text, kind="error", final=True)
    if isinstance(exc, FileNotFoundError):
        return TransferError(place, f"not there ({text})", kind="absent", final=True)
    if isinstance(exc, PermissionError):
        return TransferError(place, f"not allowed ({text})", kind="denied", final=True)
    kind = "error"
    if isinstance(exc, socket.gaierror):
        kind = "dns"
    elif isinstance(exc, TimeoutError):
        kind = "timeout"
    elif isinstance(exc, ConnectionRefusedError):
        kind = "connect"
    elif isinstance(exc, ConnectionError | EOFError):
        kind = "cut"
    elif isinstance(exc, OSError) and exc.errno in _NO_WAY:
        kind = "unreachable"
    return TransferError(place, text, kind=kind)
