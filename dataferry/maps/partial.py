"""Maps of a part of the sky, stored as pixel numbers and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .blocks import Reader
from .gather import take
from .layout import Layout
from .order import nest2ring, ring2nest
from .pieces import positions_of
from .values import AS_IS, UNSEEN, Finish
from .whole import regrade

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["fill_partial", "fill_partial_piece", "in_order", "stored_pixels"]


def stored_pixels(layout: Layout, threads: int = 0) -> Ints:
    """Read the pixel numbers of a partial map.

    Parameters
    ----------
    layout : Layout
        Of a partial map.
    threads : int
        How many threads work; 0 stands for one a processor.

    Returns
    -------
    numpy.ndarray of int64
        In the order and the ordering of the file; -1 for a row whose pixel number is null, which is padding.

    Raises
    ------
    MapError
        If one is negative or more than the map has, or there are none because the map is of the whole sky.
    """
    import numpy as np

    column = layout.pixels
    if column is None:
        raise layout.place.error("is not a partial map")
    padding = np.iinfo("i8").min
    pixels = np.empty(column.count, "i8")
    Reader([column], padding, threads).stream(0, column.count, [pixels], [AS_IS])
    there = pixels if column.null is None else pixels[pixels != padding]
    if there.size:
        low, high = int(there.min()), int(there.max())
        if low < 0 or high >= layout.npix:
            wrong = low if low < 0 else high
            raise column.place.error(f"pixel {wrong} is out of range for NSIDE={layout.nside} ({layout.npix} pixels)")
    if there.size < pixels.size:
        pixels[pixels == padding] = -1
    return pixels


def in_order(layout: Layout, order: str, pixels: Ints) -> Ints:
    """Turn the file's pixel numbers into those of an ordering; -1 stays -1."""
    if order == layout.order:
        return pixels
    padding = pixels < 0
    there = pixels.clip(0) if padding.any() else pixels
    numbers = nest2ring(layout.nside, there) if order == "RING" else ring2nest(layout.nside, there)
    numbers[padding] = -1
    return numbers


def fill_partial(
    layout: Layout, reader: Reader, nside: int, order: str, out: NDArray[Any], finishes: Sequence[Finish], fill: float
) -> None:
    """Read a partial map into a whole sky.

    Parameters
    ----------
    layout : Layout
        Of a partial map.
    reader : Reader
        Of the wanted columns.
    nside, order : int, str
        Of the output.
    out : numpy.ndarray
        Shape (fields, 12 * nside**2), C-contiguous, native.
    finishes : sequence of Finish
        The last step on each field.
    fill : float
        Value of the pixels that the file does not have.
    """
    import numpy as np

    pixels = stored_pixels(layout, reader.threads)
    if nside == layout.nside:
        _scatter(reader, in_order(layout, order, pixels), out, finishes, fill)
        return
    values = np.empty((len(out), layout.npix), out.dtype)
    # integers cannot hold UNSEEN, and only go up
    blank = UNSEEN if out.dtype.kind == "f" else fill
    _scatter(reader, in_order(layout, "NESTED", pixels), values, [AS_IS] * len(out), blank)
    regrade(values, layout.nside, "NESTED", nside, order, out, finishes, reader.threads)


def _scatter(reader: Reader, pixels: Ints, out: NDArray[Any], finishes: Sequence[Finish], fill: float) -> None:
    import numpy as np

    out[...] = fill
    step = 1 << 18
    padded = bool(pixels.size and pixels.min() < 0)
    # one thread: of a pixel that is there twice the last value counts, as with healpy
    for at in range(0, pixels.size, step):
        n = min(step, pixels.size - at)
        rooms = [np.empty(n, out.dtype) for _ in out]
        reader.read(at, n, rooms)
        for room, line, finish in zip(rooms, out, finishes, strict=True):
            finish(room)
            some = pixels[at : at + n]
            if padded:
                line[some[some >= 0]] = room[some >= 0]
            else:
                line[some] = room


def fill_partial_piece(
    layout: Layout,
    reader: Reader,
    nside: int,
    order: str,
    wanted: slice | Ints,
    out: NDArray[Any],
    finishes: Sequence[Finish],
    fill: float,
) -> None:
    """Read some pixels of a partial map: of its values only those.

    Parameters
    ----------
    layout, reader, nside, order, out, finishes, fill
        As for `fill_partial`; ``nside`` is not below that of the file.
    wanted : slice or numpy.ndarray of int64
        As `pixel_numbers` gives them.
    """
    import numpy as np

    positions = positions_of(layout, nside, order, wanted)
    stored = stored_pixels(layout, reader.threads)
    rows = np.argsort(stored, kind="stable")
    at = np.searchsorted(stored, positions, side="right", sorter=rows) - 1
    rows = rows[at.clip(0)] if stored.size else np.zeros(positions.size, "i8")
    there = (at >= 0) & (stored[rows] == positions) if stored.size else np.zeros(positions.size, bool)
    rooms = [np.empty(int(there.sum()), out.dtype) for _ in out]
    take(reader, rows[there], rooms)
    out[...] = fill
    for room, line, finish in zip(rooms, out, finishes, strict=True):
        finish(room)
        line[there] = room
