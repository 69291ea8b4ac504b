"""The panels of a picture: colours for any numbers, grey where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .values import bad_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["limits", "panel", "tame"]


def panel(figure: Any, axes: Any, sky: NDArray[Any], inside: NDArray[Any], unit: str) -> None:
    """Draw a sky with its colour bar.

    Parameters
    ----------
    figure, axes : matplotlib.figure.Figure, matplotlib.axes.Axes
        Where.
    sky : numpy.ndarray
        Shape (height, width); changed.
    inside : numpy.ndarray of bool
        What of it is sky.
    unit : str
        What stands at the colour bar.
    """
    import matplotlib as mpl
    import numpy as np

    bad = bad_pixels(sky)
    if bad is not None:
        sky[bad] = np.nan
    tame(sky)
    low, high = limits(sky)
    signed = low < 0 < high
    if signed:
        low, high = -max(-low, high), max(-low, high)
    colours = mpl.colormaps["RdBu_r" if signed else "viridis"]
    rgba = colours(mpl.colors.Normalize(low, high)(np.nan_to_num(sky, nan=low)))
    rgba[inside & ~np.isfinite(sky)] = (0.5, 0.5, 0.5, 1.0)
    rgba[~inside] = 0.0
    axes.imshow(rgba, origin="lower", aspect="equal", interpolation="nearest")
    axes.set_axis_off()
    mappable = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), colours)
    figure.colorbar(mappable, ax=axes, orientation="horizontal", shrink=0.7, extend="both", label=unit)


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """The range without the outermost two percent."""
    import numpy as np

    good = values[np.isfinite(values)]
    if not good.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(good, (1, 99)))
    apart = max(0.5, abs(low) * 1e-3)
    return (low, high) if high - low > abs(low) * 1e-12 else (low - apart, low + apart)


def tame(values: NDArray[Any]) -> None:
    """Bring values to where the difference of any two is a number; what is not finite becomes NaN."""
    import numpy as np

    values[~np.isfinite(values)] = np.nan
    most = np.finfo("f8").max / 8
    np.clip(values, -most, most, out=values)
