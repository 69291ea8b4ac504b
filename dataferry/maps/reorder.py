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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .healpix import (
    FACE_RING,
    TABLE_NSIDE,
    first_of_ring,
    nest2ring_run,
    past_longitude_zero,
    ring_of,
    ring_table,
    spread_bits,
    strip_tables,
    tile_xy,
)
from .threads import run_threads
from .tiles import Tiles
from .values import Finish

Ints = NDArray[np.int64]
ReadRings = Callable[[int, list[NDArray[Any]]], None]

# below this nside a plain gather by pixel numbers is as fast; above TABLE_NSIDE the tables themselves would be large
_SMALLEST = 64
# pixels that a plain gather handles at once
_CHUNK = 1 << 16


def has_bands(nside: int) -> bool:
    """Whether maps of this nside, a power of two, are reordered by bands."""
    return _SMALLEST <= nside <= TABLE_NSIDE


def nested_to_ring(
    nside: int,
    tiles: Callable[[int], Tiles],
    out: NDArray[Any],
    finishes: Sequence[Finish],
    threads: int,
    rings: range | None = None,
) -> None:
    """Bring tiles (made by ``tiles(size)``, once a thread) into RING order.

    ``out`` is (fields, pixels of the rings), rows contiguous, native; ``rings``, counted from 1, are all by default.
    """
    rings = rings or range(1, 4 * nside)
    # wide tiles are read by fewer calls, and take more memory
    tile = min(nside, 128 if nside >= 1024 and len(rings) > nside else 64)

    def work(parts: Iterator[tuple[int, int]]) -> None:
        worker = _NestedToRing(nside, tile, tiles(tile * tile), out, finishes, rings)
        for begin, end in parts:
            worker.bands(begin, end)

    run_threads(work, _band_runs(nside, tile, rings, threads), threads)


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

    nside: int
    tile: int
    tiles: Tiles
    out: NDArray[Any]
    finishes: Sequence[Finish]
    rings: range

    def __post_init__(self) -> None:
        nside, tile, tiles = self.nside, self.tile, self.tiles
        self.start = first_of_ring(nside, self.rings.start)
        self.slots = nside // tile + 2
        buffer = np.empty((4, self.slots * 2 * tiles.stride), tiles.dtype)
        self.buffer = buffer.reshape(-1, tiles.stride)
        self.targets: dict[int, Any] = {}
        # gathers move bytes, whatever their order means
        moved = buffer.view(f"u{tiles.dtype.itemsize}")
        self.planes = [[quarter[offset:] for quarter in moved] for offset in tiles.offsets]
        self.loaded: dict[int, int] = {}
        bits = spread_bits(np.arange(tile, dtype="i8"))
        along = np.arange(2 * nside)
        self.x = (along // tile % self.slots) * (2 * tiles.stride) + tiles.address(bits)[along % tile]
        # reversed, as y falls where x grows; the margins are for the unused corners of a band of a polar cap
        by_y = (along // tile % 2) * tiles.stride + tiles.address(2 * bits)[along % tile]
        margin = np.zeros(2 * tile, "i8")
        self.y = np.concatenate([margin, by_y[::-1], margin])
        # pixels of each quarter that one gather handles: more are faster, but are to be few beside the map
        self.most = (128 if len(self.rings) > nside else 32) * max(nside, 256)
        self.index = np.empty(self.most, "i8")
        self.gathered = np.empty(4 * self.most, moved.dtype)

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
        loaded, targets, tasks = self.loaded, self.targets, []
        for first, slot in zip(firsts.ravel()[order].tolist(), slots.ravel()[order].tolist(), strict=True):
            if loaded.get(slot) != first:
                if slot not in targets:
                    targets[slot] = self.tiles.target(self.buffer[slot])
                tasks.append((first, targets[slot]))
                loaded[slot] = first
        self.tiles.load(tasks)

    def _gather(self, index: Ints, field: int) -> NDArray[Any]:
        """Take a field's pixels of all quarters, still as the tiles have them: (4, rows, pixels)."""
        gathered = self.gathered[: 4 * index.size].reshape(4, *index.shape)
        for plane, quarter in zip(self.planes[field], gathered, strict=True):
            # no index is out of bounds, and wrapping is numpy's fastest way not to look
            np.take(plane, index, out=quarter, mode="wrap")
        return gathered.view(self.tiles.dtype)

    @staticmethod
    def _put(target: NDArray[Any], values: NDArray[Any]) -> None:
        """Put values where they belong: byte order and type in one go."""
        if values.dtype.kind == target.dtype.kind and values.dtype.itemsize == target.dtype.itemsize:
            np.copyto(target, values)  # not byteswap(), which keeps the other threads waiting
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                np.copyto(target, values, casting="unsafe")

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
            self._put(target, self._gather(index, field).transpose(1, 0, 2))
            self.finishes[field](target)
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
                self._put(values[start : start + 4 * length].reshape(4, length), gathered[:, row, along])
            self.finishes[field](values[starts[0] : starts[-1]])
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
    nside: int,
    tile: int,
    read: ReadRings,
    dtype: np.dtype[Any],
    out: NDArray[Any],
    finishes: Sequence[Finish],
    threads: int,
    shrink: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> None:
    """Bring rings, which ``read(first pixel, arrays)`` fills with values of ``dtype``, into NESTED order.

    ``tile`` is as `tile_for` gives it; ``shrink`` makes few pixels of the many of a tile, and ``out``, (fields,
    pixels), has as many fewer.
    """
    # a tile's lowest ring is below the band's end; the last tile ends with the map
    bands = 4 * nside // tile + 1
    pieces = 1 if threads == 1 else min(2 * threads, max(1, bands // 8))
    step = -(-(bands - 1) // pieces)

    def work(parts: Iterator[tuple[int, int]]) -> None:
        worker = _RingToNested(nside, tile, read, dtype, out, finishes, shrink)
        for begin, end in parts:
            worker.bands(begin, end)

    run_threads(work, [(at, min(at + step, bands)) for at in range(1, bands, step)], threads)


@dataclass
class _RingToNested:
    """What one thread needs: memory for two bands of rings."""

    nside: int
    tile: int
    read: ReadRings
    dtype: np.dtype[Any]
    out: NDArray[Any]
    finishes: Sequence[Finish]
    shrink: Callable[[NDArray[Any]], NDArray[Any]] | None

    def __post_init__(self) -> None:
        nside, tile, out, dtype = self.nside, self.tile, self.out, self.dtype
        self.band_size = 4 * nside * tile
        self.kept = np.empty((len(out), 2 * self.band_size), dtype)
        self.index = np.empty(tile * tile, "i8")
        self.values = np.empty(tile * tile, dtype)

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
        self.read(first, [values[start : start + stop - first] for values in self.kept])

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
        size = self.tile * self.tile
        for kept, values, finish in zip(self.kept, self.out, self.finishes, strict=True):
            if self.shrink is None:
                target = values[first : first + size]
                np.take(kept[shift:], index, out=target, mode="wrap")
            else:
                np.take(kept[shift:], index, out=self.values, mode="wrap")
                few = self.shrink(self.values)
                target = values[first * few.size // size :][: few.size]
                target[...] = few
            finish(target)


def scatter_ring(nside: int, nested: NDArray[Any], out: NDArray[Any], threads: int) -> None:
    """Bring NESTED values in memory, (fields, pixels), into RING order."""

    def work(starts: Iterator[int]) -> None:
        for at in starts:
            pixels = nest2ring_run(nside, at, min(_CHUNK, out.shape[1] - at))
            for field, target in zip(nested, out, strict=True):
                target[pixels] = field[at : at + _CHUNK]

    run_threads(work, range(0, out.shape[1], _CHUNK), threads)
