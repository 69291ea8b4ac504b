"""A map as it is in its file: its resolution, its ordering, and where each column's numbers are."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UnknownField
from .byte_source import ByteSource, Context, Memory

Fields = int | str | Sequence[int | str] | None

MAX_NSIDE = 1 << 29
"""Pixel numbers of a finer map do not fit into 64 bits."""

# as files and callers spell them
ORDERS = {"RING": "RING", "NESTED": "NESTED", "NEST": "NESTED"}

# FITS has these types only by an offset: the offset, and the type
_UNSIGNED = {">i2": (2**15, "u2"), ">i4": (2**31, "u4"), ">i8": (2**63, "u8"), ">u1": (-128, "i1")}


def in_digits(text: str) -> int | None:
    """The number that a text writes in digits; None for another text, and for one beyond 18 digits."""
    return int(text) if re.fullmatch(r"\s*[0-9]{1,18}\s*", text) else None


@dataclass(slots=True)
class Column:
    """One column of numbers: the physical value is ``zero + scale * stored``.

    ``number`` counts from 1; ``start`` is the offset of the first value, ``row_bytes`` the step from one row to the
    next, ``count`` the values in all; ``null`` is the stored number that stands for no value; ``logical`` columns
    hold the letters T and F; ``problem`` is why it cannot be read; ``memory`` has its bytes where they are not in the
    file as such.
    """

    number: int
    name: str
    unit: str
    dtype: str
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
    memory: Memory | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        return int(self.dtype[2:])

    @property
    def scaled(self) -> bool:
        return self.scale != 1 or self.zero != 0

    @property
    def plain(self) -> bool:
        """Stored as it is meant: no scaling, no null value, no letters."""
        return not self.scaled and self.null is None and not self.logical

    @property
    def natural(self) -> np.dtype[Any]:
        """The native type that holds the physical values, as astropy chooses it."""
        if self.logical:
            return np.dtype(bool)
        if self.unsigned:
            return np.dtype(self.unsigned)
        stored = np.dtype(self.dtype).newbyteorder("=")
        exact = not self.scaled and (self.null is None or stored.kind == "f")
        return stored if exact else np.dtype("f8")

    @property
    def whole_numbers(self) -> bool:
        """Whether it holds integers or letters, be some of them null or not."""
        return self.natural.kind != "f" or (not self.scaled and self.dtype[1] in "iu")

    @property
    def unsigned(self) -> str:
        """The other signedness, where TZERO is FITS's way to store it (without a null value); else empty."""
        offset, other = _UNSIGNED.get(self.dtype, (0, ""))
        return other if self.zero == offset and self.scale == 1 and self.null is None else ""


@dataclass(slots=True)
class MapLayout:
    """``columns`` are the fields of a map; of a partial map ``pixels`` holds their pixel numbers.

    ``order_from`` is where the ordering was found: empty for the map's own header, "primary header" or "assumed".
    ``guessed``: only the number of values fits, no keyword says that it is a map.
    """

    source: ByteSource = field(repr=False)
    context: Context
    hdu: int | str
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
            return self.columns
        try:
            many = wanted if hasattr(wanted, "__iter__") and not isinstance(wanted, str) else [wanted]
            fields = [w if isinstance(w, str) else operator.index(w) for w in many]
        except TypeError:
            raise self.context.error(f"field={wanted!r} is neither a number nor a name", "numbers begin at 0") from None
        return [self._pick_one(field) for field in fields]

    def _pick_one(self, wanted: int | str) -> Column:
        if isinstance(wanted, str):
            wanted = wanted.strip()
            found = [k for k, column in enumerate(self.columns) if column.name.upper() == wanted.upper()]
        else:
            found = [wanted] if 0 <= wanted < len(self.columns) else []
        if len(found) == 1:
            return self.columns[found[0]]
        if found:
            reason = f"fields {', '.join(map(str, found))} are all called {wanted!r}"
            raise self.context.error(reason, "choose one of them by its number", UnknownField)
        names = ", ".join(f"{i} {c.name!r}" for i, c in enumerate(self.columns))
        raise self.context.error(f"there is no field {wanted!r}", f"fields are: {names}", UnknownField)
