"""A whole-sky map of any resolution and ordering, from a whole-sky map of any: which steps it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .blocks import Reader
from .grade import degrade, stream_degraded
from .layout import Layout
from .shuffle import gather_nested, gather_ring
from .stored_tiles import tiles_of
from .tiles import ArrayTiles
from .unweave import tile_for, unweave
from .values import AS_IS, Finish
from .weave import LARGEST, SMALLEST, weave

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fill_whole", "regrade"]


def fill_whole(
    layout: Layout, reader: Reader, nside: int, order: str, out: NDArray[Any], finishes: Sequence[Finish]
) -> None:
    """Read the whole map into ``out``.

    Parameters
    ----------
    layout : Layout
        Of a map that is not partial.
    reader : Reader
        Of the wanted columns.
    nside : int
        Resolution of the output.
    order : str
        Ordering of the output.
    out : numpy.ndarray
        Shape (fields, 12 * nside**2), C-contiguous, native.
    finishes : sequence of Finish
        The last step on each field.
    """
    import numpy as np

    same = nside == layout.nside
    children = max(1, layout.nside // nside) ** 2
    if same and order == layout.order:
        reader.stream(0, layout.npix, list(out), finishes)
    elif same and layout.order == "NESTED" and SMALLEST <= nside <= LARGEST:
        # of mixed columns each is cast from its own type while it is loaded
        weave(nside, lambda size: tiles_of(reader, size, out.dtype), out, finishes, reader.threads)
    elif same and layout.order == "RING" and tile_for(nside):
        unweave(nside, tile_for(nside), _rings_of(reader), out.dtype, out, finishes, reader.threads)
    elif nside < layout.nside and (layout.order == "NESTED" or tile_for(layout.nside, children)):
        low = out if order == "NESTED" else np.empty_like(out)
        last = finishes if order == "NESTED" else [AS_IS] * len(out)
        if layout.order == "NESTED":
            stream_degraded(reader, low, children, [out.dtype] * len(out), last)
        else:
            tile = tile_for(layout.nside, children)
            # wide tiles take much room: then one thread
            threads = reader.threads if 8 * tile <= layout.nside else 1
            shrink = partial(degrade, children=children)
            unweave(layout.nside, tile, _rings_of(reader), out.dtype, low, last, threads, shrink)
        if order == "RING":
            regrade(low, nside, "NESTED", nside, "RING", out, finishes, reader.threads)
    else:
        values = np.empty((len(out), layout.npix), out.dtype)
        # UNSEEN stays UNSEEN until the means are taken
        reader.stream(0, layout.npix, list(values), [AS_IS] * len(out))
        regrade(values, layout.nside, layout.order, nside, order, out, finishes, reader.threads)


def _rings_of(reader: Reader) -> Callable[[int, list[NDArray[Any]]], None]:
    def read(first: int, into: list[NDArray[Any]]) -> None:
        reader.read(first, into[0].size, into)

    return read


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
    """Bring a map in memory to another resolution and ordering.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (fields, 12 * nside**2).
    nside, order : int, str
        What it has.
    nside_out, order_out : int, str
        What it is to have.
    out : numpy.ndarray
        Shape (fields, 12 * nside_out**2), of the same type, C-contiguous.
    finishes : sequence of Finish
        The last step on each field.
    threads : int
        How many threads work.
    """
    import numpy as np

    if order == "RING" and (order_out == "NESTED" or nside != nside_out):
        nested = out if nside == nside_out else np.empty_like(values)
        gather_nested(nside, values, nested, threads)
        values, order = nested, "NESTED"
    if nside_out < nside:
        children = (nside // nside_out) ** 2
        lower = np.empty_like(out) if order_out == "RING" else out
        for field, line in enumerate(values):
            lower[field] = degrade(line, children)
        values = lower
    finer = max(1, (nside_out // nside) ** 2)
    if order == order_out:
        if finer > 1:
            for line, target in zip(values, out, strict=True):
                target.reshape(-1, finer)[...] = line[:, None]
        elif values is not out:
            out[...] = values
    elif SMALLEST <= nside_out <= LARGEST:
        weave(nside_out, lambda size: ArrayTiles(values, size, finer), out, finishes, threads)
        return
    else:
        gather_ring(nside_out, values, out, threads, finer)
    for line, finish in zip(out, finishes, strict=True):
        finish(line)
