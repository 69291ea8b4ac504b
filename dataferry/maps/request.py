"""What a caller asks of a map, checked against what its file has, and read."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any, cast

import numpy as np
from astropy.units import Quantity
from numpy.typing import DTypeLike, NDArray

from .columns import ColumnReader
from .fill import Plan, fill_piece, fill_whole
from .fits import Column
from .layout import Fields, MapLayout
from .partial import fill_partial, fill_partial_piece, in_order, stored_pixels
from .units import units_of
from .values import UNSEEN, Finish, holds, to_other_type

_MAX_NSIDE = 1 << 29  # pixel numbers of a finer map do not fit into 64 bits


class MapRequest:
    """Fields of an open map in a resolution, ordering, unit and type.

    With ``listed`` only the pixels that the file has are wanted, so none of the others needs the fill value.
    """

    def __init__(
        self,
        layout: MapLayout,
        field: Fields,
        nside: int | None,
        unit: Any,
        order: str | None,
        dtype: DTypeLike | None,
        fill: float,
        threads: int,
        *,
        listed: bool = False,
    ) -> None:
        self.layout, self.fill = layout, _checked_fill(layout, fill)
        self.gaps = layout.pixels is not None and not listed
        columns = layout.pick(field)
        if not columns:
            raise layout.context.error("no field is asked for")
        self.single = isinstance(field, str) or (field is not None and not hasattr(field, "__iter__"))
        self.nside = _checked_nside(layout, nside)
        self.npix = 12 * self.nside**2
        self.order = _checked_order(layout, order, self.nside)
        self.reader = ColumnReader(columns, UNSEEN, threads)
        self.unit, self.factors = units_of(columns, unit)
        self._choose_types(dtype)
        self.meta: dict[str, Any] = {
            "nside": self.nside,
            "order": self.order,
            "file": layout.context.file,
            "hdu": layout.hdu,
            "fields": [column.name for column in columns],
        }
        if layout.order_from:
            self.meta["order_from"] = layout.order_from

    def _choose_types(self, dtype: DTypeLike | None) -> None:
        """Choose the type of the result, and in which one to work: in one that has UNSEEN until means are taken."""
        columns = self.reader.columns
        scaled = any(factor != 1 for factor in self.factors)
        lower = self.nside < self.layout.nside
        self.dtype = self._checked_dtype(dtype, to_floats=scaled or lower)
        if self.dtype.kind == "f":
            direct = self.dtype.itemsize >= 4 and holds(self.dtype, self.fill)
        else:
            # floats would round integers of 64 bits; of the others a null may be where nobody asks for it
            exact = not any(c.nullable for c in columns) or any(c.width == 8 for c in columns)
            direct = not (scaled or lower) and all(c.whole_numbers for c in columns)
            direct = direct and (exact or holds(self.dtype, self.fill))
        self.direct = direct
        self.work = self.dtype if direct else _floats_for(columns)
        self.reader.fill = UNSEEN if self.work.kind == "f" else self.fill
        self.blank = self.fill if direct else UNSEEN
        self.finishes = [Finish(self.blank, factor) for factor in self.factors]

    def _checked_dtype(self, dtype: DTypeLike | None, *, to_floats: bool) -> np.dtype[Any]:
        context = self.layout.context
        if dtype is None:
            found = np.result_type(*(column.natural for column in self.reader.columns))
            to_floats = to_floats or (self.gaps and not holds(found, self.fill))
            return np.dtype("f8") if found.kind != "f" and to_floats else found
        try:
            wanted = np.dtype(dtype).newbyteorder("=")
        except TypeError as error:
            raise context.error(f"dtype={dtype!r} is no type of numbers") from error
        if wanted.kind not in "fiub":
            raise context.error(f"dtype={wanted} is no type that a map can have")
        if self.gaps and not holds(wanted, self.fill):
            reason = f"{wanted} cannot hold the fill value {self.fill} of a partial map"
            raise context.error(reason, "give fill= as well")
        return wanted

    def shape(self, count: int) -> tuple[int, ...]:
        """The shape of the result for so many pixels."""
        return (count,) if self.single else (len(self.reader.columns), count)

    def output(self, count: int, out: NDArray[Any] | None) -> NDArray[Any]:
        """The caller's array, checked, or a new one."""
        shape = self.shape(count)
        if out is None:
            return self._new(shape, self.dtype)
        if not isinstance(out, np.ndarray):
            raise self.layout.context.error(f"out must be a numpy array of {shape}, not a {type(out).__name__}")
        given = np.asarray(out)
        flags = given.flags
        if given.shape != shape or not flags.c_contiguous or not flags.writeable or not given.dtype.isnative:
            raise self.layout.context.error(
                f"out must be a writeable C-contiguous native array of {shape}, not {given.dtype.str} {given.shape}"
            )
        self._choose_types(given.dtype)
        return given

    def _new(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise self.layout.context.error(
                f"there is no memory for {shape} values of {dtype}", "ask for fewer pixels=, or a lower nside="
            ) from error

    def read(self, values: NDArray[Any], pixels: slice | NDArray[np.int64] | None = None) -> None:
        """Read the whole sky, or some pixels as `pixel_numbers` gives them."""
        fields = values.reshape(len(self.reader.columns), -1)
        work = fields if self.direct else self._new(fields.shape, self.work)
        self._read_work(work, pixels)
        if not self.direct:
            self._convert(work, fields)

    def _read_work(self, work: NDArray[Any], pixels: slice | NDArray[np.int64] | None) -> None:
        plan = Plan(self.layout, self.reader, self.nside, self.order, self.finishes, self.blank)
        if pixels is None:
            (fill_whole if self.layout.pixels is None else fill_partial)(plan, work)
        else:
            (fill_piece if self.layout.pixels is None else fill_partial_piece)(plan, pixels, work)

    def _convert(self, work: NDArray[Any], fields: NDArray[Any]) -> None:
        for column, values, into in zip(self.reader.columns, work, fields, strict=True):
            to_other_type(column, values, into, self.fill)

    def listed(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Read the pixels that the file has: their numbers and values."""
        if self.layout.pixels is None:
            fields = self._new((len(self.reader.columns), self.npix), self.work)
            self._read_work(fields, None)
            pixels = there = np.flatnonzero((fields != UNSEEN).any(axis=0))
        else:
            stored = stored_pixels(self.layout, self.reader.threads)
            fields = self._new((len(self.reader.columns), stored.size), self.work)
            self.reader.stream(0, stored.size, list(fields), self.finishes)
            there = np.flatnonzero(stored >= 0)
            pixels = in_order(self.layout, self.order, stored[there])
        if there.size < fields.shape[1]:
            fields = fields[:, there]
        values = fields if self.direct else self._new(fields.shape, self.dtype)
        if not self.direct:
            self._convert(fields, values)
        return pixels, values.reshape(self.shape(there.size))

    def quantity(self, values: NDArray[Any], *, remote: bool = False) -> Quantity:
        """Give the values their unit and their description."""
        from astropy.units import Quantity

        if remote:
            self.meta |= {"moved_bytes": getattr(self.reader.source, "moved", 0), "verified": False}
        result = Quantity(values, self.unit, dtype=values.dtype, copy=False)
        result.info.meta = self.meta
        return result


def _checked_fill(layout: MapLayout, fill: object) -> float:
    if not isinstance(fill, Real):  # numpy's are registered as such
        raise layout.context.error(f"fill={fill!r} is not a number")
    return cast("float", fill)


def _checked_nside(layout: MapLayout, nside: int | None) -> int:
    if nside is None:
        return layout.nside
    try:
        wanted = operator.index(nside)
    except TypeError:
        raise layout.context.error(f"nside={nside!r} is not an integer") from None
    if wanted == layout.nside:
        return wanted
    if wanted > _MAX_NSIDE:
        raise layout.context.error(f"nside={wanted} is out of range: {_MAX_NSIDE} is the largest")
    for what, value in (("nside", wanted), ("the map's NSIDE", layout.nside)):
        if value < 1 or value & (value - 1):
            raise layout.context.error(f"{what}={value} is no power of two: the resolution cannot be changed")
    return wanted


def _checked_order(layout: MapLayout, order: str | None, nside: int) -> str:
    word = "RING" if order is None else str(order).upper()
    if word == "FILE":
        return layout.order
    if word not in ("RING", "NESTED", "NEST"):
        raise layout.context.error(f"order={order!r} is none of 'RING', 'NESTED' and 'file'")
    if word != "RING" and nside & (nside - 1):
        raise layout.context.error(f"NSIDE={nside} is no power of two: there is no NESTED ordering")
    return "RING" if word == "RING" else "NESTED"


def _floats_for(columns: Sequence[Column]) -> np.dtype[Any]:
    """The type of floats that holds the values of columns, and UNSEEN."""
    found = np.result_type(*(column.natural for column in columns))
    if found.kind == "b":
        return np.dtype("f4")
    return found if found.kind == "f" and found.itemsize >= 4 else np.dtype("f8")
