"""What is in a file, in words: HDUs, columns, units, ordering, coverage, and how to load it."""

from __future__ import annotations

import html
import keyword
import os

import numpy as np

from ..errors import MapError
from .byte_source import ByteSource, PathOrSource, open_source
from .columns import ColumnReader
from .fits import Hdu, columns_of, hdus
from .hdf5 import is_hdf5
from .layout import MapLayout
from .request import open_map
from .units import units_of
from .values import UNSEEN, bad_pixels


class _Text(str):
    """Several lines, which a notebook shows as such."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self, quote=False)}</pre>"


def info(path: PathOrSource, *, remote: bool = False) -> str:
    """Describe a file: HDUs, units, ordering, coverage, and how to load it in Python.

    Parameters
    ----------
    path : path-like, str or Source
        A FITS file, or a map in HDF5; with ``remote`` a URL, of which only the headers are read.
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
        lines = [f"{source.context.file}  {source.size} bytes"]
        in_hdf5 = is_hdf5(source)
        try:
            for hdu in () if in_hdf5 else hdus(source):
                lines += _hdu_lines(source, hdu)
        except MapError as error:  # what comes before a damaged HDU may be the map
            if len(lines) == 1:
                raise
            lines.append(f"  {error}")
    try:
        with open_map(path, remote=remote) as layout:
            lines += _map_lines(path, layout, remote=remote)
    except MapError as error:
        reason = str(error).partition(": ")[2] or str(error)
        lines.append("no HEALPix map: " + reason)
        if not remote:
            opener = "import h5py; h5py.File" if in_hdf5 else "from astropy.io import fits; fits.open"
            lines.append(f"  {opener}({_printable(path)!r})")
    return _Text("\n".join(lines))


def _printable(path: PathOrSource) -> str:
    return str(getattr(path, "redacted", None) or os.fsdecode(path))  # type: ignore[arg-type]


def _hdu_lines(source: ByteSource, hdu: Hdu) -> list[str]:
    size = " x ".join(str(n) for n in hdu.shape) or "no data"
    kind = "COMPRESSED IMAGE" if hdu.compressed else hdu.kind
    lines = [f"HDU {hdu.index}  {kind}  {hdu.word('EXTNAME')}".rstrip() + f"  {size}"]
    if hdu.kind != "BINTABLE" or hdu.compressed or hdu["ZTABLE"] is True:
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


def _map_lines(path: PathOrSource, layout: MapLayout, *, remote: bool) -> list[str]:
    order = {"": "", "assumed": " (not stated; assumed)"}.get(layout.order_from, f" (from the {layout.order_from})")
    fields = f"{len(layout.columns)} field{'s' if len(layout.columns) != 1 else ''}"
    guess = " (a guess from the number of values: no keyword says so)" if layout.guessed else ""
    where = f"{'dataset' if isinstance(layout.hdu, str) else 'HDU'} {layout.hdu}"
    lines = [f"HEALPix map in {where}{guess}: NSIDE {layout.nside}, {layout.order}{order}, {fields}"]
    if layout.coordinates:
        lines.append(f"  coordinates {layout.coordinates}")
    lines.append("  coverage " + _coverage(layout, remote=remote))
    return [*lines, "load it with", "  from dataferry import maps", *_load_lines(path, layout, remote=remote)]


def _load_lines(path: PathOrSource, layout: MapLayout, *, remote: bool) -> list[str]:
    """The lines that read all fields that can be read, together where they have one unit."""
    fields = [k for k, column in enumerate(layout.columns) if not column.problem]
    extra = ", remote=True" if remote else ""
    stated = {k: "" if _has_known_unit(layout, [k]) else ", unit=''" for k in fields}
    if fields and (not any(stated.values())) and _has_known_unit(layout, fields):
        chosen = "" if fields == [0] == list(range(len(layout.columns))) else f", field={tuple(fields)}"
        return [f"  m = maps.read_map({_printable(path)!r}{chosen}{extra})"]
    lines: dict[str, str] = {}
    for k in fields:
        word = _variable(layout.columns[k].name, k)
        word = f"field_{k}" if word in lines else word  # T of K and T of s, "a b" and "a-b"
        lines[word] = f"  {word} = maps.read_map({_printable(path)!r}, field={k}{stated[k]}{extra})"
    return list(lines.values())


def _has_known_unit(layout: MapLayout, fields: list[int]) -> bool:
    columns = [layout.columns[k] for k in fields]
    try:
        return units_of(columns, None)[1] == [1.0] * len(columns)
    except MapError:
        return False


def _variable(name: str, number: int) -> str:
    word = "".join(c if c.isalnum() else "_" for c in name.lower())
    taken = keyword.iskeyword(word) or word == "maps"
    return word if word.isidentifier() and not taken else f"field_{number}"


def _coverage(layout: MapLayout, *, remote: bool) -> str:
    if layout.pixels is not None:
        return f"{layout.pixels.count / layout.npix:.2%} of the sky, stored as pixel numbers and values"
    if remote:
        return "not read"
    column = next(column for column in layout.columns if not column.problem)
    reader = ColumnReader(layout.source, [column], UNSEEN)
    seen, step = 0, 1 << 20
    buffer = np.empty(step, np.result_type(column.natural, "f4"))
    for at in range(0, layout.npix, step):
        part = buffer[: min(step, layout.npix - at)]
        reader.stream(at, [part])
        bad = bad_pixels(part)
        seen += part.size - (0 if bad is None else int(bad.sum())) - int(np.isnan(part).sum())
    return f"{seen / layout.npix:.2%} of the sky, in {column.name or 'the first field'!r}"
