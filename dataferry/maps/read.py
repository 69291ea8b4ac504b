"""`read_map` and `read_partial`: one call from a file to a map in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.units import Quantity
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .fill import pixel_numbers
from .layout import Fields, MapLayout
from .open_map import Named, open_map
from .request import MapRequest
from .values import UNSEEN


def read_map(
    path: Named,
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
        ``fields``; ``order_from`` ("primary header" or "assumed") where the map's own header does not state the
        ordering of the file; with ``comm`` the ``pixels`` of this rank; with ``remote`` ``moved_bytes`` and
        ``verified`` (False).

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
    if comm is not None and shared:
        from .mpi import read_shared

        def request_for(layout: MapLayout) -> MapRequest:
            return MapRequest(layout, field, nside, unit, order, dtype, fill, threads=1)

        whole = pixels is None and out is None
        return read_shared(comm, open_map(path, hdu, remote=remote), request_for, whole=whole)
    with open_map(path, hdu, remote=remote) as layout:
        request = MapRequest(layout, field, nside, unit, order, dtype, fill, threads=1 if comm is not None else 0)
        if comm is not None and pixels is None:
            from .mpi import share_of_rank

            pixels = share_of_rank(comm, request.npix)
            request.meta["pixels"] = (pixels.start, pixels.stop)
        count, numbers = request.npix, None
        if pixels is not None:
            numbers = pixel_numbers(pixels, request.npix, layout.context)
            count = numbers.stop - numbers.start if isinstance(numbers, slice) else numbers.size
        values = request.output(count, out)
        request.read(values, numbers)
        return request.quantity(values, remote=remote)


def read_partial(
    path: Named,
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
        request = MapRequest(layout, field, None, unit, order, dtype, UNSEEN, threads=0, listed=True)
        pixels, values = request.listed()
        return pixels, request.quantity(values, remote=remote)
