"""From stored numbers to values: byte order, scaling, nulls, UNSEEN and the unit, on one block at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fits import Column

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
        return
    if column.logical:
        np.equal(raw, ord("T"), out=into, casting="unsafe")
        if not raw.all():  # the standard: a zero byte is no value
            _put(column, raw == 0, into, fill)
        return
    if column.unsigned:
        # modular arithmetic of the same width: exact for all values
        native = raw.astype(raw.dtype.newbyteorder("=")).view(column.unsigned)
        sign = 1 << (8 * native.dtype.itemsize - 1) if native.dtype.kind == "u" else -128
        _cast(native ^ native.dtype.type(sign), into)
        return
    if column.scale == 1 and column.zero == 0:
        _cast(raw, into)
    else:
        values = raw.astype("f8")
        if column.scale != 1:
            values *= column.scale
        if column.zero != 0:
            values += column.zero
        _cast(values, into)
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
    if dtype.kind not in "iu" or fill != fill or abs(fill) == float("inf") or int(fill) != fill:
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= fill <= limits.max)


@dataclass(frozen=True, slots=True)
class Finish:
    """The last step on native values, in place: UNSEEN becomes ``fill``, the rest is converted to the unit."""

    fill: float = UNSEEN
    factor: float = 1.0

    def __call__(self, values: NDArray[Any]) -> None:
        bad = bad_pixels(values)
        if self.factor != 1:
            if bad is not None:
                values[bad] = 0  # UNSEEN times a large factor overflows, and numpy would warn
            np.multiply(values, self.factor, out=values, casting="unsafe")
        if bad is not None:
            values[bad] = self.fill


AS_IS = Finish()
