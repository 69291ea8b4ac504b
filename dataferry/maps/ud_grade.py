"""Means of the good pixels of a NESTED map in floating point, as `healpy.ud_grade` takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import BLOCK, ColumnReader
from .threads import run_threads
from .values import UNSEEN, bad_pixels


def means(values: NDArray[Any], children: int) -> NDArray[Any]:
    """Average the children of each NESTED pixel that are not UNSEEN, in the type of floats that the values have.

    To the bit what healpy does with a nested map: sums are numpy's pairwise sums, a pixel without a good child is
    UNSEEN, and one with a child that is NaN or infinite is NaN unless all are such.
    """
    rows = values.reshape(-1, children)
    kind = values.dtype
    with np.errstate(invalid="ignore", over="ignore"):
        total = _sum_of_four(rows) if children == 4 and kind.char in "fd" else rows.sum(axis=1)
        bad = bad_pixels(values)
        mean: NDArray[Any]
        if bad is None and np.isfinite(total).all():
            mean = (total / np.int64(children)).astype(kind)
            return mean
        good = np.isfinite(rows)
        if bad is not None:
            good &= ~bad.reshape(rows.shape)
        mean = np.sum(rows * good, axis=1).astype(kind)
        hits = good.sum(axis=1)
        some = hits != 0
        mean[some] = mean[some] / hits[some]
        mean[~some] = UNSEEN
    return mean


def _sum_of_four(rows: NDArray[Any]) -> NDArray[Any]:
    """Add up short rows column by column, in the order in which numpy adds them, many times as fast."""
    total: NDArray[Any] = rows[:, 0] + rows[:, 1]
    total += rows[:, 2]
    total += rows[:, 3]
    total += 0  # numpy's sum of negative zeros is zero
    return total


def read_means(reader: ColumnReader, out: NDArray[Any], children: int) -> None:
    """Read a NESTED map and keep only the means."""
    step = max(1, BLOCK // 8 // children)

    def work(starts: Iterator[int]) -> None:
        buffers: list[NDArray[Any]] = [np.empty(step * children, out.dtype) for _ in out]
        for at in starts:
            n = min(step, out.shape[1] - at)
            parts = [buffer[: n * children] for buffer in buffers]
            reader.read(at * children, n * children, parts, BLOCK // 2)
            for part, field in zip(parts, out, strict=True):
                field[at : at + n] = means(part, children)

    run_threads(work, range(0, out.shape[1], step), reader.threads)
