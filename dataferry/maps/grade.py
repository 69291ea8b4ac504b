"""Another resolution: means of the good pixels on the way down, copies on the way up, as `healpy.ud_grade` does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .blocks import BLOCK, Reader
from .lanes import run
from .values import UNSEEN, Finish, bad_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["degrade", "stream_degraded"]


def degrade(values: NDArray[Any], children: int) -> NDArray[Any]:
    """Average the children of each pixel that are not UNSEEN, in the type that the values have.

    To the bit what healpy does with a nested map: sums are numpy's pairwise sums, a pixel without a good child is
    UNSEEN, and one with a child that is NaN or infinite is NaN unless all are such.

    Parameters
    ----------
    values : numpy.ndarray
        Nested pixels, native, shape (n * children,).
    children : int
        A power of four.

    Returns
    -------
    numpy.ndarray
        Shape (n,), of the same type.
    """
    import numpy as np

    rows = values.reshape(-1, children)
    kind = values.dtype
    mean: NDArray[Any]
    with np.errstate(invalid="ignore", over="ignore"):
        total = _sum_of_four(rows) if children == 4 and kind.char in "fd" else rows.sum(axis=1)
        if kind.kind != "f":
            mean = (total.astype(kind) / children).astype(kind)
            return mean
        bad = bad_pixels(values)
        if bad is None and np.isfinite(total).all():
            mean = (total / np.int64(children)).astype(kind)
            return mean
        bad = None if bad is None else bad.reshape(rows.shape)
        good = np.isfinite(rows) if bad is None else np.isfinite(rows) & ~bad
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


def stream_degraded(
    reader: Reader, out: NDArray[Any], children: int, dtypes: Sequence[np.dtype[Any]], finishes: Sequence[Finish]
) -> None:
    """Read a nested map and keep only the means.

    Parameters
    ----------
    reader : Reader
        Of the columns, nested.
    out : numpy.ndarray
        Shape (fields, pixels), NESTED.
    children : int
        A power of four.
    dtypes : sequence of numpy.dtype
        In which the means of each column are taken.
    finishes : sequence of Finish
        The last step on each output.
    """
    import numpy as np

    step = max(1, BLOCK // 8 // children)

    def work(starts: Iterator[int]) -> None:
        rooms = [np.empty(step * children, dtype) for dtype in dtypes]
        for at in starts:
            n = min(step, out.shape[1] - at)
            parts = [room[: n * children] for room in rooms]
            reader.read(at * children, n * children, parts, BLOCK // 2)
            for part, line, finish in zip(parts, out, finishes, strict=True):
                line[at : at + n] = degrade(part, children)
                finish(line[at : at + n])

    run(work, range(0, out.shape[1], step), reader.threads)
