"""What a caller asks of a map, checked against what its file has: resolution, ordering, unit and types."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real
from typing import Any, cast

import numpy as np
from astropy.units import Quantity
from numpy.typing import DTypeLike, NDArray

from .byte_source import Memory, PathOrSource, open_source
from .columns import ColumnReader, Ints
from .fits import choose_hdu, fits_layout
from .hdf5 import hdf5_layout, is_hdf5
from .healpix import nest2ring, ring2nest
from .layout import MAX_NSIDE, ORDERS, Fields, MapLayout
from .units import units_of
from .values import UNSEEN, finish, holds, to_other_type

_MOST_FILES = 64
_layouts: dict[object, MapLayout] = {}


@contextmanager
def open_map(named: PathOrSource, hdu: int | str | None = None, *, remote: bool = False) -> Iterator[MapLayout]:
    """Open a map; ``hdu`` is the number or name of its HDU, or of its dataset in an HDF5 file."""
    with open_source(named, remote=remote) as source:
        key = (source.context.file, source.stamp, repr(hdu))
        if key in _layouts:
            yield replace(_layouts[key], source=source)
        elif is_hdf5(source):
            yield hdf5_layout(source, hdu)
        else:
            found = choose_hdu(source, hdu)
            layout = fits_layout(source, found)
            if source.stamp and not found.compressed:
                # pieces of a file that is still what it was are read without another look at its headers
                if len(_layouts) >= _MOST_FILES:
                    _layouts.clear()
                _layouts[key] = replace(layout, source=Memory(memoryview(b""), layout.context))
            yield layout


class MapRequest:
    """Fields of an open map in a resolution, ordering, unit and type, that of ``out`` if there is one.

    With ``listed`` only the pixels that the file has are wanted, so none of the others needs the fill value.
    """

    def __init__(
        self,
        layout: MapLayout,
        field: Fields,
        *,
        nside: int | None = None,
        unit: Any = None,
        order: str | None = None,
        dtype: DTypeLike | None = None,
        fill: float = UNSEEN,
        out: Any = None,
        threads: int = 0,
        listed: bool = False,
    ) -> None:
        self.layout, self.context, self.fill, self.out = layout, layout.context, fill, out
        if not isinstance(cast("object", fill), Real):  # numpy's are registered as such
            raise self.context.error(f"fill={fill!r} is not a number")
        if out is not None and not isinstance(out, np.ndarray):
            raise self.context.error(f"out must be a numpy array, not a {type(out).__name__}")
        columns = layout.pick(field)
        if not columns:
            raise self.context.error("no field is asked for")
        self._single = isinstance(field, str) or (field is not None and not hasattr(field, "__iter__"))
        self.nside = _checked_nside(layout, nside)
        self.npix = 12 * self.nside**2
        self.order = _checked_order(layout, order, self.nside)
        self.reader = ColumnReader(layout.source, columns, UNSEEN, threads)
        self.unit, self.factors = units_of(columns, unit)
        gaps = layout.pixels is not None and not listed
        self._choose_types(dtype if out is None else out.dtype, gaps=gaps)
        self.meta: dict[str, Any] = {
            "nside": self.nside,
            "order": self.order,
            "file": self.context.file,
            "hdu": layout.hdu,
            "fields": [column.name for column in columns],
        }
        if layout.order_from:
            self.meta["order_from"] = layout.order_from

    def _choose_types(self, dtype: DTypeLike | None, *, gaps: bool) -> None:
        """Choose the type of the result, and in which one to work: in one that has UNSEEN until means are taken."""
        columns = self.reader.columns
        found = np.result_type(*(column.natural for column in columns))
        calculated = self.nside < self.layout.nside or any(factor != 1 for factor in self.factors)
        if dtype is not None:
            self.dtype = self._checked_dtype(dtype, gaps=gaps)
        elif found.kind != "f" and (calculated or (gaps and not holds(found, self.fill))):
            self.dtype = np.dtype("f8")
        else:
            self.dtype = found
        if self.dtype.kind == "f":
            self._direct = self.dtype.itemsize >= 4 and holds(self.dtype, self.fill)
        else:
            # floats would round integers of 64 bits; of the others a null may be where nobody asks for it
            exact = all(c.null is None for c in columns) or any(c.width == 8 for c in columns)
            self._direct = not calculated and all(c.whole_numbers for c in columns)
            self._direct = self._direct and (exact or holds(self.dtype, self.fill))
        self._work = self.dtype
        if not self._direct:
            small = np.dtype("f4" if found.kind == "b" else "f8")
            self._work = found if found.kind == "f" and found.itemsize >= 4 else small
        self.reader.fill = UNSEEN if self._work.kind == "f" else self.fill
        self.blank = self.fill if self._direct else UNSEEN

    def _checked_dtype(self, dtype: DTypeLike, *, gaps: bool) -> np.dtype[Any]:
        try:
            wanted = np.dtype(dtype).newbyteorder("=")
        except TypeError as error:
            raise self.context.error(f"dtype={dtype!r} is no type of numbers") from error
        if wanted.kind not in "fiub":
            raise self.context.error(f"dtype={wanted} is no type that a map can have")
        if gaps and not holds(wanted, self.fill):
            reason = f"{wanted} cannot hold the fill value {self.fill} of a partial map"
            raise self.context.error(reason, "give fill= as well")
        return wanted

    def finish(self, field: int, values: NDArray[Any]) -> None:
        """The last step on a block of a field that was read, in place."""
        finish(values, self.blank, self.factors[field])

    def finish_all(self, fields: NDArray[Any]) -> None:
        for field, values in enumerate(fields):
            self.finish(field, values)

    def as_nested(self, numbers: Ints) -> Ints:
        return numbers if self.order == "NESTED" else ring2nest(self.nside, numbers)

    def positions_of(self, pixels: slice | Ints) -> Ints:
        """The pixels of the file that cover pixels of the same or a finer resolution."""
        layout, nside = self.layout, self.nside
        numbers = as_array(pixels)
        if nside == layout.nside and self.order == layout.order:
            return numbers
        nested = self.as_nested(numbers) // (nside // layout.nside) ** 2
        return nested if layout.order == "NESTED" else nest2ring(layout.nside, nested)

    def shape(self, count: int) -> tuple[int, ...]:
        """The shape of the result for so many pixels."""
        return (count,) if self._single else (len(self.reader.columns), count)

    def work_array(self, count: int) -> NDArray[Any]:
        """Memory to read pixels into, (fields, pixels): that of the result itself if its type is one to work in."""
        if self.out is not None:
            shape, given = self.shape(count), np.asarray(self.out)
            flags = given.flags
            if given.shape != shape or not flags.c_contiguous or not flags.writeable or not given.dtype.isnative:
                raise self.context.error(
                    f"out must be a writeable C-contiguous native array of {shape}, not {given.dtype.str} {given.shape}"
                )
            if self._direct:
                return given.reshape(-1, count)
        return self._new((len(self.reader.columns), count), self._work)

    def result(self, work: NDArray[Any]) -> Quantity:
        """Bring what was read into the type of the result."""
        values = work
        if not self._direct:
            values = self._new(work.shape, self.dtype) if self.out is None else np.asarray(self.out).reshape(work.shape)
            for column, done, into in zip(self.reader.columns, work, values, strict=True):
                to_other_type(column, done, into, self.fill)
        return self.quantity(values.reshape(self.shape(work.shape[1])))

    def _new(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise self.context.error(
                f"there is no memory for {shape} values of {dtype}", "ask for fewer pixels=, or a lower nside="
            ) from error

    def quantity(self, values: NDArray[Any]) -> Quantity:
        """Give the values their unit and their description."""
        result = Quantity(values, self.unit, dtype=values.dtype, copy=False)
        result.info.meta = self.meta | self.layout.source.meta
        return result


def as_array(pixels: slice | Ints) -> Ints:
    """The numbers of a run as an array."""
    return np.arange(pixels.start, pixels.stop, dtype="i8") if isinstance(pixels, slice) else pixels


def _checked_nside(layout: MapLayout, nside: int | None) -> int:
    if nside is None:
        return layout.nside
    try:
        wanted = operator.index(nside)
    except TypeError:
        raise layout.context.error(f"nside={nside!r} is not an integer") from None
    if wanted == layout.nside:
        return wanted
    if wanted > MAX_NSIDE:
        raise layout.context.error(f"nside={wanted} is out of range: {MAX_NSIDE} is the largest")
    for what, value in (("nside", wanted), ("the map's NSIDE", layout.nside)):
        if value < 1 or value & (value - 1):
            raise layout.context.error(f"{what}={value} is no power of two: the resolution cannot be changed")
    return wanted


def _checked_order(layout: MapLayout, order: str | None, nside: int) -> str:
    found = (ORDERS | {"FILE": layout.order}).get("RING" if order is None else str(order).upper())
    if found is None:
        raise layout.context.error(f"order={order!r} is none of 'RING', 'NESTED' and 'file'")
    if found == "NESTED" and nside & (nside - 1):
        raise layout.context.error(f"NSIDE={nside} is no power of two: there is no NESTED ordering")
    return found
