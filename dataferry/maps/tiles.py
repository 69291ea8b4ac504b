"""Tiles of a nested map: runs of 4**n pixels, from any columns or from memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .blocks import Reader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ArrayTiles", "Tiles", "ValueTiles"]


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

    def room(self, slot: NDArray[Any]) -> Any:
        """Make ready a place that tiles are loaded into many times.

        Parameters
        ----------
        slot : numpy.ndarray
            Shape (stride,), of the dtype, contiguous.

        Returns
        -------
        object
            What `load` is to be given.
        """
        return slot

    @abstractmethod
    def load(self, tasks: Sequence[tuple[int, Any]]) -> None:
        """Load some tiles.

        Parameters
        ----------
        tasks : sequence of (int, object)
            The first nested pixel of each, and where it goes, as `room` gave it.
        """


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

    def load(self, tasks: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Read and convert the values of tiles."""
        for first, into in tasks:
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

    def load(self, tasks: Sequence[tuple[int, NDArray[Any]]]) -> None:
        """Copy tiles, or repeat their coarser pixels."""
        for first, into in tasks:
            self._load(first, into)

    def _load(self, first: int, into: NDArray[Any]) -> None:
        finer = self._finer
        for values, plane in zip(self._values, into.reshape(-1, self.size), strict=True):
            if finer > self.size:
                plane[:] = values[first // finer]
            else:
                part = values[first // finer : (first + self.size) // finer]
                plane.reshape(-1, finer)[...] = part[:, None]
