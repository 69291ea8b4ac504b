"""A cutout of an image, and headers: by ranges, from a disk or from a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .blocks import Reader
from .columns import image_column
from .headers import Hdu, hdus, to_astropy
from .layout import choose_hdu
from .opened import Named, open_source
from .source import ByteSource
from .units import parse_unit

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.units import Quantity

__all__ = ["cutout", "header"]


def header(path: Named, hdu: int | str | None = None, *, remote: bool = False) -> Header:
    """Read the header of one HDU, and no data.

    Parameters
    ----------
    path : path-like, str or Source
        The file; with ``remote`` a URL.
    hdu : int or str, optional
        Number or EXTNAME; None finds the map, or else the first HDU with data.
    remote : bool, optional
        Read by byte ranges from a server.

    Returns
    -------
    astropy.io.fits.Header
        With ``remote`` it has the attribute ``moved_bytes``, and ``verified`` (False).

    Raises
    ------
    MapError
        If the file is not FITS, or has no such HDU.
    """
    with open_source(path, remote=remote) as source:
        found = to_astropy(_any_hdu(source, hdu))
        if remote:
            found.moved_bytes, found.verified = getattr(source, "moved", 0), False
        return found


def _any_hdu(source: ByteSource, wanted: int | str | None) -> Hdu:
    if wanted is not None:
        return choose_hdu(source, wanted)
    first = None
    for hdu in hdus(source):
        if hdu.word("PIXTYPE").upper() == "HEALPIX" or "NSIDE" in hdu.cards:
            return hdu
        first = hdu if first is None or (not first.size and hdu.size) else first
    if first is None:
        raise source.place.error("has no HDU")
    return first


def cutout(
    path: Named, section: Sequence[slice] | slice, hdu: int | str | None = None, *, remote: bool = False
) -> Quantity:
    """Read a rectangle of an image: only the rows that it crosses, and of those only its part.

    Parameters
    ----------
    path : path-like, str or Source
        The file; with ``remote`` a URL.
    section : slice or sequence of slices
        One an axis, the slowest first as in numpy, without a step; axes that are left out are taken whole.
    hdu : int or str, optional
        Number or EXTNAME; None takes the first image with data.
    remote : bool, optional
        Read by byte ranges from a server.

    Returns
    -------
    astropy.units.Quantity
        Native-endian, scaled by BSCALE and BZERO, BLANK is NaN, in the unit that BUNIT says; ``info.meta`` says
        ``file`` and ``hdu``, and with ``remote`` ``moved_bytes`` and ``verified`` (False).

    Raises
    ------
    MapError
        If the HDU is no plain image, or the section is not in it.
    """
    import math

    import numpy as np
    from astropy import units as u

    with open_source(path, remote=remote) as source:
        found = _image(source, hdu)
        place = source.place.in_hdu(found.index)
        if found["ZIMAGE"] is True or found.kind not in ("PRIMARY", "IMAGE") or not found.size:
            raise place.error("is no plain image", "a compressed one has to be fetched whole: dataferry get")
        column = image_column(source, found)
        if found.data + found.size > source.size:
            raise source.short(found.data, found.size)
        bounds = _bounds(section, found.shape, place)
        reader = Reader([column], math.nan)
        values = np.empty([stop - start for start, stop in bounds], column.natural)
        # runs of neighbours: the last axis, and the axes before it as far as they are taken whole
        whole = len(bounds) - 1
        while whole and bounds[whole] == (0, found.shape[whole]):
            whole -= 1
        strides = [math.prod(found.shape[k + 1 :]) for k in range(len(bounds))]
        run = (bounds[whole][1] - bounds[whole][0]) * strides[whole]
        starts = np.zeros(1, "i8")
        for k, (start, stop) in enumerate(bounds[: whole + 1]):
            axis = np.arange(start, stop if k < whole else start + 1) * strides[k]
            starts = (starts[:, None] + axis).ravel()
        _read_runs(reader, starts, run, values.reshape(-1))
        meta = {"file": place.file, "hdu": found.index}
        if remote:
            meta |= {"moved_bytes": getattr(source, "moved", 0), "verified": False}
    try:
        unit = parse_unit(column.unit) or u.dimensionless_unscaled
    except ValueError:
        unit = u.dimensionless_unscaled
    result = u.Quantity(values, unit, dtype=values.dtype, copy=False)
    result.info.meta = meta
    return result


def _image(source: ByteSource, wanted: int | str | None) -> Hdu:
    if wanted is not None:
        return choose_hdu(source, wanted)
    for hdu in hdus(source):
        if hdu.size and (hdu.kind in ("PRIMARY", "IMAGE") or hdu["ZIMAGE"] is True):
            return hdu
    raise source.place.error("has no image")


def _bounds(section: Sequence[slice] | slice, shape: tuple[int, ...], place: Any) -> list[tuple[int, int]]:
    slices = [section] if isinstance(section, slice) else list(section)
    slices += [slice(None)] * (len(shape) - len(slices))
    bounds = []
    for part, length in zip(slices, shape, strict=False):
        start, stop, step = part.indices(length)
        asked = part.stop if part.stop is not None else length
        if step != 1 or stop <= start or asked > length:
            raise place.error(f"section {slices} is empty, stepped or not inside an image of shape {shape}")
        bounds.append((start, stop))
    if len(slices) != len(shape):
        raise place.error(f"section has {len(slices)} axes, the image {len(shape)}")
    return bounds


def _read_runs(reader: Reader, starts: Any, length: int, into: Any) -> None:
    """Read runs of equal length; those that are close together come in one piece."""
    import numpy as np

    from .gather import take

    width = int(reader.columns[0].dtype[2:])
    step = int(starts[1] - starts[0]) if starts.size > 1 else length
    if (step - length) * width <= reader.source.gap:
        take(reader, (starts[:, None] + np.arange(length)).ravel(), [into])
        return
    from .lanes import run

    def work(numbers: Iterator[int]) -> None:
        for k in numbers:
            reader.read(int(starts[k]), length, [into[k * length : (k + 1) * length]])

    run(work, range(starts.size), reader.threads)
