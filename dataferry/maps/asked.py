"""One thing that a caller asks of a map, checked: its resolution, ordering or type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from .columns import Column
from .layout import Layout
from .values import holds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

__all__ = ["dtype_asked", "fill_asked", "floats_for", "nside_asked", "order_asked", "whole_numbers"]

# pixel numbers of a finer map do not fit into 64 bits
_LARGEST = 1 << 29


def nside_asked(layout: Layout, nside: int | None) -> int:
    """Check the resolution of the result.

    Parameters
    ----------
    layout : Layout
        The map.
    nside : int or None
        None is that of the map.

    Returns
    -------
    int
        Its NSIDE.

    Raises
    ------
    MapError
        If it is no power of two, too large, or the map cannot be brought to it.
    """
    import operator

    if nside is None:
        return layout.nside
    try:
        wanted = operator.index(nside)
    except TypeError:
        raise layout.place.error(f"nside={nside!r} is not an integer") from None
    if wanted == layout.nside:
        return wanted
    if wanted > _LARGEST:
        raise layout.place.error(f"nside={wanted} is out of range: {_LARGEST} is the largest")
    for what, value in (("nside", wanted), ("the map's NSIDE", layout.nside)):
        if value < 1 or value & (value - 1):
            raise layout.place.error(f"{what}={value} is no power of two: the resolution cannot be changed")
    return wanted


def fill_asked(layout: Layout, fill: object) -> float:
    """Check the value of pixels without data.

    Parameters
    ----------
    layout : Layout
        The map.
    fill : float
        The value.

    Returns
    -------
    float
        The same.

    Raises
    ------
    MapError
        If it is no real number.
    """
    from numbers import Real

    if not isinstance(fill, Real):  # numpy's are registered as such
        raise layout.place.error(f"fill={fill!r} is not a number")
    return cast(float, fill)


def order_asked(layout: Layout, order: str | None, nside: int) -> str:
    """Check the ordering of the result.

    Parameters
    ----------
    layout : Layout
        The map.
    order : str or None
        ``file`` is that of the map, None is RING.
    nside : int
        Of the result.

    Returns
    -------
    str
        RING or NESTED.

    Raises
    ------
    MapError
        If there is no such ordering.
    """
    word = "RING" if order is None else str(order).upper()
    if word == "FILE":
        return layout.order
    if word not in ("RING", "NESTED", "NEST"):
        raise layout.place.error(f"order={order!r} is none of 'RING', 'NESTED' and 'file'")
    if word != "RING" and nside & (nside - 1):
        raise layout.place.error(f"NSIDE={nside} is no power of two: there is no NESTED ordering")
    return "RING" if word == "RING" else "NESTED"


def dtype_asked(
    layout: Layout, columns: Sequence[Column], dtype: DTypeLike | None, fill: float, *, scaled: bool, gaps: bool
) -> np.dtype[Any]:
    """Check the type of the result.

    Parameters
    ----------
    layout : Layout
        The map.
    columns : sequence of Column
        The fields.
    dtype : dtype-like or None
        None is that of the fields, or float64 where it could not hold the result.
    fill : float
        Value of pixels without data.
    scaled : bool
        Whether values are converted to another unit.
    gaps : bool
        Whether pixels that the file does not have are part of the result.

    Returns
    -------
    numpy.dtype
        Native.

    Raises
    ------
    MapError
        If no map can have it, or it cannot hold the fill value where there are gaps.
    """
    import numpy as np

    if dtype is None:
        found = np.result_type(*(column.natural for column in columns))
        needs_fill = gaps and not holds(found, fill)
        return np.dtype("f8") if found.kind != "f" and (scaled or needs_fill) else found
    try:
        wanted = np.dtype(dtype).newbyteorder("=")
    except TypeError as error:
        raise layout.place.error(f"dtype={dtype!r} is no type of numbers") from error
    if wanted.kind not in "fiub":
        raise layout.place.error(f"dtype={wanted} is no type that a map can have")
    if gaps and not holds(wanted, fill):
        raise layout.place.error(f"{wanted} cannot hold the fill value {fill} of a partial map", "give fill= as well")
    return wanted


def whole_numbers(column: Column) -> bool:
    """Whether a column holds integers or letters, be some of them null or not."""
    return column.natural.kind != "f" or (column.scale == 1 and column.zero == 0 and column.dtype[1] in "iu")


def floats_for(columns: Sequence[Column]) -> np.dtype[Any]:
    """The type of floats that holds the values of columns, and UNSEEN."""
    import numpy as np

    found = np.result_type(*(column.natural for column in columns))
    return found if found.kind == "f" and found.itemsize >= 4 else np.dtype("f8")
