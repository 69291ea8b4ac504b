"""RING to NESTED, in memory, by chunks of nested pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .lanes import run
from .order import TABLES, nest2ring, ring2nest, ring_table, squeeze

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["gather_nested", "gather_ring"]


TILE = 1 << 16
"""Pixels that one gather handles: nested, a tile of 256 by 256."""


@lru_cache(maxsize=1)
def _tile() -> tuple[Any, Any]:
    """Of the pixels of a tile: x, and x + y."""
    import numpy as np

    pixels = np.arange(TILE, dtype="i8")
    x = squeeze(pixels)
    return x, x + squeeze(pixels >> 1)


def _ring_of_tile(nside: int, first: int, count: int) -> NDArray[np.int64]:
    """RING pixel numbers of nested neighbours, of a whole tile faster than `nest2ring` gives them."""
    import numpy as np

    face, inner = divmod(first, nside**2)
    if face == 4 or count != TILE or not 256 <= nside <= TABLES:  # face 4 lies across longitude zero
        return nest2ring(nside, np.arange(first, first + count, dtype="i8"))
    x0, y0 = (int(squeeze(np.array([inner >> k]))[0]) for k in (0, 1))
    x, s = _tile()
    out: NDArray[np.int64] = ring_table(nside)[face, x0 + y0 : x0 + y0 + 511].take(s)
    out += x
    out += x0
    return out


def gather_nested(nside: int, ring: NDArray[Any], out: NDArray[Any], threads: int) -> None:
    """Bring ring-ordered values into nested order.

    Parameters
    ----------
    nside : int
        A power of two.
    ring : numpy.ndarray
        Shape (fields, 12 * nside**2), RING.
    out : numpy.ndarray
        The same shape and type, filled in NESTED order.
    threads : int
        How many threads work.
    """

    def index_of(first: int, count: int) -> NDArray[np.int64]:
        return _ring_of_tile(nside, first, count)

    _gather(index_of, ring, out, threads)


def gather_ring(nside: int, nested: NDArray[Any], out: NDArray[Any], threads: int, finer: int = 1) -> None:
    """Bring nested values, of this or of a lower resolution, into ring order.

    Parameters
    ----------
    nside : int
        A power of two: the resolution of the output.
    nested : numpy.ndarray
        Shape (fields, 12 * nside**2 / finer), NESTED.
    out : numpy.ndarray
        Shape (fields, 12 * nside**2), filled in RING order.
    threads : int
        How many threads work.
    finer : int
        How many pixels of the output one of the input is.
    """
    import numpy as np

    def index_of(first: int, count: int) -> NDArray[np.int64]:
        index = ring2nest(nside, np.arange(first, first + count, dtype="i8"))
        if finer > 1:
            index //= finer
        return index

    _gather(index_of, nested, out, threads)


def _gather(
    index_of: Callable[[int, int], NDArray[np.int64]], values: NDArray[Any], out: NDArray[Any], threads: int
) -> None:
    def work(starts: Sequence[int]) -> None:
        for at in starts:
            index = index_of(at, min(TILE, out.shape[1] - at))
            for line, target in zip(values, out, strict=True):
                line.take(index, out=target[at : at + TILE], mode="clip")

    run(work, range(0, out.shape[1], TILE), threads)
