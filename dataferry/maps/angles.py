"""From directions to RING pixels, and the Mollweide projection: what a picture of the sky needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["mollweide", "pixel_at"]


def pixel_at(nside: int, lon: Floats, lat: Floats) -> NDArray[np.int64]:
    """Find the RING pixels that hold directions.

    Parameters
    ----------
    nside : int
        Any resolution.
    lon, lat : numpy.ndarray
        Longitude and latitude in radians.

    Returns
    -------
    numpy.ndarray of int64
        Of the same shape.
    """
    import numpy as np

    z = np.sin(lat)
    high = np.abs(z)
    turn = np.mod(lon / (np.pi / 2), 4.0)
    # the equatorial belt: edges of pixels are straight lines in (turn, z)
    across, down = nside * (0.5 + turn), nside * z * 0.75
    rising, falling = np.floor(across - down).astype("i8"), np.floor(across + down).astype("i8")
    ring = nside + 1 + rising - falling
    shift = 1 - (ring & 1)
    at = ((rising + falling - nside + shift + 1 + 8 * nside) // 2) % (4 * nside)
    belt = 2 * nside * (nside - 1) + (ring - 1) * 4 * nside + at
    # the polar caps
    part = turn - np.floor(turn)
    # 1 - |z| without the loss of digits at the poles
    scale = nside * np.sqrt(3.0 * np.cos(lat) ** 2 / (1.0 + high))
    width = np.floor(part * scale).astype("i8") + np.floor((1.0 - part) * scale).astype("i8") + 1
    width = np.minimum(width, nside)
    at = np.minimum(np.floor(turn * width).astype("i8"), 4 * width - 1)
    cap = np.where(z > 0, 2 * width * (width - 1) + at, 12 * nside**2 - 2 * width * (width + 1) + at)
    pixels: NDArray[np.int64] = np.where(high <= 2.0 / 3.0, belt, cap)
    return pixels


def mollweide(nside: int, width: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Project the sky on an ellipse: longitude zero in the middle, growing to the left as one looks up at it.

    Parameters
    ----------
    nside : int
        Resolution of the map.
    width : int
        Columns of the picture; it has half as many rows, the south at row 0.

    Returns
    -------
    pixels : numpy.ndarray of int64
        RING pixels of the points that are on the ellipse, shape (n,).
    inside : numpy.ndarray of bool
        Which points of the picture they are, shape (width // 2, width).
    """
    import numpy as np

    rows = width // 2
    x = (np.arange(width) + 0.5) / width * 4.0 - 2.0
    y = (np.arange(rows) + 0.5) / rows * 2.0 - 1.0
    inside = (x[None, :] / 2.0) ** 2 + y[:, None] ** 2 < 1.0
    angle = np.arcsin(y)
    lat = np.arcsin(((2 * angle + np.sin(2 * angle)) / np.pi).clip(-1, 1))
    lon = -np.pi * x[None, :] / (2.0 * np.cos(angle)[:, None])
    lats = np.broadcast_to(lat[:, None], inside.shape)
    return pixel_at(nside, lon[inside], lats[inside]), inside
