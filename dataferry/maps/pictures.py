"""Pictures: a map as a Mollweide ellipse a field, an image with an asinh stretch, a table as a summary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MapError, MissingExtra
from .angles import mollweide
from .cutouts import cutout
from .hdf5 import is_hdf5
from .headers import Hdu, hdus
from .opened import Named, open_layout, open_source
from .panels import limits, panel, tame
from .read import read_map
from .summary import info
from .task import Fields
from .units import parse_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "show"]

_WIDTH = 1600
_COLUMNS = 3


def show(
    path: Named,
    output: str | os.PathLike[str] | None = None,
    *,
    field: Fields = None,
    hdu: int | str | None = None,
    remote: bool = False,
) -> Path | str:
    """Write a picture of a file, or open it in a window.

    Parameters
    ----------
    path : path-like, str or Source
        A map, an image or a table; with ``remote`` a URL.
    output : path-like, optional
        Where to write the picture, over what is there; its suffix says the format. None opens a window where there is
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
        The picture; of a table, and of a picture in a window, a summary as text.

    Raises
    ------
    MapError
        If the file has nothing to show, or a picture of that name is there.
    MissingExtra
        If matplotlib is not installed.
    """
    figure = draw(path, field=field, hdu=hdu, remote=remote)
    if figure is None:
        return info(path, remote=remote)
    if output is None and _screen():
        import matplotlib.pyplot as plt

        manager = plt.figure().canvas.manager
        if manager is not None:
            manager.canvas.figure = figure
            figure.set_canvas(manager.canvas)
            plt.show()
            return info(path, remote=remote)
    target = Path(output) if output is not None else _beside(path)
    import numpy as np

    try:
        with np.errstate(over="ignore"):  # matplotlib multiplies limits, which may be large
            figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise MapError(f"{target}: the picture cannot be written: {error}") from error
    return target


def _beside(path: Named) -> Path:
    """A name for the picture in the current folder."""
    name = Path(str(getattr(path, "url", path)).partition("?")[0]).name
    target = Path(name.removesuffix(".gz")).with_suffix(".png")
    if os.path.lexists(target):
        raise MapError(f"{target}: is there already; name the picture, output= or -o, to replace it")
    return target


def _screen() -> bool:
    import matplotlib as mpl

    return mpl.get_backend().lower() not in ("agg", "pdf", "ps", "svg", "cairo", "template")


def draw(path: Named, *, field: Fields = None, hdu: int | str | None = None, remote: bool = False) -> Figure | None:
    """Make the picture of a file.

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
    except MapError as no_map:
        with open_source(path, remote=remote) as source:
            if is_hdf5(source):
                raise
            found = [h for h in hdus(source) if hdu is None or hdu in (h.index, h.word("EXTNAME"))]
        if any(h.word("PIXTYPE").upper() == "HEALPIX" or "NSIDE" in h.cards for h in found):
            raise
        images = [h for h in found if h.kind in ("PRIMARY", "IMAGE") and h.size and len(h.shape) >= 2]
        if images:
            return _draw_image(path, images[0], remote=remote)
        if any(h["ZIMAGE"] is True for h in found):
            raise MapError(f"{no_map} (a tile-compressed image that is no map has no picture yet)") from no_map
        if any(h.kind in ("BINTABLE", "TABLE") for h in found):
            return None
        raise


def _draw_map(path: Named, field: Fields, hdu: int | str | None, *, remote: bool) -> Figure:
    import numpy as np
    from matplotlib.figure import Figure

    with open_layout(path, hdu, remote=remote) as layout:
        columns = [column for column in layout.pick(field) if column.dtype or field is not None]
    if not columns:
        raise layout.place.error("no column has numbers")
    pixels, inside = mollweide(layout.nside, _WIDTH)
    unique, back = np.unique(pixels, return_inverse=True)
    rows = -(-len(columns) // _COLUMNS)
    across = min(len(columns), _COLUMNS)
    figure = Figure(figsize=(6.4 * across, 4.4 * rows + 0.5), layout="constrained")
    for k, column in enumerate(columns):
        name = column.name or str(column.number - 1)
        number = layout.columns.index(column)
        unit = _stated(column.unit)
        values = read_map(path, number, pixels=unique, hdu=hdu, dtype="f8", unit=unit, remote=remote)
        sky = np.full(inside.shape, np.nan)
        sky[inside] = values.value[back]
        axes = figure.add_subplot(rows, across, k + 1)
        panel(figure, axes, sky, inside, str(values.unit) if unit is None else column.unit)
        axes.set_title(name)
    figure.suptitle(f"{Path(layout.place.file).name}: NSIDE {layout.nside}, {layout.order}")
    return figure


def _stated(text: str) -> str | None:
    """What to state of a unit: none where nobody knows it, so that the numbers can be shown."""
    try:
        parse_unit(text)
    except (ValueError, TypeError):
        return ""
    return None


def _draw_image(path: Named, hdu: Hdu, *, remote: bool) -> Figure:
    import matplotlib as mpl
    import numpy as np
    from matplotlib.figure import Figure

    # of a cube the first plane
    section = [slice(0, 1)] * (len(hdu.shape) - 2)
    image = cutout(path, section, hdu.index, remote=remote)
    values = image.value.reshape(hdu.shape[-2:]).astype("f8")
    step = max(1, max(values.shape) // 2000)
    values = values[::step, ::step]
    tame(values)
    good = values[np.isfinite(values)]
    middle = float(np.median(good)) if good.size else 0.0
    spread = float(np.median(np.abs(good - middle))) if good.size else 1.0
    low, high = limits(values)
    norm = mpl.colors.AsinhNorm(linear_width=max(3 * spread, (high - low) * 1e-6), vmin=low, vmax=high)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    colours = mpl.colormaps["gray"].with_extremes(bad="tab:gray")
    redacted = axes.imshow(values, origin="lower", norm=norm, cmap=colours, interpolation="nearest")
    figure.colorbar(redacted, ax=axes, label=hdu.word("BUNIT"))
    axes.set_title(f"{Path(image.info.meta['file']).name}, HDU {hdu.index}")
    return figure
