"""`read_map` and `read_partial`: one call from a file to a map in memory. Only blocks with wanted pixels are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from astropy.units import Quantity
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .byte_source import Context, PathOrSource
from .columns import BLOCK, MOST_VALUES, ColumnReader, Ints, run_threads
from .healpix import first_of_ring, nest2ring, ring_of
from .layout import Fields
from .partial import fill_partial, in_order, stored_pixels
from .reorder import fill_squares, has_bands, nested_to_ring, ring_to_nested, scatter_ring, tile_for
from .request import MapRequest, as_array, open_map
from .values import UNSEEN, means

# in units of nside: a run of RING pixels that has less is not worth whole tiles of a NESTED map
_FEW_RINGS = 96
# pixels that may be in memory twice
_SMALL = 1 << 18
# fewer pixels are read one by one, narrower rows as a whole
_FEW, _NARROW = 4096, 256


def read_map(
    path: PathOrSource,
    field: Fields = 0,
    *,
    nside: int | None = None,
    unit: Any = None,
    order: str | None = None,
    dtype: DTypeLike | None = None,
    pixels: slice | range | ArrayLike | None = None,
    fill: float = UNSEEN,
    out: NDArray[Any] | None = None,
    comm: Any = None,
    shared: bool = False,
    hdu: int | str | None = None,
    remote: bool = False,
) -> Quantity:
    """Read a HEALPix map, or a part of one, in the resolution, ordering, type and unit that you want.

    Only the blocks of the file that hold the wanted pixels are read, each once, and converted on the way into the
    output: byte order, ordering, UNSEEN and unit.

    Parameters
    ----------
    path : path-like, str or Source
        A FITS file (also ``.gz``, ``.bz2``, ``.xz``, also a tile-compressed image) or an HDF5 file; with ``remote`` a
        URL.
    field : int, str, sequence of these, or None
        Which columns, by number from 0 or by name; None is all. The column of pixel numbers of a partial map does not
        count.
    nside : int, optional
        Resolution of the output, a power of two; None is that of the file. Down, the mean of the good pixels, as
        ``healpy.ud_grade`` takes it, in the type of the output (``dtype="f8"`` for means in double precision); means
        of integers are float64. Up, copies.
    unit : unit-like, optional
        Converts from the file's unit, or states the unit where the file gives none; of several fields, all or none
        must have one. None takes the file's, and dimensionless where it gives none. K_CMB is not K: see
        `dataferry.maps.K_CMB`.
    order : {"RING", "NESTED", "file"}, optional
        Ordering of the output, and of ``pixels``; None is RING, as with ``healpy.read_map``. A file that does not
        state its ordering is assumed to be in RING.
    dtype : dtype-like, optional
        Type of the output. None keeps that of the file, native-endian; scaled integers, integers with a null value
        and means of integers become float64. In integers NaN and infinities are pixels without data too; for these
        and float16 means are taken in floats of the type of the file.
    pixels : slice, range or array_like of int, optional
        Only these pixels, numbers in ``order`` at ``nside``; the result has them in this order.
    fill : float, optional
        Value of pixels without data: UNSEEN in the file, null, or not in a partial map. It is set after means are
        taken and units converted. A type that cannot hold it is an error where there are such pixels.
    out : numpy.ndarray, optional
        Filled and returned in the Quantity; C-contiguous, native, of the shape of the result. Its type is that of the
        output, whatever ``dtype`` is.
    comm : mpi4py.MPI.Comm, optional
        Each rank reads only its pixels: ``pixels`` if given, else its share of equal runs of neighbours.
    shared : bool, optional
        With ``comm``: the whole map, once a node, in memory that the node's ranks share until all of them call
        ``info.meta["window"].Free()``, or the program ends. Collective: an error of one rank is raised on all.
        Not together with ``pixels`` or ``out``.
    hdu : int or str, optional
        Number or EXTNAME of the HDU, or path of the HDF5 dataset; None finds the map.
    remote : bool, optional
        Read by byte ranges from a server. What is read in part is not verified against a sha256.

    Returns
    -------
    astropy.units.Quantity
        Shape (npix,) for one field given alone, (fields, npix) for a sequence or None; npix is 12 * nside**2, or the
        number of ``pixels``. Native-endian, in ``order``. ``info.meta`` has ``nside``, ``order``, ``file``, ``hdu``,
        ``fields`` (``hdu`` of HDF5 is the dataset); ``order_from`` ("primary header" or "assumed") where the map's own
        header does not state the ordering of the file; with ``comm`` the ``pixels`` of this rank; with ``remote``
        ``moved_bytes`` and ``verified`` (False).

    Raises
    ------
    UnknownField
        If the file has no such field.
    MapError
        If the file is no map, is damaged, or cannot be read as asked; it names file, HDU and column.
    MissingExtra
        If the file is HDF5 and h5py is not installed.

    Examples
    --------
    >>> from dataferry import maps
    >>> dust = maps.read_map("dust.fits", nside=64, unit="uK_RJ")  # doctest: +SKIP
    """
    with ExitStack() as stack:

        def prepare() -> MapRequest:
            layout = stack.enter_context(open_map(path, hdu, remote=remote))
            if comm is not None and shared and not (pixels is None and out is None):
                reason = "shared=True reads the whole map into memory of its own"
                raise layout.context.error(reason, "leave out pixels and out")
            threads = 0 if comm is None else 1
            return MapRequest(
                layout, field, nside=nside, unit=unit, order=order, dtype=dtype, fill=fill, out=out, threads=threads
            )

        if comm is not None and shared:
            from .mpi import read_shared

            return read_shared(comm, prepare, lambda request: _read(request, slice(0, request.npix)))
        request = prepare()
        if comm is not None and pixels is None:
            # a run of neighbours for each rank; they differ by one pixel at most
            pixels = range(comm.rank * request.npix // comm.size, (comm.rank + 1) * request.npix // comm.size)
            request.meta["pixels"] = (pixels.start, pixels.stop)
        return _read(request, _pixel_numbers(slice(None) if pixels is None else pixels, request.npix, request.context))


def read_partial(
    path: PathOrSource,
    field: Fields = 0,
    *,
    unit: Any = None,
    order: str | None = None,
    dtype: DTypeLike | None = None,
    hdu: int | str | None = None,
    remote: bool = False,
) -> tuple[NDArray[np.int64], Quantity]:
    """Read the pixels that a map has, as numbers and values, without making a whole sky of them.

    Parameters
    ----------
    path, field, unit, dtype, hdu, remote
        As for `read_map`.
    order : {"RING", "NESTED", "file"}, optional
        Ordering of the pixel numbers; None is RING.

    Returns
    -------
    pixels : numpy.ndarray of int64
        Shape (n,). Of a partial map in the order in which they are stored, without rows whose pixel number is null; of
        a whole-sky map those, ascending, that are not UNSEEN in every field.
    values : astropy.units.Quantity
        Shape (n,) for one field given alone, (fields, n) otherwise; nulls are UNSEEN. ``info.meta`` as for `read_map`.

    Raises
    ------
    MapError
        If the file is no map, is damaged, or cannot be read as asked.
    """
    with open_map(path, hdu, remote=remote) as layout:
        request = MapRequest(layout, field, unit=unit, order=order, dtype=dtype, listed=True)
        if layout.pixels is None:
            work = request.work_array(request.npix)
            _fill(request, slice(0, request.npix), work)
            pixels = there = np.flatnonzero((work != UNSEEN).any(axis=0))
        else:
            stored = stored_pixels(layout, layout.pixels, request.reader.threads)
            work = request.work_array(stored.size)
            request.reader.stream(0, list(work), request.finish)
            there = np.flatnonzero(stored >= 0)
            pixels = in_order(layout, request.order, stored[there])
        if there.size < work.shape[1]:
            work = work[:, there]
        return pixels, request.result(work)


def _pixel_numbers(pixels: Any, npix: int, context: Context) -> slice | Ints:
    """Check the pixels asked for: a slice with start and stop where they are a run of neighbours."""
    try:
        if isinstance(pixels, slice):
            pixels = range(*pixels.indices(npix))
        # of a range, which may be far too long as a list, the ends
        numbers = np.asarray([*pixels[:1], *pixels[-1:]] if isinstance(pixels, range) else pixels)
    except (TypeError, ValueError) as error:
        raise context.error(f"pixels must be a list of integers: {error}") from error
    numbers = numbers if numbers.size else numbers.astype("i8")
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise context.error(f"pixels must be a list of integers, not {numbers.dtype} of shape {numbers.shape}")
    for pixel in (int(numbers.min()), int(numbers.max())) if numbers.size else ():
        if not 0 <= pixel < npix:
            raise context.error(f"pixel {pixel} is out of range: the map has {npix} pixels, 0 to {npix - 1}")
    if isinstance(pixels, range):
        if pixels.step == 1:
            return slice(pixels.start, pixels.start + len(pixels))
        numbers = np.asarray(pixels)
    elif numbers.size and (np.diff(numbers) == 1).all():
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    wide: Ints = numbers.astype("i8", copy=False)
    return wide


def _read(request: MapRequest, pixels: slice | Ints) -> Quantity:
    work = request.work_array(pixels.stop - pixels.start if isinstance(pixels, slice) else pixels.size)
    if request.layout.pixels is None:
        _fill(request, pixels, work)
    else:
        fill_partial(request, request.layout.pixels, pixels, work)
    return request.result(work)


def _fill(request: MapRequest, pixels: slice | Ints, out: NDArray[Any]) -> None:
    """Read pixels of a map that is not partial into ``out``, (fields, pixels), C-contiguous and native."""
    layout, reader, nside = request.layout, request.reader, request.nside
    same, count = nside == layout.nside, out.shape[1]
    whole = count == request.npix
    change = (layout.order, request.order) if same and has_bands(nside) else None
    # at a server, tiles and squares would be more requests, or more bytes, than the runs that hold the pixels
    local = not reader.source.connections
    wide = (reader.packed or reader.per_row >= _NARROW) and len({c.dtype for c in reader.columns}) == 1
    children = max(1, layout.nside // nside) ** 2
    if not isinstance(pixels, slice):
        _one_by_one(request, pixels, out)
    elif same and request.order == layout.order:
        reader.stream(pixels.start, list(out), request.finish)
    elif change == ("NESTED", "RING") and (whole or (local and count >= _FEW_RINGS * nside)):
        _fill_rings(request, pixels, out)
    elif change == ("RING", "NESTED") and whole:
        ring_to_nested(reader, nside, out, request.finish)
    elif change == ("RING", "NESTED") and wide and local and count >= _FEW:
        fill_squares(reader, nside, pixels, out)
        request.finish_all(out)
    elif whole and children > 1 and (layout.order == "NESTED" or tile_for(layout.nside, children)):
        low = out if request.order == "NESTED" else np.empty_like(out)
        if layout.order == "NESTED":
            _read_means(reader, low, children)
        else:
            ring_to_nested(reader, layout.nside, low, None, children)
        if request.order == "RING":
            scatter_ring(nside, low, out, reader.threads)
        request.finish_all(out)
    else:
        _one_by_one(request, pixels, out)


def _read_means(reader: ColumnReader, out: NDArray[Any], children: int) -> None:
    """Read a NESTED map and keep only the means."""
    step = max(1, BLOCK // 8 // children)

    def work(starts: Iterator[int]) -> None:
        buffers: list[NDArray[Any]] = [np.empty(step * children, out.dtype) for _ in out]
        for at in starts:
            n = min(step, out.shape[1] - at)
            reader.read(at * children, n * children, buffers, BLOCK // 2)
            for buffer, field in zip(buffers, out, strict=True):
                field[at : at + n] = means(buffer[: n * children], children)

    run_threads(work, range(0, out.shape[1], step), reader.threads)


def _one_by_one(request: MapRequest, pixels: slice | Ints, out: NDArray[Any]) -> None:
    # neighbours in one ordering are near each other in the other too, so runs go in parts that bound the memory
    step = max(1 << 18, 256 * request.nside) if isinstance(pixels, slice) else max(1, out.shape[1])
    for at in range(0, out.shape[1], step):
        part = out[:, at : at + step]
        some = pixels
        if isinstance(pixels, slice):
            some = slice(pixels.start + at, pixels.start + at + part.shape[1])
        if request.nside < request.layout.nside:
            _take_means(request, request.as_nested(as_array(some)), part)
        else:
            request.reader.take(request.positions_of(some), list(part))
        request.finish_all(part)


def _take_means(request: MapRequest, parents: Ints, out: NDArray[Any]) -> None:
    nside = request.layout.nside
    children = (nside // request.nside) ** 2
    step = max(1, MOST_VALUES // children)
    for at in range(0, parents.size, step):
        fine = (parents[at : at + step, None] * children + np.arange(children)).ravel()
        if request.layout.order == "RING":
            fine = nest2ring(nside, fine)
        buffers: list[NDArray[Any]] = [np.empty(fine.size, out.dtype) for _ in out]
        request.reader.take(fine, buffers)
        for buffer, field in zip(buffers, out, strict=True):
            field[at : at + step] = means(buffer, children)


def _fill_rings(request: MapRequest, pixels: slice, out: NDArray[Any]) -> None:
    """Read a run of RING pixels of a NESTED map: so many rings that tiles are best read whole."""
    nside, start, stop = request.nside, int(pixels.start), int(pixels.stop)
    rings = range(ring_of(nside, start), ring_of(nside, stop - 1) + 1)
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    if stop - start < _SMALL and (low, high) != (start, stop):
        whole = np.empty((len(out), high - low), out.dtype)
        nested_to_ring(request.reader, nside, rings, whole, request.finish)
        out[...] = whole[:, start - low : stop - low]
        return
    # the rings at both ends, which need not be whole, are read pixel by pixel
    rings = rings[low < start : len(rings) - (stop < high)]
    low, high = first_of_ring(nside, rings.start), first_of_ring(nside, rings.stop)
    nested_to_ring(request.reader, nside, rings, out[:, low - start : high - start], request.finish)
    for part in (slice(start, low), slice(high, stop)):
        if part.start < part.stop:
            _one_by_one(request, part, out[:, part.start - start : part.stop - start])
