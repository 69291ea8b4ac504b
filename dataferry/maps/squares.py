"""A run of NESTED pixels from a RING file: the square around it is read ring by ring and gathered by one table.

In a square of a face, a ring is a diagonal: its pixels follow one another in the file, but for the one face that lies
across longitude zero, where a ring can begin again. The rows of a room take one ring each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .bits import squeeze
from .blocks import Reader
from .columns import Column
from .order import TABLES, ring_table
from .values import Finish, stored_to_native

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .layout import Layout

    Ints = NDArray[np.int64]
    # of each run of neighbours in the file: its first RING pixel, its place in the room, its pixels
    Runs = tuple[Ints, Ints, Ints]

__all__ = ["by_squares", "fill_squares"]

# pixels across the largest square that is taken at once
_LARGEST = 512
# fewer pixels are read one by one, narrower rows as a whole
_FEW, _NARROW = 4096, 256
_CHUNK = 1 << 15


def by_squares(layout: Layout, reader: Reader, nside: int, order: str, pixels: slice) -> bool:
    """Whether a run is of NESTED pixels of a ring-ordered map whose rows allow this."""
    wide = reader.packed or reader.columns[0].per_row >= _NARROW
    return (
        (nside, order, layout.order) == (layout.nside, "NESTED", "RING")
        and (wide and reader.raw and not reader.source.lanes)
        and nside <= TABLES
        and pixels.stop - pixels.start >= _FEW
    )


def fill_squares(layout: Layout, reader: Reader, pixels: slice, out: NDArray[Any], finishes: Sequence[Finish]) -> None:
    """Read a run of NESTED pixels, one square after the other.

    Parameters
    ----------
    layout, reader, pixels, out, finishes
        As for `fill_piece`, where `by_squares` holds.
    """
    import numpy as np

    across = min(layout.nside, _LARGEST)
    size, at = across**2, int(pixels.start)
    room = np.empty((2 * across - 1) * across, reader.columns[0].dtype)
    while at < pixels.stop:
        stop = min(pixels.stop, (at // size + 1) * size)
        part = out[:, at - pixels.start : stop - pixels.start]
        _take(reader, layout.nside, across, at, room, list(part))
        for line, finish in zip(part, finishes, strict=True):
            finish(line)
        at = stop


def _take(
    reader: Reader, nside: int, across: int, first: int, room: NDArray[Any], into: Sequence[NDArray[Any]]
) -> None:
    import numpy as np

    # the smallest square that holds all of them is read, of a ring no more than what lies between the wanted
    while across > 1 and first // (across // 2) ** 2 == (first + into[0].size - 1) // (across // 2) ** 2:
        across //= 2
    skip = first % across**2
    runs = _runs(nside, across, first - skip, skip, skip + into[0].size)
    index = _diagonals(across)[skip : skip + into[0].size]
    got = np.empty(min(_CHUNK, index.size), room.dtype)
    data = room.view("u1").data
    for column, out in zip(reader.columns, into, strict=True):
        reader.source.read_many(_reads(column, runs, data))
        for at in range(0, index.size, _CHUNK):
            few = index[at : at + _CHUNK]
            part = got[: few.size]
            np.take(room, few, out=part, mode="wrap")
            stored_to_native(column, part, out[at : at + few.size], reader.fill)


def _reads(column: Column, runs: Runs, data: memoryview) -> Iterator[tuple[int, memoryview]]:
    width = int(column.dtype[2:])
    if column.per_row * width != column.row_bytes:
        runs = _within_rows(runs, column.per_row)
    pixels, places, lengths = runs
    offsets = column.start + pixels // column.per_row * column.row_bytes + pixels % column.per_row * width
    begins, ends = (places * width).tolist(), ((places + lengths) * width).tolist()
    return zip(offsets.tolist(), [data[begin:end] for begin, end in zip(begins, ends, strict=True)], strict=True)


def _within_rows(runs: Runs, per_row: int) -> Runs:
    """Cut runs where a row of the table ends."""
    import numpy as np

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
    """Of the pixels of a square: their place in a room whose rows are rings."""
    import numpy as np

    pixels = np.arange(across**2, dtype="i8")
    x = squeeze(pixels)
    return (x + squeeze(pixels >> 1)) * across + x


def _runs(nside: int, across: int, corner: int, start: int, stop: int) -> Runs:
    """Of each ring that is crossed by some pixels of a square: what lies between the first and the last of them."""
    import numpy as np

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
    import numpy as np

    x, y = squeeze(np.array([pixel, pixel >> 1])).tolist()
    return x, y


def _whole_squares(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut a run of nested pixels into whole squares: where each begins, and pixels across."""
    while start < stop:
        side = 1
        while start % (4 * side * side) == 0 and start + 4 * side * side <= stop:
            side *= 2
        yield start, side
        start += side * side
