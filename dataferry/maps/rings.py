"""A run of RING pixels of a nested map: tiles read whole are cheaper than pixels found one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .order import first_of_ring, ring_of
from .stored_tiles import tiles_of
from .weave import LARGEST, SMALLEST, weave

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .blocks import Reader
    from .layout import Layout
    from .values import Finish

__all__ = ["as_rings", "fill_rings"]

# in units of nside: a run that has less is not worth whole tiles
_FEW_RINGS = 96
# pixels that may be held twice
_SMALL = 1 << 20


def as_rings(layout: Layout, reader: Reader, nside: int, order: str, pixels: slice) -> bool:
    """Whether a run is of so many rings that tiles of a nested map are best read whole."""
    return (
        (nside, order, layout.order) == (layout.nside, "RING", "NESTED")
        and SMALLEST <= nside <= LARGEST
        and not reader.source.lanes
        and pixels.stop - pixels.start >= _FEW_RINGS * nside
    )


def fill_rings(
    layout: Layout,
    reader: Reader,
    pixels: slice,
    out: NDArray[Any],
    finishes: Sequence[Finish],
    by_pixel: Callable[[slice, NDArray[Any]], None],
) -> None:
    """Read a run of RING pixels by whole tiles; the rings at its ends need not be whole.

    Parameters
    ----------
    layout, reader, pixels, out, finishes
        As for `fill_piece`, where `as_rings` holds.
    by_pixel : callable
        Reads what is not worth whole tiles into a part of ``out``, and finishes it.
    """
    import numpy as np

    nside, start, stop = layout.nside, int(pixels.start), int(pixels.stop)

    def fill(rings: range, into: NDArray[Any]) -> None:
        weave(nside, lambda size: tiles_of(reader, size, out.dtype), into, finishes, reader.threads, rings)

    rings = range(ring_of(nside, start), ring_of(nside, stop - 1) + 1)
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    if stop - start < _SMALL:
        whole = np.empty((len(out), high - low), out.dtype)
        fill(rings, whole)
        out[...] = whole[:, start - low : stop - low]
        return
    if low < start:
        rings = rings[1:]
    if stop < high:
        rings = rings[:-1]
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    fill(rings, out[:, low - start : high - start])
    for part in (slice(start, low), slice(high, stop)):
        if part.start < part.stop:
            by_pixel(part, out[:, part.start - start : part.stop - start])
