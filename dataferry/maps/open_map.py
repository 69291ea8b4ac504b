"""From what the caller names, a path, a URL or a host's source, to the bytes of a file and the map in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from ..download.source import Source
from .byte_source import ByteSource, Context, open_local
from .fits import fields_of, unpack_image
from .hdf5 import hdf5_layout, is_hdf5
from .layout import MapLayout, choose_hdu, layout_of
from .remote import RemoteFile

_MOST_FILES = 64
_known: dict[object, MapLayout] = {}

Named = str | os.PathLike[str] | Source


def open_source(named: Named, *, remote: bool = False) -> ByteSource:
    """Open the bytes of a file: here, or with ``remote`` at a server."""
    if not isinstance(named, Source) and not (isinstance(named, str) and named.startswith(("http://", "https://"))):
        if remote:
            raise Context(os.fspath(named)).error(
                "remote=True needs a URL, or a registered name (PackageData.read_map)"
            )
        path = os.fsdecode(named)
        if "\0" in path:
            raise Context(path.replace("\0", "\\0")).error("no path has a NUL in it")
        return open_local(path)
    source = named if isinstance(named, Source) else Source(str(named), str(named))
    if not remote:
        raise Context(source.redacted).error(
            "is a URL", "remote=True reads parts of it; dataferry get fetches it whole"
        )
    return RemoteFile(source)


@contextmanager
def open_map(named: Named, hdu: int | str | None = None, *, remote: bool = False) -> Iterator[MapLayout]:
    """Open a map; ``hdu`` is the number or name of its HDU, or of its dataset in an HDF5 file."""
    with open_source(named, remote=remote) as source:
        key = (source.context.file, source.stamp, repr(hdu))
        known = _known.get(key)
        if known is not None:
            yield _at(known, source)
            return
        if is_hdf5(source):
            yield hdf5_layout(source, hdu)
            return
        found = choose_hdu(source, hdu)
        if found.compressed:
            if remote:
                raise found.context.error(
                    "is tile-compressed: a map cannot be read in part from it", "fetch it whole: dataferry get"
                )
            yield layout_of(source, found, fields_of(unpack_image(source, found)[0], found))
            return
        layout = layout_of(source, found)
        if source.stamp:
            # a file that is still what it was need not be looked at again
            while len(_known) >= _MOST_FILES:
                _known.pop(next(iter(_known)), None)
            _known[key] = _at(layout, None)
        yield layout


def _at(layout: MapLayout, source: ByteSource | None) -> MapLayout:
    """The same layout, of this opening of its file."""
    kept = copy(layout)
    kept.columns = [copy(column) for column in layout.columns]
    kept.pixels = copy(layout.pixels)
    for column in kept.columns if kept.pixels is None else [*kept.columns, kept.pixels]:
        column.source = source  # type: ignore[assignment]  # what is kept has none and is not read
    return kept
