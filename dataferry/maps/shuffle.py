"""From one ordering to the other in memory, by chunks: for maps that are there already, and for small ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .lanes import run
from .order import ring2nest
from .unweave import ring_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["gather_nested", "gather_ring"]

# pixels that one gather handles
_CHUNK = 1 << 16


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
        return ring_run(nside, first, count)

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
    def work(starts: Iterator[int]) -> None:
        for at in starts:
            index = index_of(at, min(_CHUNK, out.shape[1] - at))
            for line, target in zip(values, out, strict=True):
                line.take(index, out=target[at : at + _CHUNK], mode="wrap")

    run(work, range(0, out.shape[1], _CHUNK), threads)
