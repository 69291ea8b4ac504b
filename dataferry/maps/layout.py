"""What a map's HDU holds: resolution, ordering, and its columns; and which HDU of a file that is."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UnknownField
from .byte_source import ByteSource, Context
from .fits import Column, Hdu, columns_of, hdus, pixels_in
from .healpix import nside_of

Fields = int | str | Sequence[int | str] | None

# files that have HEALPix keywords and another structure, and the package that reads them
_OTHER_FORMATS = {"HEALSPARSE": "the healsparse package", "SPARSE": "the gammapy package", "NUNIQ": "mocpy"}
_PIXEL_COLUMNS = ("PIXEL", "PIXELS", "PIX", "IPIX", "HPXINDEX")
_MAX_NSIDE = 1 << 29


@dataclass(slots=True)
class MapLayout:
    """A map as it is in its file.

    ``columns`` are the fields; of a partial map ``pixels`` holds their pixel numbers. ``order_from`` is where the
    ordering was found: empty for the map's own header, "primary header" or "assumed". ``guessed``: only the number of
    values fits, no keyword says that it is a map.
    """

    context: Context
    hdu: int
    nside: int
    order: str
    columns: list[Column]
    pixels: Column | None = None
    order_from: str = ""
    guessed: bool = False
    coordinates: str = ""

    @property
    def npix(self) -> int:
        """Pixels of the whole sky."""
        return 12 * self.nside**2

    def pick(self, wanted: Fields) -> list[Column]:
        """The columns of fields given by number (from 0) or name, in the order asked for; None is all of them."""
        if wanted is None:
            return list(self.columns)
        try:
            many = wanted if hasattr(wanted, "__iter__") and not isinstance(wanted, str) else [wanted]
            fields = [w if isinstance(w, str) else operator.index(w) for w in many]
        except TypeError:
            raise self.context.error(f"field={wanted!r} is neither a number nor a name", "numbers begin at 0") from None
        return [self._pick_one(field) for field in fields]

    def _pick_one(self, wanted: int | str) -> Column:
        if isinstance(wanted, str):
            found = [k for k, column in enumerate(self.columns) if column.name.upper() == wanted.strip().upper()]
            if len(found) > 1:
                raise self.context.error(
                    f"fields {', '.join(map(str, found))} are all called {wanted.strip()!r}",
                    "choose one of them by its number",
                    UnknownField,
                )
        else:
            found = [wanted] if 0 <= wanted < len(self.columns) else []
        if not found:
            names = ", ".join(f"{i} {c.name!r}" for i, c in enumerate(self.columns))
            raise self.context.error(f"there is no field {wanted!r}", f"fields are: {names}", UnknownField)
        return self.columns[found[0]]


def says_healpix(hdu: Hdu) -> bool:
    """Whether a header says that its data are a HEALPix map."""
    return hdu.word("PIXTYPE").upper() == "HEALPIX" or "NSIDE" in hdu


def choose_hdu(source: ByteSource, wanted: int | str | None = None) -> Hdu:
    """Find the HDU of that number or EXTNAME.

    None takes the first that says it is a HEALPix map, then the first binary table, then the first image with as many
    pixels in one row as a map has.
    """
    if wanted is not None and not isinstance(wanted, str):
        try:
            wanted = operator.index(wanted)
        except TypeError:
            raise source.context.error(f"hdu={wanted!r} is neither a number nor a name") from None
    seen, tables, images = [], [], []
    for hdu in hdus(source):
        seen.append(f"{hdu.index} {hdu.word('EXTNAME') or hdu.kind}")
        if wanted is not None:
            if wanted == hdu.index or (isinstance(wanted, str) and wanted.upper() == hdu.word("EXTNAME").upper()):
                return hdu
        elif hdu.size and says_healpix(hdu):
            return hdu
        elif hdu.kind == "BINTABLE" and not hdu.compressed:
            tables.append(hdu)
        elif hdu.size and nside_of(pixels_in(hdu)) and _in_one_row(hdu):
            # many a photograph of 3 to 4 has 12 n**2 pixels
            images.append(hdu)
    if wanted is None and tables + images:
        return (tables + images)[0]
    reason = "no HDU holds a HEALPix map" if wanted is None else f"there is no HDU {wanted!r}"
    raise source.context.error(reason, "HDUs are: " + ", ".join(seen))


def _in_one_row(hdu: Hdu) -> bool:
    return max(hdu.stored_shape, default=0) * abs(hdu.number("BITPIX")) // 8 == hdu.size


def layout_of(source: ByteSource, hdu: Hdu, columns: list[Column] | None = None) -> MapLayout:
    """Describe the map in an HDU; ``columns`` are given where they are not in the file as such (a packed image)."""
    context = hdu.context
    if hdu["ZTABLE"] is True:
        raise context.error("is a tile-compressed table", "unpack it first: funpack FILE")
    if hdu.kind not in ("PRIMARY", "IMAGE", "BINTABLE"):
        raise context.error(f"is a {hdu.kind}; maps are binary tables or images")
    primary = next(hdus(source))

    def where(key: str) -> Hdu:
        """Some writers have put the keywords of the map into the primary header only."""
        return hdu if key in hdu or key not in primary else primary

    _check_format(where("PIXTYPE"), where("INDXSCHM"))
    order, order_from = _order(where("ORDERING"), hdu)
    nside = _nside(where("NSIDE"))
    columns = columns_of(source, hdu) if columns is None else columns
    if not columns:
        raise context.error("has no columns")
    guessed = not nside and order_from != "" and not where("PIXTYPE").word("PIXTYPE")
    pixels = columns[0] if _is_partial(hdu, where("INDXSCHM"), columns, nside) else None
    if pixels is not None:
        columns = columns[1:]
        if not pixels.dtype or nside == 0:
            what = "NSIDE is missing" if nside == 0 else "it is not of numbers"
            raise pixels.context.error(f"should hold the pixel numbers of a partial map, but {what}")
    else:
        nside = nside or next((n for n in (nside_of(c.count) for c in columns if not c.problem) if n), 0)
    _check_lengths(columns, pixels, nside)
    if order == "NESTED" and nside & (nside - 1):
        raise context.error(f"ORDERING is NESTED, but NSIDE={nside} is no power of two")
    coordinates = where("COORDSYS").word("COORDSYS")
    return MapLayout(context, hdu.index, nside, order, columns, pixels, order_from, guessed, coordinates)


def _check_format(pixtype: Hdu, indxschm: Hdu) -> None:
    for hdu, key, known in ((pixtype, "PIXTYPE", ("HEALPIX",)), (indxschm, "INDXSCHM", ("IMPLICIT", "EXPLICIT"))):
        word = hdu.word(key).upper()
        if word and word not in known:
            reader = _OTHER_FORMATS.get(word, "")
            raise hdu.context.error(
                f"{key}={hdu[key]!r}: not a HEALPix map with one value a pixel", reader and f"{reader} reads it"
            )


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
    if word in ("RING", "NESTED", "NEST"):
        return ("RING" if word == "RING" else "NESTED"), ("" if stated is hdu else "primary header")
    if word == "NUNIQ":
        reason = "ORDERING is NUNIQ: a multi-order coverage (MOC), not a map of one NSIDE"
        raise stated.context.error(reason, f"{_OTHER_FORMATS[word]} reads it")
    raise stated.context.error(f"ORDERING={stated['ORDERING']!r} is neither RING nor NESTED")


def _nside(hdu: Hdu) -> int:
    if "NSIDE" not in hdu:
        return 0
    nside = hdu["NSIDE"]
    if isinstance(nside, bool) or not isinstance(nside, int):
        remedy = ""
        if str(nside).strip().isdigit():
            fixed, file = int(str(nside)), hdu.context.file
            remedy = f"correct it: astropy.io.fits.setval({file!r}, 'NSIDE', value={fixed}, ext={hdu.index})"
        raise hdu.context.error(f"NSIDE={nside!r} is not an integer", remedy)
    if not 1 <= nside <= _MAX_NSIDE:
        raise hdu.context.error(f"NSIDE={nside} is out of range")
    return nside


def _is_partial(hdu: Hdu, indxschm: Hdu, columns: list[Column], nside: int) -> bool:
    what, scheme = hdu.word("OBJECT").upper(), indxschm.word("INDXSCHM").upper()
    if (what, scheme) in (("PARTIAL", "IMPLICIT"), ("FULLSKY", "EXPLICIT")):
        raise hdu.context.error(f"OBJECT={what} and INDXSCHM={scheme} contradict each other")
    if what in ("PARTIAL", "FULLSKY") or scheme:
        return what == "PARTIAL" or scheme == "EXPLICIT"
    named = columns[0].name.upper() in _PIXEL_COLUMNS
    return named and len(columns) > 1 and columns[0].count != 12 * nside * nside
