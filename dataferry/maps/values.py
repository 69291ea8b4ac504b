"""From stored numbers to values, on one block at a time: byte order, scaling, nulls, UNSEEN, the unit, and means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import Column

UNSEEN = -1.6375e30
"""The value of a pixel without data, as all HEALPix software writes it."""

# healpy's own tolerance: within it a value is taken for UNSEEN
_TOLERANCE = 1e-8 + 1e-5 * abs(UNSEEN)
# bits of -1.6e30: as unsigned numbers, only those of lower values, of -inf and of some NaN are not less
_SUSPECT = {4: ("u4", 0xF1A18F08), 8: ("u8", 0xC63431E0FAE6D721)}
_STEP = 1 << 18


def bad_pixels(values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find the native values that stand for UNSEEN, as `healpy.mask_bad` does; None, fast, if there are none."""
    if values.dtype.kind != "f" or values.dtype.itemsize < 4 or not values.size:
        return None
    bits = _SUSPECT.get(values.dtype.itemsize)
    if bits and values.view(bits[0]).max() < bits[1]:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        mask: NDArray[np.bool_] = np.absolute(values - UNSEEN) <= _TOLERANCE
    return mask if mask.any() else None


def stored_to_native(column: Column, raw: NDArray[Any], into: NDArray[Any], fill: float) -> None:
    """Turn stored numbers into physical values, in the type of ``into``; ``fill`` takes the place of nulls."""
    if column.plain:
        _cast(raw, into)
    elif column.logical:
        np.equal(raw, ord("T"), out=into, casting="unsafe")
    elif column.unsigned:
        # modular arithmetic of the same width: exact for all values
        native = raw.astype(raw.dtype.newbyteorder("=")).view(column.unsigned)
        sign = 1 << (8 * native.dtype.itemsize - 1) if native.dtype.kind == "u" else -128
        _cast(native ^ native.dtype.type(sign), into)
    elif column.scaled:
        values = raw.astype("f8")
        values *= column.scale
        if column.zero != 0:  # of -0.0 the sum would be 0.0
            values += column.zero
        _cast(values, into)
    else:
        _cast(raw, into)
    if column.null is not None:
        _put(column, raw == column.null if column.null == column.null else np.isnan(raw), into, fill)


def to_other_type(column: Column, values: NDArray[Any], into: NDArray[Any], fill: float) -> None:
    """Turn finished values (UNSEEN where there is no data) into a type that has no UNSEEN of its own.

    ``fill`` takes the place of UNSEEN, in integers of NaN and infinities too.
    """
    for at in range(0, values.size, _STEP):
        part, target = values[at : at + _STEP], into[at : at + _STEP]
        bad = bad_pixels(part)
        if into.dtype.kind != "f" and part.dtype.kind == "f":
            lost = ~np.isfinite(part)
            bad = lost if bad is None else bad | lost
        _cast(part, target)
        if bad is not None:
            _put(column, bad, target, fill)


def _put(column: Column, where: NDArray[np.bool_], into: NDArray[Any], fill: float) -> None:
    if holds(into.dtype, fill):
        into[where] = fill
    elif where.any():
        raise column.context.error(
            f"has pixels without data, and {into.dtype} cannot hold the fill value {fill}",
            "give a fill= that it holds, or a dtype= of floats",
        )


def _cast(values: NDArray[Any], into: NDArray[Any]) -> None:
    if values.dtype.kind == into.dtype.kind and values.dtype.itemsize <= into.dtype.itemsize:
        np.copyto(into, values)
        return
    # as astype does it: an overflow or a NaN on the way to integers is the caller's choice of dtype
    with np.errstate(invalid="ignore", over="ignore"):
        np.copyto(into, values, casting="unsafe")


def holds(dtype: np.dtype[Any], fill: float) -> bool:
    """Whether a type can hold a fill value."""
    if dtype.kind == "f":
        return not float(np.finfo(dtype).max) < abs(fill) < float("inf")
    if dtype.kind == "b":
        return fill in (0, 1)
    if fill != fill or abs(fill) == float("inf") or int(fill) != fill:
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= fill <= limits.max)


def finish(values: NDArray[Any], fill: float, factor: float) -> None:
    """The last step on native values, in place: UNSEEN becomes ``fill``, the rest is converted to the unit."""
    bad = bad_pixels(values)
    if factor != 1:
        if bad is not None:
            values[bad] = 0  # UNSEEN times a large factor overflows, and numpy would warn
        np.multiply(values, factor, out=values, casting="unsafe")
    if bad is not None:
        values[bad] = fill


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
