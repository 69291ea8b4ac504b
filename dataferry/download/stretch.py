"""Which URL has which bytes of a file: one has all of them, unless the host keeps the file in several objects."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import TransferError
from .source import Source

__all__ = ["Stretch", "at", "check_total", "stretches_of"]


@dataclass(slots=True, eq=False)
class Stretch:
    """What one URL has of a file.

    Parameters
    ----------
    source : Source
        What to ask.
    start : int
        The file's byte with which it begins.
    stop : int or None
        One after its last byte; None where the URL has the whole file.
    url : str or None
        Where a redirect led to.
    """

    source: Source
    start: int = 0
    stop: int | None = None
    url: str | None = None


def stretches_of(source: Source) -> list[Stretch]:
    """Cut a file as its host keeps it.

    Parameters
    ----------
    source : Source
        The source.

    Returns
    -------
    list of Stretch
        In the order of their bytes; at least one.
    """
    found: list[Stretch] = []
    start = 0
    for part in source.parts:
        if part.size:
            # What a source brings along for its host is not for another host that has a part.
            near = urlsplit(part.url)[:2] == urlsplit(source.url)[:2]
            piece = Source(part.url, source.host, source.headers if near else {})
            found.append(Stretch(piece, start, start + part.size))
            start += part.size
    return found or [Stretch(source)]


def at(stretches: list[Stretch], position: int) -> Stretch:
    """The URL that has a byte.

    Parameters
    ----------
    stretches : list of Stretch
        From `stretches_of`.
    position : int
        The byte.

    Returns
    -------
    Stretch
        What to ask for it.
    """
    return stretches[max(0, bisect_right(stretches, position, key=lambda stretch: stretch.start) - 1)]


def check_total(source: Source, size: int | None) -> int | None:
    """The size of a file that is kept in several objects.

    Parameters
    ----------
    source : Source
        The source.
    size : int or None
        What it must be.

    Returns
    -------
    int or None
        Its size; `size` itself for a file in one object.

    Raises
    ------
    TransferError
        If the parts are not as large together.
    """
    if not source.parts:
        return size
    total = sum(part.size for part in source.parts)
    if size is not None and total != size:
        reason = f"its {len(source.parts)} parts have {total} bytes together, {size} are registered"
        raise TransferError(source.redacted, reason, kind="size", final=True)
    return total
