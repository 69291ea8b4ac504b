"""A piece of the sky: only the blocks of the file that hold its pixels are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .byte_source import Context
from .columns import MOST, ColumnReader
from .fits import Column
from .healpix import (
    TABLE_NSIDE,
    first_of_ring,
    nest2ring,
    nest2ring_run,
    ring2nest,
    ring_of,
    ring_table,
    squeeze_bits,
    tile_xy,
)
from .layout import MapLayout
from .reorder import has_bands, nested_to_ring
from .tiles import tiles_of
from .ud_grade import fill_whole, means
from .values import AS_IS, Finish, stored_to_native

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    # of each run of neighbours in the file: its first RING pixel, its place in the buffer, its pixels
    Runs = tuple[Ints, Ints, Ints]

__all__ = ["fill_piece", "pixel_numbers", "positions_of"]

# in units of nside: a run of RING pixels that has less is not worth whole tiles of a NESTED map
_FEW_RINGS = 96
# pixels that may be in memory twice
_SMALL = 1 << 20
# pixels across the largest square that is taken at once from a RING map
_LARGEST_SQUARE = 512
# fewer pixels are read one by one, narrower rows as a whole
_FEW, _NARROW = 4096, 256
_CHUNK = 1 << 15


def pixel_numbers(pixels: Any, npix: int, context: Context) -> slice | Ints:
    """Check the pixels asked for: a slice with start and stop where they are a run of neighbours."""
    import numpy as np

    try:
        if isinstance(pixels, slice):
            pixels = range(*pixels.indices(npix))
        if not isinstance(pixels, range):
            pixels = np.asarray(pixels)
    except (TypeError, ValueError) as error:
        raise context.error(f"pixels must be a list of integers: {error}") from error
    if isinstance(pixels, range):
        for end in (*pixels[:1], *pixels[-1:]):  # as a list it may be far too long
            if not 0 <= end < npix:
                raise _outside(end, npix, context)
        if pixels.step == 1:
            return slice(pixels.start, pixels.start + len(pixels))
        pixels = np.asarray(pixels)
    numbers = pixels if pixels.size else pixels.astype("i8")
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise context.error(f"pixels must be a list of integers, not {numbers.dtype} of shape {numbers.shape}")
    if numbers.size:
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= npix:
            raise _outside(low if low < 0 else high, npix, context)
        if high - low == numbers.size - 1 and numbers[0] == low and (np.diff(numbers) == 1).all():
            return slice(low, high + 1)
    wide: Ints = numbers.astype("i8", copy=False)
    return wide


def _outside(pixel: int, npix: int, context: Context) -> Exception:
    return context.error(f"pixel {pixel} is out of range: the map has {npix} pixels, 0 to {npix - 1}")


def fill_piece(
    layout: MapLayout,
    reader: ColumnReader,
    nside: int,
    order: str,
    pixels: slice | Ints,
    out: NDArray[Any],
    finishes: Sequence[Finish],
) -> None:
    """Read some pixels, numbers at ``nside`` in ``order``, of a map that is not partial into (fields, pixels)."""
    if not isinstance(pixels, slice):
        _one_by_one(layout, reader, nside, order, pixels, out, finishes)
        return
    count = pixels.stop - pixels.start
    local = not reader.source.connections
    change = (layout.order, order) if nside == layout.nside else None
    wide = reader.packed or reader.columns[0].per_row >= _NARROW
    if nside == layout.nside and order == layout.order:
        reader.stream(pixels.start, count, list(out), finishes)
    elif count == 12 * nside**2:
        fill_whole(layout, reader, nside, order, out, finishes)
    elif change == ("NESTED", "RING") and local and has_bands(nside) and count >= _FEW_RINGS * nside:
        _fill_rings(layout, reader, pixels, out, finishes)
    elif change == ("RING", "NESTED") and local and wide and reader.raw and nside <= TABLE_NSIDE and count >= _FEW:
        _fill_squares(layout, reader, pixels, out, finishes)
    else:
        _one_by_one(layout, reader, nside, order, pixels, out, finishes)


def _one_by_one(
    layout: MapLayout,
    reader: ColumnReader,
    nside: int,
    order: str,
    pixels: slice | Ints,
    out: NDArray[Any],
    finishes: Sequence[Finish],
) -> None:
    # neighbours in one ordering are near each other in the other too, so runs go in parts that bound the memory
    count = out.shape[1]
    step = max(1 << 18, 256 * nside) if isinstance(pixels, slice) else max(1, count)
    for at in range(0, count, step):
        part = out[:, at : at + step]
        some = pixels
        if isinstance(pixels, slice):
            some = slice(pixels.start + at, pixels.start + at + part.shape[1])
        if nside < layout.nside:
            _read_means(layout, reader, nside, order, _as_array(some), part)
        else:
            reader.take(positions_of(layout, nside, order, some), list(part))
        for field, finish in zip(part, finishes, strict=True):
            finish(field)


def _as_array(pixels: slice | Ints) -> Ints:
    import numpy as np

    return np.arange(pixels.start, pixels.stop, dtype="i8") if isinstance(pixels, slice) else pixels


def positions_of(layout: MapLayout, nside: int, order: str, pixels: slice | Ints) -> Ints:
    """The pixels of the file that cover pixels of the same or a finer resolution."""
    if isinstance(pixels, slice) and (nside, order, layout.order) == (layout.nside, "NESTED", "RING"):
        return nest2ring_run(nside, pixels.start, pixels.stop - pixels.start)
    numbers = _as_array(pixels)
    if nside == layout.nside and order == layout.order:
        return numbers
    nested = numbers if order == "NESTED" else ring2nest(nside, numbers)
    if nside > layout.nside:
        nested = nested // (nside // layout.nside) ** 2
    return nested if layout.order == "NESTED" else nest2ring(layout.nside, nested)


def _read_means(
    layout: MapLayout, reader: ColumnReader, nside: int, order: str, pixels: Ints, out: NDArray[Any]
) -> None:
    import numpy as np

    children = (layout.nside // nside) ** 2
    nested = pixels if order == "NESTED" else ring2nest(nside, pixels)
    step = max(1, MOST // children)
    for at in range(0, pixels.size, step):
        parents = nested[at : at + step]
        fine = (parents[:, None] * children + np.arange(children)).ravel()
        if layout.order == "RING":
            fine = nest2ring(layout.nside, fine)
        buffers: list[NDArray[Any]] = [np.empty(fine.size, out.dtype) for _ in out]
        reader.take(fine, buffers)
        for buffer, field in zip(buffers, out, strict=True):
            AS_IS(buffer)
            field[at : at + step] = means(buffer, children)


def _fill_rings(
    layout: MapLayout, reader: ColumnReader, pixels: slice, out: NDArray[Any], finishes: Sequence[Finish]
) -> None:
    """Read a run of RING pixels of a NESTED map: so many rings that tiles are best read whole."""
    import numpy as np

    nside, start, stop = layout.nside, int(pixels.start), int(pixels.stop)

    def fill(rings: range, into: NDArray[Any]) -> None:
        nested_to_ring(nside, lambda size: tiles_of(reader, size, out.dtype), into, finishes, reader.threads, rings)

    rings = range(ring_of(nside, start), ring_of(nside, stop - 1) + 1)
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    if stop - start < _SMALL:
        whole = np.empty((len(out), high - low), out.dtype)
        fill(rings, whole)
        out[...] = whole[:, start - low : stop - low]
        return
    # the rings at both ends, which need not be whole, are read pixel by pixel
    rings = rings[low < start : len(rings) - (stop < high)]
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    fill(rings, out[:, low - start : high - start])
    for part in (slice(start, low), slice(high, stop)):
        if part.start < part.stop:
            into = out[:, part.start - start : part.stop - start]
            _one_by_one(layout, reader, nside, "RING", part, into, finishes)


def _fill_squares(
    layout: MapLayout, reader: ColumnReader, pixels: slice, out: NDArray[Any], finishes: Sequence[Finish]
) -> None:
    """Read a run of NESTED pixels of a RING map: each square around them ring by ring, gathered by one table.

    In a square of a face, a ring is a diagonal: its pixels follow one another in the file, but for the one face that
    lies across longitude zero, where a ring can begin again. The rows of the buffer take one ring each.
    """
    import numpy as np

    across = min(layout.nside, _LARGEST_SQUARE)
    size, at = across**2, int(pixels.start)
    buffer = np.empty((2 * across - 1) * across, reader.columns[0].dtype)
    while at < pixels.stop:
        stop = min(pixels.stop, (at // size + 1) * size)
        part = out[:, at - pixels.start : stop - pixels.start]
        _take_square(reader, layout.nside, across, at, buffer, list(part))
        for field, finish in zip(part, finishes, strict=True):
            finish(field)
        at = stop


def _take_square(
    reader: ColumnReader, nside: int, across: int, first: int, buffer: NDArray[Any], into: Sequence[NDArray[Any]]
) -> None:
    import numpy as np

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
    """Of the pixels of a square: their place in a buffer whose rows are rings."""
    x, s = tile_xy(across**2)
    return s * across + x


def _square_runs(nside: int, across: int, corner: int, start: int, stop: int) -> Runs:
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
