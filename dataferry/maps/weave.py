"""NESTED to RING in one pass: tiles of the nested map go through the processor's cache into the rings.

The sky is taken in four strips of a quarter turn (see `order.strip_tables`) and each strip in bands of rings. A band
crosses two diagonals of square tiles; a tile is contiguous in a nested file, so it is read once, kept in a small wheel
of tiles until the band below is done, and gathered from there by a sum of two table values for each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .lanes import run
from .order import spread, strip_tables
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
# pixels that one gather handles
_GATHER = 1 << 17


def weave(
    nside: int,
    tiles: Callable[[int], Tiles],
    out: NDArray[Any],
    finishes: Sequence[Finish],
    threads: int,
) -> None:
    """Bring nested values into ring order.

    Parameters
    ----------
    nside : int
        A power of two from `SMALLEST` to `LARGEST`.
    tiles : callable
        Makes the source of tiles of so many pixels; called once a thread.
    out : numpy.ndarray
        Shape (fields, 12 * nside**2), C-contiguous, native; filled in RING order.
    finishes : sequence of Finish
        Of each field: called on values in the type of ``out`` before they are written.
    threads : int
        How many threads work.
    """
    tile = min(nside, 128 if nside >= 1024 else 64)
    bands = 4 * nside // tile
    pieces = max(1, min(bands // 4, -(-threads // 4) * 2))
    step = -(-bands // pieces)
    tasks = [(quarter, at, min(at + step, bands)) for at in range(0, bands, step) for quarter in range(4)]

    def work(mine: Sequence[tuple[int, int, int]]) -> None:
        loom = _Loom(nside, tile, tiles(tile * tile), out, finishes)
        for quarter, first, last in mine:
            loom.strip(quarter, first, last)

    run(work, tasks, threads)


class _Loom:
    """What one thread needs: the wheel of tiles, the tables that address it, and room for one gather."""

    def __init__(self, nside: int, tile: int, tiles: Tiles, out: NDArray[Any], finishes: Sequence[Finish]) -> None:
        import numpy as np

        self.nside, self.tile, self.tiles, self.out, self.finishes = nside, tile, tiles, out, finishes
        self.slots = nside // tile + 2
        self.wheel = np.zeros(self.slots * 2 * tiles.stride, tiles.dtype)
        # gathers move bytes, whatever their order means
        self.moved = self.wheel.view(f"u{tiles.dtype.itemsize}")
        self.loaded: dict[int, int] = {}
        self.tile_x, self.tile_y = strip_tables(nside)
        bits = spread(np.arange(tile, dtype="i8"))
        along = np.arange(2 * nside)
        self.x = (along // tile % self.slots) * (2 * tiles.stride) + tiles.address(bits)[along % tile]
        # reversed, as y falls where x grows; the margins are for the unused corners of a band of a polar cap
        by_y = (along // tile % 2) * tiles.stride + tiles.address(2 * bits)[along % tile]
        margin = np.zeros(2 * tile, "i8")
        self.y = np.concatenate([margin, by_y[::-1], margin])
        self.index = np.empty(0, "i8")
        self.got = np.empty(0, self.moved.dtype)
        self.values = np.empty(0, out.dtype)
        # views of bytes: see _cap
        self.bytes = [line.view("u1").data for line in out]

    def strip(self, quarter: int, first: int, last: int) -> None:
        """Do some bands of a quarter."""
        self.loaded.clear()
        for band in range(first, last):
            ring = max(1, band * self.tile)
            stop = (band + 1) * self.tile
            rows = max(2, min(self.tile, _GATHER // self.nside) // 2 * 2)
            self._tiles(quarter, band)
            while ring < stop:
                n = min(rows - ring % rows, stop - ring)
                if ring < self.nside or ring >= 3 * self.nside:
                    self._cap(quarter, ring, n)
                else:
                    self._belt(quarter, ring, n)
                ring += n

    def _tiles(self, quarter: int, band: int) -> None:
        """Read the tiles that a band crosses and that are not there yet."""
        nside, tile = self.nside, self.tile
        across, half = nside // tile, int(band * tile >= 2 * nside)
        if band < across:
            low, high = 2 * across - band - 1, 2 * across - 1
        elif band < 3 * across:
            low, high = (
                (3 * nside - (band + 1) * tile + 1) // 2 // tile,
                ((3 * nside - band * tile) // 2 + nside - 1) // tile,
            )
        else:
            low, high = 0, 4 * across - band - 1
        diagonal = 4 * across - band - 1
        for tx in range(low, high + 1):
            for ty in (diagonal - tx, diagonal - 1 - tx):
                if not (0 <= ty < 2 * across) or not self._inside(tx, ty, half):
                    continue
                first = int(self.tile_x[half, quarter, tx * tile] + self.tile_y[half, quarter, ty * tile])
                slot = (tx % self.slots) * 2 + ty % 2
                if self.loaded.get(slot) != first:
                    stride = self.tiles.stride
                    self.tiles.load(first, self.wheel[slot * stride : (slot + 1) * stride])
                    self.loaded[slot] = first

    def _inside(self, tx: int, ty: int, half: int) -> bool:
        """Whether the strip has a face there."""
        across = self.nside // self.tile
        east, below = tx >= across, ty < across
        return east == below or (east if half == 0 else below)

    def _room(self, count: int) -> NDArray[np.int64]:
        import numpy as np

        if len(self.index) < count:
            self.index = np.empty(count, "i8")
            self.got = np.empty(count, self.moved.dtype)
            self.values = np.empty(count, self.out.dtype)
        return self.index[:count]

    def _gather(self, index: NDArray[np.int64], field: int) -> NDArray[Any]:
        import numpy as np

        got, values = self.got[: index.size], self.values[: index.size]
        np.take(self.moved[self.tiles.offsets[field] :], index, out=got, mode="clip")
        with np.errstate(invalid="ignore", over="ignore"):
            # byte order and type in one go; not byteswap(), which keeps the other threads waiting
            np.copyto(values, got.view(self.tiles.dtype), casting="unsafe")
        self.finishes[field](values)
        return values

    def _at_y(self, y: int) -> int:
        """Where the reversed table has the strip's y."""
        return 2 * self.tile + self.nside - 1 - y

    def _belt(self, quarter: int, ring: int, rows: int) -> None:
        import numpy as np

        nside = self.nside
        west = (3 * nside - ring) // 2
        shape = (rows // 2, 2, nside)
        index = self._room(rows * nside)
        # from ring to ring x of the first pixel falls by one; y falls by one every second ring
        x: NDArray[np.int64] = np.ndarray(shape, "i8", self.x, west * 8, (-8, -8, 8))
        y: NDArray[np.int64] = np.ndarray(shape, "i8", self.y, self._at_y(3 * nside - 1 - ring - west) * 8, (8, 0, 8))
        np.add(x, y, out=index.reshape(shape))
        start = 2 * nside * (nside - 1) + (ring - nside) * 4 * nside
        for field, values in enumerate(self.out):
            lines = values[start : start + rows * 4 * nside].reshape(rows, 4, nside)
            lines[:, quarter] = self._gather(index, field).reshape(rows, nside)

    def _cap(self, quarter: int, ring: int, rows: int) -> None:
        import numpy as np

        nside = self.nside
        north = ring < nside
        widest = ring + rows - 1 if north else 4 * nside - ring
        west = 2 * nside - widest if north else 0
        index = self._room(rows * widest)
        y: NDArray[np.int64] = np.ndarray(
            (rows, widest), "i8", self.y, self._at_y(3 * nside - 1 - ring - west) * 8, (8, 8)
        )
        np.add(self.x[west : west + widest], y, out=index.reshape(rows, widest))
        width = self.out.dtype.itemsize
        for field, target in enumerate(self.bytes):
            lines = self._gather(index, field).view("u1").data
            for row in range(rows):
                if north:
                    wide = ring + row
                    start, skip = 2 * wide * (wide - 1) + quarter * wide, widest - wide
                else:
                    wide = 4 * nside - ring - row
                    start, skip = 12 * nside**2 - 2 * wide * (wide + 1) + quarter * wide, 0
                skip += row * widest
                # not through numpy: it would hand over to another thread and wait for its turn at each short row
                target[start * width : (start + wide) * width] = lines[skip * width : (skip + wide) * width]
