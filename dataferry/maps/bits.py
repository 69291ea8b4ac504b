"""Bits of pixel numbers: a nested one is x and y, their bits by turns."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["every_second", "spread", "squeeze"]


def spread(values: Ints) -> Ints:
    """Put a zero bit between all bits: abc -> 0a0b0c.

    Parameters
    ----------
    values : numpy.ndarray of int64
        Below 2**31.

    Returns
    -------
    numpy.ndarray of int64
        The even bits of a nested pixel number.
    """
    out = values.astype("i8")
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        out |= out << shift
        out &= mask
    return out


def squeeze(values: Ints) -> Ints:
    """Take the even bits: the inverse of `spread`, the odd bits are dropped.

    Parameters
    ----------
    values : numpy.ndarray of int64
        Not negative.

    Returns
    -------
    numpy.ndarray of int64
        Below 2**31.
    """
    out = values & 0x5555555555555555
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        out |= out >> shift
        out &= mask
    return out


@lru_cache(maxsize=1)
def _byte_pairs() -> Ints:
    import numpy as np

    return squeeze(np.arange(1 << 16, dtype="i8"))


def every_second(inner: Ints, nside: int) -> Ints:
    """Take the even bits of numbers below ``nside**2``: many at once faster than `squeeze`.

    Parameters
    ----------
    inner : numpy.ndarray of int64
        The numbers.
    nside : int
        A power of two.

    Returns
    -------
    numpy.ndarray of int64
        Below ``nside``.
    """
    table = _byte_pairs()
    out: Ints = table.take(inner & 0xFFFF)
    for at in range(1, -(-(2 * (nside.bit_length() - 1)) // 16)):
        out |= table.take((inner >> 16 * at) & 0xFFFF) << 8 * at
    return out
