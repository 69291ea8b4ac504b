"""The columns of a binary table, or the one of an image: where each column's numbers are and how they are stored."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .headers import Hdu
from .place import BadCopy, Place
from .source import ByteSource

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Column", "columns_of", "image_column", "pixels_in"]

_TFORM = re.compile(r"^\s*(\d*)([A-Z])(.*)$")
_CODES = {"L": ">u1", "B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_WIDTHS = {"L": 1, "B": 1, "X": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_BITPIX = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(slots=True)
class Column:
    """One column of numbers.

    Parameters
    ----------
    number : int
        Counted from 1, as FITS does.
    name, unit : str
        TTYPEn and TUNITn, empty if absent.
    dtype : str
        As on disk, with the byte order.
    source : ByteSource
        Where the bytes are.
    start : int
        Offset of the first value.
    per_row : int
        Values in one row of the table.
    row_bytes : int
        From one row to the next.
    count : int
        Values in all.
    place : Place
        What errors call it.
    scale, zero : float
        TSCALn and TZEROn; the physical value is ``zero + scale * stored``.
    null : int or None
        TNULLn: the stored integer that stands for no value.
    logical : bool
        Letters T and F instead of numbers.
    """

    number: int
    name: str
    unit: str
    dtype: str
    source: ByteSource = field(repr=False)
    start: int
    per_row: int
    row_bytes: int
    count: int
    place: Place
    scale: float = 1.0
    zero: float = 0.0
    null: int | None = None
    logical: bool = False

    @property
    def plain(self) -> bool:
        """Stored as it is meant: no scaling, no null value, no letters."""
        return self.scale == 1 and self.zero == 0 and self.null is None and not self.logical

    @property
    def natural(self) -> np.dtype[np.generic]:
        """The native type that holds the physical values, as astropy chooses it."""
        import numpy as np

        stored = np.dtype(self.dtype).newbyteorder("=")
        if self.logical:
            return np.dtype(bool)
        if self.unsigned:
            return np.dtype(self.unsigned)
        if self.scale == 1 and self.zero == 0 and (self.null is None or stored.kind == "f"):
            return stored
        return np.dtype("f8")

    @property
    def unsigned(self) -> str:
        """The other signedness, where TZERO is FITS's way to store it (without a null value); else empty."""
        if self.scale != 1 or self.null is not None:
            return ""
        offsets = {">i2": (2**15, "u2"), ">i4": (2**31, "u4"), ">i8": (2**63, "u8"), ">u1": (-128, "i1")}
        offset, other = offsets.get(self.dtype, (None, ""))
        return other if offset is not None and self.zero == offset else ""


def pixels_in(hdu: Hdu) -> int:
    """Count the values of an image, be it tile-compressed or not."""
    count = 1
    prefix = "ZNAXIS" if hdu["ZIMAGE"] is True else "NAXIS"
    for axis in range(hdu.number(prefix)):
        count *= hdu.number(f"{prefix}{axis + 1}")
    return count


def columns_of(source: ByteSource, hdu: Hdu) -> list[Column]:
    """Describe every column of a binary table, or the one of an image.

    Parameters
    ----------
    source : ByteSource
        The file.
    hdu : Hdu
        One that is not compressed.

    Returns
    -------
    list of Column
        Those that cannot be a map have an empty ``dtype``.

    Raises
    ------
    MapError
        If the header does not describe its own rows, or the file ends before its data does.
    """
    place = source.place.in_hdu(hdu.index)
    if hdu.data + hdu.size > source.size:
        reason = f"the file is truncated: {hdu.data + hdu.size} bytes needed, {source.size} there"
        raise place.error(reason, "fetch it again", BadCopy)
    if hdu.kind != "BINTABLE":
        return _fields_of(image_column(source, hdu), hdu)
    if len(hdu.shape) != 2 or hdu.number("BITPIX") != 8:
        raise place.error(f"a binary table has NAXIS=2 and BITPIX=8, this one {len(hdu.shape)} and {hdu['BITPIX']!r}")
    rows, row_bytes = hdu.shape
    columns, at = [], 0
    for number in range(1, hdu.number("TFIELDS") + 1):
        column, width = _column(source, hdu, number, at)
        column.count, column.row_bytes = rows * column.per_row, row_bytes
        columns.append(column)
        at += width
    if at != row_bytes:
        raise place.error(f"its columns take {at} bytes a row, but NAXIS1 says {row_bytes}")
    return columns


def _column(source: ByteSource, hdu: Hdu, number: int, at: int) -> tuple[Column, int]:
    name = hdu.word(f"TTYPE{number}")
    place = source.place.in_hdu(hdu.index).in_column(number, name)
    form = _TFORM.match(hdu.word(f"TFORM{number}"))
    if not form or form[2] not in _WIDTHS:
        raise place.error(f"TFORM{number}={hdu[f'TFORM{number}']!r} is no column format")
    repeat = int(form[1] or 1)
    code = form[2]
    width = -(-repeat // 8) if code == "X" else repeat * _WIDTHS[code]
    null = hdu[f"TNULL{number}"]
    column = Column(
        number,
        name,
        hdu.word(f"TUNIT{number}"),
        _CODES.get(code, ""),
        source,
        hdu.data + at,
        repeat,
        0,
        0,
        place,
        _factor(hdu, f"TSCAL{number}", 1.0, place),
        _factor(hdu, f"TZERO{number}", 0.0, place),
        null if isinstance(null, int) and code in "BIJK" else None,
        code == "L",
    )
    return column, width


def image_column(source: ByteSource, hdu: Hdu) -> Column:
    """Describe an image as one column of all its values.

    Parameters
    ----------
    source : ByteSource
        The file.
    hdu : Hdu
        An image that is not compressed.

    Returns
    -------
    Column
        Contiguous.
    """
    place = source.place.in_hdu(hdu.index)
    dtype = _BITPIX[hdu.number("BITPIX")]
    count = pixels_in(hdu)
    width = abs(hdu.number("BITPIX")) // 8
    null = hdu["BLANK"] if hdu.number("BITPIX") > 0 else None
    return Column(
        1,
        hdu.word("EXTNAME"),
        hdu.word("BUNIT"),
        dtype,
        source,
        hdu.data,
        1,
        width,
        count,
        place,
        _factor(hdu, "BSCALE", 1.0, place),
        _factor(hdu, "BZERO", 0.0, place),
        null if isinstance(null, int) else None,
    )


def _fields_of(column: Column, hdu: Hdu) -> list[Column]:
    """Cut an image of (fields, npix) into its fields."""
    npix = hdu.shape[-1] if hdu.shape else 0
    fields = column.count // npix if npix else 1
    if fields < 2 or npix != 12 * hdu.number("NSIDE") ** 2:
        return [column]
    width = column.row_bytes
    return [
        replace(column, number=k + 1, count=npix, start=column.start + k * npix * width, place=column.place)
        for k in range(fields)
    ]


def _factor(hdu: Hdu, key: str, default: float, place: Place) -> float:
    value = hdu.cards.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.error(f"{key}={value!r} is not a number")
    return value
