"""From NESTED to RING order and back in one pass over the map, in little memory.

NESTED to RING: the sky is taken in bands of rings, each in four strips of a quarter turn (`healpix.strip_tables`). A
band crosses two diagonals of square tiles; a tile is contiguous in a NESTED file, so it is read once, kept in a ring
buffer until the band below is done, and gathered from there by a sum of two table values for each pixel. All quarters
have their buffers laid out alike, so that one index serves them all, and every field.

RING to NESTED: bands of rings are read once and kept until the tiles that cross them are taken. A tile crosses two
bands as high as the tile is wide. Tiles of one face on one diagonal have the same place in their bands but for a
shift, so one index serves them all, and every field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import ColumnReader, Finish, Ints, run_threads
from .healpix import (
    FACE_RING,
    TABLE_NSIDE,
    first_of_ring,
    nest2ring,
    past_longitude_zero,
    ring_of,
    ring_table,
    spread_bits,
    squeeze_bits,
    strip_tables,
    tile_xy,
)
from .values import means, stored_to_native

# of each run of neighbours in the file: its first RING pixel, its place in the buffer, its pixels
Runs = tuple[Ints, Ints, Ints]

# below this nside a plain gather by pixel numbers is as fast; above TABLE_NSIDE the tables themselves would be large
_SMALLEST = 64
# pixels that a plain gather handles at once
_CHUNK = 1 << 16
_SQUARE_CHUNK = 1 << 15
# pixels across the largest square that is taken at once
_LARGEST_SQUARE = 512


def has_bands(nside: int) -> bool:
    """Whether maps of this nside, a power of two, are reordered by bands."""
    return _SMALLEST <= nside <= TABLE_NSIDE


def nested_to_ring(reader: ColumnReader, nside: int, rings: range, out: NDArray[Any], finish: Finish) -> None:
    """Bring rings, counted from 1, of a NESTED map into RING order; ``out`` is (fields, pixels), rows contiguous."""
    # wide tiles are read by fewer calls, and take more memory
    tile = 128 if nside >= 1024 and len(rings) > nside else 64

    def work(parts: Iterator[tuple[int, int]]) -> None:
        worker = _NestedToRing(reader, nside, tile, out, finish, rings)
        # an overflow on the way to another type is the caller's choice of dtype
        with np.errstate(invalid="ignore", over="ignore"):
            for begin, end in parts:
                worker.bands(begin, end)

    run_threads(work, _band_runs(nside, tile, rings, reader.threads), reader.threads)


def _band_runs(nside: int, tile: int, rings: range, threads: int) -> list[tuple[int, int]]:
    """Divide bands into as many runs as there are threads, with about as many pixels each.

    Each run reads one diagonal of tiles that the run before has read as well, so that more runs would cost more.
    """
    first, stop = rings.start // tile, (rings.stop - 1) // tile + 1
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    cuts = {ring_of(nside, low + (high - low) * k // threads) // tile for k in range(1, threads)}
    return list(pairwise([first, *sorted(cut for cut in cuts if first < cut < stop), stop]))


@dataclass
class _NestedToRing:
    """What one thread needs: a ring buffer of tiles for each quarter, and the tables that address it."""

    reader: ColumnReader
    nside: int
    tile: int
    out: NDArray[Any]
    finish: Finish
    rings: range

    def __post_init__(self) -> None:
        tile, reader = self.tile, self.reader
        size, columns, width = tile * tile, reader.columns, reader.columns[0].width
        # values keep the byte order of the file until they are in their place, if all have one type
        as_stored = all(c.plain and c.dtype == columns[0].dtype for c in columns)
        self.dtype = np.dtype(columns[0].dtype) if as_stored else self.out.dtype
        per_row, step = reader.per_row, reader.row_bytes // width
        in_row = [c.start - reader.base for c in columns]
        # rows are kept whole if they make up a tile, and are not much wider than what is wanted of them
        self.in_rows = (
            as_stored
            and reader.in_rows
            and per_row in (1 << k for k in range(size.bit_length()))
            and not any(offset % width for offset in (*in_row, reader.row_bytes))
            and step <= 4 * len(columns) * per_row
        )
        if not self.in_rows:  # one plane a field
            per_row, step = size, size * len(columns)
        # where a tile has pixel 0 of each field, and the others from there; bits of the pixel number add up
        offsets = [offset // width if self.in_rows else k * size for k, offset in enumerate(in_row)]
        stride = size // per_row * step
        self.start = first_of_ring(self.nside, self.rings.start)
        self.slots = self.nside // tile + 2
        buffer = np.empty((4, self.slots * 2 * stride), self.dtype)
        self.buffer = buffer.reshape(-1, stride)
        # gathers move bytes, whatever their order means
        moved = buffer.view(f"u{self.dtype.itemsize}")
        self.planes = [[quarter[offset:] for quarter in moved] for offset in offsets]
        self.loaded: dict[int, int] = {}
        self._make_tables(per_row, step, stride)
        # pixels of each quarter that one gather handles: more are faster, but are to be few beside the map
        self.most = (128 if len(self.rings) > self.nside else 32) * max(self.nside, 256)
        self.index = np.empty(self.most, "i8")
        self.gathered = np.empty(4 * self.most, moved.dtype)

    def _make_tables(self, per_row: int, step: int, stride: int) -> None:
        """Of the strip's x, and of its y: what they add up to is a pixel's place in the buffer of its quarter."""
        tile = self.tile

        def address(pixels: Ints) -> Ints:
            return pixels // per_row * step + pixels % per_row

        bits = spread_bits(np.arange(tile, dtype="i8"))
        along = np.arange(2 * self.nside)
        self.x = (along // tile % self.slots) * (2 * stride) + address(bits)[along % tile]
        # reversed, as y falls where x grows; the margins are for the unused corners of a band of a polar cap
        by_y = (along // tile % 2) * stride + address(2 * bits)[along % tile]
        margin = np.zeros(2 * tile, "i8")
        self.y = np.concatenate([margin, by_y[::-1], margin])

    def bands(self, first: int, last: int) -> None:
        self.loaded.clear()
        nside, rings = self.nside, self.rings
        for band in range(first, last):
            self._load(band)
            ring = max(rings.start, band * self.tile)
            stop = min(rings.stop, (band + 1) * self.tile)
            while ring < stop:
                if nside <= ring < 3 * nside:
                    ring += self._belt(ring, min(stop - ring, max(2, self.most // nside)))
                else:
                    widest = min(ring + self.tile, nside) if ring < nside else 4 * nside - ring
                    ring += self._cap(ring, min(stop - ring, max(1, self.most // widest)))

    def _load(self, band: int) -> None:
        """Read the tiles that a band crosses and that are not in the buffer yet."""
        nside, tile = self.nside, self.tile
        across, half = nside // tile, int(band * tile >= 2 * nside)
        if band < across:
            low, high = 2 * across - band - 1, 2 * across - 1
        elif band < 3 * across:
            low = (3 * nside - (band + 1) * tile + 1) // 2 // tile
            high = ((3 * nside - band * tile) // 2 + nside - 1) // tile
        else:
            low, high = 0, 4 * across - band - 1
        tx = np.repeat(np.arange(low, high + 1), 2)
        ty = 4 * across - band - 1 - tx
        ty[1::2] -= 1
        east, below = tx >= across, ty < across
        # where the strip has a face
        there = (ty >= 0) & (ty < 2 * across) & ((east == below) | (east if half == 0 else below))
        tx, ty = tx[there], ty[there]
        table_x, table_y = strip_tables(nside)
        firsts = table_x[half][:, tx * tile] + table_y[half][:, ty * tile]
        slots = (tx % self.slots) * 2 + ty % 2 + np.arange(4)[:, None] * (2 * self.slots)
        order = firsts.argsort(axis=None)
        for first, slot in zip(firsts.ravel()[order].tolist(), slots.ravel()[order].tolist(), strict=True):
            if self.loaded.get(slot) != first:
                self._load_tile(first, self.buffer[slot])
                self.loaded[slot] = first

    def _load_tile(self, first: int, into: NDArray[Any]) -> None:
        reader, size = self.reader, self.tile * self.tile
        if self.in_rows:
            row, rows = first // reader.per_row, size // reader.per_row
            # the last row of the file may end with the last of these columns
            needed = (rows - 1) * reader.row_bytes + reader.span_bytes
            reader.source.read_into(reader.base + row * reader.row_bytes, into.view("u1").data[:needed])
        else:
            reader.read(first, size, list(into.reshape(-1, size)))

    def _gather(self, index: Ints, field: int) -> NDArray[Any]:
        """Take a field's pixels of all quarters, still as the tiles have them: (4, rows, pixels)."""
        gathered = self.gathered[: 4 * index.size].reshape(4, *index.shape)
        for plane, quarter in zip(self.planes[field], gathered, strict=True):
            # no index is out of bounds, and wrapping is numpy's fastest way not to look
            np.take(plane, index, out=quarter, mode="wrap")
        return gathered.view(self.dtype)

    def _at_y(self, y: int) -> int:
        """Where the reversed table has the strip's y."""
        return 2 * self.tile + self.nside - 1 - y

    def _belt(self, ring: int, rows: int) -> int:
        nside = self.nside
        # from ring to ring x of the first pixel falls by one; y falls by one every second ring: so two at a time
        rows = rows // 2 * 2 if rows > 1 and (3 * nside - ring) % 2 == 0 else 1
        west = (3 * nside - ring) // 2
        shape = (-(-rows // 2), min(rows, 2), nside)
        index = self.index[: rows * nside].reshape(rows, nside)
        x: Ints = np.ndarray(shape, "i8", self.x, west * 8, (-8, -8, 8))
        y: Ints = np.ndarray(shape, "i8", self.y, self._at_y(3 * nside - 1 - ring - west) * 8, (8, 0, 8))
        np.add(x, y, out=index.reshape(shape))
        start = first_of_ring(nside, ring) - self.start
        for field, values in enumerate(self.out):
            target = values[start : start + rows * 4 * nside].reshape(rows, 4, nside)
            # not byteswap(), which keeps the other threads waiting
            np.copyto(target, self._gather(index, field).transpose(1, 0, 2), casting="unsafe")
            self.finish(field, target)
        return rows

    def _cap(self, ring: int, rows: int) -> int:
        nside = self.nside
        north = ring < nside
        widest = ring + rows - 1 if north else 4 * nside - ring
        west = 2 * nside - widest if north else 0
        index = self.index[: rows * widest].reshape(rows, widest)
        y: Ints = np.ndarray((rows, widest), "i8", self.y, self._at_y(3 * nside - 1 - ring - west) * 8, (8, 8))
        np.add(self.x[west : west + widest], y, out=index)
        # of a shorter ring, the last pixels of these in the north, the first in the south
        rings = range(ring, ring + rows)
        lengths = rings if north else [4 * nside - r for r in rings]
        starts = [first_of_ring(nside, r) - self.start for r in (*rings, ring + rows)]
        alongs = [slice(widest - length, widest) if north else slice(length) for length in lengths]
        for field, values in enumerate(self.out):
            gathered = self._gather(index, field)
            for row, (start, length, along) in enumerate(zip(starts[:-1], lengths, alongs, strict=True)):
                target = values[start : start + 4 * length].reshape(4, length)
                np.copyto(target, gathered[:, row, along], casting="unsafe")
            self.finish(field, values[starts[0] : starts[-1]])
        return rows


def tile_for(nside: int, children: int = 1) -> int:
    """How wide tiles of a RING map should be; 0 if tiles of so many children would need too much memory."""
    if not has_bands(nside):
        return 0
    # whatever is done with a tile, its cost beside the pixels is that of many pixels
    tile = 64 if nside < 512 else 128 if nside < 4096 else 256
    if children == 1:
        tile = 128 if nside >= 4096 else 64
    while tile * tile < children:
        tile *= 2
    return tile if tile == 64 or 4 * tile <= nside else 0


def ring_to_nested(
    reader: ColumnReader, nside: int, out: NDArray[Any], finish: Finish | None, children: int = 1
) -> None:
    """Bring a RING map into NESTED order; ``out``, (fields, pixels), has the means of so many ``children``."""
    tile = tile_for(nside, children)
    # wide tiles take much memory: then one thread
    threads = reader.threads if 8 * tile <= nside else 1
    # a tile's lowest ring is below the band's end; the last tile ends with the map
    bands = 4 * nside // tile + 1
    pieces = 1 if threads == 1 else min(2 * threads, max(1, bands // 8))
    step = -(-(bands - 1) // pieces)

    def work(parts: Iterator[tuple[int, int]]) -> None:
        worker = _RingToNested(reader, nside, tile, out, finish, children)
        for begin, end in parts:
            worker.bands(begin, end)

    run_threads(work, [(at, min(at + step, bands)) for at in range(1, bands, step)], threads)


@dataclass
class _RingToNested:
    """What one thread needs: memory for two bands of rings."""

    reader: ColumnReader
    nside: int
    tile: int
    out: NDArray[Any]
    finish: Finish | None
    children: int

    def __post_init__(self) -> None:
        self.band_size = 4 * self.nside * self.tile
        self.kept = np.empty((len(self.out), 2 * self.band_size), self.out.dtype)
        self.index = np.empty(self.tile**2, "i8")
        self.values = np.empty(self.tile**2, self.out.dtype)

    def bands(self, first: int, last: int) -> None:
        """Take the tiles whose lower half is in band ``first - 1`` and so on, up to ``last - 2``."""
        self._load(first - 2)
        for band in range(first, last):
            self._load(band - 1)
            self._take_band(band)

    def _load(self, band: int) -> None:
        tile, nside = self.tile, self.nside
        if not 0 <= band < 4 * nside // tile:
            return
        first, stop = (first_of_ring(nside, max(1, ring)) for ring in (band * tile, (band + 1) * tile))
        start = band % 2 * self.band_size
        self.reader.read(first, stop - first, [values[start : start + stop - first] for values in self.kept])

    def _take_band(self, band: int) -> None:
        """Take all tiles that end above a band, one diagonal of each face."""
        nside, tile = self.nside, self.tile
        across = nside // tile
        x, s = tile_xy(tile * tile)
        corners = spread_bits(np.arange(across) * tile)
        # of x + y in a tile: from the RING pixel number to its place in what is kept
        below, above = (
            which % 2 * self.band_size - first_of_ring(nside, max(1, which * tile)) for which in (band - 1, band - 2)
        )
        shifts = np.repeat(np.array([below, above], "i8"), [tile, tile - 1])
        for face, south in enumerate(FACE_RING):
            diagonal = south * across - band
            if not 0 <= diagonal <= 2 * across - 2:
                continue
            table = ring_table(nside)[face, diagonal * tile : diagonal * tile + 2 * tile - 1] + shifts
            low = max(0, diagonal - across + 1)
            index = table.take(s, out=self.index, mode="wrap")
            index += x
            index += low * tile
            for tx in range(low, min(across - 1, diagonal) + 1):
                first = face * nside**2 + int(corners[tx] + 2 * corners[diagonal - tx])
                shift = (tx - low) * tile
                if face == 4:  # an index of its own: places are negative until they are corrected
                    whole = index + shift
                    past_longitude_zero(nside, tile, tx * tile, (diagonal - tx) * tile, whole)
                    self._take_tile(first, whole, 0)
                else:
                    self._take_tile(first, index, shift)

    def _take_tile(self, first: int, index: Ints, shift: int) -> None:
        size = self.tile**2
        for field, (kept, values) in enumerate(zip(self.kept, self.out, strict=True)):
            target = self.values if self.children > 1 else values[first : first + size]
            np.take(kept[shift:], index, out=target, mode="wrap")
            if self.children > 1:
                few = means(target, self.children)
                values[first // self.children :][: few.size] = few
            elif self.finish:
                self.finish(field, target)


def scatter_ring(nside: int, nested: NDArray[Any], out: NDArray[Any], threads: int) -> None:
    """Bring NESTED values in memory, (fields, pixels), into RING order."""

    def work(starts: Iterator[int]) -> None:
        for at in starts:
            pixels = nest2ring(nside, np.arange(at, min(at + _CHUNK, out.shape[1])))
            for field, target in zip(nested, out, strict=True):
                target[pixels] = field[at : at + _CHUNK]

    run_threads(work, range(0, out.shape[1], _CHUNK), threads)


def fill_squares(reader: ColumnReader, nside: int, pixels: slice, out: NDArray[Any]) -> None:
    """Read a run of NESTED pixels of a RING map, of columns of one type: square by square, and those ring by ring.

    In a square of a face, a ring is a diagonal: its pixels follow one another in the file, but for the one face that
    lies across longitude zero, where a ring can begin again. The rows of the buffer take one ring each.
    """
    across = min(nside, _LARGEST_SQUARE)
    size, at = across**2, int(pixels.start)
    buffer = np.empty((2 * across - 1) * across, reader.columns[0].dtype)
    while at < pixels.stop:
        stop = min(pixels.stop, (at // size + 1) * size)
        _take_square(reader, nside, across, at, buffer, out[:, at - pixels.start : stop - pixels.start])
        at = stop


def _take_square(
    reader: ColumnReader, nside: int, across: int, first: int, buffer: NDArray[Any], into: NDArray[Any]
) -> None:
    last = first + into.shape[1] - 1
    # the smallest square that holds all of them is read, of a ring no more than what lies between the wanted
    while across > 1 and first // (across // 2) ** 2 == last // (across // 2) ** 2:
        across //= 2
    skip, last = first % across**2, last % across**2
    pixels, places, lengths = _square_runs(nside, across, first - skip, skip, last + 1)
    if not reader.packed:
        pixels, places, lengths = _within_rows(pixels, places, lengths, reader.per_row)
    index = _diagonals(across)[skip : last + 1]
    width, data = buffer.itemsize, buffer.view("u1").data
    offsets = pixels // reader.per_row * reader.row_bytes + pixels % reader.per_row * width
    gathered = np.empty(min(_SQUARE_CHUNK, index.size), buffer.dtype)
    for column, out in zip(reader.columns, into, strict=True):
        begins, ends = places * width, (places + lengths) * width
        for offset, begin, end in zip((column.start + offsets).tolist(), begins.tolist(), ends.tolist(), strict=True):
            reader.source.read_into(offset, data[begin:end])
        for at in range(0, index.size, _SQUARE_CHUNK):
            some = index[at : at + _SQUARE_CHUNK]
            values = np.take(buffer, some, out=gathered[: some.size], mode="wrap")
            stored_to_native(column, values, out[at : at + some.size], reader.fill)


def _within_rows(pixels: Ints, places: Ints, lengths: Ints, per_row: int) -> Runs:
    """Divide runs where a row of the table ends."""
    rows = pixels // per_row
    parts = (pixels + lengths - 1) // per_row - rows + 1
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
