"""Writing maps: a FITS table that healpy reads, with FITS checksums, visible only once it is whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from ..errors import MapError
from ..files import rename_noreplace
from .byte_source import Context
from .healpix import nside_of
from .layout import MAX_NSIDE, ORDERS
from .values import UNSEEN, finish

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU, Header

_NAMES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
# by the suffix of a name; astropy reads all of them
_PACKED: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda stream: gzip.GzipFile("", "wb", 6, stream, mtime=0),
    ".bz2": lambda stream: bz2.BZ2File(stream, "wb"),
    ".xz": lambda stream: lzma.LZMAFile(stream, "wb"),  # noqa: SIM115
}
_NOT_WRITTEN = {".zip", ".z", ".zst", ".h5", ".hdf5"}
_DTYPES = {"b1", "u1", "i2", "i4", "i8", "f4", "f8"}
# cards that say how the bytes are laid out, be it in this table or in another one
_STRUCTURAL = re.compile(
    r"SIMPLE|EXTEND|GROUPS|THEAP|END|DATASUM|CHECKSUM|FIRSTPIX|LASTPIX|Z(IMAGE|TABLE|NAXIS\d*|BITPIX)|NAXIS\d*"
    r"|T(TYPE|FORM|UNIT|SCAL|ZERO|NULL|DIM|DISP|BCOL)\d+"
)
_OF_IMAGES = {"BUNIT", "BSCALE", "BZERO", "BLANK"}


def write_map(
    path: str | os.PathLike[str],
    values: ArrayLike,
    *,
    order: str = "RING",
    unit: Any = None,
    names: str | Sequence[str] | None = None,
    pixels: ArrayLike | None = None,
    nside: int | None = None,
    header: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a HEALPix map as a FITS binary table with DATASUM and CHECKSUM.

    The file is written beside its place, synced and renamed: nobody ever sees a part of it.

    Parameters
    ----------
    path : path-like
        Where to; ``.gz``, ``.bz2`` or ``.xz`` at the end packs the file.
    values : array_like or Quantity
        Shape (npix,), or (fields, npix); with ``pixels`` the last axis is as long as these. Floats, integers, or
        booleans for a mask. What a masked array masks is written as UNSEEN.
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
    header : dict or astropy.io.fits.Header, optional
        More cards: keyword to value, or to (value, comment). From the Header of another map the cards are left out that
        say what is in its table; in anything else they are an error.
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
        as the same, or the file exists or cannot be written.
    """
    target = Path(path)
    context = Context(os.fspath(path))
    if target.suffix.lower() in _NOT_WRITTEN:
        raise context.error("maps are written as FITS, plain or packed", "end the name with .fits, .gz, .bz2 or .xz")
    if target.exists() and not overwrite:
        raise _exists(context)
    text, array = _with_unit(values, unit, context)
    fields = np.atleast_2d(array)
    word = ORDERS.get(str(order).upper())
    if word is None:
        raise context.error(f"order={order!r} is neither RING nor NESTED")
    numbers = None if pixels is None else _unmasked(pixels, context)
    nside = _checked_nside(fields, numbers, nside, word, context)
    titles = _titles(names, len(fields), context)
    columns: list[NDArray[Any]] = list(fields)
    units = [text] * len(fields)
    if numbers is not None:
        columns = [numbers.astype("i8" if nside > 8192 else "i4"), *columns]
        titles, units = ["PIXEL", *titles], ["", *units]
    try:
        table = _table(nside, word, columns, titles, units, partial=numbers is not None)
        _add_cards(table.header, header, context)
    except MapError:
        raise
    except (ValueError, TypeError, AssertionError) as error:  # astropy asserts that a name fits a card
        raise context.error(f"the table cannot be written: {error}") from error
    _write_file(target, context, table, overwrite=overwrite)
    return target


def _titles(names: str | Sequence[str] | None, count: int, context: Context) -> list[str]:
    if names is None:
        return list(_NAMES[:count]) if count in (1, 3) else [f"FIELD_{k}" for k in range(count)]
    if not isinstance(names, Sequence):
        raise context.error(f"names={names!r} is no list of names")
    titles = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(titles) != count:
        raise context.error(f"{len(titles)} names for {count} fields")
    if len({title.upper() for title in titles}) < count:
        raise context.error("several fields have one name", "names= gives each its own; upper and lower case are one")
    return titles


def _with_unit(values: ArrayLike, unit: Any, context: Context) -> tuple[str, NDArray[Any]]:
    from .units import factor_between, parse_unit, unit_text

    array = _unmasked(values.value if isinstance(values, u.Quantity) else values, context)
    if array.dtype.newbyteorder("=").str[1:] not in _DTYPES or array.ndim not in (1, 2) or not array.size:
        raise context.error(f"an array of {array.dtype} and shape {array.shape} is no map")
    try:
        wanted = None if unit is None else parse_unit(unit) if isinstance(unit, str) else u.Unit(unit)
        if isinstance(values, u.Quantity):
            factor = 1.0 if wanted is None else factor_between(values.unit, wanted)
            if factor != 1:
                array = array.astype(array.dtype.newbyteorder("="))
                finish(array, UNSEEN, factor)
            wanted = wanted or values.unit
        text = "" if wanted is None else unit_text(wanted)
    except (ValueError, TypeError) as error:
        raise context.error(f"the unit does not fit: {error}") from error
    return text, array


def _unmasked(values: Any, context: Context) -> NDArray[Any]:
    """The values as a plain array: UNSEEN where numpy's or astropy's masked arrays mask."""
    try:
        if isinstance(values, list | tuple) and any(map(np.ma.isMaskedArray, values)):
            values = np.ma.stack(values)
        if not hasattr(values, "filled"):
            return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise context.error(f"the values are no array: {error}") from error
    floats = values.dtype.kind == "f"
    if not floats and np.any(values.mask):
        raise context.error(
            f"pixels are masked, and {values.dtype} has no value for one without data", "write floats, or fill them"
        )
    return np.asarray(values.filled(UNSEEN if floats else 0))


def _checked_nside(fields: Any, pixels: Any, nside: Any, order: str, context: Context) -> int:
    try:
        stated = None if nside is None else operator.index(nside)
    except TypeError:
        stated = 0
    if stated is not None and (isinstance(nside, bool) or not 0 < stated <= MAX_NSIDE):
        raise context.error(f"nside={nside!r} is no integer from 1 to 2**29")
    found = nside_of(fields.shape[1]) if pixels is None else stated or 0
    if pixels is None:
        if not found or stated not in (None, found):
            of_nside = f" of NSIDE={stated}" if stated else ""
            raise context.error(f"{fields.shape[1]} values are no whole-sky map{of_nside}")
    elif not found or pixels.shape != fields.shape[1:] or pixels.dtype.kind not in "iu":
        raise context.error("a partial map needs nside, and an integer pixel number for each value")
    elif pixels.size and (pixels.min() < 0 or pixels.max() >= 12 * found * found):
        raise context.error(f"a pixel number is out of range for NSIDE={found}")
    if order != "RING" and found & (found - 1):
        raise context.error(f"NSIDE={found} is no power of two: there is no NESTED ordering")
    return found


def _table(
    nside: int, order: str, columns: list[NDArray[Any]], titles: list[str], units: list[str], *, partial: bool
) -> BinTableHDU:
    from astropy.io.fits import BinTableHDU, FITS_rec

    count = columns[0].size
    per_row = 1 if partial or count % 1024 else 1024
    shape = (per_row,) if per_row > 1 else ()
    # in the byte order of the file: astropy would convert it twice, for the checksum and for the disk
    types = ["i1" if column.dtype.kind == "b" else column.dtype.newbyteorder(">") for column in columns]
    rows = np.empty(count // per_row, [(title, kind, shape) for title, kind in zip(titles, types, strict=True)])
    for column, title in zip(columns, titles, strict=True):
        values = np.where(column, ord("T"), ord("F")) if column.dtype.kind == "b" else column
        rows[title] = values.reshape(-1, *shape)
    table = BinTableHDU(rows.view(FITS_rec))
    for number, (column, unit) in enumerate(zip(table.columns, units, strict=True), 1):
        column.unit = unit or None
        column.dim = None  # TDIM would say again that a row has 1024 values
        table.header.pop(f"TDIM{number}", None)
    table.header.update(
        {
            "PIXTYPE": ("HEALPIX", "HEALPix pixelisation"),
            "ORDERING": (order, "pixel ordering"),
            "NSIDE": (nside, "resolution"),
            "INDXSCHM": ("EXPLICIT" if partial else "IMPLICIT", "whether pixel numbers are stored"),
            "OBJECT": ("PARTIAL" if partial else "FULLSKY", "sky coverage"),
            "BAD_DATA": (UNSEEN, "value of a pixel without data"),
        }
    )
    if not partial:
        table.header.update({"FIRSTPIX": 0, "LASTPIX": count - 1})
    return table


def _add_cards(made: Header, more: Mapping[str, Any] | Header | None, context: Context) -> None:
    """Add a caller's cards; from the header of another map those are left out that say what was in that."""
    from astropy.io.fits import Header

    if not isinstance(more, Mapping | Header | None):
        raise context.error(f"header= is a {type(more).__name__}, not a dict of keyword to value")
    own = set(made)
    copied = isinstance(more, Header) and (more.get("XTENSION") == "BINTABLE" or "NSIDE" in more or "PIXTYPE" in more)
    for card in more.cards if isinstance(more, Header) else [(key, value) for key, value in (more or {}).items()]:
        key = card[0]
        if not isinstance(key, str):
            raise context.error(f"header= has the keyword {key!r}, which is no text")
        word = key.upper().removeprefix("HIERARCH ").strip()
        if copied and (word in own or _STRUCTURAL.fullmatch(word) or word in _OF_IMAGES):
            continue
        if word in own or _STRUCTURAL.fullmatch(word):
            raise context.error(
                f"header= has {key}, which the table itself decides",
                "leave out such cards: order=, unit=, names= and nside= say what they are",
            )
        if isinstance(more, Header):
            made.append(card, end=True)
        else:
            made[key] = card[1]


def _exists(context: Context) -> MapError:
    return context.error("is there already", "overwrite=True replaces it")


def _write_file(target: Path, context: Context, table: BinTableHDU, *, overwrite: bool) -> None:
    """Write a table beside its place, and rename it."""
    from astropy.io.fits import HDUList, PrimaryHDU

    real = os.path.realpath(target)
    private = f"{os.path.dirname(real)}/.{os.path.basename(real)}.{os.urandom(6).hex()}"
    hdus = HDUList([PrimaryHDU(), table])
    try:
        with open(private, "wb") as stream:
            with _PACKED.get(target.suffix.lower(), nullcontext)(stream) as into:
                hdus.writeto(into, checksum=True)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            os.replace(private, real)
        else:  # of several who write the same file at once, one gets the name
            rename_noreplace(private, real)
    except FileExistsError as error:
        raise _exists(context) from error
    except OSError as error:
        raise context.error(f"cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it has its name
            os.unlink(private)
        for column in table.columns:  # astropy would copy each when the table goes
            column.array = None
