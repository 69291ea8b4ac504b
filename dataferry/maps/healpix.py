"""HEALPix pixel numbers on arrays, after Gorski et al. 2005 (ApJ 622, 759): NESTED, RING, and directions on the sky."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from math import isqrt

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# up to this nside, tables of one value a ring are worth their memory
TABLE_NSIDE = 8192
# the ring of a face's southern corner, and its longitude, in units of nside and of an eighth of a turn
FACE_RING = (2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4)
_FACE_LON = (1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7)
_CHUNK = 1 << 15
_SPREADS = (
    (32, 0x00000000FFFFFFFF),
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


def nside_of(npix: int) -> int:
    """The NSIDE of a whole-sky map of so many pixels; 0 if there is none."""
    nside = isqrt(npix // 12) if npix > 0 else 0
    return nside if nside and 12 * nside * nside == npix else 0


def spread_bits(values: Ints) -> Ints:
    """Put a zero bit between all bits, abc -> 0a0b0c: a NESTED number is the bits of x and y by turns."""
    out = values.astype("i8")
    for shift, mask in _SPREADS[1:]:
        out |= out << shift
        out &= mask
    return out


def squeeze_bits(values: Ints) -> Ints:
    """Take the even bits: the inverse of `spread_bits`, the odd bits are dropped."""
    out = values & 0x5555555555555555
    for (shift, _), (_, mask) in pairwise(reversed(_SPREADS)):
        out |= out >> shift
        out &= mask
    return out


def _ring_base(nside: int, face: Ints, s: Ints) -> Ints:
    """Of a face and x + y: what to add to x for the RING pixel number."""
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
    """By face and x + y: what to add to x for the RING pixel number (but see `past_longitude_zero`)."""
    return _ring_base(nside, np.arange(12)[:, None], np.arange(2 * nside - 1, dtype="i8")[None, :])


def nest2ring(nside: int, pixels: Ints) -> Ints:
    """Turn NESTED pixel numbers into RING ones."""
    return _by_chunks(_nest2ring, nside, pixels)


def _nest2ring(nside: int, pixels: Ints) -> Ints:
    bits = 2 * (nside.bit_length() - 1)
    face = pixels >> bits
    inner = pixels & ((1 << bits) - 1)
    x = squeeze_bits(inner)
    s = squeeze_bits(inner >> 1)
    s += x
    if nside <= TABLE_NSIDE:
        out: Ints = ring_table(nside).ravel().take(s + face * (2 * nside - 1))
    else:
        out = _ring_base(nside, face, s)
    out += x
    if (face == 4).any():
        shift = (2 * nside - s - 1) & 1
        out[(face == 4) & (2 * x - s - 1 + shift < 0)] += 4 * nside
    return out


@lru_cache(maxsize=4)
def tile_xy(size: int) -> tuple[Ints, Ints]:
    """Of the NESTED pixels of a square tile: x, and x + y."""
    pixels = np.arange(size, dtype="i8")
    x = squeeze_bits(pixels)
    return x, x + squeeze_bits(pixels >> 1)


def past_longitude_zero(nside: int, tile: int, x0: int, y0: int, pixels: Ints) -> None:
    """Correct the RING numbers of a tile of face 4, which lies across longitude zero: its west ends the ring."""
    x, s = tile_xy(tile * tile)
    if x0 - y0 <= -tile:
        pixels += 4 * nside
    elif x0 - y0 < tile:
        west = (2 * (x + x0) - (s + (x0 + y0)) - 1 + ((s + (x0 + y0 + 1)) & 1)) < 0
        pixels += west * (4 * nside)


def ring2nest(nside: int, pixels: Ints) -> Ints:
    """Turn RING pixel numbers into NESTED ones."""
    return _by_chunks(_ring2nest, nside, pixels)


def _ring2nest(nside: int, pixels: Ints) -> Ints:
    cap, npix = 2 * nside * (nside - 1), 12 * nside**2
    bits = nside.bit_length() - 1
    inner = pixels - cap
    ring, quarter, t = (inner >> (bits + 2)) + nside, (inner >> bits) & 3, inner & (nside - 1)
    polar = np.flatnonzero((pixels < cap) | (pixels >= npix - cap))
    if polar.size:
        some = pixels[polar]
        south = some >= cap
        from_pole = np.where(south, npix - 1 - some, some)
        width = _cap_ring(from_pole)
        at = from_pole - 2 * width * (width - 1)
        at = np.where(south, 4 * width - 1 - at, at)
        ring[polar] = np.where(south, 4 * nside - width, width)
        quarter[polar], t[polar] = np.divmod(at, width)
    return _strip_to_nest(nside, ring, quarter, t)


def _cap_ring(from_pole: Ints) -> Ints:
    """The ring, from 1, of a pixel counted from its pole: exact integer root."""
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
    """Make the tables that turn a place in a quarter of a ring into a NESTED pixel number with one addition.

    A quarter turn of the sky, from pole to pole, is a strip of four faces: the equatorial one in the west, between it
    and the next equatorial one a polar one in the north and one in the south. The x and y of the western face,
    continued onto the others, are ``x`` in [0, 2 nside) and ``y`` in [-nside, nside). Bits of x and y do not mix, so
    the NESTED number is a sum, ``X[half, quarter, x] + Y[half, quarter, y + nside]``, where half is 0 for the rings
    north of the equator and 1 for the others.
    """
    bits = spread_bits(np.arange(nside, dtype="i8"))
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
    """The first RING pixel number of a ring, counted from 1; of ring ``4 * nside`` the number of pixels."""
    if ring < nside:
        return 2 * ring * (ring - 1)
    if ring <= 3 * nside:
        return 2 * nside * (nside - 1) + (ring - nside) * 4 * nside
    return 12 * nside**2 - 2 * (4 * nside - ring) * (4 * nside - ring + 1)


def ring_of(nside: int, pixel: int) -> int:
    """The ring, counted from 1, of a RING pixel number."""
    cap = 2 * nside * (nside - 1)
    if pixel < cap:
        return (1 + isqrt(1 + 2 * pixel)) // 2
    if pixel < 12 * nside**2 - cap:
        return (pixel - cap) // (4 * nside) + nside
    return 4 * nside - (1 + isqrt(1 + 2 * (12 * nside**2 - 1 - pixel))) // 2


def _strip_to_nest(nside: int, ring: Ints, quarter: Ints, t: Ints) -> Ints:
    # the strip's x of the westernmost pixel of the quarter
    west = np.where(ring < nside, 2 * nside - ring, np.where(ring > 3 * nside, 0, (3 * nside - ring) // 2))
    x = t + west
    y = 3 * nside - 1 - ring - x
    east, below = x >= nside, y < 0
    face = np.where(east == below, 4 + ((quarter + (east & below)) & 3), np.where(east, quarter, 8 + quarter))
    nest = spread_bits(y + nside * below) << 1
    nest |= spread_bits(x - nside * east)
    nest |= face.astype("i8") << 2 * (nside.bit_length() - 1)
    return nest


def _by_chunks(convert: Callable[[int, Ints], Ints], nside: int, pixels: Ints) -> Ints:
    flat = np.ascontiguousarray(pixels, dtype="i8").ravel()
    out = np.empty_like(flat)
    for at in range(0, flat.size, _CHUNK):
        out[at : at + _CHUNK] = convert(nside, flat[at : at + _CHUNK])
    return out.reshape(np.shape(pixels))


def ang2pix(nside: int, lon: Floats, lat: Floats) -> Ints:
    """The RING pixels that hold directions (longitude and latitude in radians), for any nside."""
    z = np.sin(lat)
    turn = np.mod(lon / (np.pi / 2), 4.0)
    # the equatorial belt: edges of pixels are straight lines in (turn, z)
    across, down = nside * (0.5 + turn), nside * z * 0.75
    rising, falling = np.floor(across - down).astype("i8"), np.floor(across + down).astype("i8")
    ring = nside + 1 + rising - falling
    shift = 1 - (ring & 1)
    at = ((rising + falling - nside + shift + 1 + 8 * nside) // 2) % (4 * nside)
    belt = 2 * nside * (nside - 1) + (ring - 1) * 4 * nside + at
    # the polar caps: 1 - |z| without the loss of digits at the poles
    part = turn - np.floor(turn)
    scale = nside * np.sqrt(3.0 * np.cos(lat) ** 2 / (1.0 + np.abs(z)))
    width = np.floor(part * scale).astype("i8") + np.floor((1.0 - part) * scale).astype("i8") + 1
    width = np.minimum(width, nside)
    at = np.minimum(np.floor(turn * width).astype("i8"), 4 * width - 1)
    cap = np.where(z > 0, 2 * width * (width - 1) + at, 12 * nside**2 - 2 * width * (width + 1) + at)
    pixels: Ints = np.where(np.abs(z) <= 2.0 / 3.0, belt, cap)
    return pixels
