"""The header of a map's table: what the data make it say, and what a caller may add."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .place import Place
from .values import UNSEEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FORMS", "extra_cards", "table_cards"]

FORMS = {"u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
# what says how the bytes are laid out, be it in this table or not
_LAYOUT = re.compile(
    r"SIMPLE|EXTEND|GROUPS|THEAP|END|DATASUM|CHECKSUM|FIRSTPIX|LASTPIX|Z(IMAGE|TABLE|NAXIS\d*|BITPIX)|NAXIS\d*"
    r"|T(TYPE|FORM|UNIT|SCAL|ZERO|NULL|DIM|DISP|BCOL)\d+"
)


def extra_cards(header: Mapping[str, Any] | None, made: dict[str, Any], place: Place) -> dict[str, Any]:
    """Check a caller's own cards.

    Parameters
    ----------
    header : mapping or None
        Keyword to value, or to (value, comment).
    made : dict
        Those of `table_cards`.
    place : Place
        What errors call the file.

    Returns
    -------
    dict
        The same.

    Raises
    ------
    MapError
        If one of them would say something else of the table than the table does.
    """
    if not isinstance(header, Mapping | None):
        raise place.error(f"header= is a {type(header).__name__}, not a dict of keyword to value")
    extra: dict[Any, Any] = dict(header or {})
    wrong = [key for key in extra if not isinstance(key, str)]
    if wrong:
        raise place.error(f"header= has the keyword {wrong[0]!r}, which is no text")
    words = {key: key.upper().removeprefix("HIERARCH ").strip() for key in extra}
    taken = [key for key, word in words.items() if word in made or _LAYOUT.fullmatch(word)]
    if taken:
        raise place.error(
            f"header= has {', '.join(taken)}, which the table itself decides",
            "leave out such cards: order=, unit=, names= and nside= say what they are",
        )
    return extra


def _per_row(count: int, *, partial: bool) -> int:
    return 1 if partial or count % 1024 else 1024


def table_cards(
    nside: int, order: str, columns: list[NDArray[Any]], titles: list[str], units: list[str], *, partial: bool
) -> dict[str, Any]:
    """Make the header of a table.

    Parameters
    ----------
    nside : int
        Resolution.
    order : str
        ``RING``; anything else is NESTED.
    columns : list of numpy.ndarray
        With ``partial`` the first one holds the pixel numbers.
    titles, units : list of str
        One a column.
    partial : bool
        Whether pixel numbers are stored.

    Returns
    -------
    dict
        Keyword to value, or to (value, comment).
    """
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
        form = FORMS[column.dtype.newbyteorder("=").str[1:]]
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
