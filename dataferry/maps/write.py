"""Writing maps: a FITS table that healpy reads, with FITS checksums, visible only once it is whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import nside_of
from .new_file import there_already, write_file
from .place import Place
from .table_cards import FORMS, extra_cards, table_cards
from .values import UNSEEN, Finish

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["write_map"]

_NAMES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")


def write_map(
    path: str | os.PathLike[str],
    values: ArrayLike,
    *,
    order: str = "RING",
    unit: Any = None,
    names: str | Sequence[str] | None = None,
    pixels: ArrayLike | None = None,
    nside: int | None = None,
    header: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a HEALPix map as a FITS binary table with DATASUM and CHECKSUM.

    The file is written beside its place, synced and renamed into it: nobody ever sees a part of it.

    Parameters
    ----------
    path : path-like
        Where to.
    values : array_like or Quantity
        Shape (npix,), or (fields, npix); with ``pixels`` the last axis is as long as these. Integers or floats.
        What a masked array masks is written as UNSEEN.
    order : {"RING", "NESTED"}
        Ordering of ``values``, or of ``pixels``.
    unit : unit-like, optional
        Of a Quantity the unit to convert to, else the unit.
    names : str or sequence of str, optional
        Names of the columns; TEMPERATURE, Q_POLARISATION, U_POLARISATION for one or three fields if not given.
    pixels : array_like of int, optional
        Writes a partial map: the pixels that ``values`` are of.
    nside : int, optional
        Resolution; needed with ``pixels`` only.
    header : dict, optional
        More cards: keyword to value, or to (value, comment). Those that say what is in the table are not among them.
    overwrite : bool
        Whether a file of that name may be replaced. Of a symbolic link, the file that it leads to is.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    MapError
        If the shape is that of no map, integers are masked, the unit does not convert or has no text that is read again
        as the same, or the file is there or cannot be written.
    """
    import numpy as np

    target = Path(path)
    place = Place(os.fspath(path))
    if target.exists() and not overwrite:
        raise there_already(place)
    unit_text, array = _with_unit(values, unit, place)
    lines = np.atleast_2d(array)
    word = str(order).upper()
    if word not in ("RING", "NESTED", "NEST"):
        raise place.error(f"order={order!r} is neither RING nor NESTED")
    where = None if pixels is None else _unmasked(pixels, place)
    nside = _checked_nside(lines, where, nside, word, place)
    titles = _titles(names, len(lines), place)
    columns: list[NDArray[Any]] = list(lines)
    units = [unit_text] * len(lines)
    if where is not None:
        columns, titles, units = (
            [where.astype("i8" if nside > 8192 else "i4"), *columns],
            ["PIXEL", *titles],
            ["", *units],
        )
    cards = table_cards(nside, word, columns, titles, units, partial=where is not None)
    write_file(target, place, cards | extra_cards(header, cards, place), columns, overwrite=overwrite)
    return target


def _with_unit(values: ArrayLike, unit: Any, place: Place) -> tuple[str, NDArray[Any]]:
    from astropy import units as u

    from .unit_names import factor_between, parse_unit, unit_text

    array = _unmasked(values.value if isinstance(values, u.Quantity) else values, place)
    if array.dtype.newbyteorder("=").str[1:] not in FORMS or array.ndim not in (1, 2) or not array.size:
        raise place.error(f"an array of {array.dtype} and shape {array.shape} is no map")
    try:
        wanted = None if unit is None else parse_unit(unit) if isinstance(unit, str) else u.Unit(unit)
        if isinstance(values, u.Quantity):
            factor = 1.0 if wanted is None else factor_between(values.unit, wanted)
            if factor != 1:
                array = array.astype(array.dtype.newbyteorder("="))
                Finish(factor=factor)(array)
            wanted = wanted or values.unit
        text = "" if wanted is None else unit_text(wanted)
    except (ValueError, TypeError) as error:
        raise place.error(f"the unit does not fit: {error}") from error
    return text, array


def _unmasked(values: Any, place: Place) -> NDArray[Any]:
    """The values as a plain array: UNSEEN where numpy's or astropy's masked arrays mask."""
    import numpy as np

    try:
        if isinstance(values, list | tuple) and any(map(np.ma.isMaskedArray, values)):
            values = np.ma.stack(values)
        if not hasattr(values, "filled"):
            return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise place.error(f"the values are no array: {error}") from error
    floats = values.dtype.kind == "f"
    if not floats and np.any(values.mask):
        raise place.error(
            f"pixels are masked, and {values.dtype} has no value for one without data", "write floats, or fill them"
        )
    return np.asarray(values.filled(UNSEEN if floats else 0))


def _checked_nside(lines: Any, pixels: Any, nside: int | None, order: str, place: Place) -> int:
    nside = _whole_number(nside, place)
    if pixels is None:
        found = nside_of(lines.shape[1])
        if not found or nside not in (None, found):
            raise place.error(f"{lines.shape[1]} values are no whole-sky map" + (f" of NSIDE={nside}" if nside else ""))
    else:
        found = nside or 0
        if not found or pixels.shape != lines.shape[1:] or pixels.dtype.kind not in "iu":
            raise place.error("a partial map needs nside, and an integer pixel number for each value")
        if pixels.size and (pixels.min() < 0 or pixels.max() >= 12 * found * found):
            raise place.error(f"a pixel number is out of range for NSIDE={found}")
    if order != "RING" and found & (found - 1):
        raise place.error(f"NSIDE={found} is no power of two: there is no NESTED ordering")
    return found


def _whole_number(nside: Any, place: Place) -> int | None:
    import operator

    if nside is None:
        return None
    try:
        found = operator.index(nside)
    except TypeError:
        found = 0
    if isinstance(nside, bool) or not 0 < found <= 1 << 29:
        raise place.error(f"nside={nside!r} is no integer from 1 to 2**29")
    return found


def _titles(names: str | Sequence[str] | None, count: int, place: Place) -> list[str]:
    if names is None:
        return list(_NAMES[:count]) if count in (1, 3) else [f"FIELD_{k}" for k in range(count)]
    titles = [names] if isinstance(names, str) else list(names)
    if len(titles) != count:
        raise place.error(f"{len(titles)} names for {count} fields")
    return titles
