"""Tiles of a nested map: runs of 4**n pixels, as they are in a file, or as values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from .blocks import BLOCK, Reader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ArrayTiles", "RawTiles", "Tiles", "ValueTiles", "tiles_of"]


class Tiles(ABC):
    """Where `weave` gets tiles from.

    Parameters
    ----------
    size : int
        Pixels of a tile.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the elements that a loaded tile consists of.
    stride : int
        Elements of a loaded tile.
    offsets : list of int
        Of each field: the element of pixel 0 in a loaded tile.
    """

    dtype: np.dtype[Any]
    stride: int
    offsets: list[int]

    def __init__(self, size: int) -> None:
        self.size = size

    def address(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the element of pixels of a tile, of a field at offset 0; bits of the pixel number add up.

        Parameters
        ----------
        pixels : numpy.ndarray of int64
            In [0, size).

        Returns
        -------
        numpy.ndarray of int64
            In [0, stride).
        """
        return pixels

    @abstractmethod
    def load(self, first: int, into: NDArray[Any]) -> None:
        """Load one tile.

        Parameters
        ----------
        first : int
            Its first nested pixel.
        into : numpy.ndarray
            Shape (stride,), of the dtype.
        """


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
            reader.in_rows
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

    def load(self, first: int, into: NDArray[Any]) -> None:
        """Read the rows of a tile."""
        buffer = into.view("u1").data[: self._bytes]
        self._source.read_into(self._base + first // self._per_row * self._row_bytes, buffer)


class ValueTiles(Tiles):
    """Tiles of values, one plane a field: for columns stored in any way.

    Parameters
    ----------
    reader : Reader
        Of any columns.
    size : int
        Pixels of a tile.
    dtype : numpy.dtype
        Native type of the values.
    """

    def __init__(self, reader: Reader, size: int, dtype: np.dtype[Any]) -> None:
        super().__init__(size)
        self._reader = reader
        self.dtype = dtype
        self.stride = size * len(reader.columns)
        self.offsets = [size * k for k in range(len(reader.columns))]

    def load(self, first: int, into: NDArray[Any]) -> None:
        """Read and convert the values of a tile."""
        self._reader.read(first, self.size, list(into.reshape(-1, self.size)))


class ArrayTiles(Tiles):
    """Tiles of a nested map in memory, of the same or of a lower resolution.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (fields, pixels), NESTED.
    size : int
        Pixels of a tile.
    finer : int
        How many pixels of the tiles one pixel of the map is.
    """

    def __init__(self, values: NDArray[Any], size: int, finer: int = 1) -> None:
        super().__init__(size)
        self._values, self._finer = values, finer
        self.dtype = values.dtype
        self.stride = size * len(values)
        self.offsets = [size * k for k in range(len(values))]

    def load(self, first: int, into: NDArray[Any]) -> None:
        """Copy a tile, or repeat its coarser pixels."""
        finer = self._finer
        for values, plane in zip(self._values, into.reshape(-1, self.size), strict=True):
            if finer > self.size:
                plane[:] = values[first // finer]
            else:
                part = values[first // finer : (first + self.size) // finer]
                plane.reshape(-1, finer)[...] = part[:, None]


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
        Raw ones if the layout allows.
    """
    return RawTiles(reader, size) if RawTiles.fits(reader, size) else ValueTiles(reader, size, dtype)
