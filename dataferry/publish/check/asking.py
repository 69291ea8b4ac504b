"""Ask a source for a stretch of a file, as a stranger."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ...download.source import Source
from ...download.verdict import check_head, nature
from ...errors import TransferError

if TYPE_CHECKING:
    from ...download.answer import Answer
    from ...download.client import Client
    from ...registry.registry import Entry

__all__ = ["Sample", "again", "blocks", "read"]

_TRIES = 3
_LONGEST_WAIT = 30.0

_T = TypeVar("_T")


class Sample(NamedTuple):
    """A stretch of a file.

    Parameters
    ----------
    start : int
        Where it begins.
    data : bytes
        Its bytes.
    total : int or None
        The size of the whole file; None where the host did not tell it.
    """

    start: int
    data: bytes
    total: int | None


def again(ask: Callable[[], _T]) -> _T:
    """Ask until something comes, or until it is of no use."""
    for left in reversed(range(_TRIES)):
        try:
            return ask()
        except TransferError as error:
            if error.final or not left or (error.retry_after or 0) > _LONGEST_WAIT:
                raise
            time.sleep(error.retry_after if error.retry_after is not None else 1.0)
    raise AssertionError  # the last turn returns or raises


def read(client: Client, source: Source, entry: Entry, start: int, stop: int | None, size: int | None) -> Sample | None:
    """Bytes from `start` up to `stop` of a file; None from a server that would have to send those before as well."""
    return again(lambda: _read_once(client, source, entry, start, stop, size))


def _read_once(
    client: Client, source: Source, entry: Entry, start: int, stop: int | None, size: int | None
) -> Sample | None:
    extra = "" if stop is None else f"Range: bytes={start}-{stop - 1}\r\n"
    answer, line = client.ask(source, extra)
    try:
        total = check_head(answer, source, start if answer.status == 206 else 0, stop, size)
    except TransferError as error:
        head = client.drain(answer, line)[:1024]
        strange = nature(head, answer, entry.name) if error.kind == "size" else None
        if strange is None:
            raise
        raise TransferError(error.place, strange[1], kind=strange[0], final=True) from None
    end = size if size is not None else total
    wanted = end if stop is None else min(stop, end if end is not None else stop) - start
    try:
        if start and answer.status == 200:
            return None
        data = b"".join(blocks(answer, source, wanted))
    finally:
        client.done(answer, line)
    strange = nature(data[:1024], answer, entry.name) if start == 0 else None
    if strange is not None and hashlib.sha256(data).hexdigest() != entry.sha256:
        raise TransferError(source.redacted, strange[1], kind=strange[0], final=True)
    if stop is not None and end is not None and len(data) != wanted:
        reason = f"{len(data)} bytes came, {wanted} were asked for"
        raise TransferError(source.redacted, reason, kind="cut", final=True)
    return Sample(start, data, total)


def blocks(answer: Answer, source: Source, most: int | None) -> Iterator[bytes]:
    """A body, or its beginning."""
    block, left = memoryview(bytearray(1 << 16)), most
    try:
        while left is None or left > 0:
            count = answer.read_some(block if left is None else block[:left])
            if not count:
                break
            left = None if left is None else left - count
            yield bytes(block[:count])
    except (OSError, EOFError) as error:
        raise TransferError(source.redacted, f"the connection failed in mid-body: {error}", kind="cut") from error
    except Exception as error:  # http.client's own tree
        raise TransferError(source.redacted, f"the body is broken: {error}", kind="cut") from error
