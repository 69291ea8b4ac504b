"""A run of NESTED pixels of a RING map: squares around them, read ring by ring and gathered by one table.

In a square of a face, a ring is a diagonal: its pixels follow one another in the file, but for the one face that lies
across longitude zero, where a ring can begin again. The rows of the buffer take one ring each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import ColumnReader
from .fits import Column
from .healpix import ring_table, squeeze_bits, tile_xy
from .values import stored_to_native

Ints = NDArray[np.int64]
# of each run of neighbours in the file: its first RING pixel, its place in the buffer, its pixels
Runs = tuple[Ints, Ints, Ints]

# pixels across the largest square that is taken at once
_LARGEST = 512
_CHUNK = 1 << 15


def fill_squares(reader: ColumnReader, nside: int, pixels: slice, out: NDArray[Any]) -> None:
    """Read a run of NESTED pixels, one square after the other, of columns with ``raw`` and wide rows."""
    across = min(nside, _LARGEST)
    size, at = across**2, int(pixels.start)
    buffer = np.empty((2 * across - 1) * across, reader.columns[0].dtype)
    while at < pixels.stop:
        stop = min(pixels.stop, (at // size + 1) * size)
        _take_square(reader, nside, across, at, buffer, list(out[:, at - pixels.start : stop - pixels.start]))
        at = stop


def _take_square(
    reader: ColumnReader, nside: int, across: int, first: int, buffer: NDArray[Any], into: Sequence[NDArray[Any]]
) -> None:
    # the smallest square that holds all of them is read, of a ring no more than what lies between the wanted
    while across > 1 and first // (across // 2) ** 2 == (first + into[0].size - 1) // (across // 2) ** 2:
        across //= 2
    skip = first % across**2
    runs = _square_runs(nside, across, first - skip, skip, skip + into[0].size)
    index = _diagonals(across)[skip : skip + into[0].size]
    gathered = np.empty(min(_CHUNK, index.size), buffer.dtype)
    data = buffer.view("u1").data
    for column, out in zip(reader.columns, into, strict=True):
        reader.source.read_many(_reads(column, runs, data))
        for at in range(0, index.size, _CHUNK):
            some = index[at : at + _CHUNK]
            part = gathered[: some.size]
            np.take(buffer, some, out=part, mode="wrap")
            stored_to_native(column, part, out[at : at + some.size], reader.fill)


def _reads(column: Column, runs: Runs, data: memoryview) -> Iterator[tuple[int, memoryview]]:
    width = column.width
    if column.per_row * width != column.row_bytes:
        runs = _within_rows(runs, column.per_row)
    pixels, places, lengths = runs
    offsets = column.start + pixels // column.per_row * column.row_bytes + pixels % column.per_row * width
    begins, ends = (places * width).tolist(), ((places + lengths) * width).tolist()
    return zip(offsets.tolist(), [data[begin:end] for begin, end in zip(begins, ends, strict=True)], strict=True)


def _within_rows(runs: Runs, per_row: int) -> Runs:
    """Divide runs where a row of the table ends."""
    pixels, places, lengths = runs
    rows = pixels // per_row
    parts = (pixels + lengths - 1) // per_row - rows + 1
    if (parts == 1).all():
        return runs
    which = np.repeat(np.arange(pixels.size), parts)
    rows = rows[which] + np.arange(which.size) - np.repeat(np.cumsum(parts) - parts, parts)
    begin = np.maximum(pixels[which], rows * per_row)
    end = np.minimum((pixels + lengths)[which], (rows + 1) * per_row)
    return begin, places[which] + begin - pixels[which], end - begin


@lru_cache(maxsize=2)
def _diagonals(across: int) -> Ints:
    """Of the pixels of a square: their place in a buffer whose rows are rings."""
    x, s = tile_xy(across**2)
    return s * across + x


def _square_runs(nside: int, across: int, corner: int, start: int, stop: int) -> Runs:
    """Of each ring that is crossed by some pixels of a square: what lies between the first and the last of them."""
    low, high = np.full(2 * across - 1, across), np.zeros(2 * across - 1, "i8")
    for at, side in _whole_squares(start, stop):
        x, y = _x_and_y(at)
        s = np.arange(2 * side - 1)
        rings = slice(x + y, x + y + 2 * side - 1)
        low[rings] = np.minimum(low[rings], x + np.maximum(0, s - side + 1))
        high[rings] = np.maximum(high[rings], x + np.minimum(s, side - 1) + 1)
    rows = np.flatnonzero(high)
    low, high = low[rows], high[rows]
    face, inner = divmod(corner, nside**2)
    x, y = _x_and_y(inner)
    first, places = ring_table(nside)[face].take(rows + (x + y)) + x, rows * across
    if face != 4:
        return first + low, places + low, high - low
    # what is west of longitude zero ends the ring
    s = rows + (x + y)
    east = np.clip((s + 2 - ((2 * nside - s - 1) & 1)) // 2 - x, low, high)
    pixels = np.concatenate([first + low + 4 * nside, first + east])
    lengths = np.concatenate([east - low, high - east])
    some = lengths > 0
    return pixels[some], np.concatenate([places + low, places + east])[some], lengths[some]


def _x_and_y(pixel: int) -> tuple[int, int]:
    x, y = squeeze_bits(np.array([pixel, pixel >> 1])).tolist()
    return x, y


def _whole_squares(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Divide a run of NESTED pixels into whole squares: where each begins, and pixels across."""
    while start < stop:
        side = 1
        while start % (4 * side * side) == 0 and start + 4 * side * side <= stop:
            side *= 2
        yield start, side
        start += side * side
