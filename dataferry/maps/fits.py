"""FITS: headers and tiles by astropy, and where each column's numbers are and how they are stored."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.io.fits.verify import VerifyError
from numpy.typing import NDArray

from ..errors import MapError
from .byte_source import BadCopy, ByteSource, Context, Memory, packed_by

BLOCK = 2880
# most headers of maps end within this; it is also the first range asked of a server
FIRST = 4 * BLOCK
_LONGEST = 4000 * BLOCK
_MOST_AXES = 999  # and columns: the standard's limit

_TFORM = re.compile(r"^\s*(\d*)([A-Z])(.*)$")
_DTYPES = {"L": ">u1", "B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_WIDTHS = {"L": 1, "B": 1, "X": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_BITPIX = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(slots=True)
class Hdu:
    """One header-data unit: its header, and the offset and length (without padding) of its data."""

    index: int
    header: Header = field(repr=False)
    data: int
    size: int
    context: Context

    def __contains__(self, key: str) -> bool:
        return key in self.header

    def __getitem__(self, key: str) -> str | int | float | bool | None:
        """The value of a card, of repeated ones the first; None if it has none."""
        try:
            value = self.header.get(key)
        except VerifyError:
            return "(not readable)"
        return value if isinstance(value, str | int | float | bool) else None

    def number(self, key: str, default: int = 0) -> int:
        """An integer card; anything else counts as absent."""
        value = self[key]
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def word(self, key: str) -> str:
        """A text card stripped of blanks; empty if absent."""
        value = self[key]
        return "" if value is None else str(value).strip()

    @property
    def kind(self) -> str:
        return self.word("XTENSION") or "PRIMARY"

    @property
    def compressed(self) -> bool:
        """Whether the table holds the tiles of an image."""
        return self["ZIMAGE"] is True

    @property
    def is_image(self) -> bool:
        return self.compressed or self.kind in ("PRIMARY", "IMAGE")

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes in numpy's order: the last one is contiguous."""
        return self._axes("ZNAXIS" if self.compressed else "NAXIS")

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self._axes("NAXIS")

    def _axes(self, key: str) -> tuple[int, ...]:
        return tuple(self.number(f"{key}{i}") for i in range(self.number(key), 0, -1))


def hdus(source: ByteSource) -> Iterator[Hdu]:
    """Walk through the HDUs of a file; headers are read only as far as the walk goes."""
    start = 0
    for index in itertools.count():
        hdu = _read_hdu(source, index, start)
        if hdu is None:
            return
        yield hdu
        start = hdu.data + -(-hdu.size // BLOCK) * BLOCK


def _read_hdu(source: ByteSource, index: int, start: int) -> Hdu | None:
    context = source.context.in_hdu(index)
    text = source.pread(start, FIRST)
    if index == 0 and not text.startswith(b"SIMPLE  ="):
        raise source.context.error(*_not_fits(text), kind=BadCopy)
    if index and not text.startswith(b"XTENSION"):
        return None  # the file ends, or special records follow, which FITS allows
    stream = io.BytesIO(text)
    while True:
        try:
            stream.seek(0)
            header = Header.fromfile(stream)
            break
        except (OSError, ValueError) as error:  # END is further on
            stream.seek(0, io.SEEK_END)
            more = source.pread(start + stream.tell(), max(FIRST, stream.tell()))
            if not more or stream.tell() > _LONGEST:
                reason = "the file is truncated: its header has no END card"
                raise context.error(reason, "fetch it again", BadCopy) from error
            stream.write(more)
    hdu = Hdu(index, header, start + stream.tell(), 0, context)
    _check_counts(hdu)
    axes = hdu.stored_shape
    if any(n < 0 for n in axes) or hdu.number("BITPIX") not in _BITPIX:
        raise context.error(f"BITPIX={hdu['BITPIX']!r} and NAXISn={axes[::-1]} do not describe any data")
    if hdu["GROUPS"] is True and axes and axes[-1] == 0:
        axes = axes[:-1]  # random groups, as radio interferometers wrote them
    items = 1 if axes else 0
    for n in axes:
        items *= n
    hdu.size = abs(hdu.number("BITPIX")) // 8 * hdu.number("GCOUNT", 1) * (hdu.number("PCOUNT") + items)
    return hdu


def _check_counts(hdu: Hdu) -> None:
    """Refuse what would make a reader count for ever, or come back to where it was."""
    for key in ("NAXIS", "ZNAXIS", "TFIELDS"):
        if not 0 <= hdu.number(key) <= _MOST_AXES:
            raise hdu.context.error(f"{key}={hdu[key]} is not one of 0 to {_MOST_AXES}", "the header may be damaged")
    for key, least in (("PCOUNT", 0), ("GCOUNT", 1)):
        if hdu.number(key, least) < least:
            raise hdu.context.error(f"{key}={hdu[key]} is less than {least}", "the header may be damaged")


def _not_fits(text: bytes) -> tuple[str, str]:
    start = text[:200].lstrip().lower()
    packed, _ = packed_by(text)
    if packed:
        return f"is packed with {packed} and cannot be read in part", "fetch it whole: dataferry get"
    if start.startswith(b"<"):
        return "is not a FITS file but a web page", ""
    if start.startswith(b"version https://git-lfs"):
        return "is not a FITS file but a git-lfs pointer", ""
    if not text:
        return "is not a FITS file: it is empty", ""
    return f"is not a FITS file: it starts with {text[:16]!r}", ""


@dataclass(slots=True)
class Column:
    """One column of numbers: the physical value is ``zero + scale * stored``.

    ``number`` counts from 1; ``start`` is the offset of the first value, ``row_bytes`` the step from one row to the
    next, ``count`` the values in all; ``null`` is the stored number that stands for no value; ``logical`` columns
    hold the letters T and F, or a zero byte for no value; ``problem`` is why it cannot be read.
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
    context: Context
    scale: float = 1.0
    zero: float = 0.0
    null: float | None = None
    logical: bool = False
    problem: str = ""

    @property
    def width(self) -> int:
        return int(self.dtype[2:])

    @property
    def plain(self) -> bool:
        """Stored as it is meant: no scaling, no null value, no letters."""
        return self.scale == 1 and self.zero == 0 and self.null is None and not self.logical

    @property
    def nullable(self) -> bool:
        return self.null is not None or self.logical

    @property
    def natural(self) -> np.dtype[Any]:
        """The native type that holds the physical values, as astropy chooses it."""
        stored = np.dtype(self.dtype).newbyteorder("=")
        if self.logical:
            return np.dtype(bool)
        if self.unsigned:
            return np.dtype(self.unsigned)
        if self.scale == 1 and self.zero == 0 and (self.null is None or stored.kind == "f"):
            return stored
        return np.dtype("f8")

    @property
    def whole_numbers(self) -> bool:
        """Whether it holds integers or letters, be some of them null or not."""
        return self.natural.kind != "f" or (self.scale == 1 and self.zero == 0 and self.dtype[1] in "iu")

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
    for axis in hdu.shape:
        count *= axis
    return count


def columns_of(source: ByteSource, hdu: Hdu) -> list[Column]:
    """Describe every column of a binary table, or an image as one column (one a field, if it is a map of several).

    A column that cannot be read has a ``problem`` and does not keep the others from being read.
    """
    if hdu.data + hdu.size > source.size:
        reason = f"the file is truncated: {hdu.data + hdu.size} bytes needed, {source.size} there"
        raise hdu.context.error(reason, "fetch it again", BadCopy)
    if hdu.kind != "BINTABLE":
        return fields_of(image_column(source, hdu), hdu)
    if len(hdu.stored_shape) != 2 or hdu.number("BITPIX") != 8:
        axes = len(hdu.stored_shape)
        raise hdu.context.error(f"a binary table has NAXIS=2 and BITPIX=8, this one {axes} and {hdu['BITPIX']!r}")
    row_bytes = hdu.stored_shape[1]
    columns, at, complete = [], 0, True
    for number in range(1, hdu.number("TFIELDS") + 1):
        column, width = _table_column(source, hdu, number, at)
        columns.append(column)
        if width < 0:  # of an unknown width: nobody knows where the columns after it begin
            complete = False
            break
        at += width
    if at > row_bytes or (complete and at < row_bytes):
        raise hdu.context.error(f"its columns take {at} bytes a row, but NAXIS1 says {row_bytes}")
    return columns


def _table_column(source: ByteSource, hdu: Hdu, number: int, at: int) -> tuple[Column, int]:
    rows, row_bytes = hdu.stored_shape
    name, unit, text = (hdu.word(f"{key}{number}") for key in ("TTYPE", "TUNIT", "TFORM"))
    form = _TFORM.match(text)
    repeat, code = (int(form[1] or 1), form[2]) if form else (0, "")
    context, start = hdu.context.in_column(number, name), hdu.data + at
    column = Column(number, name, unit, _DTYPES.get(code, ""), source, start, repeat, row_bytes, rows * repeat, context)
    if code not in _WIDTHS:
        column.problem = f"TFORM{number}={text!r} is no column format"
        return column, -1
    if not (column.dtype and repeat):
        column.problem = "does not hold numbers that a map can have"
    column.logical = code == "L"
    _add_scale(column, hdu, f"TSCAL{number}", f"TZERO{number}", f"TNULL{number}" if code in "BIJK" else "")
    return column, -(-repeat // 8) if code == "X" else repeat * _WIDTHS[code]


def _add_scale(column: Column, hdu: Hdu, scale: str, zero: str, null: str) -> None:
    for attribute, key in (("scale", scale), ("zero", zero)):
        if key in hdu:
            value = hdu[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                column.problem = column.problem or f"{key}={value!r} is not a number"
            else:
                setattr(column, attribute, value)
    value = hdu[null] if null else None
    column.null = value if isinstance(value, int) else None


def image_column(source: ByteSource, hdu: Hdu) -> Column:
    """Describe an image as one column of all its values."""
    bitpix = hdu.number("ZBITPIX" if hdu.compressed else "BITPIX")
    name, unit, width = hdu.word("EXTNAME"), hdu.word("BUNIT"), abs(bitpix) // 8
    dtype = _BITPIX.get(bitpix, "")
    column = Column(1, name, unit, dtype, source, hdu.data, 1, width, pixels_in(hdu), hdu.context)
    _add_scale(column, hdu, "BSCALE", "BZERO", "BLANK" if bitpix > 0 else "")
    return column


def fields_of(column: Column, hdu: Hdu) -> list[Column]:
    """Divide an image of (fields, npix) into its fields."""
    npix = hdu.shape[-1] if hdu.shape else 0
    fields = column.count // npix if npix else 1
    if fields < 2 or npix != 12 * hdu.number("NSIDE") ** 2:
        return [column]
    step = npix * column.width
    return [replace(column, number=k + 1, count=npix, start=column.start + k * step) for k in range(fields)]


def unpack_image(source: ByteSource, hdu: Hdu, section: Any = ()) -> tuple[Column, NDArray[Any]]:
    """Unpack a section of an image, as numpy indexes, by the tiles that it crosses: not scaled, big-endian.

    The column describes all the values of the section, which are in memory.
    """
    stream = io.BufferedReader(source, 1 << 15)
    try:
        # unscaled: scaling and blanks are applied as for any column
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = fits.open(stream, memmap=False, do_not_scale_image_data=True)
            data = np.atleast_1d(opened[hdu.index].section[section])
            opened.close(closed=False)
    except MapError:
        raise
    except Exception as error:  # the codecs of astropy raise anything
        raise hdu.context.error(f"its tiles do not unpack: {error}", "the file may be damaged") from error
    finally:
        stream.detach()  # which would close the source
    raw = np.ascontiguousarray(data).astype(data.dtype.newbyteorder(">"))
    column = replace(
        image_column(source, hdu),
        dtype=raw.dtype.str.replace("|", ">"),
        source=Memory(raw.reshape(-1).view("u1").data, source.context),
        start=0,
        row_bytes=raw.itemsize,
        count=raw.size,
    )
    return column, raw
