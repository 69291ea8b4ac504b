"""HEALPix maps in HDF5: a dataset of (npix,), (fields, npix) or (npix, fields), with attributes for the rest."""

from __future__ import annotations

from typing import Any

from ..errors import MissingExtra
from .columns import Column
from .headers import Hdu
from .layout import Layout, nside_of
from .place import Place
from .source import ByteSource, LocalFile, Memory

__all__ = ["hdf5_layout", "is_hdf5"]


def is_hdf5(source: ByteSource) -> bool:
    """Whether a file is HDF5, by its first bytes."""
    return source.read(0, 8) == b"\x89HDF\r\n\x1a\n"


def hdf5_layout(source: ByteSource, dataset: int | str | None) -> Layout:
    """Describe a map in an HDF5 file.

    ``nside`` is checked against the shape where it is given; ``ordering`` (or ``order``, or a true ``nest``) and
    ``unit`` (or ``units``) are read from the attributes of the dataset or of the file.

    Parameters
    ----------
    source : ByteSource
        The file, on a disk.
    dataset : str or None
        Path of the dataset; None takes the only one that has the shape of a map.

    Returns
    -------
    Layout
        A dataset that is stored in one piece is read straight from the file.

    Raises
    ------
    MapError
        If there is no such dataset.
    MissingExtra
        If h5py is not installed.
    """
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("maps", "h5py") from error
    if not isinstance(source, LocalFile):
        raise source.place.error("HDF5 is read from a file on a disk only", "fetch it whole: dataferry get")
    import numpy as np

    try:
        with h5py.File(source.place.file, "r") as opened:
            found = _choose(opened, dataset, source.place)
            place = Place(f"{source.place.file}, dataset {found.name}")
            attrs = {k.lower(): _text(v) for k, v in {**opened.attrs, **found.attrs}.items()}
            columns = _columns(source, found, place, str(attrs.get("unit", attrs.get("units", ""))))
    except OSError as error:
        raise source.place.error(f"is not a readable HDF5 file: {error}", "fetch it again") from error
    nside = nside_of(columns[0].count)
    said = attrs.get("nside", nside)
    if np.ndim(said) or said != nside:
        raise place.error(f"holds {columns[0].count} values, but nside is {said!r}: not a whole-sky map")
    word = str(attrs.get("ordering", attrs.get("order", attrs.get("scheme", "")))).upper()
    if not word and "nest" in attrs:
        word = "NESTED" if attrs["nest"] in (True, 1, "True", "true") else "RING"
    if word and word not in ("RING", "NEST", "NESTED"):
        raise place.error(f"ordering {word!r} is neither RING nor NESTED")
    order = "NESTED" if word.startswith("NEST") else "RING"
    if order == "NESTED" and nside & (nside - 1):
        raise place.error(f"the ordering is NESTED, but nside={nside} is no power of two")
    return Layout(place, Hdu(0, {}, b"", 0, 0), nside, order, columns, said=bool(word))


def _text(value: Any) -> Any:
    if getattr(value, "size", 0) == 1:
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _choose(opened: Any, wanted: int | str | None, place: Place) -> Any:
    import h5py

    if wanted is not None:
        try:
            found = opened.get(str(wanted))
        except OSError as error:  # a link to another file
            raise place.error(f"dataset {wanted!r} cannot be opened: {error}") from error
        if not isinstance(found, h5py.Dataset):
            raise place.error(f"there is no dataset {wanted!r}")
        wrong = _no_map(found)
        if wrong:
            raise place.error(f"dataset {found.name} {wrong}: not a whole-sky map")
        return found
    maps: list[Any] = []

    def look(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not _no_map(item):
            maps.append(item)

    opened.visititems(look)
    if len(maps) == 1:
        return maps[0]
    if not maps:
        raise place.error("no dataset has the shape of a HEALPix map")
    raise place.error("several datasets may be the map", "say which: hdu=" + " or ".join(repr(m.name) for m in maps))


def _no_map(found: Any) -> str:
    """Why a dataset is no map; empty if it may be one."""
    if found.shape is None:
        return "is empty"
    if found.dtype.kind not in "iuf":
        return f"holds {found.dtype}, not numbers"
    if found.ndim not in (1, 2):
        return f"has {found.ndim} axes"
    if not nside_of(max(found.shape)):
        return f"holds {max(found.shape)} values"
    return ""


def _columns(source: ByteSource, found: Any, place: Place, unit: str) -> list[Column]:
    import numpy as np

    shape, width = found.shape, found.dtype.itemsize
    # of (3, npix) and (npix, 3) the long axis is the sky
    fields = 1 if found.ndim == 1 else min(shape)
    npix = max(shape)
    by_field = found.ndim == 1 or shape[0] == fields
    # behind a link to another file the offset is one in that file
    start = found.id.get_offset() if found.file.filename == source.place.file else None
    if start is None:  # also chunked, compressed or never written
        data = np.ascontiguousarray(found[...])
        source, start = Memory(data.view("u1").reshape(-1).data, source.place), 0
    # HDF5 allows every byte order; numpy spells the native one "=" or "|"
    dtype = found.dtype.newbyteorder("<" if found.dtype.isnative and np.little_endian else found.dtype.byteorder).str
    dtype = dtype.replace("|", "<")
    return [
        Column(
            number=k + 1,
            name=f"{found.name.rpartition('/')[2]}" + (f"_{k}" if fields > 1 else ""),
            unit=unit,
            dtype=dtype,
            source=source,
            start=start + (k * npix if by_field else k) * width,
            per_row=1,
            row_bytes=width if by_field else fields * width,
            count=npix,
            place=place.in_column(k + 1, ""),
        )
        for k in range(fields)
    ]
