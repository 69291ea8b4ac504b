"""A section of an image, and headers: by ranges, from a disk or from a server."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.units import Quantity
from numpy.typing import NDArray

from .byte_source import ByteSource, Context, PathOrSource, open_source
from .columns import MOST_VALUES, ColumnReader
from .fits import Hdu, choose_hdu, hdus, image_column, unpack_image
from .units import units_of

if TYPE_CHECKING:
    from astropy.io.fits import Header

Index = slice | int | EllipsisType | None


def header(path: PathOrSource, hdu: int | str | None = None, *, remote: bool = False) -> Header:
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
        found = (_any_hdu(source) if hdu is None else choose_hdu(source, hdu)).header
        for name, value in source.meta.items():
            setattr(found, name, value)
        return found


def _any_hdu(source: ByteSource) -> Hdu:
    seen = []
    for hdu in hdus(source):
        if hdu.size and hdu.states_healpix:
            return hdu
        seen.append(hdu)
    return next((hdu for hdu in seen if hdu.size), seen[0])


def cutout(
    path: PathOrSource,
    section: Sequence[Index] | Index,
    hdu: int | str | None = None,
    *,
    unit: Any = None,
    remote: bool = False,
) -> Quantity:
    """Read a section of an image: only the rows (or tiles) that it crosses, and of rows only its part.

    Parameters
    ----------
    path : path-like, str or Source
        The file; with ``remote`` a URL.
    section : slice, int, Ellipsis, None or sequence of these
        As numpy indexes the image, the slowest axis first, without a step; axes that are left out are taken whole.
        A section that reaches beyond the image is an error.
    hdu : int or str, optional
        Number or EXTNAME; None takes the first image with data.
    unit : unit-like, optional
        Converts from the unit of the image, or states it where BUNIT gives none that astropy knows.
    remote : bool, optional
        Read by byte ranges from a server.

    Returns
    -------
    astropy.units.Quantity
        Native-endian, scaled by BSCALE and BZERO, BLANK is NaN; ``info.meta`` has ``file`` and ``hdu``, and with
        ``remote`` ``moved_bytes`` and ``verified`` (False).

    Raises
    ------
    MapError
        If the HDU is no image, the section is not in it, or its unit is not known or does not convert.
    """
    with open_source(path, remote=remote) as source:
        found = choose_hdu(source, hdu) if hdu is not None else next((h for h in hdus(source) if _is_image(h)), None)
        if found is None:
            raise source.context.error("has no image")
        if not _is_image(found) or not found.shape:
            raise found.context.error("is no image")
        if found.data + found.size > source.size:
            raise source.truncated(found.data + found.size, found.context)
        shape = found.shape
        bounds, new_shape = _bounds(section, shape, found.context)
        lengths = tuple(stop - start for start, stop in bounds)
        column = image_column(found)
        if found.compressed:
            column = unpack_image(source, found, tuple(slice(*part) for part in bounds))
            shape, bounds = lengths, [(0, length) for length in lengths]
        new_unit, [factor] = units_of([column], unit)
        floats = column.natural.kind == "f" or factor == 1
        values = np.empty(lengths, column.natural if floats else "f8")
        _read_section(ColumnReader(source, [column], math.nan), bounds, shape, values.reshape(-1))
        if factor != 1:
            values *= factor
        result = Quantity(values.reshape(new_shape), new_unit, dtype=values.dtype, copy=False)
        result.info.meta = {"file": source.context.file, "hdu": found.index} | source.meta
    return result


def _is_image(hdu: Hdu) -> bool:
    return hdu.is_image and hdu.size > 0


def _bounds(
    section: Sequence[Index] | Index, shape: tuple[int, ...], context: Context
) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Start and stop of each axis, and the shape of the result: an int drops its axis, None adds one."""
    parts: list[Any] = list(section) if isinstance(section, Sequence) else [section]
    try:
        if any(isinstance(part, bool | np.bool_) for part in parts):
            raise TypeError("masks select no rectangle")
        result = np.broadcast_to(np.int8(0), shape)[tuple(parts)].shape
        axes: list[Any] = [
            part if isinstance(part, slice | EllipsisType) else operator.index(part)
            for part in parts
            if part is not None
        ]
    except (IndexError, OverflowError, TypeError, ValueError) as error:
        raise context.error(f"section {section!r} does not fit an image of shape {shape}: {error}") from error
    at = axes.index(...) if ... in axes else len(axes)
    axes[at : at + 1] = [slice(None)] * (len(shape) - len(axes) + (at < len(axes)))
    bounds = []
    for part, length in zip(axes, shape, strict=True):
        whole = part if isinstance(part, slice) else slice(part % length, part % length + 1)
        start, stop, step = whole.indices(length)
        if step != 1 or stop <= start or (whole.stop is not None and whole.stop > length):
            raise context.error(f"section {section!r} is empty, stepped or not inside an image of shape {shape}")
        bounds.append((start, stop))
    return bounds, result


def _read_section(
    reader: ColumnReader, bounds: list[tuple[int, int]], shape: tuple[int, ...], into: NDArray[Any]
) -> None:
    """Read runs of neighbours: the last axis, and the axes before it as far as they are taken whole."""
    whole = len(bounds) - 1
    while whole and bounds[whole] == (0, shape[whole]):
        whole -= 1
    strides = [math.prod(shape[k + 1 :]) for k in range(len(bounds))]
    length = (bounds[whole][1] - bounds[whole][0]) * strides[whole]
    starts = np.zeros(1, "i8")
    for k, (start, stop) in enumerate(bounds[: whole + 1]):
        axis = np.arange(start, stop if k < whole else start + 1) * strides[k]
        starts = (starts[:, None] + axis).ravel()
    if starts.size == 1:
        reader.stream(int(starts[0]), [into])
        return
    step = max(1, MOST_VALUES // length)
    for at in range(0, starts.size, step):
        some = (starts[at : at + step, None] + np.arange(length)).ravel()
        reader.take(some, [into[at * length : at * length + some.size]])
