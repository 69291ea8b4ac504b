"""HEALPix maps in HDF5: a dataset of (npix,), (fields, npix) or (npix, fields), with attributes for the rest.

There is no standard: attributes are looked for at the dataset, at its pixel numbers and grid mapping (xdggs, CF 1.13),
its groups and the file, by the names that packages have given them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import MapError, MissingExtra
from .byte_source import ByteSource, Context, LocalFile, Memory
from .healpix import nside_of
from .layout import MAX_NSIDE, ORDERS, Column, MapLayout, in_digits

_MAGIC = b"\x89HDF\r\n\x1a\n"
_ORDER_KEYS = (
    "ordering",
    "order",
    "scheme",
    "pixel_ordering_scheme",
    "ordering_scheme",
    "healpix_order",
    "indexing_scheme",  # xdggs, CF 1.13
)
_NEST_KEYS = ("nest", "nested")
_NSIDE_KEYS = ("nside", "healpix_nside")
_LEVEL = "refinement_level"  # CF 1.13: NSIDE is two to that power
_GRID_KEYS = {*_ORDER_KEYS, *_NEST_KEYS, *_NSIDE_KEYS, _LEVEL}
_NUMBER_KEYS = ("scale_factor", "add_offset", "_fillvalue", "missing_value")
_READ = {*_GRID_KEYS, *_NUMBER_KEYS, "level", "grid_mapping", "unit", "units"}
_PIXEL_NAMES = {"pixel", "pixels", "pix", "ipix", "hpix", "hpxindex", "pixel_index", "pixel_indices", "pixel_numbers"}
_PIXEL_NAMES |= {"healpix", "healpix_index", "index", "indices", "idx", "pixnum", "cell_ids", "cell"}


def is_hdf5(source: ByteSource) -> bool:
    """Whether a file is HDF5, by its first bytes, or those after a user block of a power of two."""
    if source.pread(0, 8) == _MAGIC:
        return True
    if not isinstance(source, LocalFile) or source.pread(0, 6) == b"SIMPLE":
        return False
    return any(source.pread(512 << k, 8) == _MAGIC for k in range(8))


def hdf5_layout(source: ByteSource, dataset: int | str | None) -> MapLayout:
    """Describe a map in an HDF5 file; a dataset that is stored in one piece is read straight from the file."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("maps", "h5py") from error
    if not isinstance(source, LocalFile):
        raise source.context.error("HDF5 is read from a file on a disk only", "fetch it whole: dataferry get")
    try:
        with h5py.File(source.context.file, "r") as opened:
            found = _choose(opened, dataset, source.context)
            numbers = _numbers_beside(found)
            attrs = _attributes(found, numbers)
            columns = _columns(source, found, attrs)
            pixels = None if numbers is None else _columns(source, numbers, {})[0]
            context, name = _context(source, found), found.name
    except MapError:
        raise
    except Exception as error:  # of a damaged file h5py raises RuntimeError, KeyError, ValueError, TypeError...
        raise source.context.error(f"is not a readable HDF5 file: {error}", "fetch it again") from error
    nside = _nside(attrs, columns[0].count, context, partial=pixels is not None)
    order, stated = _order(attrs, context)
    if order == "NESTED" and nside & (nside - 1):
        raise context.error(f"the ordering is NESTED, but nside={nside} is no power of two")
    guessed = not stated and _first(attrs, _NSIDE_KEYS) is None
    return MapLayout(source, context, name, nside, order, columns, pixels, "" if stated else "assumed", guessed)


def _context(source: ByteSource, found: Any) -> Context:
    return Context(source.context.file, found.name)


def _attributes(found: Any, numbers: Any) -> dict[str, Any]:
    """Those of the dataset, over those of its grid, over those of its group, of the groups above and of the file."""
    attrs = _own_attributes(found)
    mapping = str(attrs.get("grid_mapping"))
    for grid in (numbers, *(item for name, item in found.parent.items() if name == mapping)):
        if grid is not None:
            own = _own_attributes(grid)
            own[_LEVEL] = own.get(_LEVEL, own.get("level"))  # xdggs; elsewhere a level may be a pressure
            attrs = {key: value for key, value in own.items() if key in _GRID_KEYS} | attrs
    while found.name != "/":
        found = found.parent
        attrs = _own_attributes(found) | attrs
    return attrs


def _own_attributes(item: Any) -> dict[str, Any]:
    # no others: of a damaged text libhdf5 may not find the end
    return {key.lower(): _plain(item.attrs[key]) for key in item.attrs if key.lower() in _READ}


def _first(attrs: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((attrs[key] for key in keys if key in attrs), None)


def _plain(value: Any) -> Any:
    if getattr(value, "size", 0) == 1:
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _nside(attrs: dict[str, Any], count: int, context: Context, *, partial: bool) -> int:
    whole, level = nside_of(count), attrs.get(_LEVEL)
    stated = _first(attrs, _NSIDE_KEYS)
    if stated is None and isinstance(level, int) and 0 <= level < MAX_NSIDE.bit_length():
        stated = 1 << level
    if isinstance(stated, str):
        stated = in_digits(stated) or stated
    if partial and isinstance(stated, int) and 0 < stated <= MAX_NSIDE:
        return stated
    if whole and (stated is None or (not np.ndim(stated) and stated == whole)):
        return whole
    what = "missing" if stated is None else repr(stated)
    raise context.error(f"holds {count} values, but nside is {what}: not a whole-sky map")


def _order(attrs: dict[str, Any], context: Context) -> tuple[str, bool]:
    stated, nest = _first(attrs, _ORDER_KEYS), _first(attrs, _NEST_KEYS)
    word = "" if stated is None else str(stated).strip().upper()
    if not word and nest is not None:
        word = "NESTED" if str(nest).lower() in ("true", "1", "1.0", "nest", "nested") else "RING"
    if word and word not in ORDERS:
        raise context.error(f"ordering {word!r} is neither RING nor NESTED")
    return ORDERS.get(word, "RING"), bool(word)


def _choose(opened: Any, wanted: int | str | None, context: Context) -> Any:
    """The dataset of the values of a map."""
    import h5py

    if wanted is None:
        datasets: list[Any] = []
        opened.visititems(lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
        maps = [item for item in datasets if not _holds_pixel_numbers(item) and not _no_map(item)]
        names = " or ".join(repr(item.name) for item in maps or filter(_holds_pixel_numbers, datasets))
        if len(maps) > 1:
            raise context.error("several datasets may be the map", f"choose one: hdu={names}")
        if not maps:
            remedy = f"of pixel numbers there are: {names}" if names else ""
            raise context.error("no dataset has the shape of a HEALPix map", remedy)
        return maps[0]
    try:
        found = opened.get(str(wanted))
    except OSError as error:  # a link to another file
        raise context.error(f"dataset {wanted!r} cannot be opened: {error}") from error
    if not isinstance(found, h5py.Dataset):
        raise context.error(f"there is no dataset {wanted!r}")
    if wrong := _no_map(found):
        raise context.error(f"dataset {found.name} {wrong}: not a whole-sky map")
    return found


def _holds_pixel_numbers(found: Any) -> bool:
    name = found.name.rpartition("/")[2].lower()
    return name in _PIXEL_NAMES and found.shape is not None and found.ndim == 1 and found.dtype.kind in "iu"


def _numbers_beside(found: Any) -> Any:
    """The dataset of the pixel numbers of values; None if there is none."""
    import h5py

    if _holds_pixel_numbers(found):
        return None
    beside = (item for item in found.parent.values() if isinstance(item, h5py.Dataset) and _holds_pixel_numbers(item))
    return next((item for item in beside if item.shape[0] in found.shape), None)


def _no_map(found: Any) -> str:
    """Why a dataset is no map; empty if it may be one."""
    if found.shape is None:
        return "is empty"
    if found.dtype.kind not in "iufb":
        return f"holds {found.dtype}, not numbers"
    if found.ndim not in (1, 2):
        return f"has {found.ndim} axes"
    if not nside_of(max(found.shape)) and _numbers_beside(found) is None:
        return f"holds {max(found.shape)} values"
    return ""


def _columns(source: ByteSource, found: Any, attrs: dict[str, Any]) -> list[Column]:
    # of (3, npix) and (npix, 3) the long axis is the sky
    fields, npix = (1 if found.ndim == 1 else min(found.shape)), max(found.shape)
    by_field = found.ndim == 1 or found.shape[0] == fields
    dtype, start, memory = _stored(source, found)
    numbers = {key: attrs.get(key) for key in _NUMBER_KEYS}
    wrong = [f"{k}={v!r} is not a number" for k, v in numbers.items() if not isinstance(v, int | float | None)]
    if wrong:
        raise _context(source, found).error(wrong[0])
    scale, zero, null, missing = numbers.values()
    name = found.name.rpartition("/")[2]
    return [
        Column(
            number=k + 1,
            name=name + (f"_{k}" if fields > 1 else ""),
            unit=str(attrs.get("unit", attrs.get("units", ""))),
            dtype=dtype.str.replace("|", "<"),
            start=start + (k * npix if by_field else k) * dtype.itemsize,
            per_row=1,
            row_bytes=dtype.itemsize if by_field else fields * dtype.itemsize,
            count=npix,
            context=_context(source, found).in_column(k + 1, ""),
            scale=1.0 if scale is None else scale,
            zero=0.0 if zero is None else zero,
            null=missing if null is None else null,
            logical=found.dtype.kind == "b",
            memory=memory,
        )
        for k in range(fields)
    ]


def _stored(source: ByteSource, found: Any) -> tuple[np.dtype[Any], int, Memory | None]:
    """The type of a dataset's values, and where they are: from an offset of the file, or in memory."""
    # HDF5 allows every byte order; numpy spells the native one "=" or "|"
    dtype = found.dtype.newbyteorder("<" if found.dtype.isnative and np.little_endian else found.dtype.byteorder)
    # behind a link to another file the offset is one in that file
    start = found.id.get_offset() if found.file.filename == source.context.file else None
    if start is not None and dtype.kind != "b":
        return dtype, start, None
    data = np.ascontiguousarray(found[...])  # chunked, compressed or never written; logical values
    if dtype.kind == "b":
        data = np.where(data, np.uint8(ord("T")), np.uint8(ord("F")))
        dtype = data.dtype
    return dtype, 0, Memory(data.reshape(-1).view("u1").data, source.context)
