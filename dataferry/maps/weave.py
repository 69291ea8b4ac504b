"""NESTED to RING in one pass: tiles of the nested map go through the processor's cache into the rings.

The sky is taken in bands of rings, each in four strips of a quarter turn (see `order.strip_tables`). A band crosses two
diagonals of square tiles; a tile is contiguous in a nested file, so it is read once, kept in a small wheel of tiles
until the band below is done, and gathered from there by a sum of two table values for each pixel. All quarters have
their wheel laid out alike, so that one index serves them all, and every field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .bits import spread
from .lanes import run
from .order import first_of_ring, ring_of, strip_tables
from .tiles import Tiles
from .values import Finish

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LARGEST", "SMALLEST", "weave"]

# below this nside a plain gather by pixel numbers is as fast
SMALLEST = 64
# above, the tables themselves would be large
LARGEST = 8192


def weave(
    nside: int,
    tiles: Callable[[int], Tiles],
    out: NDArray[Any],
    finishes: Sequence[Finish],
    threads: int,
    rings: range | None = None,
) -> None:
    """Bring nested values into ring order.

    Parameters
    ----------
    nside : int
        A power of two from `SMALLEST` to `LARGEST`.
    tiles : callable
        Makes the source of tiles of so many pixels; called once a thread.
    out : numpy.ndarray
        Shape (fields, pixels of the rings), rows contiguous, native; filled in RING order.
    finishes : sequence of Finish
        Of each field: called on values in the type of ``out``, in place.
    threads : int
        How many threads work.
    rings : range, optional
        Which rings, counted from 1; None is all.
    """
    rings = rings or range(1, 4 * nside)
    # wide tiles are read by fewer calls, and take more room
    tile = min(nside, 128 if nside >= 1024 and len(rings) > nside else 64)
    tasks = _pieces(nside, tile, rings, threads)

    def work(mine: Iterator[tuple[int, int]]) -> None:
        loom = _Loom(nside, tile, tiles(tile * tile), out, finishes, rings)
        for begin, end in mine:
            loom.bands(begin, end)

    run(work, tasks, threads)


def _pieces(nside: int, tile: int, rings: range, threads: int) -> list[tuple[int, int]]:
    """Cut bands of rings into as many runs as there are threads, with about as many pixels each.

    Each run reads one diagonal of tiles that the run before has read as well, so that more runs would cost more.
    """
    first, stop = rings.start // tile, (rings.stop - 1) // tile + 1
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    cuts = {ring_of(nside, low + (high - low) * k // threads) // tile for k in range(1, threads)}
    edges = [first, *sorted(cut for cut in cuts if first < cut < stop), stop]
    return list(pairwise(edges))


class _Loom:
    """What one thread needs: a wheel of tiles for each quarter, the tables that address it, and room for a gather."""

    def __init__(
        self, nside: int, tile: int, tiles: Tiles, out: NDArray[Any], finishes: Sequence[Finish], rings: range
    ) -> None:
        import numpy as np

        self.nside, self.tile, self.tiles, self.out, self.finishes = nside, tile, tiles, out, finishes
        self.rings, self.start = rings, first_of_ring(nside, rings.start)
        self.slots = nside // tile + 2
        wheel = np.empty((4, self.slots * 2 * tiles.stride), tiles.dtype)
        self.wheel = wheel.reshape(-1, tiles.stride)
        self.rooms: dict[int, Any] = {}
        # gathers move bytes, whatever their order means
        moved = wheel.view(f"u{tiles.dtype.itemsize}")
        self.planes = [[quarter[offset:] for quarter in moved] for offset in tiles.offsets]
        self.loaded: dict[int, int] = {}
        bits = spread(np.arange(tile, dtype="i8"))
        along = np.arange(2 * nside)
        self.x = (along // tile % self.slots) * (2 * tiles.stride) + tiles.address(bits)[along % tile]
        # reversed, as y falls where x grows; the margins are for the unused corners of a band of a polar cap
        by_y = (along // tile % 2) * tiles.stride + tiles.address(2 * bits)[along % tile]
        margin = np.zeros(2 * tile, "i8")
        self.y = np.concatenate([margin, by_y[::-1], margin])
        # pixels of each quarter that one gather handles: more are faster, but are to be few beside the map
        self.most = (128 if len(rings) > nside else 32) * max(nside, 256)
        self.index = np.empty(self.most, "i8")
        self.got = np.empty(4 * self.most, moved.dtype)

    def bands(self, first: int, last: int) -> None:
        """Do some bands."""
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
        """Read the tiles that a band crosses and that are not there yet."""
        import numpy as np

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
        loaded, rooms, tasks = self.loaded, self.rooms, []
        for first, slot in zip(firsts.ravel()[order].tolist(), slots.ravel()[order].tolist(), strict=True):
            if loaded.get(slot) != first:
                if slot not in rooms:
                    rooms[slot] = self.tiles.room(self.wheel[slot])
                tasks.append((first, rooms[slot]))
                loaded[slot] = first
        self.tiles.load(tasks)

    def _gather(self, index: NDArray[np.int64], field: int) -> NDArray[Any]:
        """Take a field's pixels of all quarters, still as the tiles have them: (4, rows, pixels)."""
        import numpy as np

        got = self.got[: 4 * index.size].reshape(4, *index.shape)
        for plane, quarter in zip(self.planes[field], got, strict=True):
            # no index is out of bounds, and wrapping is numpy's fastest way not to look
            np.take(plane, index, out=quarter, mode="wrap")
        return got.view(self.tiles.dtype)

    @staticmethod
    def _put(target: NDArray[Any], values: NDArray[Any]) -> None:
        """Put values where they belong: byte order and type in one go."""
        import numpy as np

        if values.dtype.kind == target.dtype.kind and values.dtype.itemsize == target.dtype.itemsize:
            np.copyto(target, values)  # not byteswap(), which keeps the other threads waiting
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                np.copyto(target, values, casting="unsafe")

    def _at_y(self, y: int) -> int:
        """Where the reversed table has the strip's y."""
        return 2 * self.tile + self.nside - 1 - y

    def _belt(self, ring: int, rows: int) -> int:
        import numpy as np

        nside = self.nside
        # from ring to ring x of the first pixel falls by one; y falls by one every second ring: so two at a time
        rows = rows // 2 * 2 if rows > 1 and (3 * nside - ring) % 2 == 0 else 1
        west = (3 * nside - ring) // 2
        shape = (-(-rows // 2), min(rows, 2), nside)
        index = self.index[: rows * nside].reshape(rows, nside)
        x: NDArray[np.int64] = np.ndarray(shape, "i8", self.x, west * 8, (-8, -8, 8))
        y: NDArray[np.int64] = np.ndarray(shape, "i8", self.y, self._at_y(3 * nside - 1 - ring - west) * 8, (8, 0, 8))
        np.add(x, y, out=index.reshape(shape))
        start = first_of_ring(nside, ring) - self.start
        for field, line in enumerate(self.out):
            target = line[start : start + rows * 4 * nside].reshape(rows, 4, nside)
            self._put(target, self._gather(index, field).transpose(1, 0, 2))
            self.finishes[field](target)
        return rows

    def _cap(self, ring: int, rows: int) -> int:
        import numpy as np

        nside = self.nside
        north = ring < nside
        widest = ring + rows - 1 if north else 4 * nside - ring
        west = 2 * nside - widest if north else 0
        index = self.index[: rows * widest].reshape(rows, widest)
        y: NDArray[np.int64] = np.ndarray(
            (rows, widest), "i8", self.y, self._at_y(3 * nside - 1 - ring - west) * 8, (8, 8)
        )
        np.add(self.x[west : west + widest], y, out=index)
        # of a shorter ring, the last pixels of these in the north, the first in the south
        rings = range(ring, ring + rows)
        lengths = rings if north else [4 * nside - r for r in rings]
        starts = [first_of_ring(nside, r) - self.start for r in (*rings, ring + rows)]
        alongs = [slice(widest - length, widest) if north else slice(length) for length in lengths]
        for field, line in enumerate(self.out):
            got = self._gather(index, field)
            for row, (start, length, along) in enumerate(zip(starts[:-1], lengths, alongs, strict=True)):
                self._put(line[start : start + 4 * length].reshape(4, length), got[:, row, along])
            self.finishes[field](line[starts[0] : starts[-1]])
        return rows
