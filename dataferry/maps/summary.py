"""What is in a file, in words: HDUs, columns, units, ordering, coverage, and how to load it."""

from __future__ import annotations

import os

from ..errors import MapError
from .columns import columns_of
from .hdf5 import is_hdf5
from .headers import Hdu, hdus
from .layout import Layout
from .opened import Named, open_layout, open_source
from .source import ByteSource

__all__ = ["info"]


def info(path: Named, *, remote: bool = False) -> str:
    """Describe a file: HDUs, units, ordering, coverage, and how to load it in Python.

    Parameters
    ----------
    path : path-like, str or Source
        A FITS file, or a map in HDF5; with ``remote`` a URL, of which the headers are read only.
    remote : bool, optional
        Read by byte ranges from a server.

    Returns
    -------
    str
        Several lines.

    Raises
    ------
    MapError
        If it is no such file.
    """
    with open_source(path, remote=remote) as source:
        lines = [f"{source.place.file}  {source.size} bytes"]
        in_hdf5 = is_hdf5(source)
        if not in_hdf5:
            for hdu in hdus(source):
                lines += _hdu(source, hdu)
    try:
        with open_layout(path, remote=remote) as layout:
            lines += _map(path, layout, remote=remote)
    except MapError as error:
        reason = str(error).partition(": ")[2] or str(error)
        opener = "import h5py; h5py.File" if in_hdf5 else "from astropy.io import fits; fits.open"
        lines += ["no HEALPix map: " + reason, f"  {opener}({_shown(path)!r})"]
    return "\n".join(lines)


def _shown(path: Named) -> str:
    return str(getattr(path, "redacted", None) or os.fspath(path))  # type: ignore[arg-type]


def _hdu(source: ByteSource, hdu: Hdu) -> list[str]:
    size = " x ".join(str(n) for n in hdu.shape) or "no data"
    kind = "COMPRESSED IMAGE" if hdu["ZIMAGE"] is True else hdu.kind
    lines = [f"HDU {hdu.index}  {kind}  {hdu.word('EXTNAME')}".rstrip() + f"  {size}"]
    if hdu.kind != "BINTABLE" or hdu["ZIMAGE"] is True or hdu["ZTABLE"] is True:
        unit = hdu.word("BUNIT")
        return lines + ([f"  unit {unit}"] if unit else [])
    try:
        columns = columns_of(source, hdu)
    except MapError as error:
        return [*lines, f"  {error}"]
    for column in columns:
        form = hdu.word(f"TFORM{column.number}")
        lines.append(f"  column {column.number - 1} {column.name!r}  {form}  {column.unit or '(no unit)'}")
    return lines


def _map(path: Named, layout: Layout, *, remote: bool) -> list[str]:
    said = "" if layout.said else " (not said; taken for it)"
    fields = f"{len(layout.columns)} field{'s' if len(layout.columns) != 1 else ''}"
    lines = [f"HEALPix map in HDU {layout.hdu.index}: NSIDE {layout.nside}, {layout.order}{said}, {fields}"]
    coordinates = layout.hdu.word("COORDSYS")
    if coordinates:
        lines.append(f"  coordinates {coordinates}")
    lines.append("  coverage " + _coverage(path, layout, remote=remote))
    chosen = "" if len(layout.columns) == 1 else f", field={tuple(range(len(layout.columns)))}"
    lines += ["load it with", "  from dataferry import maps"]
    extra = ", remote=True" if remote else ""
    if len({column.unit for column in layout.columns}) == 1:
        lines.append(f"  m = maps.read_map({_shown(path)!r}{chosen}{extra})")
    else:  # columns of different units do not fit into one Quantity
        lines += [
            f"  {_word(column.name, k)} = maps.read_map({_shown(path)!r}, field={k}{extra})"
            for k, column in enumerate(layout.columns)
        ]
    return lines


def _word(name: str, number: int) -> str:
    word = "".join(c if c.isalnum() else "_" for c in name.lower())
    return word if word.isidentifier() else f"field_{number}"


def _coverage(path: Named, layout: Layout, *, remote: bool) -> str:
    if layout.pixels is not None:
        return f"{layout.pixels.count / layout.npix:.2%} of the sky, stored as pixel numbers and values"
    if remote:
        return "not read"
    import numpy as np

    from .blocks import Reader
    from .values import AS_IS, bad_pixels

    column = layout.columns[0]
    reader = Reader([column], float("nan"))
    seen, step = 0, 1 << 20
    room = np.empty(step, np.result_type(column.natural, "f4"))
    for at in range(0, layout.npix, step):
        part = room[: min(step, layout.npix - at)]
        reader.stream(at, part.size, [part], [AS_IS])
        bad = bad_pixels(part)
        seen += part.size - (0 if bad is None else int(bad.sum())) - int(np.isnan(part).sum())
    return f"{seen / layout.npix:.2%} of the sky, in {column.name or 'the first field'!r}"
