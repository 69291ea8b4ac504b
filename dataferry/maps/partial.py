"""Maps of a part of the sky, stored as pixel numbers and values: memory for the result and the pixels there are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import MOST, ColumnReader
from .fill import Plan, as_array
from .healpix import nest2ring, ring2nest
from .layout import MapLayout
from .ud_grade import means
from .values import AS_IS, UNSEEN, bad_pixels

Ints = NDArray[np.int64]


def stored_pixels(layout: MapLayout, threads: int = 0) -> Ints:
    """The pixel numbers, as the file has them; -1 for a row whose pixel number is null, which is padding."""
    column = layout.pixels
    if column is None:
        raise layout.context.error("is not a partial map")
    padding = np.iinfo("i8").min
    if column.natural.kind == "f":
        floats = np.empty(column.count)
        ColumnReader([column], np.nan, threads).stream(0, column.count, [floats], [AS_IS])
        known = np.isfinite(floats) & (floats != UNSEEN)
        if (np.floor(floats[known]) != floats[known]).any():
            raise column.context.error("should hold pixel numbers, but they are no integers")
        pixels = np.where(known, floats, padding).astype("i8")
    else:
        pixels = np.empty(column.count, "i8")
        ColumnReader([column], padding, threads).stream(0, column.count, [pixels], [AS_IS])
    there = pixels[pixels != padding]
    if there.size:
        low, high = int(there.min()), int(there.max())
        if low < 0 or high >= layout.npix:
            wrong = low if low < 0 else high
            raise column.context.error(f"pixel {wrong} is out of range for NSIDE={layout.nside} ({layout.npix} pixels)")
    if there.size < pixels.size:
        pixels[pixels == padding] = -1
    return pixels


def in_order(layout: MapLayout, order: str, pixels: Ints) -> Ints:
    """Turn the file's pixel numbers into those of an ordering; -1 stays -1."""
    if order == layout.order:
        return pixels
    padding = pixels < 0
    there = pixels.clip(0) if padding.any() else pixels
    numbers = nest2ring(layout.nside, there) if order == "RING" else ring2nest(layout.nside, there)
    numbers[padding] = -1
    return numbers


def fill_partial(plan: Plan, out: NDArray[Any]) -> None:
    """Read a partial map into a whole sky, (fields, 12 * nside**2)."""
    pixels = stored_pixels(plan.layout, plan.reader.threads)
    out[...] = plan.blank
    nside, of_file = plan.nside, plan.layout.nside
    if nside < of_file:
        parents, low = _means_of_stored(plan, pixels, out)
        numbers = nest2ring(nside, parents) if plan.order == "RING" else parents
        for values, field, finish in zip(low, out, plan.finishes, strict=True):
            finish(values)
            field[numbers] = values
        return
    order = plan.order if nside == of_file else "NESTED"
    _scatter(plan, in_order(plan.layout, order, pixels), out, (nside // of_file) ** 2)


def _scatter(plan: Plan, pixels: Ints, out: NDArray[Any], finer: int) -> None:
    """Put each stored value into the ``finer`` pixels of the output that it covers."""
    step = max(1, (1 << 18) // finer)
    # one thread: of a pixel that is there twice the last value counts, as with healpy
    for at in range(0, pixels.size, step):
        some = pixels[at : at + step]
        buffers: list[NDArray[Any]] = [np.empty(some.size, out.dtype) for _ in out]
        plan.reader.read(at, some.size, buffers)
        for buffer, finish in zip(buffers, plan.finishes, strict=True):
            finish(buffer)
        there = some >= 0
        for first in range(0, finer, MOST):
            inside = np.arange(first, min(finer, first + MOST))
            numbers = (some[there][:, None] * finer + inside).ravel()
            if finer > 1 and plan.order == "RING":
                numbers = nest2ring(plan.nside, numbers)
            for buffer, field in zip(buffers, out, strict=True):
                field[numbers] = np.repeat(buffer[there], inside.size)


def _means_of_stored(plan: Plan, pixels: Ints, out: NDArray[Any]) -> tuple[Ints, list[NDArray[Any]]]:
    """The NESTED pixels at a lower ``nside`` that have stored children, ascending, and their means of each field."""
    nested = in_order(plan.layout, "NESTED", pixels)
    rows = np.argsort(nested, kind="stable")
    rows = rows[np.searchsorted(nested[rows], 0) :]
    numbers = nested[rows]
    last = np.append(numbers[1:] != numbers[:-1], True)[: numbers.size]
    rows, numbers = rows[last], numbers[last]
    children = (plan.layout.nside // plan.nside) ** 2
    parents, starts, counts = np.unique(numbers // children, return_index=True, return_counts=True)
    stored: list[NDArray[Any]] = [np.empty(pixels.size, out.dtype) for _ in out]
    plan.reader.stream(0, pixels.size, stored, [AS_IS] * len(out))
    if children > MOST:
        return parents, [_means_of_runs(values[rows], starts) for values in stored]
    low: list[NDArray[Any]] = [np.empty(parents.size, out.dtype) for _ in out]
    step = max(1, MOST // children)
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
    if not starts.size:
        return values[:0]
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.add.reduceat(values * good, starts)
        hits = np.add.reduceat(good.astype("i8"), starts)
        return np.where(hits > 0, total / np.maximum(hits, 1), UNSEEN)


def fill_partial_piece(plan: Plan, pixels: slice | Ints, out: NDArray[Any]) -> None:
    """Read some pixels, as `pixel_numbers` gives them, of a partial map: of its values only those."""
    stored = stored_pixels(plan.layout, plan.reader.threads)
    low: list[NDArray[Any]] = []
    if plan.nside < plan.layout.nside:
        positions = plan.as_nested(as_array(pixels))
        stored, low = _means_of_stored(plan, stored, out)
    else:
        positions = plan.positions_of(pixels)
    rows = np.argsort(stored, kind="stable")
    at = np.searchsorted(stored, positions, side="right", sorter=rows) - 1
    rows = rows[at.clip(0)] if stored.size else np.zeros(positions.size, "i8")
    there = (at >= 0) & (stored[rows] == positions) if stored.size else np.zeros(positions.size, bool)
    buffers = [values[rows[there]] for values in low] or [np.empty(int(there.sum()), out.dtype) for _ in out]
    if not low:
        plan.reader.take(rows[there], buffers)
    out[...] = plan.blank
    for buffer, field, finish in zip(buffers, out, plan.finishes, strict=True):
        finish(buffer)
        field[there] = buffer
