"""Ask one source for a little of a file, as a stranger, and see whether it is that file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from ...download.source import Source
from ...download.verdict import check_head
from ...errors import TransferError
from .asking import Sample, again, blocks, read
from .findings import State

if TYPE_CHECKING:
    from ...download.client import Client
    from ...registry.registry import Entry

__all__ = ["probe"]

#: Files up to this size are fetched whole: that costs no more than samples.
_WHOLE = 1 << 18
_SAMPLE = 4096
#: Of a host that tells no size and sends no ranges so many bytes are read to find the end; of others nothing is said.
_LONGEST_BODY = 1 << 26
_NO_SIZE = "its size is not registered, and no file is here to compare it with"


def probe(client: Client, source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    """Look at one file at one source.

    Parameters
    ----------
    client : Client
        A session without credentials.
    source : Source
        Where to look.
    entry : Entry
        What the file must be.
    here : str or None
        A verified file on this machine to compare with.

    Returns
    -------
    State, str
        How sure it is, and what was compared.

    Raises
    ------
    TransferError
        If a user would not get the file there.
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
    samples = []
    for start in (0, size - _SAMPLE, size // 2):
        sample = read(client, source, entry, start, start + _SAMPLE, size)
        if sample is None:
            break  # a server that ignores ranges would have to send all of it
        samples.append(sample)
    sized = any(sample.total is not None for sample in samples)
    if len(samples) == 1 and not sized and size <= _LONGEST_BODY:
        return again(lambda: _read_through(client, source, entry, size))
    return _compared(source, samples, here, "" if sized else "the host does not tell its size; --deep reads all of it")


def _of_unknown_size(client: Client, source: Source, entry: Entry) -> tuple[State, str]:
    sample = read(client, source, entry, 0, _SAMPLE, None)
    if sample is not None and sample.total is not None and sample.total <= _WHOLE:
        return _whole(client, source, entry, sample.total)
    if sample is not None and len(sample.data) < _SAMPLE:
        return _proven(source, entry, _sha256(sample.data))  # it has ended
    return State.THERE, _NO_SIZE


def _whole(client: Client, source: Source, entry: Entry, size: int) -> tuple[State, str]:
    sample = read(client, source, entry, 0, None, size)
    return _proven(source, entry, _sha256(sample.data if sample else b""))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _proven(source: Source, entry: Entry, found: str) -> tuple[State, str]:
    if found != entry.sha256:
        reason = f"other bytes: sha256 is {found[:12]}... instead of {entry.sha256[:12]}..."
        raise TransferError(source.redacted, reason, kind="sha256", final=True)
    return State.PROVEN, "sha256 of all bytes"


def _compared(source: Source, samples: list[Sample], here: str | None, unsized: str) -> tuple[State, str]:
    """What samples say, together with the size, or with why it was not compared."""
    if here is None:
        return (State.THERE, unsized) if unsized else (State.SIZE_ONLY, "size")
    with open(here, "rb") as file:
        for start, data, _ in samples:
            file.seek(start)
            if file.read(len(data)) != data:
                reason = f"other bytes than the verified file here, from byte {start} on"
                raise TransferError(source.redacted, reason, kind="sha256", final=True)
    return State.LIKELY, f"{'' if unsized else 'size and '}{len(samples)} sample{'s' * (len(samples) > 1)}"


def _in_parts(client: Client, source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    total = sum(part.size for part in source.parts)
    if entry.size is not None and total != entry.size:
        reason = f"its {len(source.parts)} parts have {total} bytes, {entry.size} are registered"
        raise TransferError(source.redacted, reason, kind="size", final=True)
    samples, start = [], 0
    whole = total <= _WHOLE
    for part in source.parts:
        piece = Source(part.url, source.host, source.headers)
        stretches = [(0, part.size)] if whole else [(0, min(_SAMPLE, part.size)), (part.size - _SAMPLE, part.size)]
        for at, stop in stretches:
            if not 0 <= at < stop:
                continue
            sample = read(client, piece, entry, at, stop, part.size)
            if sample is None:
                break  # a server that ignores ranges would have to send all of it
            samples.append(sample._replace(start=start + at))
        start += part.size
    if whole:
        return _proven(source, entry, _sha256(b"".join(sample.data for sample in samples)))
    return _compared(source, samples, here, "" if entry.size is not None else _NO_SIZE)


def _through_opener(source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    whole = entry.size is not None and entry.size <= _WHOLE
    with _opened(source, 0) as stream:
        data = stream.read(_WHOLE + 1 if whole else _SAMPLE)
    if whole:
        return _proven(source, entry, _sha256(data))
    samples = [Sample(0, data, None)]
    if entry.size is not None:
        # nothing tells how long a stream is, but that its end is where it has to be
        at = entry.size - _SAMPLE
        with _opened(source, at) as stream:
            end = stream.read(_SAMPLE + 1)
        if len(end) != _SAMPLE:
            what = "more than" if len(end) > _SAMPLE else f"{at + len(end)} instead of"
            raise TransferError(source.redacted, f"it has {what} {entry.size} bytes", kind="size", final=True)
        samples.append(Sample(at, end, None))
    return _compared(source, samples, here, "" if entry.size is not None else _NO_SIZE)


@contextmanager
def _opened(source: Source, start: int) -> Iterator[BinaryIO]:
    """What the library of a host opens; what goes wrong there is an error of ours."""
    try:
        with closing(source.opener(start)) as stream:  # type: ignore[misc]
            yield stream
    except TransferError:
        raise
    except FileNotFoundError as error:
        raise TransferError(source.redacted, f"not there ({error})", kind="absent", final=True) from error
    except PermissionError as error:
        raise TransferError(source.redacted, f"not allowed ({error})", kind="denied", final=True) from error
    except Exception as error:
        raise TransferError(source.redacted, f"{type(error).__name__}: {error}", kind="opener") from error


def _read_through(client: Client, source: Source, entry: Entry, size: int) -> tuple[State, str]:
    """Read all of a file whose host does not tell its size and sends no ranges."""
    count, hasher = 0, hashlib.sha256()
    answer, line = client.ask(source)
    try:
        check_head(answer, source, 0, None, size)
        for block in blocks(answer, source, size + 1):
            count += len(block)
            hasher.update(block)
    finally:
        client.done(answer, line)
    if count != size:
        what = f"more than {size}" if count > size else str(count)
        raise TransferError(source.redacted, f"{what} bytes came, {size} are registered", kind="size", final=True)
    return _proven(source, entry, hasher.hexdigest())
