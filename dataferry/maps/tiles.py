"""Square tiles of a NESTED map, runs of 4**n pixels: as their bytes are in the file, or as values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import BLOCK, ColumnReader


class Tiles(ABC):
    """Tiles of ``size`` pixels, loaded into buffers of ``stride`` elements of ``dtype``.

    ``offsets`` are the elements of pixel 0 of each field in a loaded tile.
    """

    dtype: np.dtype[Any]

    def __init__(self, size: int, fields: int) -> None:
        self.size = size
        self.stride = size * fields
        self.offsets = [size * k for k in range(fields)]

    def address(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The elements of pixels of a tile, for a field at offset 0; bits of the pixel number add up."""
        return pixels

    def target(self, buffer: NDArray[Any]) -> Any:
        """What `load` is to be given to fill a buffer, made once for many loads."""
        return buffer

    @abstractmethod
    def load(self, tasks: Sequence[tuple[int, Any]]) -> None:
        """Load tiles: the first NESTED pixel of each, and its target."""


class ValueTiles(Tiles):
    """Tiles of values, one plane a field: for columns stored in any way."""

    def __init__(self, reader: ColumnReader, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(size, len(reader.columns))
        self._reader = reader
        self.dtype = dtype

    def load(self, tasks: Sequence[tuple[int, NDArray[Any]]]) -> None:
        for first, into in tasks:
            self._reader.read(first, self.size, list(into.reshape(-1, self.size)))


class RowTiles(Tiles):
    """Tiles as they are in the file: whole rows of the table, of columns for which `fits` holds."""

    def __init__(self, reader: ColumnReader, size: int) -> None:
        super().__init__(size, len(reader.columns))
        first = reader.columns[0]
        self._source, self._base = reader.source, reader.base
        self._row_bytes, self._per_row = first.row_bytes, first.per_row
        self.dtype = np.dtype(first.dtype)
        self._step = first.row_bytes // first.width
        self.stride = size // first.per_row * self._step
        self.offsets = [(c.start - self._base) // first.width for c in reader.columns]
        # the last row of the file may end with the last of these columns
        self._bytes = (size // first.per_row - 1) * first.row_bytes + reader.span_bytes

    @staticmethod
    def fits(reader: ColumnReader, size: int) -> bool:
        """Whether whole rows make a tile, and pixel bits add up to addresses."""
        first = reader.columns[0]
        return (
            reader.raw
            and all(c.plain for c in reader.columns)
            and first.per_row & (first.per_row - 1) == 0
            and first.per_row <= size
            and first.row_bytes * (size // first.per_row) <= 4 * BLOCK
            # rows wider than what is wanted of them cost more than they save
            and first.row_bytes <= 4 * len(reader.columns) * first.per_row * first.width
        )

    def address(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        return pixels // self._per_row * self._step + pixels % self._per_row

    def target(self, buffer: NDArray[Any]) -> memoryview:
        return buffer.view("u1").data[: self._bytes]

    def load(self, tasks: Sequence[tuple[int, memoryview]]) -> None:
        base, per_row, row_bytes = self._base, self._per_row, self._row_bytes
        self._source.read_many([(base + first // per_row * row_bytes, into) for first, into in tasks])


def tiles_of(reader: ColumnReader, size: int, dtype: np.dtype[Any]) -> Tiles:
    """Choose how to load tiles from a file; ``dtype`` is that of values which have to be converted first."""
    return RowTiles(reader, size) if RowTiles.fits(reader, size) else ValueTiles(reader, size, dtype)
