"""Ask one source for a little of a file, anonymously, and see whether it is that file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from ..download.response import describe_body
from ..download.source import Part, Source
from ..errors import Reason, TransferError

if TYPE_CHECKING:
    from ..download.http_client import Client
    from ..registry.entry import Entry


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
    #: This mirror does not have it, and another host has.
    MISSING = "missing"
    #: A user would not get it there.
    BAD = "bad"


def sample(client: Client, source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    """How sure it is that a source has a file, and what was compared; `here` is a verified file on this machine.

    Raises TransferError if a user would not get the file there.
    """
    if source.opener is not None:
        return _through_opener(source, entry, here)
    size = os.path.getsize(here) if entry.size is None and here is not None else entry.size
    if source.parts:
        total = sum(part.size for part in source.parts)
        if entry.size is not None and total != entry.size:
            reason = f"its {len(source.parts)} parts have {total} bytes, {entry.size} are registered"
            raise _wrong(source, reason, Reason.SIZE)
        size = total
    elif size is None:
        return _of_unknown_size(client, source, entry)
    elif size <= _WHOLE:
        return _whole(client, source, entry, size)
    samples, sized, start = [], bool(source.parts), 0
    for part in source.parts or [Part(source.url, size)]:
        piece = Source(part.url, source.host, source.headers)
        length = part.size if size <= _WHOLE else _SAMPLE
        for at in (0, part.size - length, part.size // 2) if part.size > length else (0,):
            stop = min(at + length, part.size)
            answer = client.read_range(piece, at, stop, size=part.size, name=entry.name)
            samples.append((start + at, answer.data))
            sized = sized or answer.total is not None
            if not answer.ranges:
                break  # the server would have to send all of it
        start += part.size
    if size <= _WHOLE:
        return _proven(source, entry, b"".join(data for _, data in samples))
    if source.parts:
        return _compare(source, samples, here, "" if entry.size is not None else _NO_SIZE)
    if not sized and size <= _LONGEST_BODY:
        return _read_through(client, source, entry, size)
    return _compare(source, samples, here, "" if sized else "the host does not give its size; --deep reads all of it")


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


def _compare(source: Source, samples: list[tuple[int, bytes]], here: str | None, unsized: str) -> tuple[State, str]:
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


def _through_opener(source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    whole = entry.size is not None and entry.size <= _WHOLE
    with _opened(source, 0) as stream:
        data = stream.read(_WHOLE + 1 if whole else _SAMPLE)
    if whole:
        return _proven(source, entry, data)
    samples = [(0, data)]
    if entry.size is not None:
        # nothing says how long a stream is, but that its end is where it has to be
        at = entry.size - _SAMPLE
        with _opened(source, at) as stream:
            end = stream.read(_SAMPLE + 1)
        if len(end) != _SAMPLE:
            has = "more than" if len(end) > _SAMPLE else f"{at + len(end)} instead of"
            raise _wrong(source, f"it has {has} {entry.size} bytes", Reason.SIZE)
        samples.append((at, end))
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
