"""Ask one source for a little of a file, anonymously, and see whether it is that file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..download.response import describe_body
from ..download.source import Source
from ..errors import Reason, TransferError

if TYPE_CHECKING:
    from ..download.http_client import Client
    from ..registry.registry import Entry

__all__ = ["State", "sample"]

#: Files up to this size are fetched whole: that costs no more than samples.
_WHOLE = 1 << 18
_SAMPLE = 4096
#: From a host that gives no size and ignores ranges, at most so many bytes are read to find the end.
_LONGEST_BODY = 1 << 26
_NO_SIZE = "its size is not registered, and no file is here to compare it with"


class State(StrEnum):
    """How sure it is that a host has a file."""

    #: All of its bytes came and have the registered sha256.
    PROVEN = "proven"
    #: The host gives the registered sha256, or samples are the same as in a verified file here.
    LIKELY = "likely"
    #: It can be downloaded and its size is right; nothing says whether its bytes are.
    SIZE_ONLY = "size only"
    #: It can be downloaded; neither its size nor its bytes could be compared with anything.
    THERE = "there"
    #: It is part of the package, so the host need not have it, and has not.
    BUNDLED = "bundled"
    #: Another release of the same data set has it.
    ELSEWHERE = "elsewhere"
    #: A user would not get it there.
    BAD = "bad"


class _Sample(NamedTuple):
    start: int
    data: bytes


def sample(client: Client, source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    """How sure it is that a source has a file, and what was compared; `here` is a verified file on this machine.

    Raises TransferError if a user would not get the file there.
    """
    if source.opener is not None:
        return _through_opener(source, entry, here)
    if source.parts:
        return _in_parts(client, source, entry, here)
    size = entry.size
    if size is None and here is not None:
        size = os.path.getsize(here)
    if size is None:
        return _of_unknown_size(client, source, entry)
    if size <= _WHOLE:
        return _whole(client, source, entry, size)
    first = client.read_range(source, 0, _SAMPLE, size=size, name=entry.name)
    samples, sized = [_Sample(0, first.data)], first.total is not None
    if first.ranges:  # a server that ignores ranges would have to send all of it
        for start in (size - _SAMPLE, size // 2):
            part = client.read_range(source, start, start + _SAMPLE, size=size, name=entry.name)
            samples.append(_Sample(start, part.data))
            sized = sized or part.total is not None
    elif not sized and size <= _LONGEST_BODY:
        return _read_through(client, source, entry, size)
    unsized = "" if sized else "the host does not give its size; --deep reads all of it"
    return _compare(source, samples, here, unsized)


def _whole(client: Client, source: Source, entry: Entry, size: int) -> tuple[State, str]:
    """Hash all of a small file; describe the body only if the hash is not the registered one."""
    try:
        answer = client.read_range(source, 0, None, size=size)
    except TransferError as error:
        if error.kind == Reason.SIZE:  # its name lets a page or a pointer be recognised
            client.read_range(source, 0, None, size=size, name=entry.name)
        raise
    strange = describe_body(answer.data[:1024], answer.headers, entry.name)
    if strange is not None and hashlib.sha256(answer.data).hexdigest() != entry.sha256:
        raise _wrong(source, strange[1], strange[0])
    return _proven(source, entry, answer.data)


def _of_unknown_size(client: Client, source: Source, entry: Entry) -> tuple[State, str]:
    first = client.read_range(source, 0, _SAMPLE, name=entry.name)
    if first.total is not None and first.total <= _WHOLE:
        return _whole(client, source, entry, first.total)
    if len(first.data) < _SAMPLE:
        return _proven(source, entry, first.data)  # it has ended
    return State.THERE, _NO_SIZE


def _read_through(client: Client, source: Source, entry: Entry, size: int) -> tuple[State, str]:
    """Read all of a file whose host does not give its size and ignores ranges."""
    data = client.read_range(source, 0, size + 1, name=entry.name).data
    if len(data) != size:
        came = f"more than {size}" if len(data) > size else str(len(data))
        raise _wrong(source, f"{came} bytes came, {size} are registered", Reason.SIZE)
    return _proven(source, entry, data)


def _wrong(source: Source, reason: str, kind: Reason) -> TransferError:
    return TransferError(source.redacted, reason, kind=kind, final=True)


def _proven(source: Source, entry: Entry, data: bytes) -> tuple[State, str]:
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != entry.sha256:
        reason = f"other bytes: sha256 is {sha256[:12]}... instead of {entry.sha256[:12]}..."
        raise _wrong(source, reason, Reason.SHA256)
    return State.PROVEN, "sha256 of all bytes"


def _compare(source: Source, samples: list[_Sample], here: str | None, unsized: str) -> tuple[State, str]:
    """What samples say, together with the size, or with why it was not compared."""
    if here is None:
        return (State.THERE, unsized) if unsized else (State.SIZE_ONLY, "size")
    with open(here, "rb") as file:
        for start, data in samples:
            file.seek(start)
            if file.read(len(data)) != data:
                reason = f"other bytes than the verified file here, from byte {start} on"
                raise _wrong(source, reason, Reason.SHA256)
    return State.LIKELY, f"{'' if unsized else 'size and '}{len(samples)} sample{'s' * (len(samples) > 1)}"


def _in_parts(client: Client, source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    total = sum(part.size for part in source.parts)
    if entry.size is not None and total != entry.size:
        reason = f"its {len(source.parts)} parts have {total} bytes, {entry.size} are registered"
        raise _wrong(source, reason, Reason.SIZE)
    samples, start = [], 0
    whole = total <= _WHOLE
    for part in source.parts:
        piece = Source(part.url, source.host, source.headers)
        ranges = [(0, part.size)] if whole else [(0, min(_SAMPLE, part.size)), (part.size - _SAMPLE, part.size)]
        for at, stop in ranges:
            if not 0 <= at < stop:
                continue
            answer = client.read_range(piece, at, stop, size=part.size, name=entry.name)
            samples.append(_Sample(start + at, answer.data))
            if not answer.ranges:
                break  # the server would have to send all of it
        start += part.size
    if whole:
        return _proven(source, entry, b"".join(data for _, data in samples))
    return _compare(source, samples, here, "" if entry.size is not None else _NO_SIZE)


def _through_opener(source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    whole = entry.size is not None and entry.size <= _WHOLE
    with _opened(source, 0) as stream:
        data = stream.read(_WHOLE + 1 if whole else _SAMPLE)
    if whole:
        return _proven(source, entry, data)
    samples = [_Sample(0, data)]
    if entry.size is not None:
        # nothing says how long a stream is, but that its end is where it has to be
        at = entry.size - _SAMPLE
        with _opened(source, at) as stream:
            end = stream.read(_SAMPLE + 1)
        if len(end) != _SAMPLE:
            has = "more than" if len(end) > _SAMPLE else f"{at + len(end)} instead of"
            raise _wrong(source, f"it has {has} {entry.size} bytes", Reason.SIZE)
        samples.append(_Sample(at, end))
    return _compare(source, samples, here, "" if entry.size is not None else _NO_SIZE)


@contextmanager
def _opened(source: Source, start: int) -> Iterator[BinaryIO]:
    """What the library of a host opens; what goes wrong there is an error of ours."""
    try:
        with closing(source.opener(start)) as stream:  # type: ignore[misc]
            yield stream
    except TransferError:
        raise
    except FileNotFoundError as error:
        raise _wrong(source, f"not there ({error})", Reason.ABSENT) from error
    except PermissionError as error:
        raise _wrong(source, f"not allowed ({error})", Reason.DENIED) from error
    except Exception as error:
        raise TransferError(source.redacted, f"{type(error).__name__}: {error}", kind=Reason.OPENER) from error
