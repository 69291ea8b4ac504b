"""RING to NESTED, in memory, by chunks of nested pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .lanes import run
from .order import nest2ring, ring2nest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["gather_nested", "gather_ring"]

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
    _gather(nest2ring, nside, ring, out, threads, 1)


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
    _gather(ring2nest, nside, nested, out, threads, finer)


def _gather(index_of: Any, nside: int, values: NDArray[Any], out: NDArray[Any], threads: int, finer: int) -> None:
    import numpy as np

    def work(starts: Sequence[int]) -> None:
        for at in starts:
            index = index_of(nside, np.arange(at, min(at + _CHUNK, out.shape[1]), dtype="i8"))
            if finer > 1:
                index //= finer
            for line, target in zip(values, out, strict=True):
                target[at : at + _CHUNK] = line.take(index, mode="clip")

    run(work, range(0, out.shape[1], _CHUNK), threads)
