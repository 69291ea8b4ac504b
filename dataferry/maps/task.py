"""What a caller asks of a map, checked against what its file has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .asked import dtype_asked, fill_asked, floats_for, nside_asked, order_asked, whole_numbers
from .blocks import Reader
from .layout import Layout
from .partial import fill_partial, fill_partial_piece, in_order, stored_pixels
from .pieces import fill_piece
from .units import units_of
from .values import UNSEEN, Finish, holds, to_other_type
from .whole import fill_whole

if TYPE_CHECKING:
    import numpy as np
    from astropy.units import Quantity
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Fields", "Task"]

Fields = int | str | Sequence[int | str] | None


class Task:
    """What is asked for, checked against what is there.

    With ``listed`` only the pixels that the file has are wanted, so none of the others needs the fill value.
    """

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
        *,
        listed: bool = False,
    ) -> None:
        self.layout, self.fill = layout, fill_asked(layout, fill)
        self.gaps = layout.pixels is not None and not listed
        columns = layout.pick(field)
        if not columns:
            raise layout.place.error("no field is asked for")
        self.single = isinstance(field, str) or (field is not None and not hasattr(field, "__iter__"))
        self.nside = nside_asked(layout, nside)
        self.npix = 12 * self.nside**2
        self.order = order_asked(layout, order, self.nside)
        self.unit, self.factors = units_of(columns, unit)
        self.reader = Reader(columns, UNSEEN, threads)
        self._settle(dtype)
        self.meta: dict[str, Any] = {
            "nside": self.nside,
            "order": self.order,
            "file": layout.place.file,
            "hdu": layout.hdu.index,
            "fields": [column.name for column in columns],
        }

    def _settle(self, dtype: DTypeLike | None) -> None:
        """Choose the type of the result, and in which one to work: in one that has UNSEEN until means are taken."""
        columns = self.reader.columns
        scaled = any(factor != 1 for factor in self.factors)
        self.dtype = dtype_asked(self.layout, columns, dtype, self.fill, scaled=scaled, gaps=self.gaps)
        if self.dtype.kind == "f":
            self.direct = self.dtype.itemsize >= 4 and holds(self.dtype, self.fill)
        else:
            self.direct = not scaled and all(map(whole_numbers, columns)) and self._without_unseen()
        self.work = self.dtype if self.direct else floats_for(columns)
        self.reader.fill = UNSEEN if self.work.kind == "f" else self.fill
        self.blank = self.fill if self.direct else UNSEEN
        self.finishes = [Finish(self.blank, factor) for factor in self.factors]

    def _without_unseen(self) -> bool:
        """Whether integers can stay integers all the way."""
        columns = self.reader.columns
        nulls = any(column.null is not None for column in columns)
        if self.nside < self.layout.nside:
            return not (nulls or self.gaps)
        # floats would round those of 64 bits; of the others a null may be where nobody asks for it
        return not nulls or holds(self.dtype, self.fill) or any(column.dtype[2:] == "8" for column in columns)

    def shape(self, count: int) -> tuple[int, ...]:
        """Give the shape of the result for so many pixels."""
        return (count,) if self.single else (len(self.reader.columns), count)

    def room(self, count: int, out: NDArray[Any] | None) -> NDArray[Any]:
        """The caller's array, checked, or a new one."""
        import numpy as np

        shape = self.shape(count)
        if out is None:
            return self._new(shape, self.dtype)
        if not isinstance(out, np.ndarray):
            raise self.layout.place.error(f"out must be a numpy array of {shape}, not a {type(out).__name__}")
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
        self._settle(given.dtype)
        return given

    def _new(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        import numpy as np

        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise self.layout.place.error(
                f"there is no memory for {shape} values of {dtype}", "ask for fewer pixels=, or a lower nside="
            ) from error

    def fill_whole(self, values: NDArray[Any]) -> None:
        """Read the whole sky."""
        self._fill(values, self._whole)

    def fill_piece(self, numbers: Any, values: NDArray[Any]) -> None:
        """Read some pixels."""
        self._fill(values, lambda lines: self._piece(numbers, lines))

    def _fill(self, values: NDArray[Any], read: Callable[[NDArray[Any]], None]) -> None:
        lines = values.reshape(len(self.reader.columns), -1)
        if self.direct:
            read(lines)
            return
        room = self._new(lines.shape, self.work)
        read(room)
        self._convert(room, lines)

    def _convert(self, room: NDArray[Any], lines: NDArray[Any]) -> None:
        for column, values, into in zip(self.reader.columns, room, lines, strict=True):
            to_other_type(column, values, into, self.fill)

    def _whole(self, lines: NDArray[Any]) -> None:
        if self.layout.pixels is not None:
            fill_partial(self.layout, self.reader, self.nside, self.order, lines, self.finishes, self.blank)
        else:
            fill_whole(self.layout, self.reader, self.nside, self.order, lines, self.finishes)

    def _piece(self, numbers: Any, lines: NDArray[Any]) -> None:
        if self.layout.pixels is None:
            fill_piece(self.layout, self.reader, self.nside, self.order, numbers, lines, self.finishes)
        elif self.nside < self.layout.nside:
            whole = self._new((len(lines), self.npix), self.work)
            self._whole(whole)
            lines[...] = whole[:, numbers]
        else:
            fill_partial_piece(
                self.layout, self.reader, self.nside, self.order, numbers, lines, self.finishes, self.blank
            )

    def listed(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Read the pixels that the file has: their numbers and values."""
        import numpy as np

        if self.layout.pixels is None:
            lines = self._new((len(self.reader.columns), self.npix), self.work)
            self._whole(lines)
            pixels = there = np.flatnonzero((lines != UNSEEN).any(axis=0))
        else:
            stored = stored_pixels(self.layout, self.reader.threads)
            lines = self._new((len(self.reader.columns), stored.size), self.work)
            self.reader.stream(0, stored.size, list(lines), self.finishes)
            there = np.flatnonzero(stored >= 0)
            pixels = in_order(self.layout, self.order, stored[there])
        if there.size < lines.shape[1]:
            lines = lines[:, there]
        values = lines if self.direct else self._new(lines.shape, self.dtype)
        if not self.direct:
            self._convert(lines, values)
        return pixels, values.reshape(self.shape(there.size))

    def quantity(self, values: NDArray[Any]) -> Quantity:
        """Give the values their unit and their description."""
        from astropy.units import Quantity

        result = Quantity(values, self.unit, dtype=values.dtype, copy=False)
        result.info.meta = self.meta
        return result
