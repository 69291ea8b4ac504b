"""A whole map, or a piece of one, in any resolution and ordering: only the blocks that hold its pixels are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .byte_source import Context
from .columns import MOST, ColumnReader
from .healpix import TABLE_NSIDE, first_of_ring, nest2ring, nest2ring_run, ring2nest, ring_of
from .layout import MapLayout
from .reorder import has_bands, nested_to_ring, ring_to_nested, scatter_ring, tile_for
from .squares import fill_squares
from .tiles import tiles_of
from .ud_grade import means, read_means
from .values import AS_IS, Finish

Ints = NDArray[np.int64]

# in units of nside: a run of RING pixels that has less is not worth whole tiles of a NESTED map
_FEW_RINGS = 96
# pixels that may be in memory twice
_SMALL = 1 << 20
# fewer pixels are read one by one, narrower rows as a whole
_FEW, _NARROW = 4096, 256


@dataclass(slots=True)
class Plan:
    """How to read fields of a map: in which resolution and ordering, and the last step on each field.

    ``blank`` is the value of pixels that a partial map does not have.
    """

    layout: MapLayout
    reader: ColumnReader
    nside: int
    order: str
    finishes: list[Finish]
    blank: float

    def finish(self, out: NDArray[Any]) -> None:
        for field, finish in zip(out, self.finishes, strict=True):
            finish(field)

    def as_nested(self, numbers: Ints) -> Ints:
        return numbers if self.order == "NESTED" else ring2nest(self.nside, numbers)

    def positions_of(self, pixels: slice | Ints) -> Ints:
        """The pixels of the file that cover pixels of the same or a finer resolution."""
        layout, nside = self.layout, self.nside
        if isinstance(pixels, slice) and (nside, self.order, layout.order) == (layout.nside, "NESTED", "RING"):
            return nest2ring_run(nside, pixels.start, pixels.stop - pixels.start)
        numbers = as_array(pixels)
        if nside == layout.nside and self.order == layout.order:
            return numbers
        nested = self.as_nested(numbers)
        if nside > layout.nside:
            nested = nested // (nside // layout.nside) ** 2
        return nested if layout.order == "NESTED" else nest2ring(layout.nside, nested)


def as_array(pixels: slice | Ints) -> Ints:
    """The numbers of a run as an array."""
    return np.arange(pixels.start, pixels.stop, dtype="i8") if isinstance(pixels, slice) else pixels


def pixel_numbers(pixels: Any, npix: int, context: Context) -> slice | Ints:
    """Check the pixels asked for: a slice with start and stop where they are a run of neighbours."""
    try:
        if isinstance(pixels, slice):
            pixels = range(*pixels.indices(npix))
        if not isinstance(pixels, range):
            pixels = np.asarray(pixels)
    except (TypeError, ValueError) as error:
        raise context.error(f"pixels must be a list of integers: {error}") from error
    if isinstance(pixels, range):
        for end in (*pixels[:1], *pixels[-1:]):  # as a list it may be far too long
            _check_inside(end, npix, context)
        if pixels.step == 1:
            return slice(pixels.start, pixels.start + len(pixels))
        pixels = np.asarray(pixels)
    numbers = pixels if pixels.size else pixels.astype("i8")
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise context.error(f"pixels must be a list of integers, not {numbers.dtype} of shape {numbers.shape}")
    if numbers.size:
        low, high = int(numbers.min()), int(numbers.max())
        _check_inside(low, npix, context)
        _check_inside(high, npix, context)
        if high - low == numbers.size - 1 and numbers[0] == low and (np.diff(numbers) == 1).all():
            return slice(low, high + 1)
    wide: Ints = numbers.astype("i8", copy=False)
    return wide


def _check_inside(pixel: int, npix: int, context: Context) -> None:
    if not 0 <= pixel < npix:
        raise context.error(f"pixel {pixel} is out of range: the map has {npix} pixels, 0 to {npix - 1}")


def fill_whole(plan: Plan, out: NDArray[Any]) -> None:
    """Read a map that is not partial into ``out``, (fields, 12 * nside**2), C-contiguous and native."""
    layout, reader, nside, order = plan.layout, plan.reader, plan.nside, plan.order
    children = max(1, layout.nside // nside) ** 2

    def read_rings(first: int, into: list[NDArray[Any]]) -> None:
        reader.read(first, into[0].size, into)

    def to_nested(into: NDArray[Any], finishes: list[Finish], **options: Any) -> None:
        tile = tile_for(layout.nside, children)
        # wide tiles take much memory: then one thread
        threads = reader.threads if 8 * tile <= layout.nside else 1
        ring_to_nested(layout.nside, tile, read_rings, into.dtype, into, finishes, threads, **options)

    if nside == layout.nside and order == layout.order:
        reader.stream(0, layout.npix, list(out), plan.finishes)
    elif nside == layout.nside and layout.order == "NESTED" and has_bands(nside):
        # of columns of different types each is cast from its own while it is loaded
        nested_to_ring(nside, partial(tiles_of, reader, dtype=out.dtype), out, plan.finishes, reader.threads)
    elif nside == layout.nside and layout.order == "RING" and has_bands(nside):
        to_nested(out, plan.finishes)
    elif nside < layout.nside and (layout.order == "NESTED" or tile_for(layout.nside, children)):
        low = out if order == "NESTED" else np.empty_like(out)
        if layout.order == "NESTED":
            read_means(reader, low, children)
        else:
            to_nested(low, [AS_IS] * len(out), shrink=partial(means, children=children))
        if order == "RING":
            scatter_ring(nside, low, out, reader.threads)
        plan.finish(out)
    else:
        _one_by_one(plan, slice(0, 12 * nside**2), out)


def fill_piece(plan: Plan, pixels: slice | Ints, out: NDArray[Any]) -> None:
    """Read some pixels, as `pixel_numbers` gives them, of a map that is not partial into (fields, pixels)."""
    layout, reader, nside = plan.layout, plan.reader, plan.nside
    if not isinstance(pixels, slice):
        _one_by_one(plan, pixels, out)
        return
    count = pixels.stop - pixels.start
    change = (layout.order, plan.order) if nside == layout.nside and not reader.source.connections else None
    wide = reader.packed or reader.columns[0].per_row >= _NARROW
    if nside == layout.nside and plan.order == layout.order:
        reader.stream(pixels.start, count, list(out), plan.finishes)
    elif count == 12 * nside**2:
        fill_whole(plan, out)
    elif change == ("NESTED", "RING") and has_bands(nside) and count >= _FEW_RINGS * nside:
        _fill_rings(plan, pixels, out)
    elif change == ("RING", "NESTED") and wide and reader.raw and nside <= TABLE_NSIDE and count >= _FEW:
        fill_squares(reader, nside, pixels, out)
        plan.finish(out)
    else:
        _one_by_one(plan, pixels, out)


def _one_by_one(plan: Plan, pixels: slice | Ints, out: NDArray[Any]) -> None:
    # neighbours in one ordering are near each other in the other too, so runs go in parts that bound the memory
    step = max(1 << 18, 256 * plan.nside) if isinstance(pixels, slice) else max(1, out.shape[1])
    for at in range(0, out.shape[1], step):
        part = out[:, at : at + step]
        some = pixels
        if isinstance(pixels, slice):
            some = slice(pixels.start + at, pixels.start + at + part.shape[1])
        if plan.nside < plan.layout.nside:
            _take_means(plan, plan.as_nested(as_array(some)), part)
        else:
            plan.reader.take(plan.positions_of(some), list(part))
        plan.finish(part)


def _take_means(plan: Plan, parents: Ints, out: NDArray[Any]) -> None:
    nside = plan.layout.nside
    children = (nside // plan.nside) ** 2
    step = max(1, MOST // children)
    for at in range(0, parents.size, step):
        fine = (parents[at : at + step, None] * children + np.arange(children)).ravel()
        if plan.layout.order == "RING":
            fine = nest2ring(nside, fine)
        buffers: list[NDArray[Any]] = [np.empty(fine.size, out.dtype) for _ in out]
        plan.reader.take(fine, buffers)
        for buffer, field in zip(buffers, out, strict=True):
            field[at : at + step] = means(buffer, children)


def _fill_rings(plan: Plan, pixels: slice, out: NDArray[Any]) -> None:
    """Read a run of RING pixels of a NESTED map: so many rings that tiles are best read whole."""
    nside, start, stop = plan.nside, int(pixels.start), int(pixels.stop)

    def fill(rings: range, into: NDArray[Any]) -> None:
        tiles = partial(tiles_of, plan.reader, dtype=out.dtype)
        nested_to_ring(nside, tiles, into, plan.finishes, plan.reader.threads, rings)

    rings = range(ring_of(nside, start), ring_of(nside, stop - 1) + 1)
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    if stop - start < _SMALL:
        whole = np.empty((len(out), high - low), out.dtype)
        fill(rings, whole)
        out[...] = whole[:, start - low : stop - low]
        return
    # the rings at both ends, which need not be whole, are read pixel by pixel
    rings = rings[low < start : len(rings) - (stop < high)]
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    fill(rings, out[:, low - start : high - start])
    for part in (slice(start, low), slice(high, stop)):
        if part.start < part.stop:
            _one_by_one(plan, part, out[:, part.start - start : part.stop - start])
