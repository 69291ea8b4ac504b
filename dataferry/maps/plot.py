"""Plots: a map as a Mollweide ellipse a field, an image with an asinh stretch, a table as a summary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..download.source import Source
from ..errors import MapError, MissingExtra
from .byte_source import PathOrSource, open_source
from .fits import Hdu, hdus
from .hdf5 import is_hdf5
from .healpix import ang2pix
from .image import cutout
from .layout import Fields
from .read import read_map
from .request import open_map
from .summary import info
from .units import parse_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WITHOUT_SCREEN = ("agg", "pdf", "ps", "svg", "cairo", "template")
_WIDTH = 1200
_PANELS_A_ROW = 3
_MOST_IMAGE_PIXELS = 2000


def show(
    path: PathOrSource,
    output: str | os.PathLike[str] | None = None,
    *,
    field: Fields = None,
    hdu: int | str | None = None,
    remote: bool = False,
) -> Path | str:
    """Write a plot of a file, or open it in a window.

    Parameters
    ----------
    path : path-like, str or Source
        A map, an image or a table; with ``remote`` a URL.
    output : path-like, optional
        Where to write the plot, over what is there; its suffix is the format. None opens a window where there is
        a screen, and else writes a PNG file of the same name into the current folder, if none is there.
    field : int, str, sequence of these, or None
        Which columns of a map; None is all.
    hdu : int or str, optional
        Number or name of the HDU; None finds the map, else the first image, else the first table.
    remote : bool, optional
        Read by byte ranges from a server.

    Returns
    -------
    pathlib.Path or str
        The file of the plot; of a table, and of a plot in a window, a summary as text.

    Raises
    ------
    MapError
        If the file has nothing to show, or a plot of that name is there.
    MissingExtra
        If matplotlib is not installed.
    """
    figure = draw(path, field=field, hdu=hdu, remote=remote)
    if figure is None:
        return info(path, remote=remote)
    import matplotlib as mpl

    if output is None and mpl.get_backend().lower() not in _WITHOUT_SCREEN:
        import matplotlib.pyplot as plt

        manager = plt.figure().canvas.manager
        if manager is not None:
            manager.canvas.figure = figure
            figure.set_canvas(manager.canvas)
            plt.show()
            return info(path, remote=remote)
    target = Path(output) if output is not None else _default_output(path)
    try:
        with np.errstate(over="ignore"):  # matplotlib multiplies limits, which may be large
            figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise MapError(f"{target}: the picture cannot be written: {error}") from error
    finally:
        figure.clear()  # a figure is part of cycles: its arrays would stay until the garbage collector comes
    return target


def _default_output(path: PathOrSource) -> Path:
    """A name for the plot in the current folder."""
    url = path.url if isinstance(path, Source) else os.fsdecode(path)
    name = Path(url.partition("?")[0]).name
    target = Path(name.removesuffix(".gz")).with_suffix(".png")
    if os.path.lexists(target):
        raise MapError(f"{target}: is there already; name the picture, output= or -o, to replace it")
    return target


def draw(
    path: PathOrSource, *, field: Fields = None, hdu: int | str | None = None, remote: bool = False
) -> Figure | None:
    """Make the plot of a file.

    Parameters
    ----------
    path, field, hdu, remote
        As for `show`.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for a table that is no map.

    Raises
    ------
    MapError
        If the file has nothing to show.
    MissingExtra
        If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise MissingExtra("maps", "matplotlib") from error
    try:
        return _draw_map(path, field, hdu, remote=remote)
    except MapError:
        with open_source(path, remote=remote) as source:
            if is_hdf5(source):
                raise
            found = [h for h in hdus(source) if hdu is None or hdu in (h.index, h.word("EXTNAME"))]
        images = [h for h in found if h.is_image and h.size and len(h.shape) >= 2 and 0 not in h.shape]
        # an image that is not one row a field is no map, whatever its header copied: Mollweide views have NSIDE too
        if any(h.states_healpix and h.size and h not in images for h in found):
            raise
        if images:
            return _draw_image(path, images[0], remote=remote)
        if any(h.kind in ("BINTABLE", "TABLE") for h in found):
            return None
        raise


def _draw_map(path: PathOrSource, field: Fields, hdu: int | str | None, *, remote: bool) -> Figure:
    from matplotlib.figure import Figure

    with open_map(path, hdu, remote=remote) as layout:
        columns = [column for column in layout.pick(field) if not column.problem or field is not None]
    if not columns:
        raise layout.context.error("no column has numbers")
    pixels, inside = mollweide(layout.nside, _WIDTH)
    unique, back = np.unique(pixels, return_inverse=True)
    rows = -(-len(columns) // _PANELS_A_ROW)
    across = min(len(columns), _PANELS_A_ROW)
    figure = Figure(figsize=(6.4 * across, 4.4 * rows + 0.5), layout="constrained")
    for k, column in enumerate(columns):
        number = layout.columns.index(column)
        unit = _stated(column.unit)
        values = read_map(path, number, pixels=unique, hdu=hdu, dtype="f8", unit=unit, remote=remote, fill=np.nan)
        sky = np.full(inside.shape, np.nan)
        sky[inside] = values.value[back]
        axes = figure.add_subplot(rows, across, k + 1)
        _draw_panel(figure, axes, sky, inside, str(values.unit) if unit is None else column.unit)
        axes.set_title(_printable(column.name or str(column.number - 1)))
    guess = " (a guess by the number of values)" if layout.guessed else ""
    name = _printable(Path(layout.context.file).name)
    figure.suptitle(f"{name}: NSIDE {layout.nside}, {layout.order}{guess}")
    return figure


def _printable(name: str) -> str:
    """A name as fonts can show it: names of files need not be UTF-8, and $ begins a formula."""
    return os.fsencode(name).decode("utf-8", "replace").replace("$", r"\$")


def _stated(text: str) -> str | None:
    """The unit to state: none if it is unknown, so that the numbers can be drawn."""
    try:
        parse_unit(text)
    except (ValueError, TypeError):
        return ""
    return None


def _draw_image(path: PathOrSource, hdu: Hdu, *, remote: bool) -> Figure:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # of a cube the first plane
    section = [0] * (len(hdu.shape) - 2)
    image = cutout(path, section, hdu.index, unit=_stated(hdu.word("BUNIT")), remote=remote)
    values = image.value.astype("f8")
    step = max(1, max(values.shape) // _MOST_IMAGE_PIXELS)
    values = values[::step, ::step]
    low, high = _limits(values)
    spread = np.nanmedian(np.abs(values - np.nanmedian(values))) if np.isfinite(values).any() else 1.0
    norm = mpl.colors.AsinhNorm(linear_width=max(3 * spread, (high - low) * 1e-6), vmin=low, vmax=high)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    colours = mpl.colormaps["gray"].with_extremes(bad="tab:gray")
    drawn = axes.imshow(values, origin="lower", norm=norm, cmap=colours, interpolation="nearest")
    figure.colorbar(drawn, ax=axes, label=_printable(hdu.word("BUNIT")))
    axes.set_title(f"{_printable(Path(image.info.meta['file']).name)}, HDU {hdu.index}")
    return figure


def _draw_panel(figure: Any, axes: Any, sky: NDArray[Any], inside: NDArray[Any], unit: str) -> None:
    """Draw a sky, (height, width), and its colour bar: grey where ``inside`` has no data."""
    import matplotlib as mpl

    low, high = _limits(sky)
    signed = low < 0 < high
    if signed:
        low, high = -max(-low, high), max(-low, high)
    colours = mpl.colormaps["RdBu_r" if signed else "viridis"]
    # colours in double precision would take the memory of four more skies
    rgba = colours(mpl.colors.Normalize(low, high)(np.nan_to_num(sky, nan=low)), bytes=True).astype("f4")
    rgba /= 255
    rgba[inside & ~np.isfinite(sky)] = (0.5, 0.5, 0.5, 1.0)
    rgba[~inside] = 0.0
    axes.imshow(rgba, origin="lower", aspect="equal", interpolation="nearest")
    axes.set_axis_off()
    mappable = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), colours)
    figure.colorbar(mappable, ax=axes, orientation="horizontal", shrink=0.7, extend="both", label=_printable(unit))


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """The range without the outermost two percent; what is not finite becomes NaN.

    The values are brought to where the difference of any two is a number.
    """
    values[~np.isfinite(values)] = np.nan
    most = np.finfo("f8").max / 8
    np.clip(values, -most, most, out=values)
    good = values[np.isfinite(values)]
    if not good.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(good, (1, 99)))
    apart = max(0.5, abs(low) * 1e-3)
    return (low, high) if high - low > abs(low) * 1e-12 else (low - apart, low + apart)


def mollweide(nside: int, width: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Project the sky on an ellipse: longitude zero in the middle, growing to the left as one looks up at it.

    Returns the RING pixels of the points that are on the ellipse, and which points of the plot, (width // 2, width)
    with the south at row 0, they are.
    """
    rows = width // 2
    x = (np.arange(width) + 0.5) / width * 4.0 - 2.0
    y = (np.arange(rows) + 0.5) / rows * 2.0 - 1.0
    inside = (x[None, :] / 2.0) ** 2 + y[:, None] ** 2 < 1.0
    angle = np.arcsin(y)
    lat = np.arcsin(((2 * angle + np.sin(2 * angle)) / np.pi).clip(-1, 1))
    lon = -np.pi * x[None, :] / (2.0 * np.cos(angle)[:, None])
    lats = np.broadcast_to(lat[:, None], inside.shape)
    return ang2pix(nside, lon[inside], lats[inside]), inside
