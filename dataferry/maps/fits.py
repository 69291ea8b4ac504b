"""FITS: headers and tiles by astropy; what an HDU holds, its columns, and the map in it."""

from __future__ import annotations

import io
import itertools
import math
import operator
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.io.fits.verify import VerifyError

from ..errors import MapError
from .byte_source import FIRST_RANGE, BadCopy, ByteSource, Context, Memory, packed_by
from .healpix import nside_of
from .layout import MAX_NSIDE, ORDERS, Column, MapLayout, in_digits

_BLOCK = 2880
_LONGEST = 4000 * _BLOCK
_MOST_AXES = 999  # and columns: the standard's limit

_TFORM = re.compile(r"^\s*(\d*)([A-Z])")
_DTYPES = {"L": ">u1", "B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_WIDTHS = {"L": 1, "B": 1, "X": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_BITPIX = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}

# files that have HEALPix keywords and another structure, and the package that reads them
_OTHER_FORMATS = {"HEALSPARSE": "the healsparse package", "SPARSE": "the gammapy package", "NUNIQ": "mocpy"}
_PIXEL_COLUMNS = ("PIXEL", "PIXELS", "PIX", "IPIX", "HPXINDEX")


@dataclass(slots=True)
class Hdu:
    """One header-data unit: its header, and the offset and length (without padding) of its data."""

    index: int
    header: Header = field(repr=False)
    data: int
    context: Context
    size: int = 0

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
    def states_healpix(self) -> bool:
        return self.word("PIXTYPE").upper() == "HEALPIX" or "NSIDE" in self

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes in numpy's order: the last one is contiguous."""
        return self.axes("ZNAXIS" if self.compressed else "NAXIS")

    def axes(self, key: str = "NAXIS") -> tuple[int, ...]:
        return tuple(self.number(f"{key}{i}") for i in range(self.number(key), 0, -1))


def hdus(source: ByteSource) -> Iterator[Hdu]:
    """Walk through the HDUs of a file; headers are read only as far as the walk goes."""
    start = 0
    for index in itertools.count():
        text = source.pread(start, FIRST_RANGE)
        if index == 0 and not text.startswith(b"SIMPLE  ="):
            raise source.context.error(*_not_fits(text), kind=BadCopy)
        if index and not text.startswith(b"XTENSION"):
            return  # the file ends, or special records follow, which FITS allows
        hdu = _read_hdu(source, index, start, text)
        yield hdu
        start = hdu.data + -(-hdu.size // _BLOCK) * _BLOCK


def _read_hdu(source: ByteSource, index: int, start: int, text: bytes) -> Hdu:
    context = Context(source.context.file, index)
    stream = io.BytesIO(text)
    while True:
        try:
            stream.seek(0)
            header = Header.fromfile(stream)
            break
        except (OSError, ValueError) as error:  # END is further on
            stream.seek(0, io.SEEK_END)
            more = source.pread(start + stream.tell(), stream.tell())
            if not more or stream.tell() > _LONGEST:
                reason = "the file is truncated: its header has no END card"
                raise context.error(reason, "fetch it again", BadCopy) from error
            stream.write(more)
    hdu = Hdu(index, header, start + stream.tell(), context)
    # what would make a reader count for ever, or come back to where it was
    for key, least, most in (
        ("NAXIS", 0, _MOST_AXES),
        ("ZNAXIS", 0, _MOST_AXES),
        ("TFIELDS", 0, _MOST_AXES),
        ("PCOUNT", 0, math.inf),
        ("GCOUNT", 1, math.inf),
    ):
        if not least <= hdu.number(key, least) <= most:
            raise context.error(f"{key}={hdu[key]} is out of range", "the header may be damaged")
    axes = hdu.axes()
    if any(n < 0 for n in axes) or hdu.number("BITPIX") not in _BITPIX:
        raise context.error(f"BITPIX={hdu['BITPIX']!r} and NAXISn={axes[::-1]} do not describe any data")
    if hdu["GROUPS"] is True and axes and axes[-1] == 0:
        axes = axes[:-1]  # random groups, as radio interferometers wrote them
    items = math.prod(axes) if axes else 0
    hdu.size = abs(hdu.number("BITPIX")) // 8 * hdu.number("GCOUNT", 1) * (hdu.number("PCOUNT") + items)
    if hdu.size >= 1 << 62:  # no file has an offset behind it
        raise context.error(f"its data would have {hdu.size} bytes", "the header may be damaged")
    return hdu


def _not_fits(text: bytes) -> tuple[str, str]:
    start = text[:200].lstrip().lower()
    packed, _ = packed_by(text)
    if packed:
        return f"is packed with {packed} and cannot be read in part", "fetch it whole: dataferry get"
    if start.startswith(b"<"):
        return "is not a FITS file but a web page", ""
    if start.startswith(b"version https://git-lfs"):
        return "is not a FITS file but a git-lfs pointer", ""
    return f"is not a FITS file: it {f'starts with {text[:16]!r}' if text else 'is empty'}", ""


def columns_of(source: ByteSource, hdu: Hdu) -> list[Column]:
    """Describe every column of a binary table, or an image as one column (one a field, if it is a map of several).

    A column that cannot be read has a ``problem`` and does not keep the others from being read.
    """
    if hdu.data + hdu.size > source.size:
        raise source.truncated(hdu.data + hdu.size, hdu.context)
    if hdu.is_image:
        return _fields_of(unpack_image(source, hdu) if hdu.compressed else image_column(hdu), hdu)
    axes = hdu.axes()
    if len(axes) != 2 or hdu.number("BITPIX") != 8:
        raise hdu.context.error(f"a binary table has NAXIS=2 and BITPIX=8, this one {len(axes)} and {hdu['BITPIX']!r}")
    columns: list[Column] = []
    at: int = 0
    width: int | None = 0
    for number in range(1, hdu.number("TFIELDS") + 1):
        column, width = _table_column(hdu, number, at, *axes)
        columns.append(column)
        if width is None:  # nobody knows where the columns after it begin
            break
        at += width
    if at > axes[1] or (width is not None and at < axes[1]):
        raise hdu.context.error(f"its columns take {at} bytes a row, but NAXIS1 says {axes[1]}")
    return columns


def _table_column(hdu: Hdu, number: int, at: int, rows: int, row_bytes: int) -> tuple[Column, int | None]:
    """Describe a column, and how many bytes it has in a row, if that is known."""
    name, unit, text = (hdu.word(f"{key}{number}") for key in ("TTYPE", "TUNIT", "TFORM"))
    form = _TFORM.match(text)
    repeat, code = (int(form[1] or 1), form[2]) if form else (0, "")
    context, dtype = hdu.context.in_column(number, name), _DTYPES.get(code, "")
    column = Column(number, name, unit, dtype, hdu.data + at, repeat, row_bytes, rows * repeat, context)
    if code not in _WIDTHS:
        column.problem = f"TFORM{number}={text!r} is no column format"
        return column, None
    if not (dtype and repeat):
        column.problem = "does not hold numbers that a map can have"
    _add_scale(column, hdu, f"TSCAL{number}", f"TZERO{number}", f"TNULL{number}" if code in "BIJK" else "")
    if code == "L":
        column.logical, column.null = True, 0  # the standard: a zero byte is no value
    return column, -(-repeat // 8) if code == "X" else repeat * _WIDTHS[code]


def _add_scale(column: Column, hdu: Hdu, scale: str, zero: str, null: str) -> None:
    for attribute, key in (("scale", scale), ("zero", zero), ("null", null)):
        if key and key in hdu:
            value = hdu[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                column.problem = column.problem or f"{key}={value!r} is not a number"
            else:
                setattr(column, attribute, value)


def image_column(hdu: Hdu) -> Column:
    """Describe an image as one column of all its values."""
    bitpix = hdu.number("ZBITPIX" if hdu.compressed else "BITPIX")
    name, unit, dtype = hdu.word("EXTNAME"), hdu.word("BUNIT"), _BITPIX.get(bitpix, "")
    column = Column(1, name, unit, dtype, hdu.data, 1, abs(bitpix) // 8, math.prod(hdu.shape), hdu.context)
    _add_scale(column, hdu, "BSCALE", "BZERO", "BLANK" if bitpix > 0 else "")
    return column


def unpack_image(source: ByteSource, hdu: Hdu, section: Any = ()) -> Column:
    """Unpack a section of an image, as numpy indexes, by the tiles that it crosses: not scaled, in memory."""
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
    memory = Memory(raw.reshape(-1).view("u1").data, source.context)
    dtype = raw.dtype.str.replace("|", ">")
    return replace(image_column(hdu), dtype=dtype, start=0, row_bytes=raw.itemsize, count=raw.size, memory=memory)


def _fields_of(column: Column, hdu: Hdu) -> list[Column]:
    """Divide an image of (fields, npix) into its fields."""
    npix = hdu.shape[-1] if hdu.shape else 0
    fields = column.count // npix if npix else 1
    if fields < 2 or npix != 12 * hdu.number("NSIDE") ** 2:
        return [column]
    step = npix * column.width
    return [replace(column, number=k + 1, count=npix, start=column.start + k * step) for k in range(fields)]


def choose_hdu(source: ByteSource, wanted: int | str | None = None) -> Hdu:
    """Find the HDU of that number or EXTNAME.

    None takes the first that says it is a HEALPix map, then the first binary table, then the first image with as many
    pixels in one row as a map has.
    """
    try:
        wanted = wanted if isinstance(wanted, str | None) else operator.index(wanted)
    except TypeError as error:
        raise source.context.error(f"hdu={wanted!r} is neither a number nor a name") from error
    seen, tables, images = [], [], []
    for hdu in hdus(source):
        name = hdu.word("EXTNAME")
        seen.append(f"{hdu.index} {name or hdu.kind}")
        if wanted is not None:
            if wanted == hdu.index or (isinstance(wanted, str) and wanted.upper() == name.upper()):
                return hdu
        elif hdu.size and hdu.states_healpix:
            return hdu
        elif hdu.kind == "BINTABLE" and not hdu.compressed:
            tables.append(hdu)
        elif (
            not hdu.compressed and nside_of(math.prod(hdu.shape)) and math.prod(hdu.shape) == max(hdu.shape, default=0)
        ):
            # in one row: many a photograph of 3 to 4 has 12 n**2 pixels
            images.append(hdu)
    if wanted is None and tables + images:
        return (tables + images)[0]
    reason = "no HDU holds a HEALPix map" if wanted is None else f"there is no HDU {wanted!r}"
    raise source.context.error(reason, "HDUs are: " + ", ".join(seen))


def fits_layout(source: ByteSource, hdu: Hdu) -> MapLayout:
    """Describe the map in an HDU."""
    context = hdu.context
    if hdu["ZTABLE"] is True:
        raise context.error("is a tile-compressed table", "unpack it first: funpack FILE")
    if hdu.kind not in ("PRIMARY", "IMAGE", "BINTABLE"):
        raise context.error(f"is a {hdu.kind}; maps are binary tables or images")
    if hdu.compressed and source.connections:
        raise context.error("is tile-compressed: a map cannot be read in part from it", "fetch it whole: dataferry get")
    primary = next(hdus(source))

    def where(key: str) -> Hdu:
        """Some writers have put the keywords of the map into the primary header only."""
        return hdu if key in hdu or key not in primary else primary

    _check_format(where("PIXTYPE"), "PIXTYPE", "HEALPIX")
    _check_format(where("INDXSCHM"), "INDXSCHM", "IMPLICIT", "EXPLICIT")
    order, order_from = _order(where("ORDERING"), hdu)
    nside = _nside(where("NSIDE"))
    columns = columns_of(source, hdu)
    if not columns:
        raise context.error("has no columns")
    guessed = not nside and order_from != "" and not where("PIXTYPE").word("PIXTYPE")
    pixels = None
    if _is_partial(hdu, where("INDXSCHM"), columns, nside):
        pixels, *columns = columns
        if not pixels.dtype or nside == 0:
            what = "NSIDE is missing" if nside == 0 else "it is not of numbers"
            raise pixels.context.error(f"should hold the pixel numbers of a partial map, but {what}")
        if not columns:
            raise context.error("has pixel numbers, but no column of values")
    else:
        nside = nside or next((n for n in (nside_of(c.count) for c in columns if not c.problem) if n), 0)
    _check_lengths(columns, pixels, nside)
    if order == "NESTED" and nside & (nside - 1):
        raise context.error(f"ORDERING is NESTED, but NSIDE={nside} is no power of two")
    coordinates = where("COORDSYS").word("COORDSYS")
    return MapLayout(source, context, hdu.index, nside, order, columns, pixels, order_from, guessed, coordinates)


def _check_format(hdu: Hdu, key: str, *known: str) -> None:
    word = hdu.word(key).upper()
    if word and word not in known:
        remedy = f"{_OTHER_FORMATS[word]} reads it" if word in _OTHER_FORMATS else ""
        raise hdu.context.error(f"{key}={hdu[key]!r}: not a HEALPix map with one value a pixel", remedy)


def _check_lengths(columns: list[Column], pixels: Column | None, nside: int) -> None:
    """Note what is wrong with columns of another length; the others can be read."""
    for column in columns:
        if column.problem:
            continue
        if pixels is None and (not nside or column.count != 12 * nside * nside):
            expected = f"NSIDE={nside} needs {12 * nside * nside}" if nside else "no NSIDE fits"
            column.problem = f"holds {column.count} values, but {expected}: not a whole-sky HEALPix map"
        if pixels is not None and column.count != pixels.count:
            column.problem = f"holds {column.count} values for {pixels.count} pixel numbers"
    if columns and all(column.problem for column in columns):
        raise columns[0].context.error(columns[0].problem)


def _order(stated: Hdu, hdu: Hdu) -> tuple[str, str]:
    word = stated.word("ORDERING").upper()
    if word in ("", "UNDEF"):
        return "RING", "assumed"
    if word in ORDERS:
        return ORDERS[word], "" if stated is hdu else "primary header"
    if word == "NUNIQ":
        reason = "ORDERING is NUNIQ: a multi-order coverage (MOC), not a map of one NSIDE"
        raise stated.context.error(reason, f"{_OTHER_FORMATS[word]} reads it")
    raise stated.context.error(f"ORDERING={stated['ORDERING']!r} is neither RING nor NESTED")


def _nside(hdu: Hdu) -> int:
    """What a header states; 0 if nothing."""
    if "NSIDE" not in hdu:
        return 0
    stated = hdu["NSIDE"]
    if isinstance(stated, bool) or not isinstance(stated, int):
        remedy = ""
        if number := in_digits(str(stated)):
            arguments = f"{hdu.context.file!r}, 'NSIDE', value={number}, ext={hdu.index}"
            remedy = f"correct it: astropy.io.fits.setval({arguments})"
        raise hdu.context.error(f"NSIDE={stated!r} is not an integer", remedy)
    if not 1 <= stated <= MAX_NSIDE:
        raise hdu.context.error(f"NSIDE={stated} is out of range")
    return stated


def _is_partial(hdu: Hdu, indxschm: Hdu, columns: list[Column], nside: int) -> bool:
    what, scheme = hdu.word("OBJECT").upper(), indxschm.word("INDXSCHM").upper()
    if (what, scheme) in (("PARTIAL", "IMPLICIT"), ("FULLSKY", "EXPLICIT")):
        raise hdu.context.error(f"OBJECT={what} and INDXSCHM={scheme} contradict each other")
    if what in ("PARTIAL", "FULLSKY") or scheme:
        return what == "PARTIAL" or scheme == "EXPLICIT"
    named = columns[0].name.upper() in _PIXEL_COLUMNS
    return named and len(columns) > 1 and columns[0].count != 12 * nside * nside
