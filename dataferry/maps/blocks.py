"""Reading columns block by block: only the rows that hold wanted pixels, each byte once, straight into the output."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .columns import Column
from .lanes import lanes, run
from .values import Finish, stored_to_native

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Reader"]

# what one pread brings: in a processor's cache until it is converted, and worth the change of threads
BLOCK = 1 << 21
_HUGE_PAGE = 1 << 21


class Reader:
    """The values of some columns of one HDU, by position in the file.

    Parameters
    ----------
    columns : sequence of Column
        At least one; all of the same length.
    fill : float
        Takes the place of stored nulls.
    threads : int, optional
        How many threads convert; as many as there are processors if 0.

    Raises
    ------
    MapError
        If a column does not hold numbers.
    """

    def __init__(self, columns: Sequence[Column], fill: float, threads: int = 0) -> None:
        for column in columns:
            if not column.dtype:
                raise column.place.error("does not hold numbers that a map can have")
        self.columns = list(columns)
        self.fill = fill
        self.count = columns[0].count
        self.source = columns[0].source
        self.threads = threads or self.source.lanes or lanes()
        first = columns[0]
        # in narrow rows one read brings all columns; in wide ones each column is read by itself
        self.packed = len(columns) == 1 and first.row_bytes == first.per_row * int(first.dtype[2:])
        self.in_rows = (
            not self.packed
            and first.row_bytes <= BLOCK // 4
            and all(
                (c.source, c.row_bytes, c.per_row) == (first.source, first.row_bytes, first.per_row) for c in columns
            )
        )
        width = int(first.dtype[2:])
        # elements of one size, whole in every row: their bytes can be moved before anybody looks at them
        self.raw = (
            (self.packed or self.in_rows)
            and first.row_bytes % width == 0
            and all(c.dtype == first.dtype and (c.start - first.start) % width == 0 for c in columns)
        )
        self._base = min(c.start for c in columns)
        self.span_bytes = max(c.start + c.per_row * int(c.dtype[2:]) for c in columns) - self._base
        self._local = threading.local()

    def threads_for(self, count: int) -> int:
        """How many threads are worth starting to read so many values."""
        column = self.columns[0]
        size = count * column.row_bytes // max(1, column.per_row)
        return self.threads if self.source.lanes else max(1, min(self.threads, size // (8 * BLOCK)))

    def read(self, first: int, count: int, into: Sequence[NDArray[Any]], block: int = BLOCK // 8) -> None:
        """Read a range of values of every column, in this thread.

        Parameters
        ----------
        first, count : int
            The range.
        into : sequence of numpy.ndarray
            One a column, of shape (count,), with any stride and any native type.
        block : int
            Bytes that are read at once.

        Raises
        ------
        MapError
            If the file cannot be read.
        """
        if not self.in_rows:
            for column, out in zip(self.columns, into, strict=True):
                self._read_wide(column, first, count, out)
            return
        per_row, row_bytes = self.columns[0].per_row, self.columns[0].row_bytes
        step = _power(block // row_bytes) * per_row
        done = 0
        while done < count:
            at = first + done
            n = min(count - done, step - at % per_row)
            self._read_rows(at, n, [out[done : done + n] for out in into])
            done += n

    def _buffer(self, size: int) -> memoryview:
        buffer: memoryview | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = self._local.buffer = memoryview(bytearray(size))
        return buffer

    def _read_rows(self, first: int, count: int, into: list[NDArray[Any]]) -> None:
        import numpy as np

        per_row, row_bytes = self.columns[0].per_row, self.columns[0].row_bytes
        row, skip = divmod(first, per_row)
        rows = (skip + count + per_row - 1) // per_row
        size = (rows - 1) * row_bytes + self.span_bytes
        buffer = self._buffer(size)[:size]
        self.source.read_into(self._base + row * row_bytes, buffer)
        whole = skip == 0 and count == rows * per_row
        for column, out in zip(self.columns, into, strict=True):
            width = int(column.dtype[2:])
            raw: NDArray[Any] = np.ndarray(
                (rows, per_row), column.dtype, buffer, column.start - self._base, (row_bytes, width)
            )
            if whole:
                stored_to_native(column, raw, out.reshape(rows, per_row), self.fill)
            else:
                stored_to_native(column, raw.reshape(-1)[skip : skip + count], out, self.fill)

    def _read_wide(self, column: Column, first: int, count: int, out: NDArray[Any]) -> None:
        import numpy as np

        width = int(column.dtype[2:])
        packed = column.per_row * width == column.row_bytes
        if packed and column.plain and out.dtype == column.natural and out.flags.c_contiguous:
            for at in range(0, count, BLOCK // width):
                part = out[at : at + BLOCK // width]
                self.source.read_into(column.start + (first + at) * width, part.view("u1").data)
                # numpy swaps in one direction: safe in place; and byteswap() would keep the other threads waiting
                np.copyto(part, part.view(column.dtype))
            return
        done = 0
        while done < count:
            row, skip = (0, first + done) if packed else divmod(first + done, column.per_row)
            n = min(count - done, BLOCK // width)
            n = n if packed else min(n, column.per_row - skip)
            buffer = self._buffer(n * width)[: n * width]
            self.source.read_into(column.start + row * column.row_bytes + skip * width, buffer)
            stored_to_native(column, np.frombuffer(buffer, column.dtype), out[done : done + n], self.fill)
            done += n

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Give the bytes, of the first column, from one value to another (both included).

        Parameters
        ----------
        first, last : int
            Positions.

        Returns
        -------
        start, stop : int
            Offsets in the source.
        """
        column = self.columns[0]
        width = int(column.dtype[2:])
        row, skip = divmod(first, column.per_row)
        last_row, last_skip = divmod(last, column.per_row)
        start = column.start + row * column.row_bytes + skip * width
        return start, column.start + last_row * column.row_bytes + (last_skip + 1) * width

    def stream(self, first: int, count: int, into: Sequence[NDArray[Any]], finishes: Sequence[Finish]) -> None:
        """Read a range of values of every column, with all threads.

        Parameters
        ----------
        first, count : int
            The range.
        into : sequence of numpy.ndarray
            One a column, of shape (count,).
        finishes : sequence of Finish
            Called with each block of each output while that is hot.
        """
        per_row, row_bytes = self.columns[0].per_row, self.columns[0].row_bytes
        # a new buffer costs its page faults: a small one for little
        block = min(BLOCK, max(BLOCK // 8, count * row_bytes // per_row // 12))
        step = _power(block // row_bytes) * per_row if self.in_rows else block // int(self.columns[0].dtype[2:])
        # two threads that touch the same huge page for the first time wait for each other
        width = into[0].dtype.itemsize
        stretch = max(1, _HUGE_PAGE // width // step) * step
        lead = -into[0].ctypes.data % _HUGE_PAGE // width // step * step
        edges = [0, *range(lead or stretch, count, stretch), count]

        def work(mine: Iterator[tuple[int, int]]) -> None:
            for start, stop in mine:
                for at in range(start, stop, step):
                    parts = [out[at : min(at + step, stop)] for out in into]
                    self.read(first + at, parts[0].size, parts, block)
                    for part, finish in zip(parts, finishes, strict=True):
                        finish(part)

        run(work, list(pairwise(edges)), self.threads_for(count))


def _power(most: int) -> int:
    """Find the largest power of two that is not more; 1 at the least."""
    return 1 << max(0, most.bit_length() - 1)
