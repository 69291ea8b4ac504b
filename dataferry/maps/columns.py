"""Reading columns block by block: only the rows that hold wanted pixels, each byte once, straight into the output."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fits import Column
from .threads import count_threads, run_threads
from .values import Finish, stored_to_native

Ints = NDArray[np.int64]

# what one pread brings: it stays in a processor's cache until it is converted, and is worth the change of threads
BLOCK = 1 << 21
# values that may be in memory at once, beside those that are wanted
MOST = 1 << 22
_HUGE_PAGE = 1 << 21
# fewer pixels than this are read run by run
_FEW = 4096
_BITS = 10
_CHUNK = 1 << 15
_BLOCKS_A_TASK = 64


class ColumnReader:
    """The values of some columns, all of one length, of one HDU, by position in the file.

    ``fill`` takes the place of stored nulls; ``threads`` convert, as many as there are processors if 0.
    """

    def __init__(self, columns: Sequence[Column], fill: float, threads: int = 0) -> None:
        for column in columns:
            if column.problem:
                raise column.context.error(column.problem)
        self.columns = list(columns)
        self.fill = fill
        self.count = columns[0].count
        self.source = columns[0].source
        self.threads = threads or self.source.connections or count_threads()
        first = columns[0]
        # in narrow rows one read brings all columns; in wide ones each column is read by itself
        self.packed = len(columns) == 1 and first.row_bytes == first.per_row * first.width
        self.in_rows = (
            not self.packed
            and first.row_bytes <= BLOCK // 4
            and all(
                (c.source, c.row_bytes, c.per_row) == (first.source, first.row_bytes, first.per_row) for c in columns
            )
        )
        # elements of one size, whole in every row: their bytes can be moved before anybody looks at them
        self.raw = (
            (self.packed or self.in_rows)
            and first.row_bytes % first.width == 0
            and all(c.dtype == first.dtype and (c.start - first.start) % first.width == 0 for c in columns)
        )
        self.base = min(c.start for c in columns)
        self.span_bytes = max(c.start + c.per_row * c.width for c in columns) - self.base
        self._local = threading.local()

    def threads_for(self, count: int) -> int:
        """How many threads are worth starting to read so many values."""
        column = self.columns[0]
        size = count * column.row_bytes // max(1, column.per_row)
        return self.threads if self.source.connections else max(1, min(self.threads, size // (8 * BLOCK)))

    def read(self, first: int, count: int, into: Sequence[NDArray[Any]], block: int = BLOCK // 8) -> None:
        """Read a range of values of every column, in this thread, into arrays of any stride and native type."""
        if not self.in_rows:
            for column, out in zip(self.columns, into, strict=True):
                self._read_wide(column, first, count, out)
            return
        per_row, row_bytes = self.columns[0].per_row, self.columns[0].row_bytes
        step = _power_of_two(block // row_bytes) * per_row
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
        per_row, row_bytes = self.columns[0].per_row, self.columns[0].row_bytes
        row, skip = divmod(first, per_row)
        rows = (skip + count + per_row - 1) // per_row
        size = (rows - 1) * row_bytes + self.span_bytes
        buffer = self._buffer(size)[:size]
        self.source.read_into(self.base + row * row_bytes, buffer)
        whole = skip == 0 and count == rows * per_row
        for column, out in zip(self.columns, into, strict=True):
            strides = (row_bytes, column.width)
            raw: NDArray[Any] = np.ndarray((rows, per_row), column.dtype, buffer, column.start - self.base, strides)
            if whole:
                stored_to_native(column, raw, out.reshape(rows, per_row), self.fill)
            else:
                stored_to_native(column, raw.reshape(-1)[skip : skip + count], out, self.fill)

    def _read_wide(self, column: Column, first: int, count: int, out: NDArray[Any]) -> None:
        width = column.width
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

    def stream(self, first: int, count: int, into: Sequence[NDArray[Any]], finishes: Sequence[Finish]) -> None:
        """Read a range of values of every column with all threads, and finish each block while it is hot."""
        per_row, row_bytes = self.columns[0].per_row, self.columns[0].row_bytes
        # a new buffer costs its page faults: a small one for little
        block = min(BLOCK, max(BLOCK // 8, count * row_bytes // per_row // 12))
        step = _power_of_two(block // row_bytes) * per_row if self.in_rows else block // self.columns[0].width
        # two threads that touch the same huge page for the first time wait for each other
        width = into[0].dtype.itemsize
        a_task = max(1, _HUGE_PAGE // width // step) * step
        lead = -into[0].ctypes.data % _HUGE_PAGE // width // step * step
        edges = [0, *range(lead or a_task, count, a_task), count]

        def work(parts: Iterator[tuple[int, int]]) -> None:
            for start, stop in parts:
                for at in range(start, stop, step):
                    outs = [out[at : min(at + step, stop)] for out in into]
                    self.read(first + at, outs[0].size, outs, block)
                    for out, finish in zip(outs, finishes, strict=True):
                        finish(out)

        run_threads(work, list(pairwise(edges)), self.threads_for(count))

    def take(self, positions: Ints, into: Sequence[NDArray[Any]]) -> None:
        """Read values at any positions of the file; neighbours are read together, in the order of the file."""
        if not positions.size:
            return
        # from a disk, whole blocks are cheaper than sorting; from a server every byte counts
        if positions.size >= _FEW and not self.source.connections and self._take_blocks(positions, into):
            return
        order = None
        if (np.diff(positions) < 0).any():
            order = np.argsort(positions, kind="stable")
            positions = positions[order]
        self._take_runs(positions, order, into)

    def _gap(self) -> int:
        """How many unwanted values are cheaper read than left out."""
        column = self.columns[0]
        return max(1, self.source.gap * column.per_row // max(1, column.row_bytes))

    def _take_blocks(self, positions: Ints, into: Sequence[NDArray[Any]]) -> bool:
        """Read the blocks that hold the positions side by side and gather from there; False if those are too many."""
        wanted = np.zeros((self.count >> _BITS) + 2, bool)
        for at in range(0, positions.size, _CHUNK):
            wanted[positions[at : at + _CHUNK] >> _BITS] = True
        numbers = np.flatnonzero(wanted)
        if numbers.size << _BITS > max(MOST, 8 * positions.size):
            return False
        # where each block lies in the buffers; blocks that follow one another are read by one task
        where = np.zeros(int(numbers[-1]) + 1, "i8")
        where[numbers] = (np.arange(numbers.size) - numbers) << _BITS
        breaks = (np.flatnonzero(np.diff(numbers) > 1) + 1).tolist()
        edges = sorted({0, *breaks, *range(0, numbers.size, _BLOCKS_A_TASK), numbers.size})
        buffers: list[NDArray[Any]] = [np.empty(numbers.size << _BITS, out.dtype) for out in into]

        def work(tasks: Iterator[tuple[int, int]]) -> None:
            for start, stop in tasks:
                first, at = int(numbers[start]) << _BITS, start << _BITS
                count = min((stop - start) << _BITS, self.count - first)
                self.read(first, count, [buffer[at : at + count] for buffer in buffers])

        run_threads(work, list(pairwise(edges)), self.threads_for(numbers.size << _BITS))
        for at in range(0, positions.size, _CHUNK):
            some = positions[at : at + _CHUNK]
            index = where.take(some >> _BITS)
            index += some
            for buffer, out in zip(buffers, into, strict=True):
                np.take(buffer, index, out=out[at : at + _CHUNK], mode="wrap")
        return True

    def _take_runs(self, positions: Ints, order: Ints | None, into: Sequence[NDArray[Any]]) -> None:
        """Read runs of sorted positions one by one."""
        # a long run is divided so that no piece of the file is larger than what is read at once
        breaks = np.flatnonzero((np.diff(positions) > self._gap()) | (np.diff(positions // MOST) > 0)) + 1
        tasks = list(pairwise([0, *breaks.tolist(), positions.size]))

        def work(runs: Iterator[tuple[int, int]]) -> None:
            buffers: list[NDArray[Any]] = [np.empty(0, out.dtype) for out in into]
            for start, stop in runs:
                first = int(positions[start])
                count = int(positions[stop - 1]) - first + 1
                if buffers[0].size < count:
                    buffers = [np.empty(max(count, BLOCK // 4), out.dtype) for out in into]
                self.read(first, count, [buffer[:count] for buffer in buffers])
                inside = positions[start:stop] - first
                for buffer, out in zip(buffers, into, strict=True):
                    out[slice(start, stop) if order is None else order[start:stop]] = buffer[:count].take(inside)

        run_threads(work, tasks, self.threads if positions.size > _FEW or self.source.connections else 1)


def _power_of_two(most: int) -> int:
    """The largest power of two that is not more; 1 at the least."""
    return 1 << max(0, most.bit_length() - 1)
