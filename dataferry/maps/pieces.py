"""A piece of the sky: only the blocks of the file that hold its pixels are read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .blocks import BLOCK, Reader
from .grade import degrade
from .lanes import run
from .layout import Layout
from .order import nest2ring, ring2nest
from .place import Place
from .values import AS_IS, Finish
from .whole import fill_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["fill_piece", "pixel_numbers", "take"]

_MOST = 1 << 22
# fewer pixels than this are read one by one
_FEW = 4096
_BLOCK_BITS = 10
_PIECE = 64


def pixel_numbers(pixels: Any, npix: int, place: Place) -> slice | Ints:
    """Check the pixels asked for.

    Parameters
    ----------
    pixels : slice, range or array_like of int
        As the caller gave them.
    npix : int
        Pixels of the whole sky.
    place : Place
        What errors call the map.

    Returns
    -------
    slice or numpy.ndarray of int64
        A slice with start and stop where they are a run of neighbours.

    Raises
    ------
    MapError
        If they are not integers, negative, or more than the map has.
    """
    import numpy as np

    if isinstance(pixels, slice):
        pixels = range(*pixels.indices(npix))
    if isinstance(pixels, range) and pixels.step == 1:
        if pixels and (pixels.start < 0 or pixels.stop > npix):
            raise _outside(pixels.start if pixels.start < 0 else pixels.stop - 1, npix, place)
        return slice(pixels.start, pixels.start + len(pixels))
    numbers = np.asarray(pixels)
    if numbers.size == 0:
        numbers = numbers.astype("i8")
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise place.error(f"pixels must be a list of integers, not {numbers.dtype} of shape {numbers.shape}")
    if numbers.size:
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= npix:
            raise _outside(low if low < 0 else high, npix, place)
        if high - low == numbers.size - 1 and numbers[0] == low and (np.diff(numbers) == 1).all():
            return slice(low, high + 1)
    wide: Ints = numbers.astype("i8", copy=False)
    return wide


def _outside(pixel: int, npix: int, place: Place) -> Exception:
    return place.error(f"pixel {pixel} is out of range: the map has {npix} pixels, 0 to {npix - 1}")


def take(reader: Reader, positions: Ints, into: Sequence[NDArray[Any]]) -> None:
    """Read values at any positions of the file; neighbours are read together, in the order of the file.

    Parameters
    ----------
    reader : Reader
        Of the columns.
    positions : numpy.ndarray of int64
        In any order.
    into : sequence of numpy.ndarray
        One a column, of the length of ``positions``.
    """
    import numpy as np

    if not positions.size:
        return
    # from a disk, whole blocks are cheaper than sorting; from a server every byte counts
    if positions.size < _FEW or reader.source.lanes or not _take_blocks(reader, positions, into):
        order = None
        if (np.diff(positions) < 0).any():
            order = np.argsort(positions, kind="stable")
            positions = positions[order]
        _take_runs(reader, positions, order, into)


def _gap(reader: Reader) -> int:
    """How many unwanted values are cheaper read than left out."""
    column = reader.columns[0]
    return max(1, reader.source.gap * column.per_row // max(1, column.row_bytes))


def _take_blocks(reader: Reader, positions: Ints, into: Sequence[NDArray[Any]]) -> bool:
    """Read the blocks that hold the positions side by side and gather from there; False if those are too many."""
    import numpy as np

    wanted = np.zeros((reader.count >> _BLOCK_BITS) + 2, bool)
    blocks = positions >> _BLOCK_BITS
    wanted[blocks] = True
    numbers = np.flatnonzero(wanted)
    breaks = np.flatnonzero(np.diff(numbers) > 1 + (_gap(reader) >> _BLOCK_BITS)) + 1
    starts = numbers[[0, *breaks]]
    stops = numbers[[*(breaks - 1), -1]] + 1
    lengths = stops - starts
    total = int(lengths.sum()) << _BLOCK_BITS
    if total > max(_MOST, 8 * positions.size):
        return False
    rooms: list[NDArray[Any]] = [np.empty(total, out.dtype) for out in into]
    before = np.cumsum(lengths) - lengths
    # what to add to a position to have its place in the room
    shift = np.zeros(wanted.size, "i8")
    for start, stop, place in zip(starts.tolist(), stops.tolist(), before.tolist(), strict=True):
        shift[start:stop] = (place - start) << _BLOCK_BITS
    pieces = [
        (at, min(stop, at + _PIECE), place + at - start)
        for start, stop, place in zip(starts.tolist(), stops.tolist(), before.tolist(), strict=True)
        for at in range(start, stop, _PIECE)
    ]

    def work(mine: Sequence[tuple[int, int, int]]) -> None:
        for start, stop, place in mine:
            first = start << _BLOCK_BITS
            count = min(stop << _BLOCK_BITS, reader.count) - first
            at = place << _BLOCK_BITS
            reader.read(first, count, [room[at : at + count] for room in rooms])

    run(work, pieces, reader.threads_for(total))
    index = positions + shift.take(blocks)
    for room, out in zip(rooms, into, strict=True):
        np.take(room, index, out=out, mode="clip")
    return True


def _take_runs(reader: Reader, positions: Ints, order: Ints | None, into: Sequence[NDArray[Any]]) -> None:
    """Read runs of sorted positions one by one."""
    import numpy as np

    breaks = np.flatnonzero(np.diff(positions) > _gap(reader)) + 1
    starts = [0, *breaks.tolist()]
    stops = [*breaks.tolist(), positions.size]
    tasks = [part for start, stop in zip(starts, stops, strict=True) for part in _cut(positions, start, stop)]

    def work(mine: Sequence[tuple[int, int]]) -> None:
        rooms: list[NDArray[Any]] = [np.empty(0, out.dtype) for out in into]
        for start, stop in mine:
            first = int(positions[start])
            count = int(positions[stop - 1]) - first + 1
            if rooms[0].size < count:
                rooms = [np.empty(max(count, BLOCK // 4), out.dtype) for out in into]
            reader.read(first, count, [room[:count] for room in rooms])
            inside = positions[start:stop] - first
            for room, out in zip(rooms, into, strict=True):
                out[slice(start, stop) if order is None else order[start:stop]] = room[:count].take(inside)

    run(work, tasks, reader.threads if positions.size > _FEW or reader.source.lanes else 1)


def _cut(positions: Ints, start: int, stop: int) -> list[tuple[int, int]]:
    """Cut a long run so that no piece of the file is larger than what is read at once."""
    import numpy as np

    first, last = int(positions[start]), int(positions[stop - 1])
    if last - first < _MOST:
        return [(start, stop)]
    edges = np.arange(first, last, _MOST) + _MOST
    cuts = sorted({start, *(start + np.searchsorted(positions[start:stop], edges)).tolist(), stop})
    return list(pairwise(cuts))


def fill_piece(
    layout: Layout,
    reader: Reader,
    nside: int,
    order: str,
    pixels: slice | Ints,
    out: NDArray[Any],
    finishes: Sequence[Finish],
) -> None:
    """Read some pixels of a map that is not partial.

    Parameters
    ----------
    layout : Layout
        The map.
    reader : Reader
        Of the wanted columns.
    nside, order : int, str
        What ``pixels`` are numbers of.
    pixels : slice or numpy.ndarray of int64
        As `pixel_numbers` gives them.
    out : numpy.ndarray
        Shape (fields, len(pixels)), native.
    finishes : sequence of Finish
        The last step on each field.
    """
    if isinstance(pixels, slice) and nside == layout.nside and order == layout.order:
        reader.stream(pixels.start, pixels.stop - pixels.start, list(out), finishes)
        return
    if isinstance(pixels, slice) and pixels.stop - pixels.start == 12 * nside**2:
        fill_whole(layout, reader, nside, order, out, finishes)
        return
    # neighbours in one ordering are near each other in the other too, so runs go in pieces that bound the memory
    count = out.shape[1]
    step = max(1 << 18, 256 * nside) if isinstance(pixels, slice) else max(1, count)
    for at in range(0, count, step):
        part = out[:, at : at + step]
        numbers = _numbers(pixels, at, part.shape[1]) if isinstance(pixels, slice) else pixels
        if nside < layout.nside:
            _degraded(layout, reader, nside, order, numbers, part)
        else:
            take(reader, positions_of(layout, nside, order, numbers), list(part))
        for line, finish in zip(part, finishes, strict=True):
            finish(line)


def _numbers(pixels: slice, skip: int, count: int) -> Ints:
    import numpy as np

    first = int(pixels.start) + skip
    return np.arange(first, first + count, dtype="i8")


def positions_of(layout: Layout, nside: int, order: str, pixels: slice | Ints) -> Ints:
    """Find the pixels of the file that cover pixels of the same or a finer resolution.

    Parameters
    ----------
    layout : Layout
        The map.
    nside, order : int, str
        What ``pixels`` are numbers of.
    pixels : slice or numpy.ndarray of int64
        The pixels.

    Returns
    -------
    numpy.ndarray of int64
        Pixel numbers in the file's resolution and ordering.
    """
    numbers = _numbers(pixels, 0, pixels.stop - pixels.start) if isinstance(pixels, slice) else pixels
    if nside == layout.nside and order == layout.order:
        return numbers
    nested = numbers if order == "NESTED" else ring2nest(nside, numbers)
    if nside > layout.nside:
        nested = nested // (nside // layout.nside) ** 2
    return nested if layout.order == "NESTED" else nest2ring(layout.nside, nested)


def _degraded(layout: Layout, reader: Reader, nside: int, order: str, numbers: Ints, out: NDArray[Any]) -> None:
    import numpy as np

    children = (layout.nside // nside) ** 2
    nested = numbers if order == "NESTED" else ring2nest(nside, numbers)
    step = max(1, _MOST // children)
    for at in range(0, numbers.size, step):
        parents = nested[at : at + step]
        fine = (parents[:, None] * children + np.arange(children)).ravel()
        if layout.order == "RING":
            fine = nest2ring(layout.nside, fine)
        rooms = [np.empty(fine.size, out.dtype) for _ in out]
        take(reader, fine, rooms)
        for room, line in zip(rooms, out, strict=True):
            AS_IS(room)
            line[at : at + step] = degrade(room, children)
