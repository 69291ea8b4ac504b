"""What a map's HDU holds: resolution, ordering, and where each column's numbers are in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UnknownField
from .columns import Column, columns_of, pixels_in
from .headers import Hdu, hdus
from .place import Place
from .source import ByteSource

__all__ = ["Layout", "choose_hdu", "layout_of", "listed", "nside_of"]


@dataclass(slots=True)
class Layout:
    """A map as it is in its file.

    Parameters
    ----------
    place : Place
        File and HDU.
    hdu : Hdu
        Its header.
    nside : int
        Resolution.
    order : str
        ``"RING"`` or ``"NESTED"``.
    columns : list of Column
        The fields; of a partial map without the column of pixel numbers.
    pixels : Column or None
        Of a partial map: the pixel numbers.
    said : bool
        Whether the header says the ordering; False if RING is taken for want of it.
    """

    place: Place
    hdu: Hdu
    nside: int
    order: str
    columns: list[Column]
    pixels: Column | None = None
    said: bool = True

    @property
    def npix(self) -> int:
        """Pixels of the whole sky."""
        return 12 * self.nside**2

    def pick(self, wanted: int | str | Sequence[int | str] | None) -> list[Column]:
        """Get the columns of fields given by number (from 0) or name; None is all of them.

        Parameters
        ----------
        wanted : int, str, sequence of these, or None
            The fields.

        Returns
        -------
        list of Column
            In the order asked for.

        Raises
        ------
        UnknownField
            If a field is not there.
        MapError
            If a field goes by neither number nor name.
        """
        try:
            fields = listed(wanted, len(self.columns))
        except TypeError:
            raise self.place.error(f"field={wanted!r} is neither a number nor a name", "numbers begin at 0") from None
        return [self._one(w) for w in fields]

    def _one(self, wanted: int | str) -> Column:
        if isinstance(wanted, str):
            for column in self.columns:
                if column.name.upper() == wanted.strip().upper():
                    return column
        elif 0 <= wanted < len(self.columns):
            return self.columns[wanted]
        names = ", ".join(f"{i} {c.name!r}" for i, c in enumerate(self.columns))
        raise self.place.error(f"there is no field {wanted!r}", f"fields are: {names}", UnknownField)


def listed(wanted: int | str | Sequence[int | str] | None, count: int) -> list[int | str]:
    """Make a list of the fields that were asked for."""
    import operator

    if wanted is None:
        return list(range(count))
    if isinstance(wanted, str):
        return [wanted]
    many = wanted if hasattr(wanted, "__iter__") else [wanted]
    return [w if isinstance(w, str) else operator.index(w) for w in many]


def nside_of(npix: int) -> int:
    """Find the NSIDE of a whole-sky map of so many pixels; 0 if there is none."""
    from math import isqrt

    nside = isqrt(npix // 12) if npix > 0 else 0
    return nside if nside and 12 * nside * nside == npix else 0


def choose_hdu(source: ByteSource, wanted: int | str | None = None) -> Hdu:
    """Find the HDU that holds the map.

    Parameters
    ----------
    source : ByteSource
        The file.
    wanted : int, str or None
        Its number or EXTNAME; None takes the first that says it is a HEALPix map, then the first binary table, then
        the first image with as many pixels in one row as a map has.

    Returns
    -------
    Hdu
        The one.

    Raises
    ------
    MapError
        If there is none.
    """
    seen, tables, images = [], [], []
    for hdu in hdus(source):
        seen.append(f"{hdu.index} {hdu.word('EXTNAME') or hdu.kind}")
        if wanted is not None:
            if wanted == hdu.index or (isinstance(wanted, str) and wanted.upper() == hdu.word("EXTNAME").upper()):
                return hdu
        elif hdu.size and (hdu.word("PIXTYPE").upper() == "HEALPIX" or "NSIDE" in hdu.cards):
            return hdu
        elif hdu.kind == "BINTABLE" and hdu["ZIMAGE"] is not True:
            tables.append(hdu)
        elif hdu.size and nside_of(pixels_in(hdu)) and _in_one_row(hdu):
            # many a photograph of 3 to 4 has 12 n**2 pixels
            images.append(hdu)
    if wanted is None and tables + images:
        return (tables + images)[0]
    reason = "no HDU holds a HEALPix map" if wanted is None else f"there is no HDU {wanted!r}"
    raise source.place.error(reason, "HDUs are: " + ", ".join(seen))


def _in_one_row(hdu: Hdu) -> bool:
    return max(hdu.shape, default=0) * abs(hdu.number("BITPIX")) // 8 == hdu.size


def layout_of(source: ByteSource, hdu: Hdu, columns: list[Column] | None = None) -> Layout:
    """Describe the map in an HDU.

    Parameters
    ----------
    source : ByteSource
        The file.
    hdu : Hdu
        As `choose_hdu` finds it.
    columns : list of Column, optional
        Where they are not in the file as such: a compressed image.

    Returns
    -------
    Layout
        With resolution and ordering checked against the number of values.

    Raises
    ------
    MapError
        If it is not a HEALPix map, or its header contradicts its data.
    """
    place = source.place.in_hdu(hdu.index)
    if hdu["ZTABLE"] is True:
        raise place.error("is a tile-compressed table", "unpack it first: funpack FILE")
    if hdu.kind not in ("PRIMARY", "IMAGE", "BINTABLE"):
        raise place.error(f"is a {hdu.kind}; maps are binary tables or images")
    order, said = _order(hdu, place)
    columns = columns_of(source, hdu) if columns is None else columns
    if not columns:
        raise place.error("has no columns")
    nside = _nside(hdu, place)
    pixels = columns[0] if _partial(hdu, columns, nside, place) else None
    if pixels is not None:
        columns = columns[1:]
        if not pixels.dtype or pixels.dtype[1] not in "iu" or nside == 0:
            what = "NSIDE is missing" if nside == 0 else "it is not of integers"
            raise pixels.place.error(f"should hold the pixel numbers of a partial map, but {what}")
    count = pixels.count if pixels is not None else columns[0].count
    nside = nside or nside_of(count)
    for column in columns:
        if pixels is None and column.dtype and (not nside or column.count != 12 * nside * nside):
            said_nside = f"NSIDE={nside} needs {12 * nside * nside}" if nside else "no NSIDE fits"
            raise column.place.error(f"holds {column.count} values, but {said_nside}: not a whole-sky HEALPix map")
        if pixels is not None and column.dtype and column.count != count:
            raise column.place.error(f"holds {column.count} values for {count} pixel numbers")
    if order == "NESTED" and nside & (nside - 1):
        raise place.error(f"ORDERING is NESTED, but NSIDE={nside} is no power of two")
    return Layout(place, hdu, nside, order, columns, pixels, said)


def _order(hdu: Hdu, place: Place) -> tuple[str, bool]:
    said = hdu.word("ORDERING").upper()
    if said in ("", "UNDEF"):
        return "RING", False
    if said in ("RING", "NESTED", "NEST"):
        return ("RING" if said == "RING" else "NESTED"), True
    if said == "NUNIQ":
        raise place.error("ORDERING is NUNIQ: a multi-order coverage (MOC), not a map of one NSIDE", "mocpy reads it")
    raise place.error(f"ORDERING={hdu['ORDERING']!r} is neither RING nor NESTED")


def _nside(hdu: Hdu, place: Place) -> int:
    if "NSIDE" not in hdu.cards:
        return 0
    nside = hdu["NSIDE"]
    if isinstance(nside, bool) or not isinstance(nside, int):
        remedy = ""
        if str(nside).strip().isdigit():
            fixed = int(str(nside))
            remedy = f"mend it: astropy.io.fits.setval({place.file!r}, 'NSIDE', value={fixed}, ext={hdu.index})"
        raise place.error(f"NSIDE={nside!r} is not an integer", remedy)
    if nside < 1 or nside > 2**29:
        raise place.error(f"NSIDE={nside} is out of range")
    return nside


def _partial(hdu: Hdu, columns: list[Column], nside: int, place: Place) -> bool:
    what, scheme = hdu.word("OBJECT").upper(), hdu.word("INDXSCHM").upper()
    if (what, scheme) in (("PARTIAL", "IMPLICIT"), ("FULLSKY", "EXPLICIT")):
        raise place.error(f"OBJECT={what} and INDXSCHM={scheme} contradict each other")
    if what in ("PARTIAL", "FULLSKY") or scheme in ("EXPLICIT", "IMPLICIT"):
        return what == "PARTIAL" or scheme == "EXPLICIT"
    named = columns[0].name.upper() in ("PIXEL", "PIXELS", "PIX", "IPIX", "HPXINDEX")
    return named and len(columns) > 1 and columns[0].count != 12 * nside * nside
