"""Reading columns block by block: only the rows that hold wanted pixels, each byte once, straight into the output."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .byte_source import ByteSource
from .layout import Column, in_digits
from .values import stored_to_native

Ints = NDArray[np.int64]
Finish = Callable[[int, NDArray[Any]], None]
Task = TypeVar("Task")

# what one pread brings: it stays in a processor's cache until it is converted, and is worth the change of threads
BLOCK = 1 << 21
# values that may be in memory at once, beside those that are wanted
MOST_VALUES = 1 << 22
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

    def __init__(self, source: ByteSource, columns: Sequence[Column], fill: float, threads: int = 0) -> None:
        for column in columns:
            if column.problem:
                raise column.context.error(column.problem)
        first = columns[0]
        self.columns = columns
        self.fill = fill
        self.count, self.per_row, self.row_bytes = first.count, first.per_row, first.row_bytes
        self.source = first.memory or source
        self.threads = threads or self.source.connections or count_threads()
        self.base = min(c.start for c in columns)
        self.span_bytes = max(c.start + c.per_row * c.width for c in columns) - self.base
        # nothing lies between the values of a column
        self.packed = first.row_bytes == first.per_row * first.width
        # in narrow rows one read brings all columns; in wide ones each column is read by itself
        self.in_rows = not self.packed and self.span_bytes <= first.row_bytes <= BLOCK // 4
        self._local = threading.local()

    def threads_for(self, count: int) -> int:
        """How many threads are worth starting to read so many values."""
        size = count * self.row_bytes // self.per_row
        return self.threads if self.source.connections else max(1, min(self.threads, size // (8 * BLOCK)))

    def read(self, first: int, count: int, into: Sequence[NDArray[Any]], block: int = BLOCK // 8) -> None:
        """Read a range of values of every column, in this thread, into arrays of any stride and type."""
        if not self.in_rows:
            for column, out in zip(self.columns, into, strict=True):
                self._read_column(column, first, out[:count])
            return
        step = _power_of_two(block // self.row_bytes) * self.per_row
        done = 0
        while done < count:
            n = min(count - done, step - (first + done) % self.per_row)
            self._read_rows(first + done, n, [out[done : done + n] for out in into])
            done += n

    def _buffer(self, size: int) -> memoryview:
        buffer: memoryview | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < size:
            buffer = self._local.buffer = memoryview(bytearray(size))
        return buffer[:size]

    def _read_rows(self, first: int, count: int, into: list[NDArray[Any]]) -> None:
        per_row, row_bytes = self.per_row, self.row_bytes
        row, skip = divmod(first, per_row)
        rows = (skip + count + per_row - 1) // per_row
        buffer = self._buffer((rows - 1) * row_bytes + self.span_bytes)
        self.source.read_into(self.base + row * row_bytes, buffer)
        whole = count == rows * per_row
        for column, out in zip(self.columns, into, strict=True):
            strides = (row_bytes, column.width)
            raw: NDArray[Any] = np.ndarray((rows, per_row), column.dtype, buffer, column.start - self.base, strides)
            if whole:
                stored_to_native(column, raw, out.reshape(rows, per_row), self.fill)
            else:
                stored_to_native(column, raw.reshape(-1)[skip : skip + count], out, self.fill)

    def _read_column(self, column: Column, first: int, out: NDArray[Any]) -> None:
        width, most = column.width, BLOCK // column.width
        per_row = self.count if self.packed else self.per_row
        as_stored = out.dtype == column.dtype
        direct = column.plain and out.flags.c_contiguous and (as_stored or out.dtype == column.natural)
        done = 0
        while done < out.size:
            row, skip = divmod(first + done, per_row)
            part = out[done : done + min(most, per_row - skip)]
            offset = column.start + row * column.row_bytes + skip * width
            if direct:
                self.source.read_into(offset, part.view("u1").data)
                if not as_stored:
                    # numpy swaps in one direction: safe in place; and byteswap() would keep the other threads waiting
                    np.copyto(part, part.view(column.dtype))
            else:
                buffer = self._buffer(part.size * width)
                self.source.read_into(offset, buffer)
                stored_to_native(column, np.frombuffer(buffer, column.dtype), part, self.fill)
            done += part.size

    def stream(self, first: int, into: Sequence[NDArray[Any]], finish: Finish | None = None) -> None:
        """Read a range of values of every column with all threads, and finish each block while it is hot."""
        count, width = into[0].size, into[0].dtype.itemsize
        # a new buffer costs its page faults: a small one for little
        block = min(BLOCK, max(BLOCK // 8, count * self.row_bytes // self.per_row // 12))
        step = _power_of_two(block // self.row_bytes) * self.per_row
        if not self.in_rows:
            step = block // self.columns[0].width
        # two threads that touch the same huge page for the first time wait for each other
        a_task = max(1, _HUGE_PAGE // width // step) * step
        lead = -into[0].ctypes.data % _HUGE_PAGE // width // step * step
        edges = [0, *range(lead or a_task, count, a_task), count]

        def work(parts: Iterator[tuple[int, int]]) -> None:
            for start, stop in parts:
                for at in range(start, stop, step):
                    outs = [out[at : min(at + step, stop)] for out in into]
                    self.read(first + at, outs[0].size, outs, block)
                    if finish:
                        for field, out in enumerate(outs):
                            finish(field, out)

        run_threads(work, list(pairwise(edges)), self.threads_for(count))

    def take(self, positions: Ints, into: Sequence[NDArray[Any]]) -> None:
        """Read values at any positions of the file; neighbours are read together, in the order of the file."""
        if not positions.size:
            return
        # from a disk, whole blocks are cheaper than sorting; from a server every byte counts
        if positions.size >= _FEW and not self.source.connections and self._take_blocks(positions, into):
            return
        self._take_runs(positions, into)

    def _take_blocks(self, positions: Ints, into: Sequence[NDArray[Any]]) -> bool:
        """Read the blocks that hold the positions side by side and gather from there; False if those are too many."""
        wanted = np.zeros((self.count >> _BITS) + 2, bool)
        for at in range(0, positions.size, _CHUNK):
            wanted[positions[at : at + _CHUNK] >> _BITS] = True
        numbers = np.flatnonzero(wanted)
        if numbers.size << _BITS > max(MOST_VALUES, 8 * positions.size):
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

    def _take_runs(self, positions: Ints, into: Sequence[NDArray[Any]]) -> None:
        """Read runs of positions one by one."""
        order = np.argsort(positions, kind="stable")
        positions = positions[order]
        # how many unwanted values are cheaper read than left out
        gap = max(1, self.source.gap * self.per_row // self.row_bytes)
        # a long run is divided so that no piece of the file is larger than what is read at once
        breaks = np.flatnonzero((np.diff(positions) > gap) | (np.diff(positions // MOST_VALUES) > 0)) + 1
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
                    out[order[start:stop]] = buffer.take(inside)

        run_threads(work, tasks, self.threads if positions.size > _FEW or self.source.connections else 1)


def _power_of_two(most: int) -> int:
    """The largest power of two that is not more; 1 at the least."""
    return 1 << max(0, most.bit_length() - 1)


def count_threads(most: int = 8) -> int:
    """Processors that this process may use, or ``OMP_NUM_THREADS`` where that is lower."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = in_digits(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])  # further numbers are for nested regions
    here = min(here, limit or here)
    return max(1, min(here, most))


def run_threads(work: Callable[[Iterator[Task]], None], tasks: Sequence[Task], threads: int) -> None:
    """Call ``work`` in each thread with the iterator over the tasks; raise the first error of any of them.

    numpy and ``pread`` release the interpreter while they work. A slow thread takes fewer tasks.
    """
    threads = min(threads, len(tasks))
    left = iter(tasks)  # a list's or a range's, whose next() is atomic
    if threads < 2:
        work(left)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads - 1, thread_name_prefix="dataferry-maps") as pool:
        others = [pool.submit(work, left) for _ in range(threads - 1)]
        try:
            work(left)
        finally:
            for _ in left:  # after an error the others need not go on
                pass
        for other in others:
            other.result()
