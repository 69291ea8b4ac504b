"""Writing maps: a FITS table that healpy reads, with FITS checksums, visible only once it is whole.

The table is written block by block, with its sum: astropy would need it a second time in memory.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import MapError
from ..files import rename_noreplace
from .byte_source import Context
from .healpix import nside_of
from .values import UNSEEN, Finish

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from numpy.typing import ArrayLike, NDArray

__all__ = ["write_map"]

_NAMES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
_FORMS = {"b1": "L", "u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
# cards that say how the bytes are laid out, be it in this table or in another one
_STRUCTURAL = re.compile(
    r"SIMPLE|EXTEND|GROUPS|THEAP|END|DATASUM|CHECKSUM|FIRSTPIX|LASTPIX|Z(IMAGE|TABLE|NAXIS\d*|BITPIX)|NAXIS\d*"
    r"|T(TYPE|FORM|UNIT|SCAL|ZERO|NULL|DIM|DISP|BCOL)\d+"
)
_BLOCK = 2880
_STEP = 1 << 18
# what the standard's coding of a checksum leaves out
_PUNCTUATION = (*range(0x3A, 0x41), *range(0x5B, 0x61))


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
        Where to; ``.gz`` at the end packs the file.
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
    import numpy as np

    target = Path(path)
    context = Context(os.fspath(path))
    if target.exists() and not overwrite:
        raise _exists(context)
    text, array = _with_unit(values, unit, context)
    fields = np.atleast_2d(array)
    word = str(order).upper()
    if word not in ("RING", "NESTED", "NEST"):
        raise context.error(f"order={order!r} is neither RING nor NESTED")
    numbers = None if pixels is None else _unmasked(pixels, context)
    nside = _checked_nside(fields, numbers, nside, word, context)
    titles = _titles(names, len(fields), context)
    columns: list[NDArray[Any]] = list(fields)
    units = [text] * len(fields)
    if numbers is not None:
        columns = [numbers.astype("i8" if nside > 8192 else "i4"), *columns]
        titles, units = ["PIXEL", *titles], ["", *units]
    cards = _table_cards(nside, word, columns, titles, units, partial=numbers is not None)
    _write_file(target, context, _header(cards, header, context), columns, overwrite=overwrite)
    return target


def _with_unit(values: ArrayLike, unit: Any, context: Context) -> tuple[str, NDArray[Any]]:
    from astropy import units as u

    from .units import factor_between, parse_unit, unit_text

    array = _unmasked(values.value if isinstance(values, u.Quantity) else values, context)
    if array.dtype.newbyteorder("=").str[1:] not in _FORMS or array.ndim not in (1, 2) or not array.size:
        raise context.error(f"an array of {array.dtype} and shape {array.shape} is no map")
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
        raise context.error(f"the unit does not fit: {error}") from error
    return text, array


def _unmasked(values: Any, context: Context) -> NDArray[Any]:
    """The values as a plain array: UNSEEN where numpy's or astropy's masked arrays mask."""
    import numpy as np

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


def _checked_nside(fields: Any, pixels: Any, nside: int | None, order: str, context: Context) -> int:
    nside = _whole_number(nside, context)
    if pixels is None:
        found = nside_of(fields.shape[1])
        if not found or nside not in (None, found):
            of_nside = f" of NSIDE={nside}" if nside else ""
            raise context.error(f"{fields.shape[1]} values are no whole-sky map{of_nside}")
    else:
        found = nside or 0
        if not found or pixels.shape != fields.shape[1:] or pixels.dtype.kind not in "iu":
            raise context.error("a partial map needs nside, and an integer pixel number for each value")
        if pixels.size and (pixels.min() < 0 or pixels.max() >= 12 * found * found):
            raise context.error(f"a pixel number is out of range for NSIDE={found}")
    if order != "RING" and found & (found - 1):
        raise context.error(f"NSIDE={found} is no power of two: there is no NESTED ordering")
    return found


def _whole_number(nside: Any, context: Context) -> int | None:
    import operator

    if nside is None:
        return None
    try:
        found = operator.index(nside)
    except TypeError:
        found = 0
    if isinstance(nside, bool) or not 0 < found <= 1 << 29:
        raise context.error(f"nside={nside!r} is no integer from 1 to 2**29")
    return found


def _titles(names: str | Sequence[str] | None, count: int, context: Context) -> list[str]:
    if names is None:
        return list(_NAMES[:count]) if count in (1, 3) else [f"FIELD_{k}" for k in range(count)]
    titles = [names] if isinstance(names, str) else list(names)
    if len(titles) != count:
        raise context.error(f"{len(titles)} names for {count} fields")
    return titles


def _table_cards(
    nside: int, order: str, columns: list[NDArray[Any]], titles: list[str], units: list[str], *, partial: bool
) -> dict[str, Any]:
    """What the header of a table says of its own: keyword to value, or to (value, comment)."""
    count = columns[0].size
    per_row = 1 if partial or count % 1024 else 1024
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


def _header(cards: dict[str, Any], more: Mapping[str, Any] | None, context: Context) -> Header:
    """A header of the table's own cards and a caller's, which do not contradict them."""
    from astropy.io.fits import Header

    if not isinstance(more, Mapping | Header | None):
        raise context.error(f"header= is a {type(more).__name__}, not a dict of keyword to value")
    made = Header()
    try:
        for key, value in cards.items():
            made[key] = value
        if isinstance(more, Header):
            _add_header(made, more, cards, context)
            return made
        for key, value in (more or {}).items():
            if not isinstance(key, str):
                raise context.error(f"header= has the keyword {key!r}, which is no text")
            if _is_structural(key, cards):
                raise _decided(key, context)
            made[key] = value
    except MapError:
        raise
    except (ValueError, TypeError) as error:
        raise context.error(f"the header cannot be written: {error}") from error
    return made


def _is_structural(key: str, cards: dict[str, Any]) -> bool:
    word = key.upper().removeprefix("HIERARCH ").strip()
    return word in cards or _STRUCTURAL.fullmatch(word) is not None


def _decided(key: str, context: Context) -> MapError:
    return context.error(
        f"header= has {key}, which the table itself decides",
        "leave out such cards: order=, unit=, names= and nside= say what they are",
    )


def _add_header(made: Header, more: Header, cards: dict[str, Any], context: Context) -> None:
    """Add the cards of a header; one that was copied from another map says what was in that."""
    copied = more.get("XTENSION") == "BINTABLE" or "NSIDE" in more or "PIXTYPE" in more
    for card in more.cards:
        if not _is_structural(card.keyword, cards):
            if card.keyword not in ("BUNIT", "BSCALE", "BZERO", "BLANK"):  # of an image
                made.append(card, end=True)
        elif not copied:
            raise _decided(card.keyword, context)


def _exists(context: Context) -> MapError:
    return context.error("is there already", "overwrite=True replaces it")


def _write_file(
    target: Path, context: Context, header: Header, columns: list[NDArray[Any]], *, overwrite: bool
) -> None:
    """Write a table beside its place, and rename it."""
    real = Path(os.path.realpath(target))
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", delete=False) as stream:
            temporary = stream.name
            _write_table(stream, header, columns)
            if target.suffix.lower() == ".gz":
                _pack(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        if overwrite:
            os.replace(temporary, real)
        else:  # of several who write the same file at once, one gets the name
            rename_noreplace(temporary, os.fspath(real))
        temporary = None
    except FileExistsError as error:
        raise _exists(context) from error
    except OSError as error:
        raise context.error(f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _pack(stream: IO[bytes]) -> None:
    """Replace what a stream holds by the same, packed: the sum of a header is known after its data only."""
    import gzip
    import shutil

    stream.seek(0)
    with tempfile.TemporaryFile(dir=os.path.dirname(stream.name)) as plain:
        shutil.copyfileobj(stream, plain, _STEP)
        plain.seek(0)
        stream.seek(0)
        stream.truncate()
        with gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed:
            shutil.copyfileobj(plain, packed, _STEP)


def _write_table(stream: IO[bytes], header: Header, columns: list[NDArray[Any]]) -> None:
    from astropy.io.fits import Header

    primary = Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    first = _with_checksum(primary, 0)
    stream.write(first + bytes(len(_with_checksum(header, 0))))
    total = _write_rows(stream, columns, header["NAXIS2"])
    stream.seek(len(first))
    stream.write(_with_checksum(header, total))
    stream.seek(0, os.SEEK_END)


def _write_rows(stream: IO[bytes], columns: list[NDArray[Any]], rows: int) -> int:
    """Write the table block by block and return the sum of its words."""
    import numpy as np

    per_row = columns[0].size // rows
    dtype = np.dtype(
        [
            (f"c{k}", "u1" if c.dtype.kind == "b" else c.dtype.newbyteorder(">"), (per_row,))
            for k, c in enumerate(columns)
        ]
    )
    step = max(1, _STEP // dtype.itemsize) * 4
    total = written = 0
    for at in range(0, rows, step):
        n = min(step, rows - at)
        block = np.empty(n, dtype)
        for k, column in enumerate(columns):
            part = column[at * per_row : (at + n) * per_row].reshape(n, per_row)
            block[f"c{k}"] = np.where(part, ord("T"), ord("F")) if part.dtype.kind == "b" else part
        raw = block.tobytes()
        # all blocks but the last are a whole number of words long
        total = _add_words(total, raw)
        stream.write(raw)
        written += len(raw)
    stream.write(bytes(-written % _BLOCK))
    return total


def _add_words(total: int, data: bytes) -> int:
    """Add the 32-bit words of a block (zeros complete the last) in ones' complement: the FITS standard, appendix J."""
    import numpy as np

    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4")
    total += int(words.sum(dtype="u8"))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _with_checksum(header: Header, data_sum: int) -> bytes:
    """Write out a header, in whole blocks, with DATASUM and CHECKSUM of it and its data."""
    header["DATASUM"] = (str(data_sum), "data unit checksum")
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    total = _add_words(data_sum, header.tostring().encode("ascii"))
    header["CHECKSUM"] = (_encode_sum(0xFFFFFFFF - total), "HDU checksum")
    text: str = header.tostring()
    return text.encode("ascii")


def _encode_sum(value: int) -> str:
    """Sixteen letters and digits that add to a header whose sum is complemented by the value."""
    columns = []
    for byte in value.to_bytes(4, "big"):
        quotient, remainder = divmod(byte, 4)
        letters = [quotient + 0x30 + (remainder if k == 0 else 0) for k in range(4)]
        # pairs are moved apart until none is punctuation: their sum stays
        while any(letter in _PUNCTUATION for letter in letters):
            for k in (0, 2):
                if letters[k] in _PUNCTUATION or letters[k + 1] in _PUNCTUATION:
                    letters[k] += 1
                    letters[k + 1] -= 1
        columns.append(letters)
    text = "".join(chr(columns[byte][k]) for k in range(4) for byte in range(4))
    # the value of the card starts one byte after a word boundary
    return text[-1] + text[:-1]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
