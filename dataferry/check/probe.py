"""Ask one source for a little of a file, as a stranger, and see whether it is that file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from ..errors import TransferError
from ..hosts.base import Source
from ..transport.verdict import check_head, nature
from .findings import State

if TYPE_CHECKING:
    from ..registry import Entry
    from ..transport.answer import Answer
    from ..transport.client import Client

__all__ = ["probe"]

#: Files up to this size are fetched whole: that costs no more than samples.
_WHOLE = 1 << 18
_SAMPLE = 4096
_TRIES = 3
_LONGEST_WAIT = 30.0


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
    if entry.size is not None and entry.size <= _WHOLE:
        data = _read(client, source, entry, 0, None, entry.size) or b""
        return _proven(source, entry, data)
    size = entry.size
    samples = []
    for start in [0] if size is None else [0, size - _SAMPLE, size // 2]:
        sample = _read(client, source, entry, start, start + _SAMPLE, size)
        if sample is None:
            break  # a server that ignores ranges would have to send all of it
        samples.append((start, sample))
    return _compared(source, samples, here)


def _proven(source: Source, entry: Entry, data: bytes) -> tuple[State, str]:
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        reason = f"other bytes: sha256 is {found[:12]}... instead of {entry.sha256[:12]}..."
        raise TransferError(source.shown, reason, kind="sha256", final=True)
    return State.PROVEN, "sha256 of all bytes"


def _compared(source: Source, samples: list[tuple[int, bytes]], here: str | None) -> tuple[State, str]:
    if here is None:
        return State.SIZE_ONLY, "size"
    with open(here, "rb") as file:
        for start, data in samples:
            file.seek(start)
            if file.read(len(data)) != data:
                reason = f"other bytes than the verified file here, from byte {start} on"
                raise TransferError(source.shown, reason, kind="sha256", final=True)
    return State.LIKELY, f"size and {len(samples)} samples"


def _in_parts(client: Client, source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    total = sum(part.size for part in source.parts)
    if entry.size is not None and total != entry.size:
        reason = f"its {len(source.parts)} parts have {total} bytes, {entry.size} are registered"
        raise TransferError(source.shown, reason, kind="size", final=True)
    samples, start = [], 0
    whole = total <= _WHOLE
    for part in source.parts:
        piece = Source(part.url, source.host, source.headers)
        stretches = [(0, part.size)] if whole else [(0, min(_SAMPLE, part.size)), (part.size - _SAMPLE, part.size)]
        for at, stop in stretches:
            data = _read(client, piece, entry, at, stop, part.size) if 0 <= at < stop else b""
            if data is None:
                break  # a server that ignores ranges would have to send all of it
            samples.append((start + at, data))
        start += part.size
    if whole:
        return _proven(source, entry, b"".join(data for _, data in samples))
    return _compared(source, samples, here)


def _through_opener(source: Source, entry: Entry, here: str | None) -> tuple[State, str]:
    whole = entry.size is not None and entry.size <= _WHOLE
    with _opened(source, 0) as stream:
        data = stream.read(_WHOLE + 1 if whole else _SAMPLE)
    if whole:
        return _proven(source, entry, data)
    samples = [(0, data)]
    if entry.size is not None:
        # nothing tells how long a stream is, but that its end is where it has to be
        at = entry.size - _SAMPLE
        with _opened(source, at) as stream:
            end = stream.read(_SAMPLE + 1)
        if len(end) != _SAMPLE:
            what = "more than" if len(end) > _SAMPLE else f"{at + len(end)} instead of"
            raise TransferError(source.shown, f"it has {what} {entry.size} bytes", kind="size", final=True)
        samples.append((at, end))
    return _compared(source, samples, here)


@contextmanager
def _opened(source: Source, start: int) -> Iterator[BinaryIO]:
    """What the library of a host opens; what goes wrong there is an error of ours."""
    try:
        with closing(source.opener(start)) as stream:  # type: ignore[misc]
            yield stream
    except TransferError:
        raise
    except FileNotFoundError as error:
        raise TransferError(source.shown, f"not there ({error})", kind="absent", final=True) from error
    except PermissionError as error:
        raise TransferError(source.shown, f"not allowed ({error})", kind="denied", final=True) from error
    except Exception as error:
        raise TransferError(source.shown, f"{type(error).__name__}: {error}", kind="opener") from error


def _read(client: Client, source: Source, entry: Entry, start: int, stop: int | None, size: int | None) -> bytes | None:
    for left in reversed(range(_TRIES)):
        try:
            return _read_once(client, source, entry, start, stop, size)
        except TransferError as error:
            if error.final or not left or (error.retry_after or 0) > _LONGEST_WAIT:
                raise
            time.sleep(error.retry_after if error.retry_after is not None else 1.0)
    raise AssertionError  # the last turn returns or raises


def _read_once(
    client: Client, source: Source, entry: Entry, start: int, stop: int | None, size: int | None
) -> bytes | None:
    wanted = size if stop is None else min(stop, size or stop) - start
    extra = "" if stop is None else f"Range: bytes={start}-{stop - 1}\r\n"
    answer, line = client.ask(source, extra)
    try:
        check_head(answer, source, start if answer.status == 206 else 0, stop, size)
    except TransferError as error:
        head = client.drain(answer, line)[:1024]
        strange = nature(head, answer, entry.name) if error.kind == "size" else None
        if strange is None:
            raise
        raise TransferError(error.place, strange[1], kind=strange[0], final=True) from None
    if start and answer.status == 200:
        client.done(answer, line)
        return None
    try:
        data = _body(answer, wanted)
    except (OSError, EOFError) as error:
        raise TransferError(source.shown, f"the connection failed in mid-body: {error}", kind="cut") from error
    except Exception as error:  # http.client's own tree
        raise TransferError(source.shown, f"the body is broken: {error}", kind="cut") from error
    finally:
        client.done(answer, line)
    strange = nature(data[:1024], answer, entry.name) if start == 0 else None
    if strange is not None and hashlib.sha256(data).hexdigest() != entry.sha256:
        raise TransferError(source.shown, strange[1], kind=strange[0], final=True)
    if stop is not None and len(data) != wanted:
        reason = f"{len(data)} bytes came, {wanted} were asked for"
        raise TransferError(source.shown, reason, kind="cut", final=True)
    return data


def _body(answer: Answer, most: int | None) -> bytes:
    block, found = memoryview(bytearray(1 << 16)), bytearray()
    while most is None or len(found) < most:
        count = answer.read_some(block if most is None else block[: most - len(found)])
        if not count:
            break
        found += block[:count]
    return bytes(found)
