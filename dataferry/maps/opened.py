"""From what the caller names, a path, a URL or a host's source, to an open map and its layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from ..download.source import Source
from .layout import Layout, choose_hdu, layout_of
from .place import Place
from .source import ByteSource, open_local

__all__ = ["Named", "open_layout", "open_source"]

_MOST_KEPT = 64
_kept: dict[object, Layout] = {}

Named = str | os.PathLike[str] | Source


def is_url(named: Named) -> bool:
    """Whether a caller's word for a file is a URL."""
    return isinstance(named, Source) or (isinstance(named, str) and named.startswith(("http://", "https://")))


def open_source(named: Named, *, remote: bool = False) -> ByteSource:
    """Open the bytes of a file, here or at a server.

    Parameters
    ----------
    named : path-like, str or Source
        A path; with ``remote`` a URL or a host's source.
    remote : bool
        Whether to ask a server for ranges.

    Returns
    -------
    ByteSource
        To be closed by the caller.

    Raises
    ------
    MapError
        If there is no such file, or a URL is given without ``remote``.
    """
    if not is_url(named):
        if remote and not isinstance(named, Source):
            raise Place(os.fspath(named)).error("remote=True needs a URL, or a registered name (PackageData.read_map)")
        path = os.fsdecode(named)  # type: ignore[arg-type]
        if "\0" in path:
            raise Place(path.replace("\0", "\\0")).error("no path has a NUL in it")
        return open_local(path)
    from .remote import RangeFile

    source = named if isinstance(named, Source) else Source(str(named), str(named))
    if not remote:
        raise Place(source.redacted).error("is a URL", "remote=True reads parts of it; dataferry get fetches it whole")
    return RangeFile(source)


@contextmanager
def open_layout(named: Named, hdu: int | str | None = None, *, remote: bool = False) -> Iterator[Layout]:
    """Open a map.

    Parameters
    ----------
    named : path-like, str or Source
        As for `open_source`.
    hdu : int, str or None
        Number or name of the HDU, or of the dataset in an HDF5 file; None finds the map.
    remote : bool
        Whether to ask a server for ranges.

    Yields
    ------
    Layout
        Its columns can be read inside the block.

    Raises
    ------
    MapError
        If it is no map.
    """
    with open_source(named, remote=remote) as source:
        key = (source.place.file, source.stamp, hdu)
        known = _kept.get(key)
        if known is not None:
            yield _at(known, source)
            return
        if source.read(0, 8) == b"\x89HDF\r\n\x1a\n":
            from .hdf5 import hdf5_layout

            yield hdf5_layout(source, hdu)
            return
        found = choose_hdu(source, hdu)
        if found["ZIMAGE"] is True:
            from .compressed import unpacked

            header, columns = unpacked(source, found)
            yield layout_of(source, header, columns)
            return
        layout = layout_of(source, found)
        if source.stamp:
            # a file that is still what it was need not be looked at again
            while len(_kept) >= _MOST_KEPT:
                _kept.pop(next(iter(_kept)), None)
            _kept[key] = _at(layout, None)
        yield layout


def _at(layout: Layout, source: ByteSource | None) -> Layout:
    """The same layout, of this opening of its file."""
    kept = copy(layout)
    kept.columns = [copy(column) for column in layout.columns]
    kept.pixels = copy(layout.pixels)
    for column in kept.columns if kept.pixels is None else [*kept.columns, kept.pixels]:
        column.source = source  # type: ignore[assignment]  # what is kept has none and is not read
    return kept
