"""Writing maps: a FITS table that healpy reads, with FITS checksums, visible only once it is whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fits_sum import add_words, with_checksum
from .layout import nside_of
from .place import Place
from .values import UNSEEN

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["write_map"]

_FORMS = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
_NAMES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
_STEP = 1 << 18
_BLOCK = 2880


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
        More cards: keyword to value, or to (value, comment).
    overwrite : bool
        Whether a file of that name may be replaced.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    MapError
        If the shape is that of no map, the unit does not convert, or the file is there or cannot be written.
    """
    import numpy as np

    target = Path(path)
    place = Place(os.fspath(path))
    if target.exists() and not overwrite:
        raise place.error("is there already", "overwrite=True replaces it")
    unit_text, array = _with_unit(values, unit, place)
    lines = np.atleast_2d(array)
    word = order.upper()
    if word not in ("RING", "NESTED", "NEST"):
        raise place.error(f"order={order!r} is neither RING nor NESTED")
    where = None if pixels is None else np.asarray(pixels)
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
    cards = _cards(nside, word, columns, titles, units, partial=where is not None)
    _write(target, place, cards | (header or {}), columns)
    return target


def _with_unit(values: ArrayLike, unit: Any, place: Place) -> tuple[str, NDArray[Any]]:
    import numpy as np
    from astropy import units as u

    from .units import factor_between, parse_unit

    try:
        wanted = None if unit is None else parse_unit(unit) if isinstance(unit, str) else u.Unit(unit)
        if isinstance(values, u.Quantity):
            factor = 1.0 if wanted is None else factor_between(values.unit, wanted)
            array: NDArray[Any] = values.value
            if factor != 1:
                seen = array != UNSEEN
                array = np.where(seen, array * factor, array).astype(array.dtype)
            wanted = wanted or values.unit
        else:
            array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise place.error(f"the unit does not fit: {error}") from error
    if array.dtype.newbyteorder("=").str[1:] not in _FORMS or array.ndim not in (1, 2) or not array.size:
        raise place.error(f"an array of {array.dtype} and shape {array.shape} is no map")
    return ("" if wanted is None else str(wanted).replace(" ", "")), array


def _checked_nside(lines: Any, pixels: Any, nside: int | None, order: str, place: Place) -> int:
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


def _titles(names: str | Sequence[str] | None, count: int, place: Place) -> list[str]:
    if names is None:
        return list(_NAMES[:count]) if count in (1, 3) else [f"FIELD_{k}" for k in range(count)]
    titles = [names] if isinstance(names, str) else list(names)
    if len(titles) != count:
        raise place.error(f"{len(titles)} names for {count} fields")
    return titles


def _per_row(count: int, *, partial: bool) -> int:
    return 1 if partial or count % 1024 else 1024


def _cards(
    nside: int, order: str, columns: list[NDArray[Any]], titles: list[str], units: list[str], *, partial: bool
) -> dict[str, Any]:
    count = columns[0].size
    per_row = _per_row(count, partial=partial)
    row_bytes = per_row * sum(column.dtype.itemsize for column in columns)
    cards: dict[str, Any] = {
        "XTENSION": ("BINTABLE", "binary table extension"),
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": (row_bytes, "bytes in a row"),
        "NAXIS2": (count // per_row, "rows"),
        "PCOUNT": 0,
        "GCOUNT": 1,
        "TFIELDS": len(columns),
    }
    for k, (column, title, unit) in enumerate(zip(columns, titles, units, strict=True), 1):
        form = _FORMS[column.dtype.newbyteorder("=").str[1:]]
        cards |= {f"TTYPE{k}": title, f"TFORM{k}": f"{per_row}{form}" if per_row > 1 else form}
        if unit:
            cards[f"TUNIT{k}"] = unit
    cards |= {
        "PIXTYPE": ("HEALPIX", "HEALPix pixelisation"),
        "ORDERING": ("RING" if order == "RING" else "NESTED", "pixel ordering"),
        "NSIDE": (nside, "resolution"),
        "INDXSCHM": ("EXPLICIT" if partial else "IMPLICIT", "whether pixel numbers are stored"),
        "OBJECT": ("PARTIAL" if partial else "FULLSKY", "sky coverage"),
        "BAD_DATA": (UNSEEN, "value of a pixel without data"),
    }
    if not partial:
        cards |= {"FIRSTPIX": 0, "LASTPIX": count - 1}
    return cards


def _write(target: Path, place: Place, cards: dict[str, Any], columns: list[NDArray[Any]]) -> None:
    import tempfile

    from astropy.io.fits import Header

    try:
        header = Header()
        for key, value in cards.items():
            header[key] = value
        primary = Header()
        primary["SIMPLE"], primary["BITPIX"], primary["NAXIS"], primary["EXTEND"] = True, 8, 0, True
    except ValueError as error:
        raise place.error(f"the header cannot be written: {error}") from error
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as stream:
            temporary = stream.name
            first = with_checksum(primary, 0)
            room = with_checksum(header, 0)
            stream.write(first + bytes(len(room)))
            total = _rows(stream, columns, header["NAXIS2"])
            stream.seek(len(first))
            stream.write(with_checksum(header, total))
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise place.error(f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _rows(stream: Any, columns: list[NDArray[Any]], rows: int) -> int:
    """Write the table block by block and give the sum of its words."""
    import numpy as np

    per_row = columns[0].size // rows
    dtype = np.dtype([(f"c{k}", c.dtype.newbyteorder(">"), (per_row,)) for k, c in enumerate(columns)])
    step = max(1, _STEP // dtype.itemsize) * 4
    total = written = 0
    for at in range(0, rows, step):
        n = min(step, rows - at)
        block = np.empty(n, dtype)
        for k, column in enumerate(columns):
            block[f"c{k}"] = column[at * per_row : (at + n) * per_row].reshape(n, per_row)
        raw = block.tobytes()
        # all blocks but the last are a whole number of words long
        total = add_words(total, raw)
        stream.write(raw)
        written += len(raw)
    stream.write(bytes(-written % _BLOCK))
    return total


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
