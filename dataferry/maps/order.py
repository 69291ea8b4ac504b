"""NESTED and RING: pixel arithmetic on arrays, after Gorski et al. 2005 (ApJ 622, 759)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .bits import every_second, spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = [
    "FACE_RING",
    "TABLES",
    "first_of_ring",
    "nest2ring",
    "ring2nest",
    "ring_of",
    "ring_table",
    "strip_tables",
    "strip_x",
]

_CHUNK = 1 << 15
# up to this nside, tables of a row each are worth their memory
TABLES = 8192
# the ring of a face's southern corner, and its longitude, in units of nside and of an eighth of a turn
FACE_RING = (2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4)
_FACE_LON = (1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7)


def _ring_base(nside: int, face: Ints, s: Ints) -> Ints:
    """Of a face and x + y: what to add to x for the ring pixel number."""
    import numpy as np

    ring = np.array(FACE_RING)[face] * nside - s - 1
    north, south = ring < nside, ring > 3 * nside
    width = np.where(north, ring, np.where(south, 4 * nside - ring, nside))
    belt = 2 * nside * (nside - 1) + (ring - nside) * 4 * nside
    first = np.where(north, 2 * ring * (ring - 1), np.where(south, 12 * nside**2 - 2 * width * (width + 1), belt))
    shift = np.where(north | south, 0, (ring - nside) & 1)
    base: Ints = first + (np.array(_FACE_LON)[face] * width - s - 1 + shift) // 2
    return base


@lru_cache(maxsize=2)
def ring_table(nside: int) -> Ints:
    """Make the table, by face and x + y, of what to add to x for the ring pixel number (but see face 4)."""
    import numpy as np

    return _ring_base(nside, np.arange(12)[:, None], np.arange(2 * nside - 1, dtype="i8")[None, :])


def nest2ring(nside: int, pixels: Ints) -> Ints:
    """Turn NESTED pixel numbers into RING ones.

    Parameters
    ----------
    nside : int
        A power of two.
    pixels : numpy.ndarray of int64
        NESTED pixel numbers.

    Returns
    -------
    numpy.ndarray of int64
        RING pixel numbers.
    """
    return _by_chunks(_nest2ring, nside, pixels)


def _nest2ring(nside: int, pixels: Ints) -> Ints:
    bits = 2 * (nside.bit_length() - 1)
    face = pixels >> bits
    inner = pixels & ((1 << bits) - 1)
    x = every_second(inner, nside)
    inner >>= 1
    s = every_second(inner, nside)
    s += x
    if nside <= TABLES:
        out: Ints = ring_table(nside).ravel().take(s + face * (2 * nside - 1))
    else:
        out = _ring_base(nside, face, s)
    out += x
    if (face == 4).any():  # the one face that lies across longitude zero: its west is the end of the ring
        shift = (2 * nside - s - 1) & 1
        out[(face == 4) & (2 * x - s - 1 + shift < 0)] += 4 * nside
    return out


def ring2nest(nside: int, pixels: Ints) -> Ints:
    """Turn RING pixel numbers into NESTED ones.

    Parameters
    ----------
    nside : int
        A power of two.
    pixels : numpy.ndarray of int64
        RING pixel numbers.

    Returns
    -------
    numpy.ndarray of int64
        NESTED pixel numbers.
    """
    return _by_chunks(_ring2nest, nside, pixels)


def _ring2nest(nside: int, pixels: Ints) -> Ints:
    import numpy as np

    cap, npix = 2 * nside * (nside - 1), 12 * nside**2
    north, south = pixels < cap, pixels >= npix - cap
    polar = north | south
    if not polar.any():
        return _strip_to_nest(nside, *_belt_place(nside, pixels))
    ring, quarter, t = np.empty_like(pixels), np.empty_like(pixels), np.empty_like(pixels)
    belt = ~polar
    if belt.any():
        ring[belt], quarter[belt], t[belt] = _belt_place(nside, pixels[belt])
    for where, from_pole in ((north, pixels), (south, npix - 1 - pixels)):
        if where.any():
            far = from_pole[where]
            width = _cap_ring(far)
            at = far - 2 * width * (width - 1)
            if where is south:
                at = 4 * width - 1 - at
            ring[where] = width if where is north else 4 * nside - width
            quarter[where] = at // width
            t[where] = at - quarter[where] * width
    return _strip_to_nest(nside, ring, quarter, t)


def _belt_place(nside: int, pixels: Ints) -> tuple[Ints, Ints, Ints]:
    bits = nside.bit_length() - 1
    inner = pixels - 2 * nside * (nside - 1)
    return (inner >> (bits + 2)) + nside, (inner >> bits) & 3, inner & (nside - 1)


def _cap_ring(from_pole: Ints) -> Ints:
    """The ring, from 1, of a pixel counted from its pole: exact integer root."""
    import numpy as np

    half = (from_pole + 1) // 2
    root = np.sqrt(half.astype("f8")).astype("i8")
    root -= root * root > half
    root += (root + 1) * (root + 1) <= half
    ring: Ints = np.sqrt((half - np.sqrt(root.astype("f8"))).clip(0)).astype("i8") + 1
    ring -= 2 * ring * (ring - 1) > from_pole
    ring += 2 * ring * (ring + 1) <= from_pole
    return ring


@lru_cache(maxsize=2)
def strip_tables(nside: int) -> tuple[Ints, Ints]:
    """Make the tables that turn a place in a quarter of a ring into a nested pixel number with one addition.

    A quarter turn of the sky, from pole to pole, is a strip of four faces: the equatorial one in the west, between it
    and the next equatorial one a polar one in the north and one in the south. The x and y of the western face,
    continued onto the others, are ``x`` in [0, 2 nside) and ``y`` in [-nside, nside). Bits of x and y do not mix, so
    the nested pixel number is a sum: ``X[half, quarter, x] + Y[half, quarter, y + nside]``.

    Parameters
    ----------
    nside : int
        A power of two, 8192 at most.

    Returns
    -------
    X, Y : numpy.ndarray of int64, (2, 4, 2 * nside)
        For the rings north and south of the equator (half 0 and 1) and for each quarter.
    """
    import numpy as np

    bits = spread(np.arange(nside, dtype="i8"))
    x, y = np.empty((2, 4, 2 * nside), "i8"), np.empty((2, 4, 2 * nside), "i8")
    for half in (0, 1):
        for quarter in range(4):
            west, east, polar = 4 + quarter, 4 + (quarter + 1) % 4, quarter if half == 0 else 8 + quarter
            beyond = polar - west if half == 0 else east - polar
            below = east - beyond if half == 0 else polar
            x[half, quarter] = np.concatenate([bits, bits + beyond * nside**2])
            y[half, quarter] = np.concatenate([2 * bits + below * nside**2, 2 * bits + west * nside**2])
    return x, y


def first_of_ring(nside: int, ring: int) -> int:
    """Give the first RING pixel number of a ring, counted from 1; of ring ``4 * nside`` the number of pixels."""
    if ring < nside:
        return 2 * ring * (ring - 1)
    if ring <= 3 * nside:
        return 2 * nside * (nside - 1) + (ring - nside) * 4 * nside
    return 12 * nside**2 - 2 * (4 * nside - ring) * (4 * nside - ring + 1)


def ring_of(nside: int, pixel: int) -> int:
    """Give the ring, counted from 1, of a RING pixel number."""
    from math import isqrt

    cap = 2 * nside * (nside - 1)
    if pixel < cap:
        return (1 + isqrt(1 + 2 * pixel)) // 2
    if pixel < 12 * nside**2 - cap:
        return (pixel - cap) // (4 * nside) + nside
    return 4 * nside - (1 + isqrt(1 + 2 * (12 * nside**2 - 1 - pixel))) // 2


def strip_x(nside: int, ring: Ints) -> Ints:
    """Give the strip's x of the westernmost pixel of a quarter, of each ring (counted from 1)."""
    import numpy as np

    west: Ints = np.where(ring < nside, 2 * nside - ring, np.where(ring > 3 * nside, 0, (3 * nside - ring) // 2))
    return west


def _strip_to_nest(nside: int, ring: Ints, quarter: Ints, t: Ints) -> Ints:
    import numpy as np

    x = t + strip_x(nside, ring)
    y = 3 * nside - 1 - ring - x
    nest: Ints
    if nside <= TABLES:
        table_x, table_y = strip_tables(nside)
        at = quarter * (2 * nside) + (ring >= 2 * nside) * (8 * nside)
        nest = table_x.ravel().take(at + x)
        nest += table_y.ravel().take(at + y + nside)
        return nest
    east, below = x >= nside, y < 0
    face = np.where(east == below, 4 + ((quarter + (east & below)) & 3), np.where(east, quarter, 8 + quarter))
    nest = spread(y + nside * below) << 1
    nest |= spread(x - nside * east)
    nest |= face.astype("i8") << 2 * (nside.bit_length() - 1)
    return nest


def _by_chunks(convert: Any, nside: int, pixels: Ints) -> Ints:
    import numpy as np

    flat = np.ascontiguousarray(pixels, dtype="i8").ravel()
    out = np.empty_like(flat)
    for at in range(0, flat.size, _CHUNK):
        out[at : at + _CHUNK] = convert(nside, flat[at : at + _CHUNK])
    return out.reshape(np.shape(pixels))
