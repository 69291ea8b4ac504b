"""RING to NESTED in one pass: bands of rings are read once and kept until the tiles that cross them are taken.

A tile of a nested map crosses two bands of rings as high as the tile is wide. Tiles of one face on one diagonal have
the same place in their bands but for a shift, so one index serves them all, and every field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .bits import spread, squeeze
from .lanes import run
from .order import FACE_RING, first_of_ring, nest2ring, ring_table
from .values import Finish

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["LARGEST", "SMALLEST", "ring_run", "tile_for", "unweave"]

SMALLEST = 64
LARGEST = 8192
_RUN = 1 << 16


@lru_cache(maxsize=2)
def _tile(size: int) -> tuple[Ints, Ints]:
    """Of the pixels of a tile: x, and x + y."""
    import numpy as np

    pixels = np.arange(size, dtype="i8")
    x = squeeze(pixels)
    return x, x + squeeze(pixels >> 1)


def ring_run(nside: int, first: int, count: int) -> Ints:
    """Give the RING pixel numbers of nested neighbours, faster than `nest2ring` does.

    Parameters
    ----------
    nside : int
        A power of two.
    first, count : int
        The neighbours.

    Returns
    -------
    numpy.ndarray of int64
        Shape (count,).
    """
    import numpy as np

    out = np.empty(count, "i8")
    at = first
    while at < first + count:
        stop = min(first + count, (at // _RUN + 1) * _RUN)
        part = out[at - first : stop - first]
        if stop - at == _RUN and 256 <= nside <= LARGEST:
            face, inner = divmod(at, nside**2)
            x0, y0 = (int(squeeze(np.array([inner >> k]))[0]) for k in (0, 1))
            x, s = _tile(_RUN)
            ring_table(nside)[face, x0 + y0 : x0 + y0 + 511].take(s, out=part, mode="wrap")
            part += x
            part += x0
            if face == 4:
                _beyond(nside, x, s, x0, y0, part)
        else:
            part[:] = nest2ring(nside, np.arange(at, stop, dtype="i8"))
        at = stop
    return out


def _beyond(nside: int, x: Ints, s: Ints, x0: int, y0: int, pixels: Ints) -> None:
    """Mend a tile of face 4, the one that lies across longitude zero: its west is the end of the ring."""
    size = int(x[-1]) + 1
    if x0 - y0 <= -size:
        pixels += 4 * nside
    elif x0 - y0 < size:
        west = (2 * (x + x0) - (s + (x0 + y0)) - 1 + ((s + (x0 + y0 + 1)) & 1)) < 0
        pixels += west * (4 * nside)


def tile_for(nside: int, children: int = 1) -> int:
    """Find how wide tiles should be; 0 if tiles that hold so many children would need too much memory."""
    if not SMALLEST <= nside <= LARGEST:
        return 0
    # whatever is done with a tile, its cost beside the pixels is that of many pixels
    tile = 64 if nside < 512 else 128 if nside < 4096 else 256
    if children == 1:
        tile = 128 if nside >= 4096 else 64
    while tile * tile < children:
        tile *= 2
    return tile if tile == 64 or 4 * tile <= nside else 0


def unweave(
    nside: int,
    tile: int,
    read: Callable[[int, list[NDArray[Any]]], None],
    dtype: np.dtype[Any],
    out: NDArray[Any],
    finishes: Sequence[Finish],
    threads: int,
    shrink: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> None:
    """Bring ring-ordered values into nested order.

    Parameters
    ----------
    nside : int
        A power of two from `SMALLEST` to `LARGEST`.
    tile : int
        As `tile_for` gives it.
    read : callable
        ``read(first, into)`` fills arrays, one a field, with RING pixels from ``first`` on, in this thread.
    dtype : numpy.dtype
        Native type of what is read.
    out : numpy.ndarray
        Shape (fields, pixels), native, filled in NESTED order.
    finishes : sequence of Finish
        Of each field: called on parts of ``out``.
    threads : int
        How many threads work.
    shrink : callable, optional
        Makes a few pixels of the many of a tile; ``out`` has as many fewer.
    """
    # a tile's lowest ring is below the band's end; the last tile ends with the map
    bands = 4 * nside // tile + 1
    pieces = 1 if threads == 1 else min(2 * threads, max(1, bands // 8))
    step = -(-(bands - 1) // pieces)
    tasks = [(at, min(at + step, bands)) for at in range(1, bands, step)]

    def work(mine: Iterator[tuple[int, int]]) -> None:
        spindle = _Spindle(nside, tile, read, dtype, out, finishes, shrink)
        for begin, end in mine:
            spindle.bands(begin, end)

    run(work, tasks, threads)


class _Spindle:
    """What one thread needs: room for two bands of rings."""

    def __init__(
        self,
        nside: int,
        tile: int,
        read: Callable[[int, list[NDArray[Any]]], None],
        dtype: np.dtype[Any],
        out: NDArray[Any],
        finishes: Sequence[Finish],
        shrink: Callable[[NDArray[Any]], NDArray[Any]] | None,
    ) -> None:
        import numpy as np

        self.nside, self.tile, self.read, self.out, self.finishes = nside, tile, read, out, finishes
        self.shrink = shrink
        self.room = 4 * nside * tile
        # a margin before them: what a shift brings below is mended, but has to be somewhere
        self.kept = np.empty((len(out), 2 * self.room), dtype)
        self.index = np.empty(tile * tile, "i8")
        self.values = np.empty(tile * tile, dtype)

    def bands(self, first: int, last: int) -> None:
        """Take the tiles whose lower half is in band ``first - 1`` and so on, up to ``last - 2``."""
        self._load(first - 2)
        for band in range(first, last):
            self._load(band - 1)
            self._tiles(band)

    def _load(self, band: int) -> None:
        tile, nside = self.tile, self.nside
        if not 0 <= band < 4 * nside // tile:
            return
        first, stop = (first_of_ring(nside, max(1, ring)) for ring in (band * tile, (band + 1) * tile))
        start = band % 2 * self.room
        self.read(first, [line[start : start + stop - first] for line in self.kept])

    def _tiles(self, band: int) -> None:
        """Take all tiles that end above a band, one diagonal of each face."""
        import numpy as np

        nside, tile = self.nside, self.tile
        across = nside // tile
        x, s = _tile(tile * tile)
        corners = spread(np.arange(across) * tile)
        # of x + y in a tile: its ring, counted from the band's first one
        places = self._shifts(band)
        for face, south in enumerate(FACE_RING):
            diagonal = south * across - band
            if not 0 <= diagonal <= 2 * across - 2:
                continue
            table = ring_table(nside)[face, diagonal * tile : diagonal * tile + 2 * tile - 1] + places
            low = max(0, diagonal - across + 1)
            index = table.take(s, out=self.index, mode="wrap")
            index += x
            index += low * tile
            for tx in range(low, min(across - 1, diagonal) + 1):
                first = face * nside**2 + int(corners[tx] + 2 * corners[diagonal - tx])
                shift = (tx - low) * tile
                if face == 4:  # an index of its own: beyond longitude zero places are negative until they are mended
                    whole = index + shift
                    _beyond(nside, x, s, tx * tile, (diagonal - tx) * tile, whole)
                    self._take(first, whole, 0)
                else:
                    self._take(first, index, shift)

    def _shifts(self, band: int) -> Ints:
        """What turns RING pixel numbers into places in what is kept, for each x + y in a tile."""
        import numpy as np

        tile, nside = self.tile, self.nside
        below, above = (
            which % 2 * self.room - first_of_ring(nside, max(1, which * tile)) for which in (band - 1, band - 2)
        )
        return np.repeat(np.array([below, above], "i8"), [tile, tile - 1])

    def _take(self, first: int, index: Ints, shift: int) -> None:
        import numpy as np

        size = self.tile * self.tile
        for kept, line, finish in zip(self.kept, self.out, self.finishes, strict=True):
            if self.shrink is None:
                target = line[first : first + size]
                np.take(kept[shift:], index, out=target, mode="wrap")
            else:
                np.take(kept[shift:], index, out=self.values, mode="wrap")
                few = self.shrink(self.values)
                target = line[first * few.size // size :][: few.size]
                target[...] = few
            finish(target)
