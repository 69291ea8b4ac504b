"""Maps of a part of the sky, stored as pixel numbers and values: memory for the result and the pixels there are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import MOST_VALUES, ColumnReader, Ints
from .healpix import nest2ring, ring2nest
from .layout import Column, MapLayout
from .request import MapRequest, as_array
from .values import UNSEEN, bad_pixels, finish, means

_PADDING = np.iinfo("i8").min


def stored_pixels(layout: MapLayout, column: Column, threads: int = 0) -> Ints:
    """The pixel numbers, as the file has them; -1 for a row whose pixel number is null, which is padding."""
    if column.logical:
        raise column.context.error("should hold pixel numbers, but they are logical values")
    pixels = np.empty(column.count, "i8")
    if column.natural.kind == "f":
        floats = np.empty(column.count)
        ColumnReader(layout.source, [column], np.nan, threads).stream(0, [floats])
        finish(floats, np.nan, 1)
        known = np.isfinite(floats)
        if (np.floor(floats[known]) != floats[known]).any():
            raise column.context.error("should hold pixel numbers, but they are no integers")
        pixels[:] = np.where(known, floats, _PADDING)
    else:
        ColumnReader(layout.source, [column], _PADDING, threads).stream(0, [pixels])
    there = pixels[pixels != _PADDING]
    if there.size:
        low, high = int(there.min()), int(there.max())
        if low < 0 or high >= layout.npix:
            wrong = low if low < 0 else high
            raise column.context.error(f"pixel {wrong} is out of range for NSIDE={layout.nside} ({layout.npix} pixels)")
    pixels[pixels == _PADDING] = -1
    return pixels


def in_order(layout: MapLayout, order: str, pixels: Ints) -> Ints:
    """Turn the file's pixel numbers into those of an ordering; -1 stays -1."""
    if order == layout.order:
        return pixels
    there = pixels.clip(0)
    numbers = nest2ring(layout.nside, there) if order == "RING" else ring2nest(layout.nside, there)
    numbers[pixels < 0] = -1
    return numbers


def fill_partial(request: MapRequest, column: Column, pixels: slice | Ints, out: NDArray[Any]) -> None:
    """Read pixels of a partial map, ``column`` has the numbers, into ``out``, (fields, pixels), C-contiguous."""
    layout, nside = request.layout, request.nside
    stored = stored_pixels(layout, column, request.reader.threads)
    out[...] = request.blank
    low: list[NDArray[Any]] = []
    if nside < layout.nside:
        stored, low = _means_of_stored(request, stored, out)
    if out.shape[1] < request.npix or not isinstance(pixels, slice):
        _find(request, stored, low, pixels, out)
    elif low:
        numbers = nest2ring(nside, stored) if request.order == "RING" else stored
        for field, values in enumerate(low):
            request.finish(field, values)
            out[field, numbers] = values
    else:
        _scatter(request, in_order(layout, request.order if nside == layout.nside else "NESTED", stored), out)


def _find(request: MapRequest, stored: Ints, low: list[NDArray[Any]], pixels: slice | Ints, out: NDArray[Any]) -> None:
    """Read some pixels: of the stored values only those; ``low`` are means that were taken of them."""
    positions = request.as_nested(as_array(pixels)) if low else request.positions_of(pixels)
    rows = np.argsort(stored, kind="stable")
    at = np.searchsorted(stored, positions, side="right", sorter=rows) - 1
    there = at >= 0
    rows = rows[at[there]]
    right = stored[rows] == positions[there]
    there[there], rows = right, rows[right]
    buffers = [values[rows] for values in low] or [np.empty(rows.size, out.dtype) for _ in out]
    if not low:
        request.reader.take(rows, buffers)
    for field, buffer in enumerate(buffers):
        request.finish(field, buffer)
        out[field, there] = buffer


def _scatter(request: MapRequest, pixels: Ints, out: NDArray[Any]) -> None:
    """Put each stored value into the pixels of the whole sky that it covers."""
    finer = (request.nside // request.layout.nside) ** 2
    step = max(1, (1 << 18) // finer)
    # one thread: of a pixel that is there twice the last value counts, as with healpy
    for at in range(0, pixels.size, step):
        some = pixels[at : at + step]
        there = some >= 0
        numbers = (some[there][:, None] * finer + np.arange(finer)).ravel()
        if finer > 1 and request.order == "RING":
            numbers = nest2ring(request.nside, numbers)
        buffers: list[NDArray[Any]] = [np.empty(some.size, out.dtype) for _ in out]
        request.reader.read(at, some.size, buffers)
        for field, buffer in enumerate(buffers):
            request.finish(field, buffer)
            out[field, numbers] = np.repeat(buffer[there], finer)


def _means_of_stored(request: MapRequest, pixels: Ints, out: NDArray[Any]) -> tuple[Ints, list[NDArray[Any]]]:
    """The NESTED pixels at a lower ``nside`` that have stored children, ascending, and their means of each field."""
    nested = in_order(request.layout, "NESTED", pixels)
    rows = np.argsort(nested, kind="stable")
    rows = rows[np.searchsorted(nested[rows], 0) :]
    numbers = nested[rows]
    last = np.append(numbers[1:] != numbers[:-1], True)[: numbers.size]
    rows, numbers = rows[last], numbers[last]
    children = (request.layout.nside // request.nside) ** 2
    parents, starts, counts = np.unique(numbers // children, return_index=True, return_counts=True)
    stored: list[NDArray[Any]] = [np.empty(pixels.size, out.dtype) for _ in out]
    request.reader.stream(0, stored)
    if children > MOST_VALUES:
        return parents, [_means_of_runs(values[rows], starts) for values in stored]
    low: list[NDArray[Any]] = [np.empty(parents.size, out.dtype) for _ in out]
    step = MOST_VALUES // children
    for at in range(0, parents.size, step):
        n = min(step, parents.size - at)
        some = slice(starts[at], starts[at] + counts[at : at + n].sum())
        places = numbers[some] % children + np.repeat(np.arange(n), counts[at : at + n]) * children
        for values, target in zip(stored, low, strict=True):
            dense = np.full(n * children, UNSEEN, out.dtype)
            dense[places] = values[rows[some]]
            target[at : at + n] = means(dense, children)
    return parents, low


def _means_of_runs(values: NDArray[Any], starts: Ints) -> NDArray[Any]:
    """As `means`, of runs of any length: for so many children that most are not stored."""
    good = np.isfinite(values)
    bad = bad_pixels(values)
    if bad is not None:
        good &= ~bad
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.add.reduceat(values * good, starts)
        hits = np.add.reduceat(good.astype("i8"), starts)
        return np.where(hits > 0, total / np.maximum(hits, 1), UNSEEN)
