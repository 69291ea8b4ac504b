"""A piece of the sky: only the blocks of the file that hold its pixels are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .blocks import Reader
from .gather import MOST, take
from .grade import degrade
from .layout import Layout
from .order import nest2ring, ring2nest
from .place import Place
from .rings import as_rings, fill_rings
from .squares import by_squares, fill_squares
from .unweave import ring_run
from .values import AS_IS, Finish
from .whole import fill_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["fill_piece", "pixel_numbers", "positions_of"]


def pixel_numbers(pixels: Any, npix: int, place: Place) -> slice | Ints:
    """Check the pixels asked for.

    Parameters
    ----------
    pixels : slice, range or array_like of int
        As the caller gave them.
    npix : int
        Pixels of the whole sky.
    place : Place
        What errors call the map.

    Returns
    -------
    slice or numpy.ndarray of int64
        A slice with start and stop where they are a run of neighbours.

    Raises
    ------
    MapError
        If they are not integers, negative, or more than the map has.
    """
    import numpy as np

    try:
        if isinstance(pixels, slice):
            pixels = range(*pixels.indices(npix))
        if not isinstance(pixels, range):
            pixels = np.asarray(pixels)
    except (TypeError, ValueError) as error:
        raise place.error(f"pixels must be a list of integers: {error}") from error
    if isinstance(pixels, range):
        for end in (*pixels[:1], *pixels[-1:]):  # as a list it may be far too long
            if not 0 <= end < npix:
                raise _outside(end, npix, place)
        if pixels.step == 1:
            return slice(pixels.start, pixels.start + len(pixels))
        pixels = np.asarray(pixels)
    numbers = pixels if pixels.size else pixels.astype("i8")
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise place.error(f"pixels must be a list of integers, not {numbers.dtype} of shape {numbers.shape}")
    if numbers.size:
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= npix:
            raise _outside(low if low < 0 else high, npix, place)
        if high - low == numbers.size - 1 and numbers[0] == low and (np.diff(numbers) == 1).all():
            return slice(low, high + 1)
    wide: Ints = numbers.astype("i8", copy=False)
    return wide


def _outside(pixel: int, npix: int, place: Place) -> Exception:
    return place.error(f"pixel {pixel} is out of range: the map has {npix} pixels, 0 to {npix - 1}")


def fill_piece(
    layout: Layout,
    reader: Reader,
    nside: int,
    order: str,
    pixels: slice | Ints,
    out: NDArray[Any],
    finishes: Sequence[Finish],
) -> None:
    """Read some pixels of a map that is not partial.

    Parameters
    ----------
    layout : Layout
        The map.
    reader : Reader
        Of the wanted columns.
    nside, order : int, str
        What ``pixels`` are numbers of.
    pixels : slice or numpy.ndarray of int64
        As `pixel_numbers` gives them.
    out : numpy.ndarray
        Shape (fields, len(pixels)), native.
    finishes : sequence of Finish
        The last step on each field.
    """
    if isinstance(pixels, slice) and nside == layout.nside and order == layout.order:
        reader.stream(pixels.start, pixels.stop - pixels.start, list(out), finishes)
        return
    if isinstance(pixels, slice) and pixels.stop - pixels.start == 12 * nside**2:
        fill_whole(layout, reader, nside, order, out, finishes)
        return
    if isinstance(pixels, slice) and as_rings(layout, reader, nside, order, pixels):

        def by_pixel(some: slice, into: NDArray[Any]) -> None:
            _one_by_one(layout, reader, nside, order, some, into, finishes)

        fill_rings(layout, reader, pixels, out, finishes, by_pixel)
        return
    if isinstance(pixels, slice) and by_squares(layout, reader, nside, order, pixels):
        fill_squares(layout, reader, pixels, out, finishes)
        return
    _one_by_one(layout, reader, nside, order, pixels, out, finishes)


def _one_by_one(
    layout: Layout,
    reader: Reader,
    nside: int,
    order: str,
    pixels: slice | Ints,
    out: NDArray[Any],
    finishes: Sequence[Finish],
) -> None:
    # neighbours in one ordering are near each other in the other too, so runs go in pieces that bound the memory
    count = out.shape[1]
    step = max(1 << 18, 256 * nside) if isinstance(pixels, slice) else max(1, count)
    for at in range(0, count, step):
        part = out[:, at : at + step]
        numbers = _numbers(pixels, at, part.shape[1]) if isinstance(pixels, slice) else pixels
        if nside < layout.nside:
            _degraded(layout, reader, nside, order, numbers, part)
        else:
            take(reader, _positions(layout, nside, order, pixels, numbers, at), list(part))
        for line, finish in zip(part, finishes, strict=True):
            finish(line)


def _numbers(pixels: slice, skip: int, count: int) -> Ints:
    import numpy as np

    first = int(pixels.start) + skip
    return np.arange(first, first + count, dtype="i8")


def _positions(layout: Layout, nside: int, order: str, pixels: slice | Ints, numbers: Ints, skip: int) -> Ints:
    if isinstance(pixels, slice) and (nside, order, layout.order) == (layout.nside, "NESTED", "RING"):
        return ring_run(nside, int(pixels.start) + skip, numbers.size)
    return positions_of(layout, nside, order, numbers)


def positions_of(layout: Layout, nside: int, order: str, pixels: slice | Ints) -> Ints:
    """Find the pixels of the file that cover pixels of the same or a finer resolution.

    Parameters
    ----------
    layout : Layout
        The map.
    nside, order : int, str
        What ``pixels`` are numbers of.
    pixels : slice or numpy.ndarray of int64
        The pixels.

    Returns
    -------
    numpy.ndarray of int64
        Pixel numbers in the file's resolution and ordering.
    """
    numbers = _numbers(pixels, 0, pixels.stop - pixels.start) if isinstance(pixels, slice) else pixels
    if nside == layout.nside and order == layout.order:
        return numbers
    nested = numbers if order == "NESTED" else ring2nest(nside, numbers)
    if nside > layout.nside:
        nested = nested // (nside // layout.nside) ** 2
    return nested if layout.order == "NESTED" else nest2ring(layout.nside, nested)


def _degraded(layout: Layout, reader: Reader, nside: int, order: str, numbers: Ints, out: NDArray[Any]) -> None:
    import numpy as np

    children = (layout.nside // nside) ** 2
    nested = numbers if order == "NESTED" else ring2nest(nside, numbers)
    step = max(1, MOST // children)
    for at in range(0, numbers.size, step):
        parents = nested[at : at + step]
        fine = (parents[:, None] * children + np.arange(children)).ravel()
        if layout.order == "RING":
            fine = nest2ring(layout.nside, fine)
        rooms = [np.empty(fine.size, out.dtype) for _ in out]
        take(reader, fine, rooms)
        for room, line in zip(rooms, out, strict=True):
            AS_IS(room)
            line[at : at + step] = degrade(room, children)
