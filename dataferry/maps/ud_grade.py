"""Whole-sky maps of any resolution and ordering from whole-sky maps of any.

Down, means of the good pixels, in floating point; up, copies: as `healpy.ud_grade` does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .columns import BLOCK, ColumnReader
from .layout import MapLayout
from .reorder import gather_nested, gather_ring, has_bands, nested_to_ring, ring_to_nested, tile_for
from .threads import run_threads
from .tiles import ArrayTiles, tiles_of
from .values import AS_IS, UNSEEN, Finish, bad_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fill_whole", "means", "regrade"]


def means(values: NDArray[Any], children: int) -> NDArray[Any]:
    """Average the children of each NESTED pixel that are not UNSEEN, in the type of floats that the values have.

    To the bit what healpy does with a nested map: sums are numpy's pairwise sums, a pixel without a good child is
    UNSEEN, and one with a child that is NaN or infinite is NaN unless all are such.
    """
    import numpy as np

    rows = values.reshape(-1, children)
    kind = values.dtype
    with np.errstate(invalid="ignore", over="ignore"):
        total = _sum_of_four(rows) if children == 4 and kind.char in "fd" else rows.sum(axis=1)
        bad = bad_pixels(values)
        mean: NDArray[Any]
        if bad is None and np.isfinite(total).all():
            mean = (total / np.int64(children)).astype(kind)
            return mean
        good = np.isfinite(rows)
        if bad is not None:
            good &= ~bad.reshape(rows.shape)
        mean = np.sum(rows * good, axis=1).astype(kind)
        hits = good.sum(axis=1)
        some = hits != 0
        mean[some] = mean[some] / hits[some]
        mean[~some] = UNSEEN
    return mean


def _sum_of_four(rows: NDArray[Any]) -> NDArray[Any]:
    """Add up short rows column by column, in the order in which numpy adds them, many times as fast."""
    total: NDArray[Any] = rows[:, 0] + rows[:, 1]
    total += rows[:, 2]
    total += rows[:, 3]
    total += 0  # numpy's sum of negative zeros is zero
    return total


def fill_whole(
    layout: MapLayout, reader: ColumnReader, nside: int, order: str, out: NDArray[Any], finishes: Sequence[Finish]
) -> None:
    """Read a map that is not partial into ``out``, (fields, 12 * nside**2), C-contiguous and native."""
    import numpy as np

    same = nside == layout.nside
    children = max(1, layout.nside // nside) ** 2

    def read_rings(first: int, into: list[NDArray[Any]]) -> None:
        reader.read(first, into[0].size, into)

    if same and order == layout.order:
        reader.stream(0, layout.npix, list(out), finishes)
    elif same and layout.order == "NESTED" and has_bands(nside):
        # of columns of different types each is cast from its own while it is loaded
        nested_to_ring(nside, lambda size: tiles_of(reader, size, out.dtype), out, finishes, reader.threads)
    elif same and layout.order == "RING" and tile_for(nside):
        ring_to_nested(nside, tile_for(nside), read_rings, out.dtype, out, finishes, reader.threads)
    elif nside < layout.nside and (layout.order == "NESTED" or tile_for(layout.nside, children)):
        low = out if order == "NESTED" else np.empty_like(out)
        last = finishes if order == "NESTED" else [AS_IS] * len(out)
        if layout.order == "NESTED":
            _stream_means(reader, low, children, last)
        else:
            tile = tile_for(layout.nside, children)
            # wide tiles take much memory: then one thread
            threads = reader.threads if 8 * tile <= layout.nside else 1
            shrink = partial(means, children=children)
            ring_to_nested(layout.nside, tile, read_rings, out.dtype, low, last, threads, shrink)
        if order == "RING":
            regrade(low, nside, "NESTED", nside, "RING", out, finishes, reader.threads)
    else:
        values = np.empty((len(out), layout.npix), out.dtype)
        # UNSEEN stays UNSEEN until the means are taken
        reader.stream(0, layout.npix, list(values), [AS_IS] * len(out))
        regrade(values, layout.nside, layout.order, nside, order, out, finishes, reader.threads)


def _stream_means(reader: ColumnReader, out: NDArray[Any], children: int, finishes: Sequence[Finish]) -> None:
    """Read a NESTED map and keep only the means."""
    import numpy as np

    step = max(1, BLOCK // 8 // children)

    def work(starts: Iterator[int]) -> None:
        buffers: list[NDArray[Any]] = [np.empty(step * children, out.dtype) for _ in out]
        for at in starts:
            n = min(step, out.shape[1] - at)
            parts = [buffer[: n * children] for buffer in buffers]
            reader.read(at * children, n * children, parts, BLOCK // 2)
            for part, field, finish in zip(parts, out, finishes, strict=True):
                field[at : at + n] = means(part, children)
                finish(field[at : at + n])

    run_threads(work, range(0, out.shape[1], step), reader.threads)


def regrade(
    values: NDArray[Any],
    nside: int,
    order: str,
    nside_out: int,
    order_out: str,
    out: NDArray[Any],
    finishes: Sequence[Finish],
    threads: int,
) -> None:
    """Bring a map in memory, (fields, pixels), to the resolution and ordering of ``out``, of the same type."""
    import numpy as np

    if order == "RING" and (order_out == "NESTED" or nside != nside_out):
        nested = out if nside == nside_out else np.empty_like(values)
        gather_nested(nside, values, nested, threads)
        values, order = nested, "NESTED"
    if nside_out < nside:
        lower = np.empty_like(out) if order_out == "RING" else out
        for field, target in zip(values, lower, strict=True):
            target[...] = means(field, (nside // nside_out) ** 2)
        values = lower
    finer = max(1, (nside_out // nside) ** 2)
    if order == order_out:
        if finer > 1:
            for field, target in zip(values, out, strict=True):
                target.reshape(-1, finer)[...] = field[:, None]
        elif values is not out:
            out[...] = values
    elif has_bands(nside_out):
        nested_to_ring(nside_out, lambda size: ArrayTiles(values, size, finer), out, finishes, threads)
        return
    else:
        gather_ring(nside_out, values, out, threads, finer)
    for field, finish in zip(out, finishes, strict=True):
        finish(field)
