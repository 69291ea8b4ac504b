"""What the URLs of a `RangeServer` stand for: bytes with a size, an ETag and a date."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Content", "Files", "Piece", "Slice", "in_memory", "of_bytes", "of_file"]

TYPES = {".html": "text/html", ".txt": "text/plain", ".toml": "text/plain", ".json": "application/json"}


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a file on disk, sent without passing through Python."""

    path: Path
    start: int
    stop: int


Piece = bytes | Slice


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes behind one URL.

    Parameters
    ----------
    size : int
        Length in bytes.
    pieces : callable
        ``pieces(start, stop)`` gives the bytes of that range, piece by piece.
    etag : str or None
        The entity tag with its quotes; None for a server that sends none.
    modified : float
        Seconds since the epoch.
    media_type : str
        The ``Content-Type``.
    headers : mapping of str to str
        Further headers that belong to the bytes, such as ``Content-Encoding``.
    """

    size: int
    pieces: Callable[[int, int], Iterable[Piece]]
    etag: str | None
    modified: float
    media_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> bytes:
        """All the bytes, in memory.

        Returns
        -------
        bytes
            The whole content.
        """
        return b"".join(in_memory(self.pieces(0, self.size)))


def in_memory(pieces: Iterable[Piece], block: int = 1 << 20) -> Iterator[bytes]:
    """Pieces as bytes, read from disk block by block where that is where they are.

    Parameters
    ----------
    pieces : iterable of bytes or Slice
        What a `Content` gives.
    block : int
        The longest read from disk.

    Yields
    ------
    bytes
        The bytes in order; fewer than a slice names if its file has shrunk.
    """
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        with open(piece.path, "rb") as file:
            file.seek(piece.start)
            left = piece.stop - piece.start
            while left and (data := file.read(min(block, left))):
                left -= len(data)
                yield data


def of_bytes(data: bytes, modified: float, media_type: str = "application/octet-stream") -> Content:
    """Content from memory; the ETag follows the bytes.

    Parameters
    ----------
    data : bytes
        The bytes.
    modified : float
        Seconds since the epoch.
    media_type : str
        The ``Content-Type``.

    Returns
    -------
    Content
        These bytes.
    """
    etag = f'"{zlib.crc32(data):08x}-{len(data):x}"'
    return Content(len(data), lambda start, stop: [data[start:stop]], etag, modified, media_type)


def of_file(path: Path, name: str = "") -> Content:
    """Content of a file on disk, with the ETag that nginx would give it.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The name whose suffix gives the type; by default the path's own.

    Returns
    -------
    Content
        The file as it is now.

    Raises
    ------
    OSError
        If the file is not there.
    """
    stat = os.stat(path)
    etag = f'"{int(stat.st_mtime):x}-{stat.st_size:x}"'
    media_type = TYPES.get(os.path.splitext(name or path.name)[1], "application/octet-stream")
    return Content(stat.st_size, lambda start, stop: [Slice(path, start, stop)], etag, stat.st_mtime, media_type)


class Files:
    """The files that a server has: a folder, or a mapping from names to bytes or paths.

    Both are read anew for each request, so a test may change them while the server runs.

    Parameters
    ----------
    source : path or mapping of str to bytes or path
        The folder or the files.
    """

    def __init__(self, source: str | os.PathLike[str] | Mapping[str, bytes | os.PathLike[str]]) -> None:
        self.source = source if isinstance(source, Mapping) else Path(source)
        self._seen: dict[str, tuple[bytes, Content]] = {}
        self._began = int(time.time())

    def find(self, name: str) -> Content | None:
        """What a name stands for at this moment.

        Parameters
        ----------
        name : str
            The URL's path without the first slash, unquoted.

        Returns
        -------
        Content or None
            None if there is no such file.
        """
        if isinstance(self.source, Mapping):
            value = self.source.get(name)
            if value is None:
                return None
            if isinstance(value, bytes):
                return self._from_memory(name, value)
            path = Path(value)
        else:
            if "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
                return None
            path = self.source / name
        try:
            return of_file(path, name) if path.is_file() else None
        except OSError:
            return None

    def _from_memory(self, name: str, data: bytes) -> Content:
        seen = self._seen.get(name)
        if seen is None or seen[0] is not data:
            modified = self._began if seen is None else int(time.time())
            media_type = TYPES.get(os.path.splitext(name)[1], "application/octet-stream")
            seen = self._seen[name] = (data, of_bytes(data, modified, media_type))
        return seen[1]
