"""What a caller asks of a map, checked against what its file has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .blocks import Reader
from .columns import Column
from .layout import Layout
from .partial import fill_partial, fill_partial_piece
from .pieces import fill_piece
from .units import units_of
from .values import Finish, holds
from .whole import fill_whole

if TYPE_CHECKING:
    import numpy as np
    from astropy.units import Quantity
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Fields", "Task"]

Fields = int | str | Sequence[int | str] | None


class Task:
    """What is asked for, checked against what is there."""

    def __init__(
        self,
        layout: Layout,
        field: Fields,
        nside: int | None,
        unit: Any,
        order: str | None,
        dtype: DTypeLike | None,
        fill: float,
        threads: int,
    ) -> None:
        self.layout = layout
        columns = layout.pick(field)
        if not columns:
            raise layout.place.error("no field is asked for")
        self.single = isinstance(field, str) or (field is not None and not hasattr(field, "__iter__"))
        self.nside = _nside(layout, nside)
        self.npix = 12 * self.nside**2
        self.order = _order(layout, order, self.nside)
        self.unit, factors = units_of(columns, unit)
        self.reader = Reader(columns, fill, threads)
        self.dtype = _dtype(layout, columns, dtype, fill, scaled=any(f != 1 for f in factors))
        self.fill = fill
        self.finishes = [Finish(fill, factor) for factor in factors]
        self.meta: dict[str, Any] = {
            "nside": self.nside,
            "order": self.order,
            "file": layout.place.file,
            "hdu": layout.hdu.index,
            "fields": [column.name for column in columns],
        }

    def shape(self, count: int) -> tuple[int, ...]:
        """Give the shape of the result for so many pixels."""
        return (count,) if self.single else (len(self.reader.columns), count)

    def room(self, count: int, out: NDArray[Any] | None) -> NDArray[Any]:
        """The caller's array, checked, or a new one."""
        import numpy as np

        shape = self.shape(count)
        if out is None:
            return np.empty(shape, self.dtype)
        given = np.asarray(out)
        if (
            given.shape != shape
            or not given.flags.c_contiguous
            or not given.flags.writeable
            or not given.dtype.isnative
        ):
            raise self.layout.place.error(
                f"out must be a writeable C-contiguous native array of {shape}, not {given.dtype.str} {given.shape}"
            )
        self.dtype = _dtype(self.layout, self.reader.columns, given.dtype, self.fill, scaled=False)
        return given

    def fill_whole(self, values: NDArray[Any]) -> None:
        """Read the whole sky."""
        lines = values.reshape(-1, self.npix)
        if self.layout.pixels is not None:
            fill_partial(self.layout, self.reader, self.nside, self.order, lines, self.finishes, self.fill)
        else:
            fill_whole(self.layout, self.reader, self.nside, self.order, lines, self.finishes)

    def fill_piece(self, numbers: Any, values: NDArray[Any]) -> None:
        """Read some pixels."""
        import numpy as np

        lines = values.reshape(len(self.reader.columns), -1)
        if self.layout.pixels is None:
            fill_piece(self.layout, self.reader, self.nside, self.order, numbers, lines, self.finishes)
        elif self.nside < self.layout.nside:
            whole = np.empty((len(lines), self.npix), self.dtype)
            self.fill_whole(whole)
            lines[...] = whole[:, numbers]
        else:
            fill_partial_piece(
                self.layout, self.reader, self.nside, self.order, numbers, lines, self.finishes, self.fill
            )

    def quantity(self, values: NDArray[Any]) -> Quantity:
        """Give the values their unit and their description."""
        from astropy.units import Quantity

        result = Quantity(values, self.unit, dtype=values.dtype, copy=False)
        result.info.meta = self.meta
        return result


def _nside(layout: Layout, nside: int | None) -> int:
    import operator

    if nside is None:
        return layout.nside
    try:
        wanted = operator.index(nside)
    except TypeError:
        raise layout.place.error(f"nside={nside!r} is not an integer") from None
    if wanted == layout.nside:
        return wanted
    for what, value in (("nside", wanted), ("the map's NSIDE", layout.nside)):
        if value < 1 or value & (value - 1):
            raise layout.place.error(f"{what}={value} is no power of two: the resolution cannot be changed")
    return wanted


def _order(layout: Layout, order: str | None, nside: int) -> str:
    word = "RING" if order is None else str(order).upper()
    if word == "FILE":
        return layout.order
    if word not in ("RING", "NESTED", "NEST"):
        raise layout.place.error(f"order={order!r} is none of 'RING', 'NESTED' and 'file'")
    if word != "RING" and nside & (nside - 1):
        raise layout.place.error(f"NSIDE={nside} is no power of two: there is no NESTED ordering")
    return "RING" if word == "RING" else "NESTED"


def _dtype(
    layout: Layout, columns: Sequence[Column], dtype: DTypeLike | None, fill: float, *, scaled: bool
) -> np.dtype[Any]:
    import numpy as np

    if dtype is None:
        found = np.result_type(*(column.natural for column in columns))
        needs_fill = layout.pixels is not None and not holds(found, fill)
        return np.dtype("f8") if found.kind != "f" and (scaled or needs_fill) else found
    try:
        wanted = np.dtype(dtype).newbyteorder("=")
    except TypeError as error:
        raise layout.place.error(f"dtype={dtype!r} is no type of numbers") from error
    if wanted.kind not in "fiub":
        raise layout.place.error(f"dtype={wanted} is no type that a map can have")
    if layout.pixels is not None and not holds(wanted, fill):
        raise layout.place.error(f"{wanted} cannot hold the fill value {fill} of a partial map", "give fill= as well")
    return wanted
