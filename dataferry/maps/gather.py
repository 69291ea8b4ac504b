"""Values at any positions of a file: what is near each other there is read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .blocks import BLOCK, Reader
from .lanes import run
from .values import stored_to_native

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["MOST", "take"]

MOST = 1 << 22
"""Values that may be held at once, beside those that are wanted."""

# fewer pixels than this are read one by one
_FEW = 4096
_BLOCK_BITS = 10
_RAW_BITS = 8
_PIECE = 64
_CHUNK = 1 << 15


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

    column = reader.columns[0]
    # a block of bytes that follow one another is read as it is; else values are read
    raw = reader.raw and column.per_row % (1 << _RAW_BITS) == 0
    bits = _RAW_BITS if raw else _BLOCK_BITS
    wanted = np.zeros((reader.count >> bits) + 2, bool)
    for at in range(0, positions.size, _CHUNK):
        wanted[positions[at : at + _CHUNK] >> bits] = True
    numbers = np.flatnonzero(wanted)
    breaks = np.flatnonzero(numbers[1:] - numbers[:-1] > 1 + (_gap(reader) >> bits)) + 1
    starts = numbers[np.concatenate([[0], breaks])]
    stops = numbers[np.concatenate([breaks - 1, [numbers.size - 1]])] + 1
    total = int((stops - starts).sum()) << bits
    if total > max(MOST, 8 * positions.size):
        return False
    if raw:
        _from_bytes(reader, positions, starts, stops, into)
    else:
        _from_values(reader, positions, starts, stops, into)
    return True


def _from_bytes(reader: Reader, positions: Ints, starts: Ints, stops: Ints, into: Sequence[NDArray[Any]]) -> None:
    import numpy as np

    column, size = reader.columns[0], 1 << _RAW_BITS
    width = int(column.dtype[2:])
    step, per_row = column.row_bytes // width, column.per_row
    base = min(c.start for c in reader.columns)
    # elements of the file, from the first column on: a block is within one row
    first = starts * size // per_row * step + starts * size % per_row
    last = np.minimum(stops * size, reader.count) - 1
    after = last // per_row * step + last % per_row + (reader.span_bytes // width - per_row) + 1
    before = np.concatenate([[0], np.cumsum(after - first)])
    room = np.empty(int(before[-1]), column.dtype)
    # what to add to a position to have its place in the room
    numbers = np.arange(int(stops[-1]))
    shift = numbers * size // per_row * (step - per_row)
    shift[int(starts[0]) :] += np.repeat(before[:-1] - first, np.diff(np.append(starts, stops[-1])))
    data = room.view("u1").data
    offsets, begins, ends = (base + first * width).tolist(), (before * width).tolist(), (before[1:] * width).tolist()
    read_many = reader.source.read_many

    def work(mine: Iterator[slice]) -> None:
        for few in mine:
            places = zip(offsets[few], begins[few], ends[few], strict=False)
            read_many([(offset, data[begin:end]) for offset, begin, end in places])

    few = [slice(k, k + _PIECE) for k in range(0, len(offsets), _PIECE)]
    run(work, few, reader.threads_for(room.size * per_row // step))
    moved = room.view(f"u{width}")
    planes = [moved[(c.start - base) // width :] for c in reader.columns]
    got = np.empty(min(_CHUNK, positions.size), moved.dtype)
    for at, index in _places(positions, _RAW_BITS, shift):
        part = got[: index.size]
        for c, plane, out in zip(reader.columns, planes, into, strict=True):
            np.take(plane, index, out=part, mode="wrap")
            stored_to_native(c, part.view(c.dtype), out[at : at + index.size], reader.fill)


def _places(positions: Ints, bits: int, shift: Ints) -> Iterator[tuple[int, Ints]]:
    """Give the places of positions in a room, some at a time in the same memory: new memory costs its page faults."""
    import numpy as np

    rooms = np.empty((2, min(_CHUNK, positions.size)), "i8")
    for at in range(0, positions.size, _CHUNK):
        some = positions[at : at + _CHUNK]
        blocks, index = rooms[:, : some.size]
        np.right_shift(some, bits, out=blocks)
        np.take(shift, blocks, out=index, mode="wrap")
        index += some
        yield at, index


def _from_values(reader: Reader, positions: Ints, starts: Ints, stops: Ints, into: Sequence[NDArray[Any]]) -> None:
    import numpy as np

    lengths = stops - starts
    total = int(lengths.sum()) << _BLOCK_BITS
    rooms: list[NDArray[Any]] = [np.empty(total, out.dtype) for out in into]
    before = np.cumsum(lengths) - lengths
    # what to add to a position to have its place in the room
    shift = np.zeros(int(stops[-1]), "i8")
    for start, stop, place in zip(starts.tolist(), stops.tolist(), before.tolist(), strict=True):
        shift[start:stop] = (place - start) << _BLOCK_BITS
    pieces = [
        (at, min(stop, at + _PIECE), place + at - start)
        for start, stop, place in zip(starts.tolist(), stops.tolist(), before.tolist(), strict=True)
        for at in range(start, stop, _PIECE)
    ]

    def work(mine: Iterator[tuple[int, int, int]]) -> None:
        for start, stop, place in mine:
            first = start << _BLOCK_BITS
            count = min(stop << _BLOCK_BITS, reader.count) - first
            at = place << _BLOCK_BITS
            reader.read(first, count, [room[at : at + count] for room in rooms])

    run(work, pieces, reader.threads_for(total))
    for at, index in _places(positions, _BLOCK_BITS, shift):
        for room, out in zip(rooms, into, strict=True):
            np.take(room, index, out=out[at : at + index.size], mode="wrap")


def _take_runs(reader: Reader, positions: Ints, order: Ints | None, into: Sequence[NDArray[Any]]) -> None:
    """Read runs of sorted positions one by one."""
    import numpy as np

    breaks = np.flatnonzero(np.diff(positions) > _gap(reader)) + 1
    starts = [0, *breaks.tolist()]
    stops = [*breaks.tolist(), positions.size]
    tasks = [part for start, stop in zip(starts, stops, strict=True) for part in _cut(positions, start, stop)]

    def work(mine: Iterator[tuple[int, int]]) -> None:
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
    if last - first < MOST:
        return [(start, stop)]
    edges = np.arange(first, last, MOST) + MOST
    cuts = sorted({start, *(start + np.searchsorted(positions[start:stop], edges)).tolist(), stop})
    return list(pairwise(cuts))
