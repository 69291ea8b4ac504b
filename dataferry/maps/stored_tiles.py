"""Tiles of a nested map as their bytes are in a file, and the choice how to take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .blocks import BLOCK, Reader
from .tiles import Tiles, ValueTiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ColumnTiles", "RawTiles", "tiles_of"]


class RawTiles(Tiles):
    """Tiles as they are in the file: rows of the table go straight into the wheel.

    Parameters
    ----------
    reader : Reader
        Of columns for which `fits` holds.
    size : int
        Pixels of a tile.
    """

    def __init__(self, reader: Reader, size: int) -> None:
        import numpy as np

        super().__init__(size)
        first = reader.columns[0]
        self._source, self._base = reader.source, min(c.start for c in reader.columns)
        self._row_bytes, self._per_row = first.row_bytes, first.per_row
        self.dtype = np.dtype(first.dtype)
        width = self.dtype.itemsize
        self._step = first.row_bytes // width
        self.stride = size // first.per_row * self._step
        self.offsets = [(c.start - self._base) // width for c in reader.columns]
        # the last row of the file may end with the last of these columns
        self._bytes = (size // first.per_row - 1) * first.row_bytes + reader.span_bytes

    @staticmethod
    def fits(reader: Reader, size: int) -> bool:
        """Whether the columns are stored so that whole rows make a tile and pixel bits add up to addresses."""
        first = reader.columns[0]
        width = int(first.dtype[2:])
        return (
            (reader.in_rows or reader.packed)
            and first.per_row & (first.per_row - 1) == 0
            and first.per_row <= size
            and first.row_bytes % width == 0
            and first.row_bytes * (size // first.per_row) <= 4 * BLOCK
            # rows wider than what is wanted of them cost more than they save
            and first.row_bytes <= 4 * len(reader.columns) * first.per_row * width
            and all(c.plain and c.dtype == first.dtype and (c.start - first.start) % width == 0 for c in reader.columns)
        )

    def address(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the element in the rows of the table."""
        return pixels // self._per_row * self._step + pixels % self._per_row

    def room(self, slot: NDArray[Any]) -> memoryview:
        """The bytes of the rows."""
        return slot.view("u1").data[: self._bytes]

    def load(self, tasks: Sequence[tuple[int, memoryview]]) -> None:
        """Read the rows of tiles."""
        base, per_row, row_bytes = self._base, self._per_row, self._row_bytes
        self._source.read_many([(base + first // per_row * row_bytes, into) for first, into in tasks])


class ColumnTiles(Tiles):
    """Tiles of the bytes of some columns of wide rows, one plane a field; what lies between goes to a scrap.

    Parameters
    ----------
    reader : Reader
        Of columns for which `fits` holds.
    size : int
        Pixels of a tile.
    """

    def __init__(self, reader: Reader, size: int) -> None:
        import numpy as np

        super().__init__(size)
        first = reader.columns[0]
        self._source, self._row_bytes, self._per_row = reader.source, first.row_bytes, first.per_row
        self._base = min(c.start for c in reader.columns)
        self.dtype = np.dtype(first.dtype)
        self.stride = size * len(reader.columns)
        self.offsets = [size * k for k in range(len(reader.columns))]
        self._scrap = memoryview(bytearray(first.row_bytes))
        # of each run of wanted bytes in the file: what lies before it, where it goes, where that ends
        self._plan: list[tuple[int, int, int]] = []
        length, plane = first.per_row * self.dtype.itemsize, size * self.dtype.itemsize
        starts = sorted((c.start - self._base, k * plane) for k, c in enumerate(reader.columns))
        end = 0
        for row in range(size // first.per_row):
            for start, to in starts:
                at = row * first.row_bytes + start
                self._plan.append((at - end, to + row * length, to + (row + 1) * length))
                end = at + length

    @staticmethod
    def fits(reader: Reader, size: int) -> bool:
        """Whether rows are so wide that few of them make a tile, and the columns can be told apart by their bytes."""
        first = reader.columns[0]
        return (
            reader.in_rows
            and first.per_row <= size
            and size % first.per_row == 0
            and first.per_row * int(first.dtype[2:]) >= 1024
            and all(c.plain and c.dtype == first.dtype for c in reader.columns)
            and len({c.start for c in reader.columns}) == len(reader.columns)
        )

    def room(self, slot: NDArray[Any]) -> list[memoryview]:
        """The bytes of each column in each row, and the scrap between them."""
        data = slot.view("u1").data
        parts: list[memoryview] = []
        for gap, start, stop in self._plan:
            if gap:
                parts.append(self._scrap[:gap])
            parts.append(data[start:stop])
        return parts

    def load(self, tasks: Sequence[tuple[int, list[memoryview]]]) -> None:
        """Read the rows of tiles."""
        for first, into in tasks:
            self._source.read_parts(self._base + first // self._per_row * self._row_bytes, into)


def tiles_of(reader: Reader, size: int, dtype: np.dtype[Any]) -> Tiles:
    """Choose how to take tiles from a file.

    Parameters
    ----------
    reader : Reader
        Of the columns.
    size : int
        Pixels of a tile.
    dtype : numpy.dtype
        Native type of the values, where they have to be converted first.

    Returns
    -------
    Tiles
        Raw ones, or those of wide rows, if the layout allows.
    """
    first = reader.columns[0]
    raw = RawTiles.fits(reader, size)
    # whole rows are read faster, but what is not wanted of them takes room as well
    if ColumnTiles.fits(reader, size) and not (
        raw and len(reader.columns) * first.per_row == first.row_bytes // int(first.dtype[2:])
    ):
        return ColumnTiles(reader, size)
    return RawTiles(reader, size) if raw else ValueTiles(reader, size, dtype)
